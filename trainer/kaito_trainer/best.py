"""Which evaluation was the best so far: when to end for want of a better one, and whose weights are kept.

Both follow from the evaluations that were told. A restart reads them again, and so ends after the step, and with the adapter,
of a run that nobody touched. Hugging Face's loop by itself forgets how patient it has been when it resumes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from transformers import EarlyStoppingCallback

from .contract import TrainingConfig
from .contract.events import Evaluate


class Best(EarlyStoppingCallback):
    """Hugging Face's early stopping, patient for ever where nothing was asked, that goes on counting after a restart.

    `told`: the evaluations before this start, by step. What is better, and by how much, is as Hugging Face has it: an
    evaluation counts against the patience when it does not beat the best one before by more than the threshold.
    """

    def __init__(self, config: TrainingConfig, told: Mapping[int, Evaluate]) -> None:
        options = config.TrainerOptions
        patience = math.inf if options.early_stopping_patience is None else options.early_stopping_patience
        super().__init__(patience, options.early_stopping_threshold or 0.0)
        self._told = told

    @property
    def enough(self) -> bool:
        """Whether the patience is at its end."""
        return bool(self.early_stopping_patience_counter >= self.early_stopping_patience)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Weigh again what was told up to the step that the run goes on from."""
        told = [self._told[step] for step in sorted(self._told) if 0 < step <= state.global_step]
        if args.metric_for_best_model is None or not told:
            return
        state.best_metric = state.best_global_step = None
        for evaluation in told:
            value = measured(args, evaluation)
            self.check_metric_value(args, state, control, value)
            worst = -math.inf if args.greater_is_better else math.inf
            before = worst if state.best_metric is None else state.best_metric
            state.best_metric = before  # as Hugging Face leaves it where the first one is no number
            if value > before if args.greater_is_better else value < before:
                state.best_metric, state.best_global_step = value, evaluation.global_step
        if self.enough:
            control.should_training_stop = True

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if control.should_evaluate and self.early_stopping_patience < math.inf:
            control.should_log = True  # the curve ends where the training may

    on_epoch_end = on_step_end

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any) -> None:
        if args.metric_for_best_model is not None and state.global_step:  # an adapter that has learnt nothing is none
            super().on_evaluate(args, state, control, metrics=metrics, **kwargs)

    def state(self) -> dict[str, Any]:
        """Nothing that a checkpoint must hold."""
        return {}

    def word(self, step: int, last: int) -> str | None:
        """For people: why it ends before its last step, if it does."""
        if step >= last or not self.enough:
            return None
        times = "evaluation" if self.early_stopping_patience == 1 else "evaluations"
        return f"no better in {self.early_stopping_patience} {times}"


def of(args: Any, evaluations: Iterable[Evaluate], last: int) -> Evaluate | None:
    """The best evaluation of steps up to `last`, the first of equals; None where nobody asked, or none is a number."""
    if args.metric_for_best_model is None:
        return None
    known = [e for e in evaluations if 0 < e.global_step <= last and not math.isnan(measured(args, e))]
    sign = -1 if args.greater_is_better else 1
    return min(known, key=lambda e: (sign * measured(args, e), e.global_step), default=None)


def measured(args: Any, evaluation: Evaluate) -> float:
    """The number by which evaluations are compared; no number where it was not measured."""
    name = f"eval_{args.metric_for_best_model.removeprefix('eval_')}"
    value = evaluation.eval_loss if name == "eval_loss" else (evaluation.metrics or {}).get(name)
    return math.nan if value is None else float(value)


__all__ = ["Best", "measured", "of"]
