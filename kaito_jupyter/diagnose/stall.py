"""Whether a run that lives makes no steps any more.

A hang looks like nothing at all: the process lives, the log is silent. What is usual is known from the steps so far, so
silence is measured in those. An evaluation or a checkpoint that is due is never taken for a hang: either may take long,
and says nothing while it lasts.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final, NamedTuple

from kaito_trainer.contract import TrainingConfig

from ..state import RunState

TIMES: Final = 20.0
"""Silence of so many times the usual time between two points of the curve is none that passes by itself."""
FLOOR: Final = 45.0
"""Seconds of silence below which nothing is said: logs come late, and machines are busy."""
FIRST: Final = 1800.0
"""Seconds that the first steps may take: kernels are compiled then, and nobody knows yet what is usual."""
ENOUGH: Final = 3
"""Points of the curve from which on it is known what is usual."""
SKEW: Final = 120.0
"""Seconds that another machine's clock may be wrong by."""


class Stall(NamedTuple):
    """No step for long."""

    silent: float
    """Seconds since the last step was heard of."""
    usual: float | None
    """Seconds that usually lie between two points of the curve; None before it is known."""
    step: int
    """The last step that was made."""


def stalled(
    state: RunState, now: float, config: TrainingConfig, *, heard: float | None = None, written: float | None = None
) -> Stall | None:
    """The stall that a run is in at `now`, or None.

    `heard`: when the last step came in, by our own clock, while the log was followed live. `written`: when the log's last
    line was written, by its machine's clock, for who has come later. Without both, the curve's own times are believed.
    """
    if state.state != "Running" or state.phase != "training" or state.failure is not None:
        return None
    if _may_pause(state, config):
        return None
    silent = _silence(state, now, heard, written)
    if silent is None:
        return None
    usual = _usual(state)
    longest = FIRST if usual is None else max(FLOOR, TIMES * usual)
    return Stall(silent, usual, state.global_step) if silent > longest else None


def _silence(state: RunState, now: float, heard: float | None, written: float | None) -> float | None:
    if heard is not None:
        return now - heard
    if written is not None:
        return now - written - SKEW
    told = [t for t in state.series["time"][-1:] if t == t]
    told += [t for t in state.evaluations["time"][-1:] if t == t]
    told += [span.began for span in state.phases[-1:] if span.began is not None]
    return now - max(told) if told else None


def _usual(state: RunState) -> float | None:
    """The median time between two points of the curve, of the latest ones."""
    times = [t for t in state.series["time"][-33:] if t == t]
    gaps = sorted(later - before for before, later in pairwise(times))
    return gaps[len(gaps) // 2] if len(gaps) >= ENOUGH - 1 else None


def _may_pause(state: RunState, config: TrainingConfig) -> bool:
    """Whether an evaluation or a checkpoint is due at the step that the run is at, and not over."""
    t, step = config.TrainingArguments, state.global_step
    last = state.max_steps is not None and step >= state.max_steps
    if last:  # what comes after the last step says nothing of itself
        return True
    evaluated = bool(len(state.evaluations)) and state.evaluations["global_step"][-1] >= step
    if _due(t.eval_strategy, t.eval_steps, step, state) and not evaluated:
        return True
    saved = any(s.global_step >= step for s in state.saves)
    return step > 0 and _due(t.save_strategy, t.save_steps, step, state) and not saved


def _due(strategy: object, every: object, step: int, state: RunState) -> bool:
    if strategy not in ("steps", "epoch"):
        return False
    if step == 0:
        return True
    if strategy == "steps" and isinstance(every, int | float) and every > 0:
        total = state.max_steps or 0
        size = round(every) if every >= 1 else max(1, round(every * total))
        return step % size == 0
    epoch = state.epoch
    return epoch is not None and (step % _per_epoch(step, epoch) == 0)


def _per_epoch(step: int, epoch: float) -> int:
    return max(1, round(step / epoch)) if epoch > 0 else max(1, step)


__all__ = ["Stall", "stalled"]
