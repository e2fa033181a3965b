"""A run whose spec is changed while it lives: its curve begins anew, and holds nothing of the one before."""

from __future__ import annotations

import random

from kaito_jupyter.hf_logs import Reader
from kaito_jupyter.state import RunState
from kaito_jupyter.status import Status


def dicts(steps: int, loss: float) -> list[str]:
    return [f"{{'loss': '{loss}', 'learning_rate': '1e-4', 'epoch': '{(i + 1) / steps}'}}" for i in range(steps)]


def fed(state: RunState, lines: list[str]) -> RunState:
    state.feed_many(lines)
    return state


def test_another_revision_begins_with_an_empty_curve_and_its_own_number() -> None:
    state = fed(RunState(Reader(logging_steps=1, max_steps=8)), dicts(8, 2.0))
    state.apply(Status("Running"))
    assert (len(state.series), state.revision_number) == (8, 1)
    changes, rewrites = state.revision, state.series.rewrites
    state.apply(Status("Running", revision=2))
    assert (len(state.series), state.global_step, state.max_steps, state.revision_number) == (0, 0, None, 2)
    assert state.revision > changes
    assert state.series.rewrites > rewrites
    assert state.describe(0.0).startswith("revision 2 · ")
    assert list(state.output) == []


def test_the_steps_of_two_revisions_never_mix_wherever_the_first_is_cut() -> None:
    for seed in range(20):
        before = dicts(20, 9.0)[: random.Random(seed).randrange(21)]
        state = fed(RunState(Reader(logging_steps=1, max_steps=20)), before)
        state.begin_anew(2, Reader(logging_steps=2, max_steps=10))
        state.apply(Status("Running", revision=2))
        fed(state, dicts(5, 1.0))
        assert list(state.series["global_step"]) == [2.0, 4.0, 6.0, 8.0, 10.0]
        assert set(state.series["loss"]) == {1.0}


def test_an_older_number_changes_nothing() -> None:
    state = RunState(Reader(logging_steps=1, max_steps=4))
    state.apply(Status("Running", revision=3))
    fed(state, dicts(4, 1.0))
    state.apply(Status("Succeeded"))
    assert (len(state.series), state.revision_number, state.state) == (4, 3, "Succeeded")
