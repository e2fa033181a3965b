"""Hugging Face's training loop → events."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable
from typing import Any, Final

from transformers import TrainerCallback

from .contract.events import HISTORY_POINTS, Evaluate, Generate, History, Log, Payload, Phase, Save, TrainBegin
from .stop import Stop

HISTORY_EVERY: Final = 200
"""Logged steps between two `history` events at first; later a tenth of those so far, so that they cost the log little."""
HISTORY_RARELY: Final = 5000
"""The most logged steps between two of them: what a log's rotation may lose is bounded by it."""
Sampler = Callable[[], list[dict[str, str]]]


class EventCallback(TrainerCallback):
    """Tells of each step, and ends the training after the step in which it was asked to end.

    `begin` holds what is known before the first step; `sample` answers the held-out prompts, None: there are none.
    """

    def __init__(self, emit: Callable[[Payload], None], begin: TrainBegin, stop: Stop, sample: Sampler | None) -> None:
        self.eval_loss: float | None = None
        """The last held-out loss."""
        self.evaluated_at: int | None = None
        """The step at which it was measured."""
        self.phase = "training"
        """The phase under which it tells what it does beside the steps."""
        self._emit, self._begin, self._stop, self._sample = emit, begin, stop, sample
        self._clock = 0.0  # when the present step began
        self._seconds = 0.0  # spent in steps since the last log
        self._tokens = 0.0  # seen at the last log
        self._logged = 0
        self._next_history = HISTORY_EVERY
        self._logs: list[Log] = []  # each so many, and the latest: memory does not grow with the run
        self._stride = 1
        self._latest: Log | None = None
        self._evaluations: list[Evaluate] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if args.eval_on_start:
            self._emit(Phase(phase="training", detail="measuring the base model on the held-out rows"))
        self._emit(
            dataclasses.replace(
                self._begin,
                max_steps=state.max_steps,
                num_train_epochs=float(state.num_train_epochs) if args.max_steps <= 0 else None,
                global_step=state.global_step,
            )
        )
        if not args.eval_on_start:
            self._emit(Phase(phase="training"))

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._clock = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._seconds += time.perf_counter() - self._clock
        if self._stop.asked:
            control.should_save = control.should_training_stop = True
            control.should_evaluate = False
        if state.global_step >= state.max_steps or self._stop.asked:
            control.should_log = True  # the curve ends where the training does

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        if not logs or "loss" not in logs:
            return  # the held-out loss and the end's summary have events of their own
        tokens = logs.get("num_tokens")
        rate = (tokens - self._tokens) / self._seconds if tokens is not None and self._seconds > 0 else None
        self._tokens, self._seconds = tokens or 0.0, 0.0
        log = Log(
            global_step=state.global_step,
            epoch=_rounded(state.epoch),
            loss=_rounded(logs["loss"]),
            learning_rate=logs.get("learning_rate"),
            grad_norm=_rounded(logs.get("grad_norm")),
            num_tokens=tokens,
            tokens_per_second=None if rate is None else round(rate, 1),
            mean_token_accuracy=_rounded(logs.get("mean_token_accuracy")),
            device_memory_bytes=peak_memory(),
        )
        self._latest = log
        self._logged += 1
        if (self._logged - 1) % self._stride == 0:
            self._logs.append(log)
            if len(self._logs) >= 4 * HISTORY_POINTS:
                self._logs, self._stride = self._logs[::2], self._stride * 2
        self._emit(log)
        if self._logged >= self._next_history:
            self._next_history = self._logged + min(HISTORY_RARELY, max(HISTORY_EVERY, self._logged // 10))
            self.history(state.max_steps)

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: dict[str, float] | None = None, **kwargs: Any
    ) -> None:
        values = dict(metrics or {})
        loss = float(values.pop("eval_loss", float("nan")))
        self.eval_loss, self.evaluated_at = loss, state.global_step
        kept = {k: _rounded(v) for k, v in values.items() if k in ("eval_mean_token_accuracy", "eval_runtime")}
        event = Evaluate(global_step=state.global_step, eval_loss=loss, epoch=_rounded(state.epoch), metrics=kept)  # type: ignore[arg-type]
        self._evaluations.append(event)
        self._emit(event)
        if state.global_step in (0, state.max_steps) and self._sample is not None:
            self._emit(Phase(phase=self.phase, detail="answering held-out prompts"))
            self._emit(Generate(global_step=state.global_step, samples=self._sample()))
        if state.global_step == 0:
            self._emit(Phase(phase="training"))

    def on_prediction_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._stop.check()

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._emit(Save(global_step=state.global_step, path=f"{args.output_dir}/checkpoint-{state.global_step}"))

    def history(self, max_steps: int) -> None:
        """Tell the curve so far, thinned to what one event may carry; the latest point is always in it."""
        if self._latest is None:
            return
        logs = self._logs if self._logs[-1] is self._latest else [*self._logs, self._latest]
        stride = -(-len(logs) // HISTORY_POINTS)
        points = logs[::-1][::stride][::-1]
        names = [f.name for f in dataclasses.fields(Log)]
        columns = {name: [getattr(point, name) for point in points] for name in names}
        stride = -(-len(self._evaluations) // HISTORY_POINTS) or 1
        evaluations = self._evaluations[::-1][::stride][::-1]
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


def peak_memory() -> int:
    """Bytes: the most that torch has held on the GPU, or that the process has held without one."""
    import torch

    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return int(torch.cuda.max_memory_allocated())
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _rounded(value: Any) -> float | None:
    """Six significant digits are more than anyone reads."""
    return None if value is None else float(f"{float(value):.6g}")


__all__ = ["EventCallback", "peak_memory"]
