"""A hang is told from an evaluation, a checkpoint, a slow step and a log that comes late."""

from __future__ import annotations

from typing import Any

import pytest

from kaito_jupyter.diagnose import diagnose
from kaito_jupyter.diagnose.stall import FIRST, FLOOR, SKEW, TIMES, stalled
from kaito_jupyter.spec import build_spec
from kaito_jupyter.state import RunState
from kaito_jupyter.status import Status
from kaito_trainer.contract import TrainingConfig, encode
from kaito_trainer.contract import events as ev

T = 1_764_000_000.0
NEVER = {"TrainingArguments": {"eval_strategy": "no", "save_strategy": "no"}}


def training(steps: int = 10, pace: float = 1.0, *more: Any, total: int = 1000) -> RunState:
    """A run that has made so many steps, one each `pace` seconds from T on, and then said `more`."""
    state = RunState()
    begin = ev.TrainBegin(max_steps=total)
    logs = [ev.Log(global_step=i, loss=1.0, epoch=i / 100) for i in range(1, steps + 1)]
    for seq, payload in enumerate([begin, *logs, *more], 1):
        state.feed(encode(payload, seq=seq, time=T + (seq - 1) * pace))
    state.apply(Status("Running"))
    return state


def config(**arguments: Any) -> TrainingConfig:
    return TrainingConfig.from_dict(NEVER).merged({"TrainingArguments": arguments})


def test_silence_of_many_steps_is_a_stall() -> None:
    last = T + 10 * 10
    state = training(10, 10.0)
    assert stalled(state, last + TIMES * 10 - 1, config()) is None
    found = stalled(state, last + TIMES * 10 + 1, config())
    assert found is not None
    assert (found.step, found.usual) == (10, 10.0)


def test_fast_steps_have_a_floor() -> None:
    state = training(10, 0.1)
    assert stalled(state, T + 1 + FLOOR - 1, config()) is None
    assert stalled(state, T + 1 + FLOOR + 1, config()) is not None


def test_the_first_steps_may_take_long() -> None:
    assert stalled(training(0), T + FIRST - 1, config()) is None
    assert stalled(training(0), T + FIRST + 1, config()) is not None


@pytest.mark.parametrize(
    "arguments",
    [
        {"eval_strategy": "steps", "eval_steps": 5},
        {"save_strategy": "steps", "save_steps": 10},
        {"eval_strategy": "steps", "eval_steps": 0.01},
        {"eval_strategy": "epoch"},
    ],
)
def test_what_is_due_may_take_its_time(arguments: dict[str, Any]) -> None:
    state = training(10, 1.0) if arguments.get("eval_strategy") != "epoch" else training(100, 1.0)
    assert stalled(state, T + 10_000, config(**arguments)) is None


def test_after_the_evaluation_or_the_checkpoint_silence_counts_again() -> None:
    evaluated = training(10, 1.0, ev.Evaluate(global_step=10, eval_loss=1.0))
    assert stalled(evaluated, T + 10_000, config(eval_strategy="steps", eval_steps=5)) is not None
    saved = training(10, 1.0, ev.Save(global_step=10, path="/x"))
    assert stalled(saved, T + 10_000, config(save_strategy="steps", save_steps=10)) is not None


@pytest.mark.parametrize("phase", ["saving", "pushing", "loading", "tokenizing", "downloading"])
def test_other_phases_are_silent_by_nature(phase: str) -> None:
    assert stalled(training(10, 1.0, ev.Phase(phase=phase)), T + 10_000, config()) is None


def test_after_the_last_step_nothing_is_missed() -> None:
    assert stalled(training(10, 1.0, total=10), T + 10_000, config()) is None


def test_a_run_that_has_ended_or_failed_does_not_stall() -> None:
    for status in ("Succeeded", "Failed", "Cancelled", "Pending"):
        state = training()
        state.apply(Status(status))  # type: ignore[arg-type]
        if state.state != "Running":
            assert stalled(state, T + 10_000, config()) is None


def test_our_own_clock_counts_where_the_log_is_followed_live() -> None:
    state = training(10, 1.0)
    now = T + 5000  # the pod's clock is slow by more than an hour
    assert stalled(state, now, config(), heard=now - 1) is None
    assert stalled(state, now, config(), heard=now - FLOOR - 1) is not None


def test_who_comes_late_believes_the_logs_own_clock_with_some_doubt() -> None:
    state = training(10, 1.0)
    now = T + 5000
    assert stalled(state, now, config(), written=now - SKEW - FLOOR + 1) is None
    assert stalled(state, now, config(), written=now - SKEW - FLOOR - 1) is not None


def test_a_stall_is_a_diagnosis_of_a_run_that_goes_on() -> None:
    spec = build_spec(preset="a/b", options={"eval_strategy": "no", "save_strategy": "no"})
    found = diagnose(training(10, 1.0), spec, "local", name="x", now=T + 310)
    assert (found.cause, found.state, found.fix) == ("stall", "Running", None)
    assert (
        found.sentence == "No step since 5m 00s, where one usually takes 1s: the trainer hangs after step 10 of 1000."
    )
