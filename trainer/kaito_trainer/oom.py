"""Out of memory in the middle of a step: the batch is halved and added up in place, and the training goes on.

The step is made again with half the rows at once and twice as many times; the loss is a sum over tokens divided by those of
the whole step, so what is learnt does not change. What did not fit is noted in the output folder and never tried again, after
a restart neither. A single row that does not fit alone is tried with its activations computed twice; if that is not enough,
the error says how long a row fits. Of several processes each halves its own part; the others hear of it after the step.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from trl import SFTTrainer

from . import pieces, results, together
from .contract import TrainingConfig
from .failures import Failure, is_out_of_memory
from .pieces import Inputs
from .together import agreed

SIZES: Final = ("rows", "tokens", "eval_rows")
"""What `Limits` are about."""
SHORTEST: Final = 16
"""Tokens below which no row is looked for that would fit."""


@dataclass
class Limits:
    """What fits of one model on one device, as far as that was found out."""

    folder: Path | None = None
    key: str = ""
    """Model, adapter, precision and device: on another one, something else fits."""
    rows: int | None = None
    """Rows at once, in training; None: all that are asked for."""
    tokens: int | None = None
    """Tokens at once of rows that lie end to end."""
    eval_rows: int | None = None
    recompute: bool = False
    """Whether activations are computed twice, though that was not asked for."""
    may_recompute: bool = True
    """Whether that is left to us."""

    @classmethod
    def noted(cls, folder: Path, config: TrainingConfig, facts: Iterable[object]) -> Limits:
        """What was found out before. `facts`: what, beside the configuration's sections, decides how much fits."""
        checkpointing = config.TrainingArguments.gradient_checkpointing
        sections = (config.QuantizationConfig.to_dict(), config.LoraConfig.to_dict(), checkpointing)
        key = " | ".join(map(str, (*facts, *sections)))
        known = results.noted(folder).get("memory")
        known = known if isinstance(known, dict) and known.get("key") == key else {}
        kept = {name: known.get(name) for name in ("rows", "tokens", "eval_rows")}
        return cls(folder, key, **kept, recompute=bool(known.get("recompute")), may_recompute=checkpointing is None)

    def note(self) -> None:
        """For the next start."""
        if self.folder is not None:
            names = ("key", "rows", "tokens", "eval_rows", "recompute")
            results.note(self.folder, memory={name: getattr(self, name) for name in names})

    @property
    def choices(self) -> dict[str, Any]:
        """What `train_begin` says of them."""
        found = {"rows_at_once": self.rows, "tokens_at_once": self.tokens, "eval_rows_at_once": self.eval_rows}
        return {k: v for k, v in found.items() if v is not None}


class Halving(SFTTrainer):
    """TRL's trainer, with batches that are halved when they do not fit."""

    def __init__(self, *args: Any, limits: Limits | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.limits = limits or Limits()
        self.tell: Callable[[str], None] = lambda what: None
        """Hears what was changed."""
        self._made: list[Inputs] = []  # batches of the present step that were sent through the model
        self._of_step = 0  # how many it has
        self._news = False  # of the limits, that the other processes have not heard
        if self.args.ddp_broadcast_buffers is None:
            self.args.ddp_broadcast_buffers = False  # no buffer of a model changes, and nobody shall wait within a step
        if self.limits.recompute:
            self.recompute()

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> Any:
        found = super().get_batch_samples(*args, **kwargs)
        self._made, self._of_step = [], len(found[0])
        return found

    def training_step(self, model: Any, inputs: Inputs, num_items_in_batch: Any = None) -> Any:
        if not self._made:
            self.before_step()
        self._made.append(inputs)
        todo = [inputs]
        while True:
            short_of = None
            try:
                with together.alone(model):
                    for batch in todo:
                        loss = self._in_pieces(model, batch, num_items_in_batch)
                break
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                short_of = " ".join(str(error).split())
            # Only here, where the exception no longer holds the tensors of the failed attempt, can they be freed.
            model.zero_grad()
            _free()
            self.forget_step()
            self._halve(model, num_items_in_batch, short_of)
            todo = list(self._made)  # what the step's earlier batches had added up is gone, too
        if len(self._made) == self._of_step and together.add_up(model, self._news):
            self._hear()
        return loss

    def prediction_step(self, model: Any, inputs: Inputs, *args: Any, **kwargs: Any) -> Any:
        while True:
            before = self.held_out()
            try:
                for piece in pieces.cut(inputs, self.limits.eval_rows, self.limits.tokens):
                    outcome = super().prediction_step(model, piece, *args, **kwargs)
                return outcome
            except (RuntimeError, MemoryError) as error:
                unit, count = pieces.size(inputs)
                count = min(count, self.limits.eval_rows or count)
                if not is_out_of_memory(error) or unit != "rows" or count < 2:
                    raise
            _free()
            self.held_out(before)
            self.limits.eval_rows = count // 2
            self._changed(f"{count // 2} held-out rows at once in place of {count}")

    def before_step(self) -> None:
        """The first batch of a step is about to be sent through the model."""
        raise NotImplementedError

    def forget_step(self) -> None:
        """The step is made again: what was counted in it does not count."""
        raise NotImplementedError

    def held_out(self, back_to: Any = None) -> Any:
        """What an evaluation has added up; or go back to what it was."""
        raise NotImplementedError

    def _in_pieces(self, model: Any, inputs: Inputs, whole: Any) -> Any:
        """Forward and backward, at once or in pieces. `whole`: tokens of the step, by which losses are divided."""
        parts = pieces.cut(inputs, self.limits.rows, self.limits.tokens)
        if whole is None and len(parts) > 1:
            whole = (inputs["labels"][..., 1:] != -100).sum()
        losses = []
        for part in parts:
            self._tried = part
            losses.append(super().training_step(model, part, whole))
        return losses[0] if len(losses) == 1 else torch.stack(losses).sum()

    def _halve(self, model: Any, whole: Any, reason: str) -> None:
        """Ask for less at once. Raises `Failure` when there is no less."""
        limits, (unit, count) = self.limits, pieces.size(self._tried)
        if unit == "tokens" or count > 1:
            setattr(limits, unit, count // 2)
            recompute, what = False, f"{count // 2} {unit} at once in place of {count}, added up to the same step"
        elif not limits.recompute and limits.may_recompute and not self.args.gradient_checkpointing:
            recompute = limits.recompute = True
            what = "activations are computed twice, a single row does not fit otherwise"
        else:
            raise self._nothing_left(model, whole, reason)
        if recompute:
            self.recompute()
        self._changed(what)

    def recompute(self) -> None:
        """Compute activations twice from now on, instead of keeping them."""
        model = self.model
        base = model.get_base_model()
        model.enable_input_require_grads()
        name = (
            "activation_checkpointing" if hasattr(base, "activation_checkpointing_enable") else "gradient_checkpointing"
        )
        getattr(base, f"{name}_enable")(**{f"{name}_kwargs": {"use_reentrant": False}})

    def _hear(self) -> None:
        """Take over what others have found out: what does not fit there will not fit here for long."""
        limits, self._news = self.limits, False
        before = limits.choices
        found = agreed(*(-(getattr(limits, name) or math.inf) for name in SIZES), float(limits.recompute))
        for name, least in zip(SIZES, found, strict=False):
            setattr(limits, name, None if least == -math.inf else int(-least))
        if found[-1] and not limits.recompute:
            limits.recompute = True
            self.recompute()
        if self.args.process_index == 0 and limits.choices != before:
            limits.note()
            said = ", ".join(f"{name}: {value}" for name, value in limits.choices.items())
            self.tell(f"out of memory in another process: {said}")

    def _changed(self, what: str) -> None:
        self._news = self.args.world_size > 1
        self.limits.note()
        self.tell(f"out of memory: {what}")

    def _nothing_left(self, model: Any, whole: Any, reason: str) -> Failure:
        """The failure that says how long a row would fit."""
        width = self._tried["input_ids"].shape[-1]
        fits, fails = 0, width
        while fails - fits > max(1, width // 32):
            middle = (fits + fails) // 2
            if self._fits(model, pieces.shortened(self._tried, middle), whole):
                fits = middle
            else:
                fails = middle
        message = f"A single row of {width} tokens does not fit into the device's memory: {reason}"
        rest = 'use the method "qlora", or take a GPU with more memory.'
        if not self.limits.recompute and not self.args.gradient_checkpointing:
            rest = f"set gradient_checkpointing: true, or {rest}"
        if fits < SHORTEST:
            return Failure("out-of-memory", message, rest[0].upper() + rest[1:])
        return Failure("out-of-memory", message, f"{fits} tokens fit: set max_length: {fits}, or {rest}")

    def _fits(self, model: Any, inputs: Inputs, whole: Any) -> bool:
        try:
            with together.alone(model):
                super().training_step(model, inputs, whole)
            return True
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return False
        finally:
            model.zero_grad()
            _free()


def _free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


__all__ = ["Halving", "Limits"]
