"""One parquet file, streamed, whole or not at all; and a fingerprint of the content alone."""

from __future__ import annotations

import argparse
import inspect
import stat
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kaito_jupyter.dataset import Dataset
from kaito_jupyter.dataset import dataset as module
from kaito_jupyter.dataset.sources import Pace
from kaito_jupyter.errors import DatasetError


def talks(count: int, length: int = 10) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "messages": [
                [{"role": "user", "content": f"{i} " * length}, {"role": "assistant", "content": f"so {i}" * length}]
                for i in range(count)
            ]
        }
    )


@pytest.fixture
def pool() -> Iterator[pa.MemoryPool]:
    """Arrow's memory, counted from here on."""
    before = pa.default_memory_pool()
    counted = pa.proxy_memory_pool(before)
    pa.set_memory_pool(counted)
    yield counted
    pa.set_memory_pool(before)


def test_the_file_holds_what_kaito_and_hugging_face_read(tmp_path: Path) -> None:
    file = tmp_path / "new" / "train.parquet"
    size = Dataset.read(talks(3)).write(file)
    assert [p.name for p in file.parent.iterdir()] == ["train.parquet"]
    assert file.stat().st_size == size
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    schema = pq.read_schema(file)
    assert schema.names == ["messages"]
    assert schema.field("messages").type == pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    assert pq.read_table(file).to_pylist() == talks(3).to_dict("records")


def test_instructions_and_texts_are_columns_of_strings(tmp_path: Path) -> None:
    Dataset.read(pd.DataFrame({"question": ["Q"], "answer": ["A"], "n": [1]})).write(tmp_path / "a")
    Dataset.read(pd.DataFrame({"body": ["T"]})).write(tmp_path / "b")
    assert pq.read_schema(tmp_path / "a") == pa.schema([("prompt", pa.string()), ("completion", pa.string())])
    assert pq.read_schema(tmp_path / "b") == pa.schema([("text", pa.string())])


def test_writing_and_reading_never_hold_a_second_copy(tmp_path: Path, pool: pa.MemoryPool) -> None:
    frame = talks(60_000, 100)
    size = sum(pa.Table.from_pandas(frame[i : i + 5000]).nbytes for i in range(0, 60_000, 5000))
    held = pool.max_memory()
    assert size > 60e6
    tracemalloc.start()
    dataset = Dataset.read(frame)
    dataset.write(tmp_path / "train.parquet")
    _, python = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert python + max(pool.max_memory() - held, pool.bytes_allocated()) < 0.6 * size
    assert pool.bytes_allocated() < 1e6


def test_chunks_shrink_with_long_rows_and_grow_with_short_ones() -> None:
    pace = Pace()
    for _ in range(9):
        pace.saw(pace.rows, pace.rows * 10)
    assert pace.rows == 65_536
    pace.saw(1000, 1000 * 1_000_000)
    assert pace.rows == 8
    pace.saw(1, 10**12)
    assert pace.rows == 1


def test_the_fingerprint_knows_only_the_content(tmp_path: Path) -> None:
    frame = talks(5000)
    dataset = Dataset.read(frame)
    same = {
        "index": frame.set_axis(range(10_000, 15_000)),
        "extra column": frame.assign(id=1),
        "table in odd pieces": pa.concat_tables(
            [pa.Table.from_pandas(frame[a:b], preserve_index=False) for a, b in ((0, 1), (1, 700), (700, 5000))]
        ),
        "sliced": pa.Table.from_pandas(pd.concat([frame[:9], frame]), preserve_index=False).slice(9),
    }
    for name, data in same.items():
        assert Dataset.read(data).fingerprint == dataset.fingerprint, name
    other = {
        "order": frame[::-1],
        "one row less": frame[:-1],
        "one character": frame.assign(messages=[*frame["messages"][:-1], talks(1)["messages"][0]]),
    }
    for name, data in other.items():
        assert Dataset.read(data).fingerprint != dataset.fingerprint, name


def test_the_fingerprint_tells_apart_what_only_looks_alike() -> None:
    def turns(*pairs: tuple[str, str]) -> list[dict[str, str]]:
        return [{"role": r, "content": c} for r, c in pairs]

    frames = [
        pd.DataFrame({"prompt": ["ab"], "completion": ["c"]}),
        pd.DataFrame({"prompt": ["a"], "completion": ["bc"]}),
        pd.DataFrame({"prompt": ["c"], "completion": ["ab"]}),
        pd.DataFrame({"text": ["abc"]}),
        pd.DataFrame({"text": ["ab", "c"]}),
        pd.DataFrame({"messages": [turns(("user", "ab"), ("assistant", "c"))]}),
        pd.DataFrame({"messages": [turns(("assistant", "ab"), ("user", "c"), ("assistant", "d"))]}),
        pd.DataFrame({"messages": [turns(("assistant", "ab")), turns(("user", "c"), ("assistant", "d"))]}),
    ]
    assert len({Dataset.read(f).fingerprint for f in frames}) == len(frames)


def test_the_fingerprint_stays_what_it_was() -> None:
    # Written down in runs and manifests: a change of this value is a change of format.
    frame = pd.DataFrame({"prompt": ["Q\n"], "completion": ["é"]})
    assert Dataset.read(frame).fingerprint == "b1fafccc9b649e9afed0dadb6ffded29f4551f01c60d2c19f02399d66f2cf334"


def test_data_that_changed_since_it_was_read_is_not_written(tmp_path: Path) -> None:
    frame = talks(3)
    dataset = Dataset.read(frame, name="df")
    frame["messages"][1][1]["content"] = "something else"
    with pytest.raises(
        DatasetError, match=r"^df: it has changed since it was read\. Read it again with Dataset\.read\.$"
    ):
        dataset.write(tmp_path / "train.parquet")
    assert list(tmp_path.iterdir()) == []


def test_data_that_became_bad_is_not_written(tmp_path: Path) -> None:
    frame = talks(3)
    dataset = Dataset.read(frame, name="df")
    frame["messages"][1].clear()
    with pytest.raises(DatasetError, match="it has changed since it was read"):
        dataset.write(tmp_path / "train.parquet")


def test_a_new_column_in_the_user_s_frame_does_not_matter(tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": ["a", "b"]})
    dataset = Dataset.read(frame)
    frame["text"] = "c"
    assert dataset.write(tmp_path / "train.parquet")
    assert pq.read_table(tmp_path / "train.parquet")["text"].to_pylist() == ["a", "b"]


def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "train.parquet"
    dataset = Dataset.read(talks(3))
    dataset.write(file)
    before = file.read_bytes()

    def full(self: Any, batch: Any, *rest: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_batch", full)
    with pytest.raises(OSError, match="No space left"):
        Dataset.read(talks(4)).write(file)
    assert file.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_small_files_are_packed_harder_than_large_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = Dataset.read(pd.DataFrame({"text": list(filter(str.strip, inspect.getsource(argparse).splitlines()))}))
    small = dataset.write(tmp_path / "small")
    monkeypatch.setattr(module, "SMALL", 0)
    assert small < 0.9 * dataset.write(tmp_path / "large")


def test_repeats_are_found_across_chunks_and_columns() -> None:
    frame = pd.DataFrame({"prompt": [f"{i}" for i in range(5000)], "completion": "x"})
    frame.loc[4999] = ["7", "x"]
    frame.loc[4998] = ["7", "y"]
    (warning,) = Dataset.read(frame).warnings
    assert warning.message == "1 row repeats an earlier one (row 4999)."


def test_turns_cut_elsewhere_or_said_by_others_are_no_repeats() -> None:
    def turns(*pairs: tuple[str, str]) -> list[dict[str, str]]:
        return [{"role": r, "content": c} for r, c in pairs]

    rows = [
        turns(("user", "ab"), ("assistant", "cd")),
        turns(("user", "abc"), ("assistant", "d")),
        turns(("system", "ab"), ("assistant", "cd")),
        turns(("user", "a"), ("user", "b"), ("assistant", "cd")),
    ]
    assert Dataset.read(pd.DataFrame({"messages": rows})).warnings == ()
