"""A chunk of rows in the format that KAITO trains on, with its defects: Arrow arrays all the way, no row by row work.

Rows with a defect leave something harmless in the arrays (an empty text, no turns): a dataset with errors is never
measured or written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .conversations import Turns, turns
from .findings import Defect
from .measure import Digest, slice_hashes, text_buffers
from .shapes import ROLES, Shape
from .sources import Values
from .texts import blank, texts

if TYPE_CHECKING:
    from .measure import Integers

TURN: Final = pa.struct([("role", pa.string()), ("content", pa.string())])
SCHEMAS: Final = {
    "conversational": pa.schema([("messages", pa.list_(TURN))]),
    "instruction": pa.schema([("prompt", pa.string()), ("completion", pa.string())]),
    "text": pa.schema([("text", pa.string())]),
}
"""Columns of `train.parquet` by format, by KAITO's names."""

DICTIONARIES: Final = {"conversational": ["messages.list.element.role"]}
"""Columns with few different values. Looking for repeated texts in the others only costs time; zstd finds them too."""

_SPACE: Final = ord(" ")
"""Bytes up to this one are ASCII's white space (and control characters)."""

_ODD: Final = np.uint64(0x9E3779B97F4A7C15)
"""2^64 divided by the golden ratio: multiplying by it spreads small numbers over 64 bits."""


class Batch(Protocol):
    """One chunk."""

    rows: int
    nbytes: int
    extra: set[str]
    """Keys of turns that are left out."""

    def defects(self) -> list[tuple[int, Defect]]: ...
    def glued(self) -> int: ...
    def arrow(self) -> pa.RecordBatch: ...
    def feed(self, digest: Digest) -> None: ...
    def characters(self) -> Integers: ...
    def hashes(self) -> Integers: ...


def batch(shape: Shape, values: Sequence[Values]) -> Batch:
    """Read a chunk of the shape's columns."""
    if shape.format == "conversational":
        return TurnBatch(turns(values[0], shape.keys))
    return TextBatch(shape, values)


class TextBatch:
    """Instruction or plain text: one or two columns of text."""

    def __init__(self, shape: Shape, values: Sequence[Values]) -> None:
        read = [texts(v, optional=i == 2) for i, v in enumerate(values)]
        self._defects = [(i, d) for i, (_, found) in enumerate(read) for d in found]
        self.extra: set[str] = set()
        arrays = [array for array, _ in read]
        if len(arrays) == 3:
            arrays = [_joined(arrays[0], arrays[2]), arrays[1]]
        self._arrays = arrays
        self._schema = SCHEMAS[shape.format]
        self.rows = len(arrays[0])
        self.nbytes = sum(a.nbytes for a in arrays)

    def defects(self) -> list[tuple[int, Defect]]:
        """Which of the shape's columns, and what."""
        return self._defects

    def glued(self) -> int:
        """Rows whose prompt and completion meet without white space between."""
        if len(self._arrays) < 2:
            return 0
        (before, ends), (after, begins) = map(text_buffers, self._arrays)
        both = (ends[1:] > ends[:-1]) & (begins[1:] > begins[:-1])
        last = np.frombuffer(before, np.uint8)[ends[1:][both] - 1]
        first = np.frombuffer(after, np.uint8)[begins[:-1][both]]
        return int(np.count_nonzero((last > _SPACE) & (first > _SPACE)))

    def arrow(self) -> pa.RecordBatch:
        """The rows, as they are written."""
        return pa.record_batch(self._arrays, schema=self._schema)

    def feed(self, digest: Digest) -> None:
        """Add the rows to the fingerprint."""
        digest.rows += self.rows
        for name, array in zip(self._schema.names, self._arrays, strict=True):
            digest.texts(name, array)

    def characters(self) -> Integers:
        """Length of each row."""
        total: Integers = np.add.reduce([pc.utf8_length(a).to_numpy() for a in self._arrays], dtype=np.int64)
        return total

    def hashes(self) -> Integers:
        """A hash of each row's content."""
        whole = np.zeros(self.rows, np.uint64)
        for array in self._arrays:
            whole = whole * _ODD + slice_hashes(*text_buffers(array))
        return whole


@dataclass
class TurnBatch:
    """Conversations: turns one after the other, and how many each row has."""

    _turns: Turns

    def __post_init__(self) -> None:
        self.rows = len(self._turns.counts)
        self.nbytes = self._turns.contents.nbytes + len(self._turns.codes)
        self.extra = self._turns.extra

    def defects(self) -> list[tuple[int, Defect]]:
        """Which of the shape's columns (the only one), and what."""
        return [(0, d) for d in (*self._turns.defects, *_conversation_defects(self._turns))]

    def glued(self) -> int:
        """None: turns are kept apart by the chat template."""
        return 0

    def arrow(self) -> pa.RecordBatch:
        """The rows, as they are written."""
        roles = pc.take(pa.array(ROLES, pa.string()), pa.array(self._turns.codes))
        struct = pa.StructArray.from_arrays([roles, self._turns.contents], fields=list(TURN))
        lists = pa.ListArray.from_arrays(pa.array(self._turns.offsets().astype(np.int32)), struct)
        return pa.record_batch([lists], schema=SCHEMAS["conversational"])

    def feed(self, digest: Digest) -> None:
        """Add the rows to the fingerprint."""
        digest.rows += self.rows
        digest.numbers("messages.turns", self._turns.counts)
        digest.numbers("messages.role", self._turns.codes)
        digest.texts("messages.content", self._turns.contents)

    def characters(self) -> Integers:
        """Length of each row."""
        return _sums(pc.utf8_length(self._turns.contents).to_numpy().astype(np.int64), self._turns.offsets())

    def hashes(self) -> Integers:
        """A hash of each row's content."""
        data, at = text_buffers(self._turns.contents)
        offsets = self._turns.offsets()
        # The row's bytes lie side by side; what they leave open (where turns end, who speaks) is mixed in.
        place = np.arange(len(self._turns.codes)) - np.repeat(offsets[:-1], self._turns.counts)
        turn = (at[1:] - at[:-1]).astype(np.uint64) * np.uint64(len(ROLES)) + self._turns.codes.astype(np.uint64)
        mixed = (turn + np.uint64(1)) * (place.astype(np.uint64) * np.uint64(2) + np.uint64(1)) * _ODD
        return slice_hashes(data, at[offsets]) + _sums(mixed, offsets)


def _conversation_defects(found: Turns) -> list[Defect]:
    """What only whole conversations show. Rows that are broken otherwise are left alone: one cause, one message."""
    offsets = found.offsets()
    row = np.repeat(np.arange(len(found.counts)), found.counts)
    empty = blank(found.contents)
    speaks = found.codes == ROLES.index("assistant")
    heard = speaks | (found.codes == ROLES.index("user"))
    sound = found.sound & (found.counts > 0)
    answers = _sums(speaks.astype(np.int64), offsets) > 0
    last = np.zeros(len(found.counts), bool)
    last[sound] = speaks[offsets[1:][sound] - 1]
    return [
        Defect("blank_turn", np.unique(row[empty & heard])),
        Defect("no_assistant", np.flatnonzero(sound & ~answers)),
        Defect("blank_other", np.unique(row[empty & ~heard])),
        Defect("last_turn", np.flatnonzero(sound & answers & ~last)),
    ]


def _sums(values: Integers, offsets: Integers) -> Integers:
    """Sum of the values of each row. Unlike `add.reduceat` right for rows without values, and it wraps around."""
    running = np.zeros(len(values) + 1, values.dtype)
    np.cumsum(values, out=running[1:])
    return running[offsets[1:]] - running[offsets[:-1]]


def _joined(instruction: pa.StringArray, context: pa.StringArray) -> pa.StringArray:
    """Instruction and context with a blank line between, or the instruction alone."""
    both = pc.binary_join_element_wise(instruction, context, "\n\n")
    return pc.if_else(pa.array(blank(context)), instruction, both)
