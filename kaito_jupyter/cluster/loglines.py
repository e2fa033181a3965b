"""Bytes of a container's log, asked for with timestamps, into lines. Pure.

The kubelet puts `2026-11-24T13:41:41.606276388Z ` before each line. The runtime stores a line of more than 16 KiB in
pieces; kubelets older than 1.27 put a timestamp before each piece, in the middle of the line: those are taken out.
"""

from __future__ import annotations

import calendar
import re
import time
from typing import Final, NamedTuple

LONGEST: Final = 1 << 20
"""Bytes of a line that are kept: a progress bar without newlines may grow without end."""
_PIECE: Final = 4096
"""Runtimes cut at multiples of this."""
_INNER = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}(?:Z|[+-]\d\d:\d\d) ")


class Stamped(NamedTuple):
    """One line of a log."""

    time: int
    """When the runtime read its beginning: nanoseconds since the epoch, by the node's clock."""
    text: str
    """Without its newline. Bytes that are no UTF-8 became U+FFFD."""
    end: int = 0
    """When the runtime read its last piece; 0 when it came in one piece."""


class Stamps:
    """Reads timestamps, fast for many of the same second."""

    def __init__(self) -> None:
        self._head = b""
        self._base = 0

    def read(self, stamp: bytes) -> int | None:
        """Nanoseconds since the epoch, or None for what is no timestamp."""
        head, tail = stamp[:19], stamp[19:]
        if head != self._head:
            try:
                self._base = calendar.timegm(time.strptime(head.decode(), "%Y-%m-%dT%H:%M:%S")) * 1_000_000_000
            except ValueError:
                return None
            self._head = head
        if tail[-1:] == b"Z":
            fraction, shift = tail[1:-1], 0
        elif tail[-6:-5] in (b"+", b"-") and tail[-3:-2] == b":":
            fraction = tail[1:-6]
            shift = int(tail[-5:-3]) * 3600 + int(tail[-2:]) * 60
            shift = -shift if tail[-6:-5] == b"-" else shift
        else:
            return None
        if fraction and not fraction.isdigit():
            return None
        return self._base + (int(fraction.ljust(9, b"0")[:9]) if fraction else 0) - shift * 1_000_000_000


class LineReader:
    """Puts pieces of an answer together to lines. One for each answer."""

    def __init__(self, stamps: Stamps | None = None) -> None:
        self._stamps = stamps or Stamps()
        self._rest = b""
        self._cut = 0
        self.remarks: list[str] = []
        """Lines without a timestamp: the kubelet's own words, as that it cannot read the log."""

    def feed(self, piece: bytes) -> list[Stamped]:
        """The lines that are complete with this piece."""
        *whole, rest = (self._rest + piece if self._rest else piece).split(b"\n")
        self._keep(rest)
        return [line for raw in whole if (line := self._line(raw)) is not None]

    def drop(self, piece: bytes, most: int) -> tuple[int, bytes]:
        """Pass over complete lines, `most` at most, without a look at them. How many those were, and what is left to feed."""
        data = self._rest + piece if self._rest else piece
        count = data.count(b"\n")
        self._cut = 0
        if count <= most:
            self._keep(data[data.rfind(b"\n") + 1 :])
            return count, b""
        end = 0
        for _ in range(most):
            end = data.index(b"\n", end) + 1
        self._rest = b""
        return most, data[end:]

    def _keep(self, rest: bytes) -> None:
        if len(rest) > LONGEST:
            self._cut += len(rest) - LONGEST
            rest = rest[:LONGEST]
        self._rest = rest

    def finish(self) -> list[Stamped]:
        """The last line, when the writer has ended without a newline."""
        rest, self._rest = self._rest, b""
        return [line] if rest and (line := self._line(rest)) is not None else []

    def _line(self, raw: bytes) -> Stamped | None:
        stamp, _, content = raw.partition(b" ")
        at = self._stamps.read(stamp)
        if at is None:
            if raw:
                self.remarks.append(raw[:400].decode("utf-8", "replace"))
            return None
        end = 0
        if len(content) > _PIECE:
            content, end = self._unite(content)
        text = content.decode("utf-8", "replace")
        if self._cut:
            text += f" … [{self._cut} more bytes of this line are not shown]"
            self._cut = 0
        return Stamped(at, text, end)

    def _unite(self, content: bytes) -> tuple[bytes, int]:
        """A line without the timestamps inside it, and the last of them."""
        parts, begin, end, search = [], 0, 0, _PIECE
        while found := _INNER.search(content, search):
            search = found.start() + 1
            # What the program wrote may look like a timestamp too, but not just where a piece ends.
            if (found.start() - begin) % _PIECE == 0:
                parts.append(content[begin : found.start()])
                begin = search = found.end()
                end = self._stamps.read(found[0][:-1]) or end
        if not parts:
            return content, 0
        parts.append(content[begin:])
        return b"".join(parts), end
