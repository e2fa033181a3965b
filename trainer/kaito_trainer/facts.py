"""What is said before the first step: the run's size, and every choice that was made without being asked."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import platform
from collections.abc import Iterable
from typing import Any, Final

from . import hf_config
from .choices import Choice
from .contract import TrainingConfig
from .contract.events import TrainBegin
from .data import Data
from .defaults import Device
from .gauge import total_memory
from .tokens import Tokenized, Tokenizing
from .trainer import Trainer

PACKAGES: Final = ("kaito-trainer", "torch", "transformers", "peft", "trl", "datasets", "accelerate", "bitsandbytes")


def begin(
    trainer: Trainer,
    path: str,
    device: Device,
    config: TrainingConfig,
    rows: Data,
    tokenizing: Tokenizing,
    train: Tokenized,
    held_out: Tokenized,
    chosen: dict[str, Any],
    made: Iterable[Choice] = (),
) -> TrainBegin:
    """The `train_begin` event, less what only the training loop knows."""
    trainable, total = trainer.model.get_nb_trainable_parameters()
    adapted = {name.rpartition(".")[2] for name in trainer.model.targeted_module_names}
    choices = {
        **chosen,
        "max_length": tokenizing.max_length,
        "dtype": str(trainer.model.dtype).removeprefix("torch."),
        "attn_implementation": trainer.model.config._attn_implementation,
        "loss_head": "plain" if trainer.plain_loss else "fused",
        "gradient_checkpointing": bool(trainer.args.gradient_checkpointing),
        "data_files": list(rows.files),
        "format": rows.format,
    }
    if tokenizing.template is not None:
        choices["turn_end"] = tokenizing.template.closer
    if dropped := train.dropped + held_out.dropped:
        choices["rows_without_loss"] = dropped
    return TrainBegin(
        max_steps=trainer.state.max_steps,
        trainable_parameters=trainable,
        total_parameters=total,
        train_rows=len(train.dataset),
        eval_rows=len(held_out.dataset),
        device=device.name,
        devices=device.count,
        device_memory_total_bytes=total_memory(),
        model=path,
        method="lora" if hf_config.quantization(config) is None else "qlora",
        loss_on=tokenizing.on,
        target_modules=sorted(adapted),
        versions=versions(),
        choices=choices,
        reasons=[_used(choice, choices).to_dict() for choice in made],
        truncated_rows=train.truncated + held_out.truncated,
    )


def _used(choice: Choice, choices: dict[str, Any]) -> Choice:
    """The choice, with what the trainer made of it in the end."""
    if choice.name != "loss_head" or choice.value == choices["loss_head"]:
        return choice
    why = "The loss that was asked for is made by TRL's own head."
    return dataclasses.replace(choice, value=choices["loss_head"], why=why, yours=False)


def versions() -> dict[str, str]:
    """Python and the packages that decide what is computed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


__all__ = ["begin", "versions"]
