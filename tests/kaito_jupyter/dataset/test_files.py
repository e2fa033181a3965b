"""Files as people have them: csv, JSON lines, JSON, parquet; packed, damaged, misnamed."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kaito_jupyter.dataset import Dataset
from kaito_jupyter.errors import DatasetError

ROWS = [{"prompt": f'Say "{i}",\nplease. ', "completion": f"{i} é 𝄞"} for i in range(3)]
LINES = "".join(json.dumps(r) + "\n" for r in ROWS)
FRAME = pd.DataFrame(ROWS)
TALK = [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "It's me."}]


def _write(file: Path, content: bytes) -> None:
    file.write_bytes(gzip.compress(content) if file.suffix == ".gz" else content)


GOOD: dict[str, bytes] = {
    "a.jsonl": LINES.encode(),
    "blank lines.jsonl": LINES.replace("\n", "\n\n").encode(),
    "bom.jsonl": b"\xef\xbb\xbf" + LINES.encode(),
    "a.ndjson": LINES.encode(),
    "a.jsonl.gz": LINES.encode(),
    "lines.json": LINES.encode(),
    "array.json": json.dumps(ROWS).encode(),
    "pretty.json": json.dumps(ROWS, indent=2, ensure_ascii=False).encode(),
    "bom.json": b"\xef\xbb\xbf" + json.dumps(ROWS, indent=2).encode(),
    "object.json": json.dumps({"data": ROWS}).encode(),
    "pretty object.json": json.dumps({"version": 1, "data": ROWS}, indent=1).encode(),
    "a.csv": FRAME.to_csv(index=False).encode(),
    "bom.csv": b"\xef\xbb\xbf" + FRAME.to_csv(index=False).encode(),
    "semicolons.csv": FRAME.to_csv(index=False, sep=";").encode(),
    "a.tsv": FRAME.to_csv(index=False, sep="\t").encode(),
    "a.csv.gz": FRAME.to_csv(index=False).encode(),
    "with.dots v1.5.CSV": FRAME.to_csv(index=False).encode(),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_file_gives_the_same_rows_as_the_frame(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    _write(file, GOOD[name])
    dataset = Dataset.read(file)
    assert dataset.sample(9) == ROWS
    assert dataset.fingerprint == Dataset.read(FRAME).fingerprint
    assert Dataset.read(str(file)).rows == 3


@pytest.mark.parametrize("compression", ["snappy", "zstd", "none"])
def test_parquet_is_read_whatever_else_is_in_it(compression: str, tmp_path: Path) -> None:
    table = pa.table({"id": [1, 2], "a.b": ["x", "y"], "messages": [TALK, TALK[::-1] + TALK[1:]], "n": [None, None]})
    pq.write_table(table, tmp_path / "a.parquet", compression=compression, row_group_size=1)
    dataset = Dataset.read(tmp_path / "a.parquet")
    assert dataset.sample(1) == [{"messages": TALK}]
    assert dataset.notes == ("left out: `id`, `a.b`, `n`",)


def test_what_pandas_writes_to_parquet_is_read(tmp_path: Path) -> None:
    frame = pd.DataFrame({"messages": [TALK] * 2}, index=["a", "b"])
    frame.to_parquet(tmp_path / "a.parquet")
    assert Dataset.read(tmp_path / "a.parquet").fingerprint == Dataset.read(frame).fingerprint
    assert Dataset.read(pd.read_parquet(tmp_path / "a.parquet")).fingerprint == Dataset.read(frame).fingerprint


def test_conversations_that_pandas_wrote_to_csv_are_read(tmp_path: Path) -> None:
    frame = pd.DataFrame({"messages": [TALK, TALK[:1] + TALK]})
    frame.to_csv(tmp_path / "a.csv")
    dataset = Dataset.read(tmp_path / "a.csv")
    assert dataset.fingerprint == Dataset.read(frame).fingerprint


def test_cells_of_a_csv_are_texts_as_they_stand(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("question,answer\nNA,007\nnull,1e5\n")
    assert Dataset.read(tmp_path / "a.csv").sample(2) == [
        {"prompt": "NA", "completion": "007"},
        {"prompt": "null", "completion": "1e5"},
    ]


def test_a_key_that_comes_late_or_is_missing_is_told_by_its_row(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n{"txt": "b"}\n')
    with pytest.raises(DatasetError, match=r"^text: 1 row holds nothing \(None or NaN\) \(row 1\)\."):
        Dataset.read(tmp_path / "a.jsonl")


BAD: dict[str, tuple[bytes | None, str]] = {
    "none.csv": (None, "{path}: there is no such file. Give the path of a csv, json, jsonl or parquet file."),
    "a.xlsx": (
        b"PK",
        'a.xlsx: files ending in ".xlsx" are not read. Use one of .parquet, .csv, .tsv, .jsonl, .ndjson, .json.',
    ),
    "a": (b"", 'a: files ending in "" are not read. Use one of .parquet, .csv, .tsv, .jsonl, .ndjson, .json.'),
    "lines.jsonl": (
        b'{"text": "a"}\n{"text": \n[1]\n{"text": "b"}\n',
        "lines.jsonl: 2 lines cannot be read (lines 2, 3); the first is not JSON: Expecting value: line 2 column 1 (char 10). Write one JSON object a line.",
    ),
    "latin.jsonl": (
        b'{"text": "a"}\n{"text": "\xe9"}\n',
        "latin.jsonl: 1 line cannot be read (line 2); the first is not JSON: 'utf-8' codec can't decode byte 0xe9 in position 10: invalid continuation byte. Write one JSON object a line.",
    ),
    "cut.json": (
        b'[{"text": "a"}, {"te',
        "cut.json: 1 line cannot be read (line 1); the first is not JSON: Unterminated string starting at: line 1 column 18 (char 17). Write one JSON object a line.",
    ),
    "columns.json": (
        b'{"text": {"0": "a", "1": "b"}}',
        'columns.json: 1 line cannot be read; the first is columns instead of rows, as to_json() writes them without orient="records". Write one JSON object a line.',
    ),
    "ragged.csv": (
        b"prompt,completion\na,b\nc\nd,e,f\ng,h\n",
        "ragged.csv: 2 lines cannot be read (lines 3, 4); the first is 1 cells where the header has 2. Give every line as many cells as the header has, with quotes around text that holds the separator.",
    ),
    "empty.jsonl": (b"", "data: it has no columns. Give rows with messages, with prompt and completion, or with text."),
    "header.csv": (b"text\n", "data: it has no rows. Give at least one."),
    "not.parquet": (
        b"PAR0 and so on",
        "not.parquet: cannot be read: {reason}. Is it whole, and what its ending says?",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_told_in_these_words(name: str, tmp_path: Path) -> None:
    content, message = BAD[name]
    if content is not None:
        _write(tmp_path / name, content)
    with pytest.raises(DatasetError) as caught:
        Dataset.read(tmp_path / name)
    told = {str(p) for p in caught.value.problems}
    before, _, after = message.replace("{path}", str(tmp_path / name)).partition("{reason}")
    assert any(t.startswith(before) and t.endswith(after) for t in told), told


def test_a_path_with_a_typo_gets_the_near_one(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text(LINES)
    with pytest.raises(DatasetError, match=r'there is no such file\. Did you mean "train\.jsonl"\?'):
        Dataset.read(tmp_path / "trian.jsonl")
    with pytest.raises(DatasetError, match="is a folder"):
        Dataset.read(tmp_path)


def test_latin_csv_is_refused_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"text\ncaf\xe9\n")
    with pytest.raises(DatasetError, match=r"cannot be read: .*UTF8"):
        Dataset.read(tmp_path / "a.csv")


def test_bad_lines_and_bad_rows_are_told_together(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\nnonsense\n{"text": ""}\n')
    with pytest.raises(DatasetError) as caught:
        Dataset.read(tmp_path / "a.jsonl")
    assert [p.path for p in caught.value.problems] == ["a.jsonl", "text"]


def test_a_file_that_changed_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(LINES)
    dataset = Dataset.read(tmp_path / "a.jsonl", name="a.jsonl")
    (tmp_path / "a.jsonl").write_text(LINES + LINES.replace("Say", "Tell"))
    with pytest.raises(DatasetError, match="it has changed since it was read"):
        dataset.write(tmp_path / "train.parquet")


def test_many_lines_are_read_in_chunks(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"text": f"row {i}"} for i in range(5000)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    dataset = Dataset.read(tmp_path / "a.jsonl")
    assert dataset.sample(5000) == rows
