"""How far a container's log has been read, so that reading can go on without losing or doubling a line. Pure.

The API server takes only whole seconds for "since", several lines may bear one timestamp, and timestamps of stdout and
stderr are not quite in order. But an answer to "since second S" is always the same sequence, growing at its end. So a
position is such a second, the timestamp of the first line read from it on (the anchor), and how many lines have been
read from it on. If the next answer begins with another line, the log was rotated or the container restarted in between:
then, and only then, timestamps decide.
"""

from __future__ import annotations

from typing import Final

SECOND: Final = 1_000_000_000
MARGIN: Final = 2
"""Seconds to ask for before the newest line: timestamps may be out of order by less than that."""
SET_BACK: Final = 10
"""A line that many seconds too early is not late: the clock was set back."""
KEPT: Final = 600
"""Seconds with lines that are remembered, for clocks that are set back."""


class Position:
    """A place in one container's log. Grows line by line; `str` and `parse` carry it to another process."""

    __slots__ = ("_barred", "_counts", "_prefix", "_second", "anchor", "last", "restart", "since", "skip")

    def __init__(self, restart: int = 0, since: int = 0, anchor: int = 0, skip: int = 0, last: int = 0) -> None:
        self.restart = restart
        """The container's restart count that this is about."""
        self.since = since
        """The second to ask for, since the epoch; 0: the log from its beginning."""
        self.anchor = anchor
        """Timestamp of the first line that an answer from there begins with, in nanoseconds since the epoch."""
        self.skip = skip
        """Lines read from there on."""
        self.last = last
        """The newest timestamp read, of earlier instances of the container too."""
        self._second = -1
        self._counts: dict[int, list[int]] = {}
        """Second -> its first line's timestamp, and its number of lines; in the order in which they were met."""
        self._barred = (-1, -1)
        """Seconds after the first of these, up to the second, cannot be asked for."""
        if since:
            # All lines in one count: how they are spread over the seconds up to the last is not known.
            self._second = anchor // SECOND
            self._counts[self._second] = [anchor, skip]
            self._barred = (since, last // SECOND)
        self._write_prefix()

    @classmethod
    def parse(cls, text: str) -> Position:
        """Raises ValueError for a text that is no position."""
        restart, since, anchor, skip, last = (int(part) for part in text.split("."))
        start = since * SECOND
        return cls(restart, since, start + anchor, skip, start + last)

    def __str__(self) -> str:
        return f"{self._prefix}{self.skip}.{self.last - self.since * SECOND}"

    def __repr__(self) -> str:
        return f"Position.parse({str(self)!r})"

    def add(self, time: int, end: int = 0) -> None:
        """A line was read. `end`: the timestamp of its last piece, when the runtime stored it in several pieces."""
        second = time // SECOND
        self.last = max(self.last, time, end)
        if second == self._second:
            self._counts[second][1] += 1
            self.skip += 1
        else:
            self._second = second
            self._counts.setdefault(second, [time, 0])[1] += 1
            if self.since <= second <= self.since + 2 * MARGIN:
                self.skip += 1
            elif self.since - SET_BACK <= second < self.since:
                self._second = -1  # late: an answer from `since` on leaves it out
            else:
                self._move()
        if end // SECOND > second:
            # An answer from a second inside this line would begin with the rest of it.
            low, high = self._barred
            self._barred = (low if second <= high + MARGIN else second, max(high, end // SECOND))

    def restarted(self, restart: int) -> None:
        """The container was started anew: its log begins again, later in time."""
        self.restart = restart
        self.rotated()

    def rotated(self) -> None:
        """The log does not continue what was read: count anew, from the next line on."""
        self._counts, self._second, self._barred = {}, -1, (-1, -1)
        self.since = self.anchor = self.skip = 0
        self._write_prefix()

    def _move(self) -> None:
        """Ask from `MARGIN` before the second that is read now."""
        since = self._second - MARGIN
        low, high = self._barred
        if low < since <= high:
            since = low
        for old in [s for s in self._counts if s < since][: max(0, len(self._counts) - KEPT)]:
            del self._counts[old]
        counted = [c for s, c in self._counts.items() if s >= since]
        self.since, self.anchor, self.skip = since, counted[0][0], sum(c[1] for c in counted)
        self._write_prefix()

    def _write_prefix(self) -> None:
        self._prefix = f"{self.restart}.{self.since}.{self.anchor - self.since * SECOND}."


class Replay:
    """Tells, for one answer of the server, which of its lines were read before."""

    __slots__ = ("_anchor", "_last", "_left", "_met", "first", "rotated")

    def __init__(self, position: Position) -> None:
        self._anchor, self._left, self._last = position.anchor, position.skip, position.last
        self._met = False
        self.first: int | None = None
        """Timestamp of the answer's first line."""
        self.rotated = not position.since and bool(position.last)
        """Whether the answer does not continue what was read: timestamps decide."""

    @property
    def replaying(self) -> bool:
        """Whether lines that were read before are still to come."""
        return self._left > 0

    @property
    def sure(self) -> int:
        """Lines still to come that were read before, whatever they are: the anchor was met."""
        return self._left if self._met else 0

    def passed(self, count: int) -> None:
        """That many of the `sure` lines have come; they need not be asked about."""
        self._left -= count

    @property
    def gap(self) -> bool:
        """Whether lines may be missing between what was read before and this answer's first line."""
        return self.rotated and self.first is not None and self.first > self._last

    def seen(self, time: int) -> bool:
        """Whether the line with that timestamp was read before. Ask for each line of the answer, in order."""
        if self.first is None:
            self.first = time
        if self._left > 0 and not self.rotated:
            if self._met or time == self._anchor:
                self._met = True
                self._left -= 1
                return True
            if time < self._anchor:
                return True  # the rest of a long line that began in an earlier second
            self.rotated, self._left = True, 0
        return self.rotated and time <= self._last
