"""Whether this start goes on with the run that the output folder holds, and from where.

A run goes on when all that decides what it learns is as it was: base model, adapter, data, rows a step, schedule. What only
decides how it is computed or told may change: rows at once where the accumulation makes up for it, checkpointing of
activations, logging, evaluation, saving. With any other change it starts anew, and says which one it was: half a run with one
learning rate and half with another would be neither. `resume_from_checkpoint` overrules that: a path goes on from there
whatever has changed, `true` from the folder's latest, `false` never goes on.
"""

from __future__ import annotations

import json
import uuid
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from . import checkpoints, results
from .checkpoints import Checkpoint
from .contract import TrainingConfig
from .contract.problems import shown
from .places import Places
from .told import Told, told

MATTERS: Final = (
    "num_train_epochs", "max_steps", "learning_rate", "lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps",
    "warmup_ratio", "weight_decay", "max_grad_norm", "optim", "optim_args", "adam_beta1", "adam_beta2", "adam_epsilon",
    "label_smoothing_factor", "neftune_noise_alpha", "loss_type", "seed", "data_seed", "packing", "packing_strategy",
    "train_sampling_strategy", "group_by_length", "dataloader_drop_last",
)  # fmt: skip
"""Training arguments that decide what is learnt."""


@dataclass
class Start:
    """How a start begins."""

    run: str
    """The run's own name: its checkpoints bear it."""
    checkpoint: Checkpoint | None = None
    """What it goes on from."""
    goes_on: bool = False
    """Whether it is a run that was started before, even where that left no checkpoint."""
    told: Told = field(default_factory=Told)
    """What was told of it already."""
    word: str = ""
    """For people: how it begins, where that is not from the beginning as if nothing had been."""

    @property
    def step(self) -> int:
        return self.checkpoint.step if self.checkpoint else 0

    @property
    def choices(self) -> dict[str, Any]:
        """What `train_begin` says of it."""
        if self.checkpoint is None:
            return {"start": self.word} if self.word else {}
        return {"resumed_from": self.checkpoint.path.name}


def start(
    folder: Path, trajectory: Mapping[str, Any], config: TrainingConfig, places: Places, speaks: bool = True
) -> Start:
    """How this start begins, noted in the folder. Raises `Failure` of kind `config` where half a checkpoint is named."""
    wanted = config.TrainingArguments.extra.get("resume_from_checkpoint")
    told_before, noted = told(folder), results.noted(folder)
    asked = json.loads(json.dumps({**trajectory, "resume_from_checkpoint": wanted}, default=_plain))
    before, run = noted.get("trajectory"), noted.get("run")
    named = checkpoints.named(places.resolve(wanted)) if isinstance(wanted, str) else None
    if isinstance(run, str) and before == asked and wanted is not False:
        checkpoint = checkpoints.Checkpoints(folder, run, speaks=False).latest() or named
        begun = Start(run, checkpoint, goes_on=True, told=told_before)
        again = "" if told_before.step <= begun.step else f"; steps to {told_before.step} are made once more"
        begun.word = f"going on from step {begun.step}{again}" if checkpoint or told_before.logs else ""
        return begun
    if wanted is True and isinstance(run, str):
        named = checkpoints.Checkpoints(folder, run, speaks=False).latest()
    begun = Start(uuid.uuid4().hex, named, told=told_before.until(named.step) if named else Told())
    if named:
        begun.word = f"going on from {named.path.name}"
    elif isinstance(run, str) and isinstance(before, dict) and told_before.logs and wanted is not False:
        changed = [k for k in {**before, **asked} if before.get(k) != asked.get(k)]
        begun.word = f"starting anew: {', '.join(_change(k, before.get(k), asked.get(k)) for k in changed[:3])}"
    if speaks:
        results.note(folder, run=begun.run, trajectory=asked, end=None)
    return begun


def trajectory(model: str, config: TrainingConfig, lora: Any, arguments: Any, dataset: Any) -> dict[str, Any]:
    """All that decides what a run learns, by name."""
    quantization = config.QuantizationConfig.to_dict()
    rows = arguments.per_device_train_batch_size * arguments.gradient_accumulation_steps * arguments.world_size
    values = {name: getattr(arguments, name) for name in MATTERS if hasattr(arguments, name)}
    return {
        "base model": model,
        **{f"QuantizationConfig.{k}": v for k, v in quantization.items()},
        **{f"LoraConfig.{k}": v for k, v in lora.to_dict().items()},
        "data": _sum(dataset),
        "rows a step": rows,
        **{name: getattr(value, "value", value) for name, value in values.items()},
    }


def _plain(value: Any) -> Any:
    return sorted(map(str, value)) if isinstance(value, set | frozenset) else str(value)


def _change(name: str, before: Any, now: Any) -> str:
    if name == "data":
        return "the data is not what it was"
    return f"{name} was {shown(before)} and is {shown(now)}"


def _sum(dataset: Any) -> str:
    """A sum over all that is trained on, in its order."""
    table, total = dataset.with_format("arrow")[:], 0
    for name in table.column_names:
        for chunk in table[name].chunks:
            for part in (chunk.value_lengths(), chunk.flatten()) if hasattr(chunk, "value_lengths") else (chunk,):
                total = zlib.crc32(part.to_numpy(zero_copy_only=False).tobytes(), total)
    return f"{len(dataset)} rows, {total:08x}"


__all__ = ["MATTERS", "Start", "start", "trajectory"]
