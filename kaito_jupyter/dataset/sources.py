"""Where rows come from: one small interface over frames, tables and hub datasets, that yields columns in chunks.

Nothing here knows what a column means. A source keeps a reference to the user's data and copies nothing but the chunk in
hand. Files are in `files`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from kaito_trainer.contract import Problem

from ..errors import DatasetError

if TYPE_CHECKING:
    import pandas as pd

Values = Any
"""A chunk of one column: a `pyarrow.Array`, or a list or object array of Python values."""

Chunk = tuple[int, list[Values]]
"""Position of the first row, and the asked columns' values."""

PEEK: Final = 100
"""Rows that are looked at to find out what a column holds."""

_TARGET: Final = 8 << 20
"""Bytes of text in a chunk, about: small beside any machine, large beside the cost of a chunk."""

KINDS: Final = (
    "a pandas DataFrame, a pyarrow Table, a Hugging Face Dataset, or the path of a csv, json, jsonl or parquet file"
)


class Pace:
    """How many rows the next chunk takes, learnt from the chunks before it, so that long texts don't fill the memory."""

    def __init__(self) -> None:
        self.rows = 1024

    def saw(self, rows: int, nbytes: int) -> None:
        """Tell how large a chunk came out."""
        if rows:
            fitting = _TARGET * rows // max(nbytes, 1)
            self.rows = max(1, min(fitting, self.rows * 4, 1 << 16))


class Source(Protocol):
    """Rows that can be gone through more than once."""

    columns: tuple[str, ...]
    """All names as text, in order; a name may come twice."""

    frame: bool
    """Whether a remedy may speak pandas."""

    def peek(self) -> list[list[Any]]:
        """The first rows' values, a list a column."""
        ...

    def chunks(self, wanted: Sequence[int], pace: Pace) -> Iterator[Chunk]:
        """All rows in order; `wanted` are positions in `columns`."""
        ...

    def label(self, position: int) -> str:
        """How the user's index calls a row, when it is not simply its position; else empty."""
        ...

    def problems(self) -> list[Problem]:
        """What could not be read at all, known after a full pass."""
        ...


class _Sliced:
    """What frames, tables and hub datasets share: a known number of rows, and any slice of them."""

    columns: tuple[str, ...]
    frame = False
    rows: int

    def _slice(self, wanted: Sequence[int], low: int, high: int) -> list[Values]:
        raise NotImplementedError

    def peek(self) -> list[list[Any]]:
        parts = self._slice(range(len(self.columns)), 0, min(PEEK, self.rows))
        return [python_values(part) for part in parts]

    def chunks(self, wanted: Sequence[int], pace: Pace) -> Iterator[Chunk]:
        low = 0
        while low < self.rows:
            high = min(self.rows, low + pace.rows)
            yield low, self._slice(wanted, low, high)
            low = high

    def label(self, position: int) -> str:
        return ""

    def problems(self) -> list[Problem]:
        return []


class FrameSource(_Sliced):
    """A pandas DataFrame."""

    frame = True

    def __init__(self, frame: pd.DataFrame) -> None:
        # Shallow: shares the values. Where pandas copies on write, later changes to the user's frame stay out of it.
        self._frame = frame.copy(deep=False)
        self.columns = tuple(map(str, frame.columns))
        self.rows = len(frame)

    def _slice(self, wanted: Sequence[int], low: int, high: int) -> list[Values]:
        return [series_values(self._frame.iloc[low:high, i]) for i in wanted]

    def label(self, position: int) -> str:
        import pandas as pd

        index = self._frame.index
        plain = isinstance(index, pd.RangeIndex) and index.start == 0 and index.step == 1
        return "" if plain else shortened(repr(index[position : position + 1].tolist()[0]))


class TableSource(_Sliced):
    """A pyarrow Table, or whatever gives one (`__arrow_c_stream__`: polars, duckdb, …)."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self.columns = tuple(table.column_names)
        self.rows = table.num_rows

    def _slice(self, wanted: Sequence[int], low: int, high: int) -> list[Values]:
        return [flat(self._table.column(i).slice(low, high - low)) for i in wanted]


class HubSource(_Sliced):
    """A Hugging Face `Dataset`, by its methods: the package `datasets` is not needed here."""

    def __init__(self, dataset: Any) -> None:
        # Not `.data.table`: that one forgets `select` and `shuffle`.
        self._dataset = dataset.with_format("arrow")
        self.columns = tuple(dataset.column_names)
        self.rows = int(dataset.num_rows)

    def _slice(self, wanted: Sequence[int], low: int, high: int) -> list[Values]:
        table = self._dataset[low:high]
        return [flat(table.column(self.columns[i])) for i in wanted]


class RecordSource:
    """Rows as dicts, from a function that begins anew each time. Columns are the keys of the first rows."""

    frame = False

    def __init__(self, records: Callable[[], Iterable[dict[str, Any]]], problems: Callable[[], list[Problem]]) -> None:
        self._records = records
        self._problems = problems
        self._first = [r for r, _ in zip(records(), range(PEEK), strict=False)]
        self.columns = tuple(dict.fromkeys(str(k) for r in self._first for k in r))

    def peek(self) -> list[list[Any]]:
        return [[r.get(c) for r in self._first] for c in self.columns]

    def chunks(self, wanted: Sequence[int], pace: Pace) -> Iterator[Chunk]:
        names, start = [self.columns[i] for i in wanted], 0
        rows: list[dict[str, Any]] = []
        for record in self._records():
            rows.append(record)
            if len(rows) >= pace.rows:
                yield start, [[r.get(n) for r in rows] for n in names]
                start += len(rows)
                rows = []
        if rows:
            yield start, [[r.get(n) for r in rows] for n in names]

    def label(self, position: int) -> str:
        return ""

    def problems(self) -> list[Problem]:
        return self._problems()


def open_source(data: Any, name: str) -> Source:
    """The source for what the user gave. Raises `DatasetError` when it is nothing that we can read."""
    import pandas as pd

    from .files import open_file

    if isinstance(data, pd.DataFrame):
        return FrameSource(data)
    if isinstance(data, pd.Series):
        raise refused(name, "a Series is one column alone.", f"Give a frame: {name}.to_frame().")
    if isinstance(data, pa.Table):
        return TableSource(data)
    if isinstance(data, pa.RecordBatch):
        return TableSource(pa.Table.from_batches([data]))
    if isinstance(data, str) or hasattr(data, "__fspath__"):
        return open_file(data)
    if isinstance(data, dict) and data and all(hasattr(v, "with_format") for v in data.values()):
        first = next(iter(data))
        raise refused(
            name, f"a DatasetDict holds several splits ({', '.join(map(str, data))}).", f"Give one: {name}[{first!r}]."
        )
    if all(hasattr(data, a) for a in ("with_format", "column_names", "num_rows")):
        return HubSource(data)
    if hasattr(data, "__arrow_c_stream__"):
        return TableSource(pa.table(data))
    if isinstance(data, list) and data and all(isinstance(r, dict) for r in data):
        rows = [{str(k): v for k, v in r.items()} for r in data]
        return RecordSource(lambda: rows, list)
    raise refused(name, f"{type(data).__name__} is nothing that we can read.", f"Give {KINDS}.")


def refused(path: str, message: str, remedy: str) -> DatasetError:
    """One problem with the data as a whole, as the error to raise."""
    return DatasetError([Problem(path, message, remedy)])


def series_values(series: pd.Series[Any]) -> Values:
    """A part of a pandas column: Arrow where pandas or pyarrow can say what it is, else Python values."""
    if series.dtype == object:
        return series.to_numpy()
    try:
        return flat(pa.array(series, from_pandas=True))
    except (pa.ArrowException, ValueError, TypeError, NotImplementedError, OverflowError):
        return series.tolist()


def flat(array: Any) -> pa.Array:
    """One plain array: chunks joined, dictionaries, run lengths and extension types undone."""
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks == 1 else array.combine_chunks()
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if isinstance(array, pa.DictionaryArray):
        return array.dictionary_decode()
    if pa.types.is_run_end_encoded(array.type):
        return pc.run_end_decode(array)
    return array


def python_values(values: Values) -> list[Any]:
    """The same values as Python objects."""
    if isinstance(values, pa.Array):
        try:
            return list(values.to_pylist())
        except (ValueError, OverflowError):
            # Bytes that are no UTF-8 in a text column, times out of Python's range: told by the checks, one by one.
            return [_value(v) for v in values]
    return list(values)


def _value(scalar: Any) -> Any:
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        return bytes(scalar.as_buffer()) if hasattr(scalar, "as_buffer") else scalar
    except (ValueError, OverflowError):
        return scalar


def shortened(text: str, width: int = 40) -> str:
    """At most `width` characters, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[: width - 1]}…"
