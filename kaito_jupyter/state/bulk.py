"""A long log at once: stretches of `log` event lines parsed by the column, several times as fast as line by line.

Lines that one writer wrote differ in their numbers only. If that is so (the text without the characters of numbers is
the first line's, again and again), colons and commas part it into cells, and Arrow reads it as a table. It is a shortcut
only: whatever is odd about a stretch (a cut line, a text, another key) sends it back to the road that knows all oddities.
"""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from .order import LATEST_TIME
from .series import LARGEST

LOG_MARK: Final = '{"kaito_event":1,"type":"log","seq":'
"""How the contract's `encode` begins a log event."""
HISTORY_MARK: Final = '{"kaito_event":1,"type":"history","seq":'
_MAY_WAIT: Final = (
    HISTORY_MARK,
    *(f'{{"kaito_event":1,"type":"{kind}","seq":' for kind in ("evaluate", "generate", "save")),
)
"""Events that may be taken after the logs around them: they change nothing of what logs change."""
WORTH_IT: Final = 100
"""Lines from which on Arrow is faster, its own overhead paid."""
CHUNK: Final = 20_000
"""The most lines at a time; about 5 MB of text."""
BLOCK: Final = 1 << 20
"""Bytes that one thread parses at a time."""
_NUMBERS: Final = b"0123456789.+-eE"
_CELLS: Final = bytes.maketrans(b":}", b",,")
_NAME: Final = re.compile(r"[A-Za-z_]\w{0,80}", re.ASCII)


class Logs(NamedTuple):
    """Log events by the column."""

    columns: dict[str, array[float]]
    """Without those that are null throughout."""
    seqs: array[int]
    newest: float
    """The latest of their times."""


class Stretch(NamedTuple):
    """Lines that follow on each other: `log` events, and others that may wait until those are taken."""

    lines: list[str]
    logs: list[str]
    """Those that are `log` events."""

    def others(self) -> Iterator[str]:
        return (line for line in self.lines if not line.startswith(LOG_MARK))

    def halves(self) -> tuple[Stretch, Stretch]:
        half = len(self.lines) // 2
        parts = self.lines[:half], self.lines[half:]
        first, second = (Stretch(part, [line for line in part if line.startswith(LOG_MARK)]) for part in parts)
        return first, second


def stretches(lines: Iterable[str]) -> Iterator[str | Stretch]:
    """The same lines in order; log events that follow on each other together, if it is worth it."""
    held: list[str] = []
    logs: list[str] = []
    for line in lines:
        if line.startswith(LOG_MARK):
            logs.append(line)
            held.append(line)
            if len(held) < CHUNK:
                continue
            yield Stretch(held, logs)
        elif line.startswith(_MAY_WAIT):
            held.append(line)
            continue
        else:
            yield from _worth_it(held, logs)
            yield line
        held, logs = [], []
    yield from _worth_it(held, logs)


def _worth_it(lines: list[str], logs: list[str]) -> Iterable[str | Stretch]:
    return lines if len(logs) < WORTH_IT else (Stretch(lines, logs),)


def number_of(line: str) -> int | None:
    """The `seq` of a `history` event, without parsing all of it; None for other lines."""
    if not line.startswith(HISTORY_MARK):
        return None
    digits = line[len(HISTORY_MARK) : len(HISTORY_MARK) + 20].split(",", 1)[0]
    return int(digits) if digits.isdecimal() and digits.isascii() else None


def read(lines: list[str]) -> Logs | None:
    """Lines that begin with `LOG_MARK`, as columns.

    None unless all have the first one's keys and plain numbers, and `seq` and `global_step` rise from each to the next.
    """
    named = _columns(lines[0])
    if named is None or _columns(lines[-1]) != named:
        return None
    text = "\n".join(lines).encode("utf-8", "replace")
    first = text.partition(b"\n")[0].translate(None, _NUMBERS)
    if text.translate(None, _NUMBERS) != b"\n".join([first] * len(lines)):
        return None

    import numpy as np
    import pyarrow as pa
    from pyarrow import csv

    wanted = {name: pa.int64() if name in ("seq", "global_step") else pa.float64() for name in named if name}
    try:
        table = csv.read_csv(
            pa.BufferReader(text.translate(_CELLS)),
            csv.ReadOptions(
                use_threads=len(text) > 2 * BLOCK,
                block_size=BLOCK if len(text) > 2 * BLOCK else len(text) + len(lines),
                column_names=[name or f"{i}:" for i, name in enumerate(named)],
            ),
            csv.ParseOptions(quote_char=False),
            csv.ConvertOptions(check_utf8=False, null_values=[], include_columns=list(wanted), column_types=wanted),
        )
    except pa.ArrowException:
        return None
    if table.num_rows != len(lines):
        return None
    values = {
        name: np.concatenate(
            [np.frombuffer(c.buffers()[1], kind.to_pandas_dtype(), len(c), 8 * c.offset) for c in table[name].chunks]
        )
        for name, kind in wanted.items()
    }
    seqs, steps, times = values.pop("seq"), values.pop("global_step"), values["time"]
    if not all((np.diff(a) > 0).all() and a[0] >= 0 and a[-1] < LARGEST for a in (seqs, steps)):
        return None
    if not (times.min() > 0 and times.max() < LATEST_TIME and all(np.isfinite(v).all() for v in values.values())):
        return None
    columns = {name: array("d", v.tobytes()) for name, v in ({"global_step": steps.astype("d")} | values).items()}
    return Logs(columns, array("q", seqs.tobytes()), float(times.max()))


def _columns(line: str) -> list[str] | None:
    """What each cell of the line is, once colons part it as commas do: a name for a number, nothing for all else."""
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        return None
    cells: list[str] = []
    for name, value in data.items():
        if not _NAME.fullmatch(name) or not (value is None or type(value) in (int, float) or name == "type"):
            return None
        cells += ["", name if type(value) in (int, float) and name != "kaito_event" else ""]
    return [*cells, ""] if {"seq", "time", "global_step"} <= set(cells) else None
