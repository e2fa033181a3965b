"""Each event's place in the order of writing, and whether it was seen before."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

SPANS: Final = 1000
"""The most separate stretches of seen numbers that are remembered; then the oldest gaps count as seen."""
LATEST_TIME: Final = 1e11
"""Times from here on (the year 5138) are no times."""
LARGEST: Final = 2**62


class Order:
    """Places events by their `seq`. Memory stays small: seen numbers are kept as stretches.

    A trainer that starts again from nothing counts from the beginning again. That is told from a line that came twice
    or late by the trainer's clock: an old `seq` with a time newer than any before is a new count, after all of the old.
    """

    def __init__(self) -> None:
        self._begin = 0  # the current stretch is begin … next - 1
        self._next = 0
        self._base = 0
        self._newest = 0.0
        self._spans: list[tuple[int, int]] = []  # earlier stretches of this count, first and last, sorted
        self.counts = 0
        """How often the count began again."""

    @property
    def seen(self) -> bool:
        """Whether any event was placed."""
        return self._next > 0

    def place(self, seq: int, time: float) -> int | None:
        """The event's place, greater for one written later; None when it was seen (or its number makes no sense)."""
        if seq == self._next:
            self._next = seq + 1
            if self._newest < time < LATEST_TIME:
                self._newest = time
            return self._base + seq
        if seq < 0 or self._base + seq >= LARGEST:
            return None
        newer = self._newest < time < LATEST_TIME
        if newer:
            self._newest = time
        if seq > self._next:
            self._leap(seq)
        elif newer:
            self._again(seq)
        elif not self._late(seq):
            return None
        return self._base + seq

    def next(self) -> int:
        """The place after all others, for an event without a number."""
        seq = self._next
        self._next += 1
        return self._base + seq

    def place_all(self, seqs: Sequence[int], newest: float) -> int | None:
        """Place events whose numbers rise; the returned number plus its `seq` is an event's place.

        None, with nothing placed, when they don't all come after what was seen.
        """
        if seqs[0] < max(0, self._next) or self._base + seqs[-1] >= LARGEST:
            return None
        if seqs[-1] - seqs[0] == len(seqs) - 1:
            firsts = [0]
        else:
            firsts = [0, *(i for i, (a, b) in enumerate(pairwise(seqs), 1) if b - a > 1)]
        for begin, end in pairwise([*firsts, len(seqs)]):
            if seqs[begin] > self._next:
                self._leap(seqs[begin])
            self._next = seqs[end - 1] + 1
        if self._newest < newest < LATEST_TIME:
            self._newest = newest
        return self._base

    def whole_before(self, seq: int) -> bool:
        """Whether all events of this count before that number have been seen, and no count was before this one."""
        begin, after = (self._spans[0][0], self._spans[0][1] + 1) if self._spans else (self._begin, self._next)
        return not self.counts and begin <= 1 and after >= seq

    def _leap(self, seq: int) -> None:
        """Go on after a gap."""
        if self._next > self._begin:
            self._spans.append((self._begin, self._next - 1))
        self._begin, self._next = seq, seq + 1
        if len(self._spans) > SPANS:
            (first, _), (_, last) = self._spans[:2]
            self._spans[:2] = [(first, last)]

    def _again(self, seq: int) -> None:
        """Begin a new count, after all places given so far."""
        self._base += self._next
        self._spans.clear()
        self._begin, self._next = seq, seq + 1
        self.counts += 1

    def _late(self, seq: int) -> bool:
        """Mark an earlier number as seen; False when it was."""
        if seq >= self._begin:
            return False
        i = bisect_right(self._spans, (seq, LARGEST))
        if i and self._spans[i - 1][1] >= seq:
            return False
        first = last = seq
        if i < len(self._spans) and self._spans[i][0] == seq + 1:
            last = self._spans.pop(i)[1]
        if i and self._spans[i - 1][1] == seq - 1:
            first = self._spans.pop(i - 1)[0]
            i -= 1
        if last == self._begin - 1:
            self._begin = first
        else:
            self._spans.insert(i, (first, last))
        return True
