"""Every format and common shape, from every source, found by looking or by the user's word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from kaito_jupyter.dataset import Dataset
from kaito_jupyter.errors import DatasetError
from kaito_trainer.contract import TrainingConfig

TURNS = [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Hello."}]
SHARED = [{"from": "human", "value": "Hello?"}, {"from": "gpt", "value": "Hello."}]
MESSAGES = {"messages": TURNS}
PAIR = {"prompt": "Q", "completion": "A"}

SHAPES: dict[str, tuple[dict[str, Any], dict[str, str], dict[str, Any], list[str]]] = {
    "conversations": ({"messages": TURNS}, {}, MESSAGES, []),
    "conversations as JSON": ({"messages": json.dumps(TURNS)}, {}, MESSAGES, []),
    "conversations as pandas writes them to csv": ({"messages": repr(TURNS)}, {}, MESSAGES, []),
    "conversations under another name": (
        {"chat": TURNS}, {}, MESSAGES, ["read as conversations: `chat` → messages"],
    ),
    "ShareGPT": (
        {"conversations": SHARED}, {}, MESSAGES,
        ["read as conversations: `conversations` with `from` → role, `value` → content; human → user, gpt → assistant"],
    ),
    "ShareGPT with system and tool": (
        {"conversations": [{"from": "system", "value": "S"}, *SHARED, {"from": "observation", "value": "T"}, SHARED[1]]}, {},
        {"messages": [{"role": "system", "content": "S"}, *TURNS, {"role": "tool", "content": "T"}, TURNS[1]]},
        ["read as conversations: `conversations` with `from` → role, `value` → content; human → user, gpt → assistant"],
    ),
    "turns with more keys": (
        {"messages": [{**t, "name": "x", "weight": 1} for t in TURNS]}, {}, MESSAGES,
        ["left out of the turns: `name`, `weight`"],
    ),
    "KAITO's instructions": ({"prompt": "Q\n", "completion": "A"}, {}, {"prompt": "Q\n", "completion": "A"}, []),
    "Alpaca": (
        {"instruction": "Q", "input": "", "output": "A", "text": "…"}, {}, PAIR,
        ["read as instructions: `instruction` + `input` → prompt (joined by a blank line), `output` → completion", "left out: `text`"],
    ),
    "Alpaca with an input": (
        {"instruction": "Add.", "input": "1 2", "output": " 3"}, {}, {"prompt": "Add.\n\n1 2", "completion": " 3"},
        ["read as instructions: `instruction` + `input` → prompt (joined by a blank line), `output` → completion"],
    ),
    "Dolly": (
        {"instruction": "Q", "context": "C", "response": " A", "category": "qa"}, {}, {"prompt": "Q\n\nC", "completion": " A"},
        ["read as instructions: `instruction` + `context` → prompt (joined by a blank line), `response` → completion", "left out: `category`"],
    ),
    "questions": (
        {"Question": "Q", "Answer": " A"}, {}, {"prompt": "Q", "completion": " A"},
        ["read as instructions: `Question` → prompt, `Answer` → completion"],
    ),
    "queries": (
        {"id": 1, "query": "Q", "response": " A"}, {}, {"prompt": "Q", "completion": " A"},
        ["read as instructions: `query` → prompt, `response` → completion", "left out: `id`"],
    ),
    "prompt and response": (
        {"prompt": "Q ", "response": "A"}, {}, {"prompt": "Q ", "completion": "A"},
        ["read as instructions: `prompt` → prompt, `response` → completion"],
    ),
    "text": ({"text": "T"}, {}, {"text": "T"}, []),
    "one column of text": ({"review": "T"}, {}, {"text": "T"}, ["read as plain text: `review` → text"]),
    "messages said": (
        {"a": TURNS, "messages": TURNS}, {"messages_column": "a"}, MESSAGES,
        ["read as conversations: `a` → messages", "left out: `messages`"],
    ),
    "a pair said": (
        {"a": "A", "q": "Q ", "text": "T"}, {"prompt_column": "q", "completion_column": "a"}, {"prompt": "Q ", "completion": "A"},
        ["read as instructions: `q` → prompt, `a` → completion", "left out: `text`"],
    ),
    "half a pair said, the other half known": (
        {"q": "Q ", "answer": "A"}, {"prompt_column": "q"}, {"prompt": "Q ", "completion": "A"},
        ["read as instructions: `q` → prompt, `answer` → completion"],
    ),
    "text said": (
        {"prompt": "Q", "completion": "A"}, {"text_column": "completion"}, {"text": "A"},
        ["read as plain text: `completion` → text", "left out: `prompt`"],
    ),
    "chosen answers": (
        {"prompt": "Q ", "chosen": "A", "rejected": "B"}, {"prompt_column": "prompt", "completion_column": "chosen"},
        {"prompt": "Q ", "completion": "A"},
        ["read as instructions: `prompt` → prompt, `chosen` → completion", "left out: `rejected`"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("row", "options", "canonical", "notes"), SHAPES.values(), ids=SHAPES.keys())
def test_a_shape_is_recognised_and_said(
    row: dict[str, Any], options: dict[str, str], canonical: dict[str, Any], notes: list[str]
) -> None:
    dataset = Dataset.read(pd.DataFrame([row]), **options)
    assert dataset.sample(1) == [canonical]
    assert [n for n in dataset.notes if not n.startswith("prompt and completion are one text")] == notes
    assert dataset.columns == tuple(canonical)
    assert (
        dataset.format == {"messages": "conversational", "prompt": "instruction", "text": "text"}[next(iter(canonical))]
    )


def arrays(rows: list[Any]) -> pd.Series[Any]:
    """What pandas reads from parquet: arrays of dicts."""
    column = np.empty(len(rows), object)
    column[:] = [np.array([*r, None], dtype=object)[:-1] for r in rows]
    return pd.Series(column)


TALKS = [
    [{"role": "user", "content": f"Hello {i}?"}, {"role": "assistant", "content": f"Hello {i}."}] for i in range(5)
]
LARGE = pa.large_list(pa.struct([("content", pa.large_string()), ("role", pa.dictionary(pa.int8(), pa.string()))]))
SOURCES: dict[str, Any] = {
    "frame": pd.DataFrame({"messages": TALKS}),
    "frame of arrays": pd.DataFrame({"messages": arrays(TALKS)}),
    "frame of tuples": pd.DataFrame({"messages": [tuple(t) for t in TALKS]}),
    "frame of lists and arrays": pd.DataFrame({"messages": pd.concat([pd.Series(TALKS[:2]), arrays(TALKS[2:])])}),
    "frame of JSON": pd.DataFrame({"messages": [json.dumps(t) for t in TALKS]}),
    "frame of JSON in Arrow": pd.DataFrame({"messages": [json.dumps(t) for t in TALKS]}, dtype="string[pyarrow]"),
    "frame of Arrow lists": pa.table({"messages": TALKS}).to_pandas(types_mapper=pd.ArrowDtype),
    "table": pa.table({"messages": TALKS}),
    "table of large lists": pa.table({"messages": pa.array(TALKS, LARGE)}),
    "table in pieces": pa.concat_tables([pa.table({"messages": [t]}) for t in TALKS]),
    "record batch": pa.record_batch({"messages": TALKS}),
    "arrow stream": pa.RecordBatchReader.from_batches(
        pa.table({"messages": TALKS}).schema, pa.table({"messages": TALKS}).to_batches()
    ),
    "hub dataset": datasets.Dataset.from_dict({"messages": TALKS}),
    "shuffled hub dataset, put right again": datasets.Dataset.from_dict({"messages": TALKS[::-1]}).select(
        range(4, -1, -1)
    ),
    "list of rows": [{"messages": t} for t in TALKS],
}


@pytest.mark.parametrize("data", SOURCES.values(), ids=SOURCES.keys())
def test_every_source_gives_the_same_rows(data: Any) -> None:
    dataset = Dataset.read(data)
    assert dataset.sample(9) == [{"messages": t} for t in TALKS]
    assert dataset.fingerprint == Dataset.read(SOURCES["frame"]).fingerprint
    assert dataset.warnings == ()


def test_text_may_have_any_type_that_holds_text() -> None:
    words = ["one", "two", "two"]
    found = {
        Dataset.read(pd.DataFrame({"text": pd.Series(words, dtype=kind)})).fingerprint
        for kind in ("object", "str", "string", "string[python]", "string[pyarrow]", "category")
    }
    for kind in (pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())):
        found.add(Dataset.read(pa.table({"text": pa.array(words, pa.string()).cast(kind)})).fingerprint)
    runs = pa.RunEndEncodedArray.from_arrays(pa.array([1, 3]), pa.array(["one", "two"]))
    found.add(Dataset.read(pa.table({"text": runs})).fingerprint)
    assert len(found) == 1


def test_a_splitless_choice_of_splits_is_refused() -> None:
    splits = datasets.DatasetDict({"train": datasets.Dataset.from_dict({"text": ["a"]})})
    with pytest.raises(
        DatasetError, match=r"^ds: a DatasetDict holds several splits \(train\)\. Give one: ds\['train'\]\.$"
    ):
        Dataset.read(splits, name="ds")
    assert Dataset.read(splits["train"]).rows == 1


def test_a_checked_dataset_is_read_again_from_its_source() -> None:
    frame = pd.DataFrame({"prompt": ["Q"], "completion": ["A"]})
    dataset = Dataset.read(frame)
    assert Dataset.read(dataset).fingerprint == dataset.fingerprint
    assert Dataset.read(dataset, text_column="prompt").sample(1) == [{"text": "Q"}]


def test_prompt_and_completion_that_meet_without_space_are_noted() -> None:
    glued = pd.DataFrame({"prompt": ["Why?", "How? "], "completion": ["So.", "So."], "n": [1, 2]})
    assert not any("white space" in n for n in Dataset.read(glued).notes)  # half of the rows: it may be meant
    glued["prompt"] = ["Why?", "How?"]
    assert Dataset.read(glued).notes[-1] == (
        "prompt and completion are one text, and in 2 rows they meet without white space: "
        "a line break at the end of the prompts keeps them apart"
    )


@pytest.mark.parametrize(("share", "split"), [(None, (8, 2)), (0.9, (9, 1)), (1, (10, 0)), (0.01, (1, 9))])
def test_the_split_is_kaito_s(share: float | None, split: tuple[int, int]) -> None:
    dataset = Dataset.read(pd.DataFrame({"text": [f"text {i}" for i in range(10)]}))
    section = {} if share is None else {"train_test_split": share}
    assert dataset.split(TrainingConfig.from_dict({"DatasetConfig": section})) == split


def test_lengths_are_counted_in_characters_of_a_whole_row() -> None:
    texts = ["é" * n for n in range(1, 101)]
    lengths = Dataset.read(pd.DataFrame({"text": texts})).lengths
    assert (lengths.shortest, lengths.p50, lengths.p95, lengths.max, lengths.total) == (1, 51, 96, 100, 5050)
    assert sum(lengths.histogram) == 100
    assert Dataset.read(pd.DataFrame({"messages": TALKS})).lengths.max == len("Hello 0?Hello 0.")


def test_a_sample_may_be_changed_without_harm(tmp_path: Path) -> None:
    dataset = Dataset.read(pd.DataFrame({"messages": TALKS}))
    dataset.sample(1)[0]["messages"].clear()
    assert dataset.sample(1) == [{"messages": TALKS[0]}]
    assert len(dataset.sample(4)) == 4
    assert dataset.sample(0) == []
