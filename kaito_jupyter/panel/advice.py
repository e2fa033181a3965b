"""What a panel says of a run that is in trouble: what is wrong, what to do, and the line to type. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..diagnose import Diagnosis, Note, diagnose
from ..spec import TARGETS, Target
from ..status import TERMINAL

if TYPE_CHECKING:
    from .feed import Shown

EVERY: Final = 5.0
"""Seconds for which what was found of a living run holds, while the place says nothing new of it."""


class Advice:
    """Remembers what it found: a run that goes well is not looked at with every step."""

    def __init__(self, run: Shown) -> None:
        self._run = run
        self._key: tuple[object, ...] = ()
        self._at = float("-inf")
        self._found: Diagnosis | None = None
        self.notes: tuple[Note, ...] = ()
        """What the run could do better, as of the last call."""

    def __call__(self, now: float) -> Diagnosis | None:
        """The run's diagnosis; None when there is nothing to do. Hold the run's lock."""
        run, state = self._run, self._run.state
        key = (state.state, state.reason, state.failure)
        if key != self._key or (state.state not in TERMINAL and now - self._at >= EVERY):
            self._key, self._at = key, now
            target: Target = next((t for t in TARGETS if t == run.ref.backend), "local")
            # Without word of a step that came live nothing is concluded from silence: clocks differ.
            heard = now if run.heard is None else run.heard
            found = diagnose(state, run.spec, target, name=run.name, now=now, heard=heard)
            self.notes = found.notes
            self._found = found if found.command and not found.well else None
        return self._found


__all__ = ["Advice"]
