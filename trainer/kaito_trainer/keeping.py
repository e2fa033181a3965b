"""The training loop's state into a checkpoint, and out of it again: so that a restart makes the very steps that were left.

Hugging Face's loop keeps model, optimiser, scheduler, scaler and generators, and skips the data that was seen. Left out are
the loss that was added up since the last log, the tokens and the seconds so far: they are kept here. Two more things differ.
An evaluation leaves the generators as they were, so that it makes no difference when, and how often, there is one. And a step
that is left halfway is as if it had not begun.
"""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import numpy
import torch
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from . import results
from .checkpoints import Checkpoint, Checkpoints
from .oom import Halving
from .together import added

STATE = "trainer_state.json"
OF_A_STEP = 24
"""Bytes of a checkpoint for each trained parameter at most: itself and the optimiser's two numbers, in 32 or 64 bits."""


class Keeping(Halving):
    """Writes its checkpoints through `checkpoints`, and goes on from `origin`."""

    def __init__(
        self, *args: Any, checkpoints: Checkpoints | None = None, origin: Checkpoint | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.checkpoints = checkpoints
        self.origin = origin
        self.seconds = 0.0
        """The training's time before this start."""
        self.holds: int | None = None
        """The step whose adapter the model was given in the end; None: it has that of the last step."""
        self._begun = time.monotonic()
        # A step of several batches may be left halfway, for the state before it: the generators as the step before left them
        # (an epoch that begins draws from them), and the loss that was added up.
        self._after_step: tuple[Any, ...] | None = None
        self._before_step: tuple[tuple[Any, ...], Any] | None = None
        self._counted: tuple[int, dict[str, int]] = (0, {})
        self.add_callback(_Beside(self))

    def restore(self) -> None:
        """Go on counting where the checkpoint's loop was."""
        self._begun = time.monotonic()
        trained = sum(p.numel() for p in self.model.parameters() if p.requires_grad)
        if self.checkpoints is not None:
            self.checkpoints.begin(OF_A_STEP * trained)
        if self.origin is not None and self.checkpoints is not None and self.origin.run == self.checkpoints.run:
            self.checkpoints.written.add(self.origin.step)
        if self.origin is None or not (numbers := self.origin.numbers):
            return
        self.seconds = numbers["seconds"]
        self._tr_loss += numbers["loss_since_log"]
        self._total_loss_scalar = numbers["loss_total"]
        self._globalstep_last_logged = numbers["last_logged"]
        self._initial_global_step = 0  # the mean loss at the end is that of all steps
        self._total_train_tokens = numbers["tokens"] if self.args.process_index == 0 else 0

    def numbers(self) -> dict[str, Any]:
        """What `restore` needs. All processes together: each counts its own."""
        loss, tokens = added(float(self._tr_loss), self._total_train_tokens)
        return {
            "seconds": round(self.seconds + time.monotonic() - self._begun, 3),
            "loss_since_log": loss / max(1, self.args.world_size),
            "loss_total": self._total_loss_scalar,
            "last_logged": self._globalstep_last_logged,
            "tokens": int(tokens),
        }

    def checkpoint(self) -> None:
        """Write a checkpoint of the present step, unless there is one, or its weights are gone, or another process is elsewhere."""
        if self.args.world_size > 1 or self.holds is not None:
            return
        if self.checkpoints is None or self.state.global_step not in self.checkpoints.written:
            self._save_checkpoint(self.model, trial=None)
            self.callback_handler.on_save(self.args, self.state, self.control)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        if self.checkpoints is None or self.is_deepspeed_enabled or self.is_fsdp_enabled:
            super()._save_checkpoint(model, trial)
            return
        if 0 < len(self._made) < self._of_step and self._before_step is not None:
            drawn, loss = self._before_step
            set_generators(drawn)
            self._tr_loss.copy_(loss)
            self._total_train_tokens = self._counted[0]
            self.model.zero_grad()
        step, folder = self.state.global_step, self.checkpoints.folder
        best = self.state.best_global_step
        if best and (best == step or (folder / f"checkpoint-{best}").is_dir()):
            self.state.best_model_checkpoint = str(folder / f"checkpoint-{best}")
        self.store_flos()
        kept = self.state.best_model_checkpoint
        self.checkpoints.write(
            step,
            self._fill,
            self.numbers(),
            best=Path(kept) if kept else None,
            together=self.accelerator.wait_for_everyone,
        )

    def take(self, step: int) -> bool:
        """Give the model the adapter of that step's checkpoint; the loop is over then. False: there is no whole one."""
        if step in (self.holds, self.state.global_step):
            return True
        if self.checkpoints is None or not self.checkpoints.has(step):
            return False
        self.state.best_model_checkpoint = str(self.checkpoints.folder / f"checkpoint-{step}")
        self._load_best_model()
        self.holds = step
        return True

    def _finalize_training(self, *args: Any) -> Any:
        """Without what Hugging Face does with the best checkpoint: it may have to be gone on from the last one, and not from that."""
        if self.checkpoints is not None:
            self.state.best_model_checkpoint = None
        return super()._finalize_training(*args)

    def _evaluate(self, trial: Any, ignore_keys_for_eval: Any, skip_scheduler: bool = False) -> dict[str, float]:
        made_up = skip_scheduler and self.state.global_step > 0  # at the start, for one that an end has cut off
        metrics: dict[str, float] = super()._evaluate(trial, ignore_keys_for_eval, skip_scheduler and not made_up)
        if made_up:
            self._determine_best_metric(metrics, trial)
        return metrics

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        """A new best one gets a checkpoint where it is wanted in the end, whatever the steps between two of them.

        True: there shall be one. With `save_strategy: best` the loop takes the word for it, and would forget one that is due.
        """
        better = bool(super()._determine_best_metric(metrics, trial))
        if better and self.args.save_strategy == "best" and self.checkpoints is not None:
            self.checkpoints.asked = True
        if better and self.args.load_best_model_at_end:
            self.state.best_global_step = self.state.global_step
            self.control.should_save = True
        return better or bool(self.control.should_save)

    def _fill(self, folder: Path) -> None:
        """A checkpoint as Hugging Face reads it, without what is the same in all of them (the tokenizer, the arguments)."""
        if self.args.should_save:
            results.write_adapter(self.accelerator.unwrap_model(self.model), folder)
            (folder / "README.md").unlink(missing_ok=True)
            for part in (*self.callback_handler.callbacks, self.control):
                if isinstance(part, ExportableState):
                    self.state.stateful_callbacks[type(part).__name__] = part.state()
            history, self.state.log_history = self.state.log_history, []  # the events have it; here it would only grow
            self.state.save_to_json(str(folder / STATE))
            self.state.log_history = history
        self._save_optimizer_and_scheduler(str(folder))
        self._save_scaler(str(folder))
        self._save_rng_state(str(folder))

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        if self.state.global_step >= self.state.max_steps or self.control.should_training_stop:
            # Hugging Face's loop would make one step more.
            self.control.should_training_stop = True
            return
        super()._run_epoch(*args, **kwargs)

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        before = generators()
        try:
            return super().evaluate(*args, **kwargs)
        finally:
            set_generators(before)

    def after_step(self) -> None:
        """A step was made."""
        if self.args.gradient_accumulation_steps > 1:
            self._after_step = generators()

    def before_step(self) -> None:
        counted = {name: len(values) for name, values in self._metrics["train"].items()}
        self._counted = (self._total_train_tokens, counted)
        if self._of_step > 1:
            self._before_step = (self._after_step or generators(), self._tr_loss.clone())

    def forget_step(self) -> None:
        self._total_train_tokens, counted = self._counted
        for name, values in self._metrics["train"].items():
            del values[counted.get(name, 0) :]


class _Beside(TrainerCallback):
    """The trainer's own ear in Hugging Face's loop, which sets its counters to nothing right before `on_train_begin`."""

    def __init__(self, trainer: Keeping) -> None:
        self._trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._trainer.restore()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._trainer.after_step()


def generators() -> tuple[Any, ...]:
    """All states of random generators that a step may draw from."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() and torch.cuda.is_initialized() else None
    return random.getstate(), numpy.random.get_state(), torch.random.get_rng_state(), cuda


def set_generators(states: tuple[Any, ...]) -> None:
    """Go back to such states."""
    python, of_numpy, cpu, cuda = states
    random.setstate(python)
    numpy.random.set_state(of_numpy)
    torch.random.set_rng_state(cpu)
    if cuda is not None:
        torch.cuda.set_rng_state_all(cuda)


__all__ = ["Keeping", "generators", "set_generators"]
