"""A long log at once: stretches of `log` event lines parsed to columns by Arrow, several times as fast as line by line.

It is a shortcut only: whatever is odd about a stretch (a cut line, a number given as text, a step told twice) sends it
back to the one road that knows all oddities.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from itertools import islice
from operator import lt
from typing import TYPE_CHECKING, Any, Final, Literal

from .order import LATEST_TIME
from .series import LARGEST, NAN

if TYPE_CHECKING:
    import pyarrow as pa

LOG_MARK: Final = '{"kaito_event":1,"type":"log",'
"""How the contract's `encode` begins a log event."""
HISTORY_MARK: Final = '{"kaito_event":1,"type":"history","seq":'
WORTH_IT: Final = 150
"""Lines from which on Arrow is faster, its own overhead paid."""
CHUNK: Final = 20_000
"""The most lines at a time; about 5 MB of text."""
BLOCK: Final = 1 << 17
"""Bytes that one thread parses at a time."""
_ENVELOPE: Final = ("kaito_event", "type", "seq", "global_step")
_FLOATS: Final = ("time", "loss", "learning_rate", "grad_norm", "epoch", "num_tokens", "tokens_per_second",
                  "mean_token_accuracy", "device_memory_bytes")  # fmt: skip


def stretches(lines: Iterable[str]) -> Iterator[str | list[str]]:
    """The same lines in order; log events that follow on each other as lists, if it is worth it.

    `history` events may stand among them: they say nothing about rows that are there.
    """
    held: list[str] = []
    for line in lines:
        if line.startswith((LOG_MARK, HISTORY_MARK)):
            held.append(line)
            if len(held) < CHUNK:
                continue
            yield held
        else:
            yield from _worth_it(held)
            yield line
        held = []
    yield from _worth_it(held)


def _worth_it(lines: list[str]) -> Iterable[str | list[str]]:
    return lines if len(lines) < WORTH_IT else (lines,)


def number_of(history: str) -> int | None:
    """The `seq` of a `history` event's line, without parsing the whole of it."""
    digits = history[len(HISTORY_MARK) : len(HISTORY_MARK) + 20].split(",", 1)[0]
    return int(digits) if digits.isdecimal() and digits.isascii() else None


def read(lines: list[str]) -> tuple[dict[str, array[float]], array[int], float] | None:
    """The columns of log events (NaN where missing), their `seq`, and the newest time.

    None unless each line is a whole event of the expected types, and `seq` and `global_step` rise with each.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import json

    schema = pa.schema([("seq", pa.int64()), ("global_step", pa.int64()), *((name, pa.float64()) for name in _FLOATS)])
    options = json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="infer")
    text = "\n".join(lines).encode("utf-8", "replace")
    if b"Infinity" in text:
        return None
    try:
        table = json.read_json(pa.BufferReader(text), json.ReadOptions(block_size=BLOCK), options)
    except pa.ArrowException:
        return None
    if table.num_rows != len(lines) or table["seq"].null_count or table["global_step"].null_count:
        return None
    seq, steps = _array("q", table["seq"]), _array("q", table["global_step"])
    times = pc.min_max(table["time"]).as_py()
    if seq[0] < 0 or seq[-1] >= LARGEST or not _rises(seq):
        return None
    if steps[0] < 0 or steps[-1] >= LARGEST or not _rises(steps):
        return None
    if times["min"] is not None and not (times["min"] > 0 and times["max"] < LATEST_TIME):
        return None
    columns = {"global_step": array("d", steps)}
    for name in table.column_names:
        column, kind = table[name], table[name].type
        if name in _ENVELOPE:
            continue
        if pa.types.is_string(kind):
            return None  # perhaps the text of a number
        if pa.types.is_floating(kind) or pa.types.is_integer(kind):
            columns[name] = _array("d", pc.fill_null(column.cast(pa.float64()), NAN))
    return columns, seq, times["max"] or 0.0


def _rises(values: array[int]) -> bool:
    return all(map(lt, values, islice(values, 1, None)))


def _array(code: Literal["d", "q"], column: pa.ChunkedArray) -> array[Any]:
    """The values of a column without nulls of 8-byte numbers."""
    values = array(code)
    for chunk in column.chunks:
        begin = 8 * chunk.offset
        values.frombytes(memoryview(chunk.buffers()[1])[begin : begin + 8 * len(chunk)])
    return values
