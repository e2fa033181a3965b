"""Where the time went, out of the curve."""

from __future__ import annotations

import pytest

from kaito_jupyter.state import RunState
from kaito_jupyter.state.spent import LOOKBACK, spent
from kaito_trainer.contract import encode
from kaito_trainer.contract.events import Log


def state(*logs: Log) -> RunState:
    found = RunState()
    for seq, log in enumerate(logs):
        found.feed(encode(log, seq=seq, time=1.7e9 + seq))
    return found


def timed(step: int, **seconds: float) -> Log:
    return Log(global_step=step, loss=1.0, **({"step_seconds": 1.0, "data_seconds": 0.0} | seconds))  # type: ignore[arg-type]


def test_steps_between_two_logs_count_and_what_is_done_once_at_the_start_does_not() -> None:
    run = state(
        timed(10, eval_seconds=500.0),
        timed(20, step_seconds=2.0, data_seconds=5.0),
        timed(30, save_seconds=3.0, eval_seconds=4.0),
    )
    went = spent(run.series)
    assert went is not None
    assert tuple(went) == (25, 5, 3, 4)
    assert went.describe() == "steps 25s · data 5s (14 %) · checkpoints 3s (8 %) · evaluation 4s (11 %)"


def test_a_trainer_that_does_not_say_is_not_guessed_at() -> None:
    assert spent(RunState().series) is None
    assert spent(state(Log(global_step=1, loss=2.0), Log(global_step=2, loss=1.0)).series) is None


def test_a_long_run_is_judged_by_its_latest_rows() -> None:
    old = [timed(i, data_seconds=1.0) for i in range(1, 300)]
    went = spent(state(*old, *(timed(300 + i) for i in range(LOOKBACK))).series)
    assert went == (LOOKBACK, 0, 0, 0)


def test_the_latest_numbers_stand_in_the_state_and_are_absent_where_nobody_told_them() -> None:
    run = state(timed(1, samples_per_second=3.5, gpu_utilization=87.0, device_memory_used_bytes=5))
    assert (run.samples_per_second, run.step_seconds, run.gpu_utilization) == (3.5, 1.0, 87.0)
    assert run.device_memory_used_bytes == 5
    run = state(Log(global_step=1, loss=2.0))
    assert (run.samples_per_second, run.step_seconds, run.gpu_utilization) == (None, None, None)


def test_numbers_of_a_trainer_newer_than_this_reader_become_columns() -> None:
    run = RunState()
    line = encode(timed(1), seq=0).replace('"loss":1.0', '"loss":1.0,"gpu_power_watts":311.5,"why":{"not":[1]}')
    run.feed(line)
    assert run.loss == 1.0
    assert run.series.last("gpu_power_watts") == 311.5


def test_the_stock_trainers_log_leaves_them_empty() -> None:
    run = RunState()
    run.feed("{'loss': '2.5', 'grad_norm': '0.4', 'learning_rate': '2e-05', 'epoch': '0.1'}")
    assert run.loss == pytest.approx(2.5)
    assert spent(run.series) is None
    for name in ("step_seconds", "samples_per_second", "data_seconds", "save_seconds", "eval_seconds"):
        assert run.series.last(name) is None
