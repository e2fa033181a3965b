"""Whatever is in a frame: it is read, or `DatasetError` says why. And what was read is what is written."""

from __future__ import annotations

import datetime
import decimal
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kaito_jupyter.dataset import Dataset
from kaito_jupyter.errors import DatasetError

FUZZ = settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.text(st.characters(categories=["Cs", "Cc", "L"]), max_size=4),
    st.binary(max_size=8),
    st.sampled_from([pd.NA, pd.NaT, np.float32("nan"), np.str_("x"), decimal.Decimal("NaN"), object, 10**400, {1}]),
    st.datetimes().map(pd.Timestamp),
    st.dates(min_value=datetime.date(1, 1, 1)),
)
roles = st.sampled_from(["system", "user", "assistant", "tool", "human", "gpt", "User", ""]) | scalars
turns = st.one_of(
    st.fixed_dictionaries({"role": roles, "content": st.text(max_size=8) | scalars}),
    st.fixed_dictionaries({"from": roles, "value": st.text(max_size=8)}),
    st.fixed_dictionaries(
        {"role": roles, "content": st.text(max_size=8)},
        optional={"tool_calls": scalars, "name": scalars, "weight": scalars},
    ),
    st.dictionaries(st.text(max_size=3) | st.integers(), scalars, max_size=3),
    scalars,
)
conversations = st.lists(turns, max_size=4)
values = st.one_of(
    scalars,
    conversations,
    conversations.map(tuple),
    conversations.map(lambda c: np.array([*c, None], dtype=object)[:-1]),
    conversations.map(repr),
    st.recursive(st.text(max_size=3), lambda x: st.lists(x, max_size=3), max_leaves=4).map(json.dumps),
    st.lists(st.fixed_dictionaries({"role": roles, "content": st.text(max_size=5)}), max_size=3).map(
        lambda c: json.dumps(c, default=str)
    ),
    st.dictionaries(st.text(max_size=3), scalars, max_size=2),
)
names = st.sampled_from(
    [
        "messages",
        "conversations",
        "prompt",
        "completion",
        "text",
        "instruction",
        "input",
        "output",
        "question",
        "answer",
        "x",
    ]
)
columns = st.one_of(names, names, names, st.text(max_size=4), st.integers(), st.none(), st.tuples(names, st.integers()))
asked = st.dictionaries(
    st.sampled_from(["messages_column", "prompt_column", "completion_column", "text_column"]),
    names | st.text(max_size=3),
    max_size=2,
)
options = st.one_of(st.just({}), st.just({}), asked)
texts = st.text(min_size=1, max_size=12)
talks = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": texts}), min_size=1, max_size=3
)
kinds = st.sampled_from([values, texts, texts, talks, talks.map(json.dumps), texts | values, talks | values])
"""What one column holds: anything, or mostly what it should."""


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    """A frame with any names, any values, and an index of any kind."""
    rows = draw(st.integers(0, 5))
    labels = draw(st.lists(columns, max_size=4) | st.permutations(["prompt", "completion", 0]) | st.just(["messages"]))
    cells = []
    for _ in labels:
        column = np.empty(rows, object)
        column[:] = draw(st.lists(draw(kinds), min_size=rows, max_size=rows)) or None
        cells.append(pd.Series(column, dtype=object))
    frame = pd.concat(cells, axis=1) if cells else pd.DataFrame(index=range(rows))
    frame.columns = pd.Index(labels, dtype=object, tupleize_cols=False)
    if rows and draw(st.booleans()):
        frame.index = pd.Index(
            draw(st.lists(st.text(max_size=3) | st.integers(), min_size=rows, max_size=rows)), dtype=object
        )
    return frame


def read_or_refused(data: Any, **options: str) -> Dataset | None:
    try:
        return Dataset.read(data, **options)
    except DatasetError as error:
        problems = error.problems
    assert any(p.severity == "error" and p.message.endswith(".") for p in problems)
    return None


@FUZZ
@given(frame=frames(), options=options)
def test_any_frame_is_read_or_refused_with_reasons(
    frame: pd.DataFrame, options: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    dataset = read_or_refused(frame, **options)
    if dataset is not None:
        assert dataset.rows == len(frame)
        assert repr(dataset)
        assert "<script" not in dataset._repr_html_()
        again(dataset, tmp_path_factory.mktemp("fuzz"))


sound = st.lists(
    st.lists(
        st.fixed_dictionaries(
            {
                "role": st.sampled_from(["user", "assistant", "system", "tool"]),
                "content": st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip),
            }
        ),
        max_size=4,
    ).map(lambda turns: [*turns, {"role": "assistant", "content": "so"}]),
    min_size=1,
    max_size=12,
)


@FUZZ
@given(rows=sound)
def test_however_conversations_are_typed_they_are_the_same_data(
    rows: list[list[dict[str, str]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    column = np.empty(len(rows), object)
    column[:] = rows
    whole = Dataset.read(pd.DataFrame({"messages": column}))
    arrays = np.empty(len(rows), object)
    arrays[:] = [np.array([*r, None], dtype=object)[:-1] for r in rows]
    table = pa.table({"messages": rows})
    shared = [[{"from": t["role"], "value": t["content"]} for t in r] for r in rows]
    for other in (
        pd.DataFrame({"messages": arrays}, index=[f"row {i}" for i in range(len(rows))]),
        pd.DataFrame({"messages": [json.dumps(r) for r in rows]}),
        pd.DataFrame({"conversations": shared}),
        table,
        pa.concat_tables([table.slice(i, 1) for i in range(len(rows))]),
        table.to_pandas(types_mapper=pd.ArrowDtype),
    ):
        assert Dataset.read(other).fingerprint == whole.fingerprint
    assert whole.sample(len(rows)) == [{"messages": r} for r in rows]
    again(whole, tmp_path_factory.mktemp("fuzz"))


def again(dataset: Dataset, folder: Path) -> None:
    """Write it and read it back: the same rows, to the last byte."""
    file = folder / "train.parquet"
    assert dataset.write(file) == file.stat().st_size
    back = Dataset.read(file)
    assert (back.format, back.rows, back.fingerprint) == (dataset.format, dataset.rows, dataset.fingerprint)
    assert back.lengths == dataset.lengths
    assert back.sample(9) == dataset.sample(9)
