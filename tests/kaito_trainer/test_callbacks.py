"""The training loop's calls → events."""

from __future__ import annotations

import math
import signal
from types import SimpleNamespace
from typing import Any

import pytest

from kaito_trainer.clock import Clock
from kaito_trainer.contract.events import HISTORY_POINTS, Payload, TrainBegin
from kaito_trainer.stop import Cancelled, Stop

pytestmark = pytest.mark.usefixtures("libraries")


class Loop:
    """Calls a callback as Hugging Face's loop does."""

    def __init__(self, max_steps: int, stop: Stop | None = None, clock: Clock | None = None) -> None:
        from kaito_trainer.callbacks import EventCallback

        self.clock = clock or Clock()
        self.told: list[Payload] = []
        self.callback = EventCallback(self.told.append, TrainBegin(max_steps=0), stop or Stop(), None, clock=self.clock)
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


def test_rates_are_those_since_the_last_log_without_what_was_not_training() -> None:
    import torch

    now = 0.0
    loop = Loop(30, clock=Clock(lambda: now))
    loop.call("on_train_begin")
    for tokens in (100.0, 500.0):
        for _ in range(4):
            loop.step()
            now += 0.5
        with loop.clock.on("save"):
            now += 7.0
        with loop.clock.on("data"):
            now += 2.0
        loop.clock.count([{"input_ids": torch.zeros(8, 3)}])
        loop.call("on_log", logs={"loss": 1.0, "num_tokens": tokens})
    first, second = loop.of("log")
    assert (first.tokens_per_second, second.tokens_per_second) == (25, 100)
    assert {log.samples_per_second for log in (first, second)} == {2}
    assert {(log.step_seconds, log.data_seconds, log.save_seconds, log.eval_seconds) for log in (first, second)} == {
        (1.0, 2.0, 7.0, 0.0)
    }


def test_numbers_that_nobody_knows_are_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = Loop(3, clock=Clock(lambda: 5.0))
    monkeypatch.setattr("kaito_trainer.gauge.peak_memory", lambda: None)
    loop.step(loss=1.0)
    told = loop.of("log")[0].to_dict()
    assert {k for k in told if "second" in k or "memory" in k or "gpu" in k} == {
        "step_seconds", "data_seconds", "save_seconds", "eval_seconds",
    }  # fmt: skip


def test_of_several_processes_the_fullest_and_the_idlest_device_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from kaito_trainer import callbacks
    from kaito_trainer.gauge import Reading

    now = 0.0
    loop = Loop(3, clock=Clock(lambda: now))
    monkeypatch.setattr(loop.callback._gauge, "read", lambda: Reading(5, 9, 80.0))
    other = (0.0, 3.0, 0.0, 7.0, -math.inf, -20.0)  # how full its GPU is, it does not know
    monkeypatch.setattr(callbacks, "added", lambda samples: (samples + 4,))
    monkeypatch.setattr(callbacks, "agreed", lambda *mine: tuple(map(max, mine, other if len(mine) == 6 else mine)))
    loop.call("on_train_begin")
    now = 2.0
    loop.clock.count([{"input_ids": torch.zeros(4, 3)}])
    loop.step(loss=1.0)
    log = loop.of("log")[0]
    assert (log.samples_per_second, log.save_seconds) == (4, 3)
    assert (log.device_memory_bytes, log.device_memory_used_bytes, log.gpu_utilization) == (7, 9, 20)


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
