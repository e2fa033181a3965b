"""The moments of a run that a chart marks: checkpoints, restarts and revisions. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from .words import shown

if TYPE_CHECKING:
    from .fold import RunState

MOST: Final = 60
"""The most marks of a chart, the latest ones of each kind: more would be a comb, and be sent again with each new one."""

Kind = Literal["checkpoint", "restart", "revision"]


class Mark(NamedTuple):
    """One moment."""

    kind: Kind
    global_step: int
    """Where it stands on the curve."""
    text: str
    """What happened, for people."""


def marks(state: RunState) -> list[Mark]:
    """All marks, in the order of steps; of each kind the latest `MOST` / 3."""
    each = MOST // 3
    saved = {s.global_step: s for s in state.saves if not s.final}
    found = [Mark("checkpoint", step, f"checkpoint at step {step:,}") for step in sorted(saved)[-each:]]
    for restart in list(state.restarts)[-each:]:
        again = restart.reached - restart.global_step
        lost = f", {again:,} step{'s' if again > 1 else ''} made again" if again > 0 else ""
        begins = f"restarted from step {restart.global_step:,}" if restart.global_step else "began again"
        found.append(Mark("restart", restart.global_step, begins + lost))
    for before in state.revisions[-1:]:
        stood = f" at step {before.global_step:,}" if before.global_step else " before its first step"
        loss = f", loss {shown(before.loss)}" if before.loss is not None else ""
        text = f"revision {state.revision_number} begins (revision {before.number} ended{stood}{loss})"
        found.append(Mark("revision", 0, text))
    return sorted(found, key=lambda mark: mark.global_step)


__all__ = ["Mark", "marks"]
