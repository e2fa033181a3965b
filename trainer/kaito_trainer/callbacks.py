"""Hugging Face's training loop → events."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Final

from transformers import TrainerCallback

from .checkpoints import Checkpoints
from .clock import Clock
from .contract.events import HISTORY_POINTS, Evaluate, Generate, History, Log, Payload, Phase, Save, TrainBegin
from .gauge import Gauge
from .resume import Start
from .stop import Cancelled, Stop
from .together import added, agreed

HISTORY_EVERY: Final = 200
"""Logged steps between two `history` events at first; later a tenth of those so far, so that they cost the log little."""
HISTORY_RARELY: Final = 5000
"""The most logged steps between two of them: what a log's rotation may lose is bounded by it."""
MEASURED: Final = ("eval_mean_token_accuracy", "eval_runtime")
"""What is told of an evaluation, beside its loss."""
Sampler = Callable[[], list[dict[str, str]]]


class EventCallback(TrainerCallback):
    """Tells of each step, and ends the training where it was asked to end: after the step, or the batch of a long one.

    `begin` holds what is known before the first step; `sample` answers the held-out prompts, None: there are none. What
    `start` was told before a restart stands: those steps are made once more in silence.
    """

    def __init__(
        self,
        emit: Callable[[Payload], None],
        begin: TrainBegin,
        stop: Stop,
        sample: Sampler | None,
        start: Start | None = None,
        checkpoints: Checkpoints | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._start = start or Start("")
        self._told = self._start.told
        self._told_to = self._told.step if self._start.goes_on else 0
        self._checkpoints = checkpoints
        self.phase = "training"
        """The phase under which it tells what it does beside the steps."""
        self._emit, self._begin, self._stop, self._sample = emit, begin, stop, sample
        self._ends = False  # what all processes agreed on: a signal may reach them on both sides of a step's end
        self._clock = clock or Clock()
        self._gauge = Gauge()
        self._logged_to = 0  # the step of the last log, and the tokens seen until then
        self._tokens = 0.0
        self._logged = 0
        self._next_history = HISTORY_EVERY
        self._logs: list[Log] = []  # each so many, and the latest: memory does not grow with the run
        self._stride = 1
        self._latest: Log | None = None
        for log in self._told.logs.values():
            self._keep(log)
        self.evaluations = list(self._told.evaluations.values())
        """Those that were told, of this start and those before."""
        self._next_history = self._logged + HISTORY_EVERY

    def eval_loss(self, step: int) -> float | None:
        """The held-out loss at a step, if it was measured."""
        return next((e.eval_loss for e in self.evaluations if e.global_step == step), None)

    def owes(self, step: int) -> bool:
        """Whether the model is still to be measured at a step where that is due."""
        return self.eval_loss(step) is None

    def answer(self, step: int) -> None:
        """Ask the held-out prompts, unless the adapter of that step was asked. May raise `Cancelled`."""
        if self._sample is None or step in self._told.answered:
            return
        self._emit(Phase(phase=self.phase, detail="answering held-out prompts"))
        with self._clock.on("eval"):
            answers = self._sample()
        self._emit(Generate(global_step=step, samples=answers))
        self._told.answered.add(step)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        step = state.global_step
        self._tokens = float(self._start.checkpoint.numbers.get("tokens", 0)) if self._start.checkpoint else 0.0
        self._logged_to = step
        self._clock.begin()
        # A restart measures the base model only where that was not done, and makes up for what the end cut off.
        due = args.eval_on_start if not step else args.eval_strategy == "steps" and not step % state.eval_steps
        args.eval_on_start = due and self.owes(step) and step < state.max_steps
        if args.eval_on_start and not step:
            self._emit(Phase(phase="training", detail="measuring the base model on the held-out rows"))
        self._emit(
            dataclasses.replace(
                self._begin,
                max_steps=state.max_steps,
                num_train_epochs=float(state.num_train_epochs) if args.max_steps <= 0 else None,
                global_step=step,
                told_to=self._told_to if self._start.goes_on else None,
            )
        )
        self.history(state.max_steps)
        if not args.eval_on_start and not step:
            self.answer(step)
        if self._start.word or not args.eval_on_start:
            self._emit(Phase(phase="training", detail=self._start.word or None))

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._gauge.look()
        due = self._notice(control)
        if due and not control.should_training_stop:
            control.should_save = True
        if self._ends:
            control.should_save = control.should_training_stop = True
            control.should_evaluate = False
        if state.global_step >= state.max_steps or self._ends:
            control.should_log = True  # the curve ends where the training does

    def on_substep_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """A step may take minutes, and who asks to end waits for half of one: this step will be made again."""
        self._notice(control)
        if self._ends:
            step, control.should_training_stop = state.global_step, True
            control.should_save = step > 0 and not self._is_written(step)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._ends:
            control.should_log = control.should_evaluate = False
            control.should_save = control.should_save and not self._is_written(state.global_step)
        elif self._checkpoints is not None:
            self._checkpoints.asked = control.should_save

    def _notice(self, control: Any) -> bool:
        """Hear from all processes whether to end; True: it is time for a checkpoint."""
        due = False
        if self._checkpoints is not None:
            self._checkpoints.asked = control.should_save
            due = self._checkpoints.due()
        asked, any_due = agreed(float(self._stop.signal or 0), float(due))
        self._hear(asked)
        return bool(any_due)

    def check(self) -> None:
        """Raise `Cancelled` in all processes if one of them was asked to end: what comes next needs all of them."""
        (asked,) = agreed(float(self._stop.signal or 0))
        self._hear(asked)
        if self._ends:
            raise Cancelled

    def _hear(self, asked: float) -> None:
        if asked:  # a signal that came here while they agreed stays, for the next time
            self._ends, self._stop.signal = True, int(asked)

    def _is_written(self, step: int) -> bool:
        return self._checkpoints is not None and step in self._checkpoints.written

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        if not logs or "loss" not in logs:
            return  # the held-out loss and the end's summary have events of their own
        log = self._measured(state, logs)
        del state.log_history[:-1]  # Hugging Face's own copy of the curve: nobody reads it, and it grows
        if log.global_step <= self._told_to:
            return
        if self._start.word:
            self._start.word = ""
            self._emit(Phase(phase="training"))
        self._keep(log)
        self._emit(log)
        if self._logged >= self._next_history:
            self._next_history = self._logged + min(HISTORY_RARELY, max(HISTORY_EVERY, self._logged // 10))
            self.history(state.max_steps)

    def _measured(self, state: Any, logs: dict[str, Any]) -> Log:
        """The step's numbers, and those of the time and the device: of all processes, which all come here."""
        spent, device = self._clock.split(), self._gauge.read()
        (samples,) = added(spent.samples)
        # What a process does not know is less than anything that another knows.
        known = [-math.inf if value is None else value for value in (device.peak, device.used)]
        idle = -math.inf if device.utilization is None else -device.utilization
        data, save, evaluation, peak, used, idle = agreed(spent.data, spent.save, spent.eval, *known, idle)
        steps, self._logged_to = state.global_step - self._logged_to, state.global_step
        tokens, before = logs.get("num_tokens"), self._tokens
        self._tokens = tokens or 0.0
        return Log(
            global_step=state.global_step,
            epoch=_rounded(state.epoch),
            loss=_rounded(logs["loss"]),
            learning_rate=logs.get("learning_rate"),
            grad_norm=_rounded(logs.get("grad_norm")),
            num_tokens=tokens,
            tokens_per_second=None if tokens is None else _rate(tokens - before, spent.loop),
            samples_per_second=_rate(samples, spent.loop) if samples else None,
            step_seconds=round(spent.loop / steps, 4) if steps > 0 else None,
            data_seconds=round(data, 4),
            save_seconds=round(save, 4),
            eval_seconds=round(evaluation, 4),
            mean_token_accuracy=_rounded(logs.get("mean_token_accuracy")),
            device_memory_bytes=None if peak == -math.inf else int(peak),
            device_memory_used_bytes=None if used == -math.inf else int(used),
            gpu_utilization=None if idle == -math.inf else round(-idle, 1),
        )

    def _keep(self, log: Log) -> None:
        self._latest = log
        self._logged += 1
        if (self._logged - 1) % self._stride == 0:
            self._logs.append(log)
            if len(self._logs) >= 4 * HISTORY_POINTS:
                self._logs, self._stride = self._logs[::2], self._stride * 2

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: dict[str, float] | None = None, **kwargs: Any
    ) -> None:
        values, step = dict(metrics or {}), state.global_step
        loss = float(values.pop("eval_loss", float("nan")))
        kept = {k: float(v) for k, v in values.items() if k in MEASURED}  # unrounded: they may be compared
        event = Evaluate(global_step=step, eval_loss=loss, epoch=_rounded(state.epoch), metrics=kept)
        if self.eval_loss(step) is None:
            self.evaluations.append(event)
            self._emit(event)
        if step == 0:
            self.answer(step)
            self._emit(Phase(phase="training"))

    def on_prediction_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if args.world_size == 1:  # several processes must not leave an evaluation at different rows
            self._stop.check()

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        step, took = state.global_step, self._checkpoints.took if self._checkpoints else None
        self._emit(Save(global_step=step, path=f"{args.output_dir}/checkpoint-{step}", seconds=took))

    def tell(self, what: str) -> None:
        """Say something of the present work to those who watch."""
        self._emit(Phase(phase=self.phase, detail=what))

    def history(self, max_steps: int) -> None:
        """Tell the curve so far, thinned to what one event may carry; the latest point is always in it."""
        if self._latest is None:
            return
        logs = self._logs if self._logs[-1] is self._latest else [*self._logs, self._latest]
        stride = -(-len(logs) // HISTORY_POINTS)
        points = logs[::-1][::stride][::-1]
        names = [f.name for f in dataclasses.fields(Log)]
        columns = {name: [getattr(point, name) for point in points] for name in names}
        stride = -(-len(self.evaluations) // HISTORY_POINTS) or 1
        evaluations = self.evaluations[::-1][::stride][::-1]
        self._emit(
            History(
                columns={name: values for name, values in columns.items() if any(v is not None for v in values)},
                evaluations={
                    "global_step": [float(e.global_step) for e in evaluations],
                    "eval_loss": [e.eval_loss for e in evaluations],
                }
                if evaluations
                else None,
                max_steps=max_steps,
            )
        )


def _rate(count: float, seconds: float) -> float | None:
    return float(f"{count / seconds:.5g}") if seconds > 0 and count >= 0 else None


def _rounded(value: Any) -> float | None:
    """Six significant digits are more than anyone reads."""
    return None if value is None else float(f"{float(value):.6g}")


__all__ = ["EventCallback"]
