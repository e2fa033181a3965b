"""How a training ends: whose weights the adapter has, where it lies, and what is said of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from . import best, results
from .callbacks import EventCallback
from .contract.events import Save, TrainEnd
from .emit import Emitter
from .trainer import Trainer


def save(trainer: Trainer, step: int, output: Path, emit: Emitter) -> None:
    """Write the adapter, which is that of a step."""
    if emit.speaks:
        results.save_adapter(trainer.model, output)
        emit(Save(global_step=step, path=str(output), final=True))


def hold(trainer: Trainer, events: EventCallback, output: Path, emit: Emitter) -> int:
    """Put the best adapter in the last one's place, where that is wanted. Returns the step whose adapter it is."""
    step: int = trainer.state.global_step
    top = best.of(trainer.args, events.evaluations, step) if trainer.args.load_best_model_at_end else None
    if top is None or top.global_step in (step, trainer.holds):
        return step if trainer.holds is None else trainer.holds
    events.tell(f"taking the adapter of step {top.global_step}, the best one")
    if not trainer.take(top.global_step):
        events.tell(f"the checkpoint of step {top.global_step} is gone: the last adapter is kept")
        return step
    save(trainer, top.global_step, output, emit)
    return top.global_step


def told(
    trainer: Trainer,
    events: EventCallback,
    held: int,
    output: Path,
    outcome: Mapping[str, float],
    early: str | None,
    *,
    completed: bool,
) -> TrainEnd:
    """The `train_end` event. `held`: the step whose adapter is kept; `early`: why it ended before its last step."""
    step = trainer.state.global_step
    top = best.of(trainer.args, events.evaluations, step)
    return TrainEnd(
        status="completed" if completed else "cancelled",
        global_step=step,
        train_runtime=outcome.get("train_runtime"),
        train_loss=outcome.get("train_loss"),
        eval_loss=events.eval_loss(held),
        stopped_early=early if completed else None,
        best_step=top.global_step if top else None,
        best_eval_loss=top.eval_loss if top else None,
        adapter_step=held if held != step else None,
        adapter=str(output),
    )


__all__ = ["hold", "save", "told"]
