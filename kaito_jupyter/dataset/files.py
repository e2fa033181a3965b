"""Files of rows: parquet, csv, JSON lines and JSON, read in chunks, again for each pass.

A line that cannot be read is told by its number, together with all others, not by the first parser that stumbles.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from kaito_trainer.contract import Problem
from kaito_trainer.contract.problems import close_match

from .sources import PEEK, Chunk, Pace, RecordSource, Source, flat, python_values, refused

READERS: Final = (".parquet", ".csv", ".tsv", ".jsonl", ".ndjson", ".json")
PACKED: Final = (".gz", ".bz2", ".zst")
_BLOCK: Final = 16 << 20
"""Bytes of csv parsed at once; one row may not be longer."""
_SHOWN: Final = 5


def open_file(data: Any) -> Source:
    """The source for a path, by its ending. Raises `DatasetError` when there is no such file or it cannot be read."""
    path = Path(os.fspath(data)).expanduser()
    ending = _ending(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "there is no such file"
        beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        near = close_match(path.name, [n for n in beside if _ending(Path(n)) in READERS])
        raise refused(str(path), f"{what}.", near or "Give the path of a csv, json, jsonl or parquet file.")
    if ending not in READERS:
        raise refused(path.name, f'files ending in "{path.suffix}" are not read.', f"Use one of {', '.join(READERS)}.")
    try:
        if ending == ".parquet":
            return ParquetSource(path)
        if ending in (".csv", ".tsv"):
            return CsvSource(path)
        lines = JsonLines(path)
        return RecordSource(lines.records, lines.problems)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise refused(
            path.name, f"cannot be read: {_reason(error)}.", "Is it whole, and what its ending says?"
        ) from error


class ParquetSource:
    """A parquet file, batch by batch."""

    frame = False

    def __init__(self, path: Path) -> None:
        self._path = path
        with pq.ParquetFile(path) as file:
            self.columns: tuple[str, ...] = tuple(file.schema_arrow.names)
            self._size = sum(file.metadata.row_group(i).total_byte_size for i in range(file.num_row_groups))
            self._rows = file.metadata.num_rows

    def peek(self) -> list[list[Any]]:
        with pq.ParquetFile(self._path) as file:
            batch = next(file.iter_batches(PEEK, use_threads=False), None)
        return [python_values(flat(c)) for c in batch.columns] if batch else [[] for _ in self.columns]

    def chunks(self, wanted: Sequence[int], pace: Pace) -> Iterator[Chunk]:
        pace.rows = 1 << 16
        pace.saw(self._rows, self._size)
        start, names = 0, [self.columns[i] for i in wanted]
        with pq.ParquetFile(self._path, pre_buffer=False) as file:
            for batch in file.iter_batches(pace.rows, columns=names, use_threads=False):
                yield start, [flat(batch.column(n)) for n in names]
                start += batch.num_rows

    def label(self, position: int) -> str:
        return ""

    def problems(self) -> list[Problem]:
        return []


class _BadLine(NamedTuple):
    number: int | None
    why: str


class CsvSource:
    """A csv file. Every cell is text: "1e5" and "NA" stay what they are; an empty cell is an empty text."""

    frame = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self._bad: list[_BadLine] = []
        with pa.input_stream(str(path), compression="detect") as stream:
            head = stream.read(1 << 16).decode("utf-8-sig", errors="replace").splitlines()
        header = head[0] if head else ""
        self._delimiter = "\t" if _ending(path) == ".tsv" else max(",;\t", key=header.count)
        with self._reader(None) as reader:
            self.columns: tuple[str, ...] = tuple(reader.schema.names)

    def peek(self) -> list[list[Any]]:
        with self._reader(self.columns) as reader:
            for batch in reader:
                return [c.slice(0, PEEK).to_pylist() for c in batch.columns]
        return [[] for _ in self.columns]

    def chunks(self, wanted: Sequence[int], pace: Pace) -> Iterator[Chunk]:
        start = 0
        with self._reader(self.columns) as reader:
            for batch in reader:
                yield start, [batch.column(i) for i in wanted]
                start += batch.num_rows

    def label(self, position: int) -> str:
        return ""

    def problems(self) -> list[Problem]:
        return _told(
            self._path,
            self._bad,
            "Give every line as many cells as the header has, with quotes around text that holds the separator.",
        )

    def _reader(self, names: Sequence[str] | None) -> Any:
        self._bad.clear()

        def skip(row: Any) -> str:
            cells = f"{row.actual_columns} cells where the header has {row.expected_columns}"
            self._bad.append(_BadLine(row.number, cells))
            return "skip"

        types = {name: pa.string() for name in names or ()}
        return pa.csv.open_csv(
            pa.input_stream(str(self._path), compression="detect"),
            read_options=pa.csv.ReadOptions(block_size=_BLOCK, use_threads=False),
            parse_options=pa.csv.ParseOptions(
                delimiter=self._delimiter, newlines_in_values=True, invalid_row_handler=skip
            ),
            convert_options=pa.csv.ConvertOptions(column_types=types, strings_can_be_null=False, null_values=[]),
        )


class JsonLines:
    """JSON lines; or one JSON value that holds a list of objects, which has to be parsed whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._bad: list[_BadLine] = []

    def records(self) -> Iterator[dict[str, Any]]:
        """All objects from the start. Lines that are none are kept for `problems`."""
        self._bad.clear()
        with self._open() as file:
            first = next((line for line in file if line.strip()), b"")
        if _opens_a_value(first):
            yield from self._whole()
            return
        with self._open() as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    value = json.loads(line)
                except (ValueError, RecursionError) as error:
                    self._bad.append(_BadLine(number, f"not JSON: {_reason(error)}"))
                    continue
                if isinstance(value, dict):
                    yield value
                else:
                    self._bad.append(_BadLine(number, f"{type(value).__name__} instead of an object"))

    def problems(self) -> list[Problem]:
        return _told(self._path, self._bad, "Write one JSON object a line.")

    def _whole(self) -> Iterator[dict[str, Any]]:
        with self._open() as file:
            try:
                value = json.loads(file.read())
            except (ValueError, RecursionError) as error:
                self._bad.append(_BadLine(getattr(error, "lineno", None), f"not JSON: {_reason(error)}"))
                return
        if _by_columns(value):
            self._bad.append(
                _BadLine(None, 'columns instead of rows, as to_json() writes them without orient="records"')
            )
            return
        rows = value if isinstance(value, list) else _rows_within(value)
        for row in rows:
            if isinstance(row, dict):
                yield row
            else:
                self._bad.append(_BadLine(None, f"{type(row).__name__} instead of an object"))

    def _open(self) -> io.BufferedReader:
        return io.BufferedReader(pa.input_stream(str(self._path), compression="detect"))


def _opens_a_value(line: bytes) -> bool:
    """Whether a file that begins with this line is one JSON value rather than JSON lines."""
    text = line.removeprefix(b"\xef\xbb\xbf").strip()
    if text.startswith(b"["):
        return True
    try:
        value = json.loads(text or b"{}")
    except (ValueError, RecursionError):
        return text.endswith((b"{", b"[", b","))
    lists = isinstance(value, dict) and value and all(isinstance(v, list) and _objects(v) for v in value.values())
    return bool(lists) or _by_columns(value)


def _by_columns(value: Any) -> bool:
    """`{"text": {"0": "a", "1": "b"}}`, which is what pandas' `to_json` writes unless told otherwise."""
    columns = value.values() if isinstance(value, dict) else ()
    return bool(columns) and all(isinstance(c, dict) and c and all(map(str.isdigit, c)) for c in columns)


def _rows_within(value: Any) -> list[Any]:
    """`{"data": [{…}, …]}`: the one list of objects in an object; else the object as the only row."""
    lists = [v for v in value.values() if isinstance(v, list) and _objects(v)] if isinstance(value, Mapping) else []
    return lists[0] if len(lists) == 1 else [value]


def _objects(values: list[Any]) -> bool:
    return bool(values) and all(isinstance(v, dict) and not {"role", "from"} & v.keys() for v in values)


def _told(path: Path, bad: Sequence[_BadLine], remedy: str) -> list[Problem]:
    if not bad:
        return []
    numbers = [str(b.number) for b in bad[:_SHOWN] if b.number]
    where = (
        f" (line{'s' if len(numbers) > 1 else ''} {', '.join(numbers)}{', …' if len(bad) > _SHOWN else ''})"
        if numbers
        else ""
    )
    count = "1 line" if len(bad) == 1 else f"{len(bad)} lines"
    return [Problem(path.name, f"{count} cannot be read{where}; the first is {bad[0].why}.", remedy)]


def _ending(path: Path) -> str:
    suffixes = [s.lower() for s in path.suffixes if s.lower() not in PACKED]
    return suffixes[-1] if suffixes else ""


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split()).rstrip(".")
