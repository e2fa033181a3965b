"""What a run was doing, from when to when."""

from __future__ import annotations

from itertools import pairwise
from typing import Final, NamedTuple

MOST: Final = 200
"""The most changes of phase that are kept, the latest ones."""


class PhaseSpan(NamedTuple):
    """One kind of work, from when to when (seconds since the epoch; None: not known, or not over)."""

    name: str
    began: float | None
    ended: float | None

    def seconds(self, now: float) -> float | None:
        """How long it took, or has taken until now."""
        return None if self.began is None else max(0.0, (now if self.ended is None else self.ended) - self.began)


class Phases:
    """Changes of phase, each in its place in the order of writing."""

    def __init__(self) -> None:
        self.name = "pending"
        self.order = -1
        """Of what was said last of the phase."""
        self._marks: list[tuple[int, float | None, str]] = []

    @property
    def first(self) -> float | None:
        """When the first phase after `pending` began."""
        return self._marks[0][1] if self._marks else None

    def mark(self, name: str, order: int, time: float | None) -> bool:
        """It was in this phase at that time. False when something later was said already."""
        marks = self._marks
        at = len(marks)
        while at and marks[at - 1][0] > order:
            at -= 1
        if not at or marks[at - 1][2] != name:
            marks.insert(at, (order, time, name))
            if at + 1 < len(marks) and marks[at + 1][2] == name:
                del marks[at + 1]
            del marks[:-MOST]
        if order < self.order:
            return False
        self.name, self.order = name, order
        return True

    def spans(self, created: float | None, ended: float | None) -> list[PhaseSpan]:
        """All of them; with `pending` before if it is known when the run was made. The last ends at `ended`."""
        begun = [(time, name) for _, time, name in self._marks]
        if created is not None:
            begun.insert(0, (created, "pending"))
        spans = [PhaseSpan(name, began, after) for (began, name), (after, _) in pairwise(begun)]
        return spans + [PhaseSpan(name, began, ended) for began, name in begun[-1:]]
