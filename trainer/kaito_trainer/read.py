"""Data files → rows, whatever their format: all files, found and read in the order of their names.

The stock trainer takes the first file that the directory lists, and guesses its format from any part of its name (field
note K8). Here a file's format is what its extension says, or, without one, how it begins.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from .contract.problems import listing
from .failures import Failure

Row = dict[str, Any]
BATCH: Final = 1000
"""Rows that are Python objects at once, where the format allows it."""
EXTENSIONS: Final = {
    "csv": "csv",
    "json": "json",
    "jsonl": "json",
    "ndjson": "json",
    "parquet": "parquet",
    "arrow": "arrow",
    "feather": "arrow",
}
REMEDY: Final = f"Give CSV, JSON (or JSON lines), Parquet or Arrow: {listing('.' + e for e in EXTENSIONS)}."


def find(place: Path, extension: str | None = None) -> list[Path]:
    """All data files at a path. Raises `Failure` of kind `dataset` when there is none."""
    try:
        return _find(place, extension)
    except OSError as error:
        remedy = "Check that the volume with the data is mounted, and that the trainer's user may read it."
        raise Failure("dataset", f"{place}: it cannot be read: {error}", remedy) from error


def _find(place: Path, extension: str | None) -> list[Path]:
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise Failure("dataset", f"{place}: there is no such file or folder.", "Check DatasetConfig.dataset_path.")
    # A mounted ConfigMap or Secret keeps its content a second time in folders that begin with two dots.
    files = sorted(
        file
        for file in place.rglob("*")
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(place).parts)
    )
    known = [f for f in files if extension or _format(f) is not None]
    if not known:
        there = f" It holds {listing([f.name for f in files[:5]], 'and')}." if files else " It is empty."
        raise Failure("dataset", f"{place}: there is no data file in it.{there}", REMEDY)
    return known


def rows(file: Path, extension: str | None = None) -> Iterator[Row]:
    """A file's rows. Raises `Failure` of kind `dataset` when it cannot be read."""
    format = EXTENSIONS.get(extension) if extension else _format(file)
    if format is None:
        what = f'the format "{extension}"' if extension else "its format"
        raise Failure("dataset", f"{file.name}: {what} is not known.", REMEDY)
    try:
        yield from READERS[format](file)
    except (OSError, ValueError, TypeError, KeyError, NotImplementedError, csv.Error) as error:  # pyarrow's too
        reason = " ".join(str(error).split())[:300]
        remedy = "Write the file again, or check that it was transferred whole."
        raise Failure("dataset", f"{file.name}: it cannot be read as {format}: {reason}", remedy) from error


def _format(file: Path) -> str | None:
    """The format by the name's end (`train.json?token=…` and `train.JSON` too), else by the first bytes."""
    suffix = Path(file.name.partition("?")[0]).suffix[1:].lower()
    if suffix:
        return EXTENSIONS.get(suffix)
    with file.open("rb") as handle:
        head = handle.read(64).lstrip()
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"ARROW1"):
        return "arrow"
    return "json" if head[:1] in (b"{", b"[") else None


def _parquet(file: Path) -> Iterator[Row]:
    from pyarrow import parquet

    with parquet.ParquetFile(file) as source:
        for batch in source.iter_batches(batch_size=BATCH):
            yield from batch.to_pylist()


def _arrow(file: Path) -> Iterator[Row]:
    import pyarrow

    with pyarrow.memory_map(str(file)) as source:
        try:
            table = pyarrow.ipc.open_file(source).read_all()
        except pyarrow.ArrowInvalid:  # what Hugging Face's `datasets` writes is a stream
            source.seek(0)
            table = pyarrow.ipc.open_stream(source).read_all()
        for batch in table.to_batches(max_chunksize=BATCH):
            yield from batch.to_pylist()


def _json(file: Path) -> Iterator[Row]:
    """One array of objects, or one object a line."""
    with file.open(encoding="utf-8-sig") as handle:
        first = next((line for line in handle if line.strip()), "")
        handle.seek(0)
        if first.lstrip().startswith("["):
            yield from (_object(value, f"element {i}") for i, value in enumerate(json.load(handle)))
            return
        for number, line in enumerate(handle, 1):
            if line.strip():
                try:
                    yield _object(json.loads(line), f"line {number}")
                except json.JSONDecodeError as error:
                    raise ValueError(f"line {number}: {error}") from error


def _object(value: Any, where: str) -> Row:
    if not isinstance(value, dict):
        raise ValueError(f"{where} is no object")
    return value


def _csv(file: Path) -> Iterator[Row]:
    """All cells as text: a column of numbers is a text column here."""
    csv.field_size_limit(1 << 30)
    with file.open(encoding="utf-8-sig", newline="") as handle:
        yield from csv.DictReader(handle, strict=True)


READERS: Final[dict[str, Callable[[Path], Iterator[Row]]]] = {
    "parquet": _parquet,
    "arrow": _arrow,
    "json": _json,
    "csv": _csv,
}

__all__ = ["find", "rows"]
