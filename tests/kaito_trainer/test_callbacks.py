"""The training loop's calls → events."""

from __future__ import annotations

import signal
from types import SimpleNamespace
from typing import Any

import pytest

from kaito_trainer.contract.events import HISTORY_POINTS, Payload, TrainBegin
from kaito_trainer.stop import Cancelled, Stop

pytestmark = pytest.mark.usefixtures("libraries")


class Loop:
    """Calls a callback as Hugging Face's loop does."""

    def __init__(self, max_steps: int, stop: Stop | None = None) -> None:
        from kaito_trainer.callbacks import EventCallback

        self.told: list[Payload] = []
        self.callback = EventCallback(self.told.append, TrainBegin(max_steps=0), stop or Stop(), None)
        self.state = SimpleNamespace(global_step=0, max_steps=max_steps, epoch=0.0, num_train_epochs=1, log_history=[])
        self.control = SimpleNamespace(
            should_save=False, should_training_stop=False, should_evaluate=True, should_log=False
        )
        self.args = SimpleNamespace(
            output_dir="/out", eval_on_start=False, eval_strategy="no", world_size=1, max_steps=-1
        )

    def call(self, name: str, **kwargs: Any) -> None:
        getattr(self.callback, name)(self.args, self.state, self.control, **kwargs)

    def step(self, **logs: Any) -> None:
        self.call("on_step_begin")
        self.state.global_step += 1
        self.call("on_step_end")
        if logs:
            self.call("on_log", logs=logs)

    def of(self, type: str) -> list[Any]:
        return [p for p in self.told if type == p.TYPE]


def test_a_long_run_tells_its_curve_now_and_then_thinned_and_whole_at_the_end() -> None:
    loop = Loop(1234)
    for i in range(1234):
        loop.step(loss=float(i), num_tokens=10.0 * i)
    loop.callback.history(1234)
    told = loop.of("history")
    assert [h.columns["global_step"][-1] for h in told] == [200, 400, 600, 800, 1000, 1200, 1234]
    assert all(len(column) <= HISTORY_POINTS for h in told for column in h.columns.values())
    assert told[-1].columns["loss"][-1] == 1233.0
    assert len(told[-1].columns["global_step"]) == 412
    assert "grad_norm" not in told[-1].columns, "columns without a number are left out"


def test_the_curve_so_far_costs_a_very_long_run_little_memory_and_log() -> None:
    loop = Loop(20_000)
    for i in range(20_000):
        loop.step(loss=float(i), num_tokens=10.0 * i)
    assert len(loop.of("history")) < 40
    assert len(loop.callback._logs) < 4 * HISTORY_POINTS
    last = loop.of("history")[-1].columns["global_step"]
    assert last[0] < 60, "it begins at the beginning"
    assert last == sorted(set(last))


def test_what_is_no_steps_numbers_is_no_log() -> None:
    loop = Loop(2)
    loop.call("on_log", logs={"eval_loss": 1.0})
    loop.call("on_log", logs={"train_runtime": 1.0, "train_loss": 2.0})
    assert loop.told == []


def test_tokens_a_second_are_those_since_the_last_log() -> None:
    loop = Loop(3)
    for tokens in (100.0, 300.0):
        loop.call("on_step_begin")
        loop.callback._clock -= 2.0
        loop.state.global_step += 1
        loop.call("on_step_end")
        loop.call("on_log", logs={"loss": 1.0, "num_tokens": tokens})
    first, second = (log.tokens_per_second for log in loop.of("log"))
    assert (first, second) == (pytest.approx(50, rel=0.01), pytest.approx(100, rel=0.01))


def test_the_last_step_is_logged_whatever_the_interval() -> None:
    loop = Loop(2)
    loop.step()
    assert not loop.control.should_log
    loop.step()
    assert loop.control.should_log


def test_a_signal_ends_the_loop_after_the_step_with_a_checkpoint_and_without_an_evaluation() -> None:
    stop = Stop()
    loop = Loop(100, stop)
    stop.be_patient()
    stop._take(signal.SIGTERM, None)
    loop.step()
    control = loop.control
    assert (control.should_save, control.should_training_stop, control.should_log) == (True, True, True)
    assert not control.should_evaluate
    with pytest.raises(Cancelled):
        loop.call("on_prediction_step")


def test_a_signal_that_comes_while_the_processes_agree_is_heard_at_the_next_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from kaito_trainer import callbacks

    stop = Stop()
    loop = Loop(100, stop)
    stop.be_patient()

    def agreed(*values: float) -> tuple[float, ...]:
        if not stop.asked:
            stop._take(signal.SIGTERM, None)  # the others have not heard of it: they go on
        return values

    monkeypatch.setattr(callbacks, "agreed", agreed)
    loop.step()
    assert (loop.control.should_save, loop.control.should_training_stop) == (False, False)
    assert stop.asked, "not lost"
    loop.step()
    assert (loop.control.should_save, loop.control.should_training_stop) == (True, True)
    with pytest.raises(Cancelled):
        loop.callback.check()


def test_the_number_of_epochs_is_told_only_when_it_counts() -> None:
    loop = Loop(5)
    loop.call("on_train_begin")
    loop.args.max_steps = 5
    loop.call("on_train_begin")
    assert [b.num_train_epochs for b in loop.of("train_begin")] == [1.0, None]


def test_numbers_are_rounded_to_what_anyone_reads() -> None:
    loop = Loop(1)
    loop.step(loss=1.23456789, grad_norm=0.000123456789, learning_rate=1e-4 / 3)
    log = loop.of("log")[0]
    assert (log.loss, log.grad_norm) == (1.23457, 0.000123457)
    assert log.learning_rate == 1e-4 / 3
