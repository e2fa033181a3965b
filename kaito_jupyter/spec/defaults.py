"""The values that we choose where nobody said anything: one table, each row with its reason.

KAITO's default ConfigMap lies below, the user's values lie above. What a row sees is the configuration so far, the
user's values included, so that one choice can follow from another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from kaito_trainer.contract import EPOCHS_DEFAULT, TrainingConfig, kaito_defaults, total_steps, train_rows
from kaito_trainer.contract.names import DATA_DIR

from ..presets import find, is_path, resolve_model

if TYPE_CHECKING:
    from .model import Target, TuningSpec

OURS: Final = ("local", "job")
"""Targets where our own trainer runs."""
EVERYWHERE: Final = (*OURS, "kaito")

POINTS: Final = 1000
"""Points that a curve needs at most; a log line each."""
HELD_OUT_FROM: Final = 20
"""Rows from which on a tenth can be spared to be held out."""


@dataclass(frozen=True, slots=True)
class Default:
    """One value that we chose."""

    path: str
    """`TrainingArguments.learning_rate`."""
    value: Any
    reason: str
    """Why, in a few words."""


@dataclass(frozen=True, slots=True)
class _Facts:
    """What a row of the table may look at."""

    spec: TuningSpec
    target: Target
    rows: int | None
    config: TrainingConfig
    """The configuration so far."""

    @property
    def steps(self) -> int | None:
        """Optimiser steps of the run, when they can be known."""
        arguments, dataset = self.config.TrainingArguments, self.config.DatasetConfig
        numbers = (
            arguments.max_steps, arguments.num_train_epochs, arguments.per_device_train_batch_size,
            arguments.gradient_accumulation_steps, dataset.train_test_split,
        )  # fmt: skip
        if not all(n is None or (_number(n) and n > 0) for n in numbers[1:]) or not (
            numbers[0] is None or _number(numbers[0])
        ):
            return None  # `check` has more to say about them
        if not (arguments.max_steps or 0) > 0 and self.rows is None:
            return None
        return total_steps(self.config, train_rows(self.config, self.rows or 0), self.spec.gpus(self.target))

    @property
    def held_out(self) -> bool:
        share = self.config.DatasetConfig.train_test_split
        return share is None or (_number(share) and share < 1)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


@dataclass(frozen=True, slots=True)
class _Row:
    path: str
    targets: tuple[str, ...]
    value: Callable[[_Facts], Any]
    """None: nothing to choose here."""
    reason: str
    over_user: bool = False
    """A value that says the same as the user's, in words that the target's trainer understands."""


def _local_files_only(f: _Facts) -> bool:
    return is_path(f.spec.preset)


def _target_modules_for_kaito(f: _Facts) -> list[str] | None:
    said = f.spec.config.LoraConfig.target_modules
    preset = find(f.spec.preset)
    return list(preset.target_modules) if preset and said in (None, "all-linear") else None


def _alpha(f: _Facts) -> int | None:
    r = f.spec.config.LoraConfig.r
    return r if isinstance(r, int) and not isinstance(r, bool) and r > 0 else None


def _epochs(f: _Facts) -> float | None:
    limit = f.config.TrainingArguments.max_steps
    return None if _number(limit) and limit is not None and limit > 0 else EPOCHS_DEFAULT


def _four_bit(f: _Facts) -> bool | None:
    return False if f.spec.config.QuantizationConfig.load_in_8bit is True else None


def _max_length(f: _Facts) -> int | None:
    preset = find(f.spec.preset)  # of another model our trainer reads the context length itself
    return min(preset.context_length, 1024 if f.target == "local" else 2048) if preset else None


def _warmup(f: _Facts) -> float | None:
    if f.config.TrainingArguments.lr_scheduler_type == "constant":
        return None
    return round(f.steps * 0.03) or None if f.steps is not None else None


def _logging_steps(f: _Facts) -> int | None:
    if f.config.TrainingArguments.logging_strategy in ("no", "epoch", False):
        return None
    return max(1, math.ceil((f.steps or 1) / POINTS))


def _split(f: _Facts) -> float | None:
    return 0.9 if f.rows is None or f.rows >= HELD_OUT_FROM else None


def _eval_batch(f: _Facts) -> int | None:
    return 1 if f.held_out else None


def _best(f: _Facts) -> bool:
    """Whether the best model is kept: it is found by evaluating, so both must happen at the same steps."""
    return f.config.TrainingArguments.extra.get("load_best_model_at_end") is True


def _eval_strategy(f: _Facts) -> str | None:
    said = f.spec.config.TrainingArguments.save_strategy
    if _best(f) and f.held_out and said in ("steps", "epoch"):
        return said
    return "steps" if f.held_out and f.steps is not None else None


def _eval_steps(f: _Facts) -> float | None:
    arguments = f.config.TrainingArguments
    if arguments.eval_strategy != "steps":
        return None
    if _best(f) and arguments.save_steps is not None:
        return arguments.save_steps
    parts = 4 if f.config.TrainerOptions.early_stopping_patience is None else 10
    return max(1, math.ceil(f.steps / parts)) if f.steps is not None else 100


def _save_strategy(f: _Facts) -> str:
    follows = _best(f) and f.config.TrainingArguments.eval_strategy == "epoch"
    return "epoch" if follows else "steps"


def _save_steps(f: _Facts) -> float | None:
    arguments = f.config.TrainingArguments
    if arguments.save_strategy != "steps" or f.steps is None:
        return None
    if _best(f) and arguments.eval_strategy == "steps":
        return arguments.eval_steps
    return max(1, math.ceil(f.steps / 10))


def _save_total_limit(f: _Facts) -> int | None:
    return 2 if f.config.TrainingArguments.save_strategy in ("steps", "epoch") else None


def _dataset_path(f: _Facts) -> str | None:
    source = f.spec.input
    return f"{DATA_DIR}/{source.path}" if source.volume_source is not None and source.path else None


_TABLE: Final = (
    _Row("ModelConfig.pretrained_model_name_or_path", OURS, lambda f: resolve_model(f.spec.preset), "the preset's model"),
    _Row("ModelConfig.local_files_only", OURS, _local_files_only, "the hub is asked for a model that is not here"),
    _Row("QuantizationConfig.load_in_4bit", EVERYWHERE, _four_bit, "8 bits were asked for"),
    _Row("LoraConfig.lora_alpha", EVERYWHERE, _alpha, "goes with r: a scale of 1, as in KAITO's defaults"),
    _Row("LoraConfig.target_modules", OURS, lambda _: "all-linear", "adapting all linear layers learns best for its size"),
    _Row(
        "LoraConfig.target_modules", ("kaito",), _target_modules_for_kaito,
        "all linear layers of this preset, by name: KAITO's trainer finds few of them", over_user=True,
    ),
    _Row("TrainingArguments.num_train_epochs", EVERYWHERE, _epochs, "Hugging Face's default"),
    _Row("TrainingArguments.learning_rate", EVERYWHERE, lambda _: 2e-4, "adapters learn at ten times Hugging Face's 2e-5"),
    _Row("TrainingArguments.lr_scheduler_type", EVERYWHERE, lambda _: "cosine", "ends gently"),
    _Row("TrainingArguments.max_length", EVERYWHERE, _max_length, "tokens of an example; longer ones are cut"),
    _Row("TrainingArguments.seed", EVERYWHERE, lambda _: 42, "a second run gives the same curve"),
    _Row("DatasetConfig.dataset_path", EVERYWHERE, _dataset_path, "the file in the volume"),
    _Row("DatasetConfig.train_test_split", OURS, _split, "a tenth is held out, for an honest loss"),
    _Row("TrainingArguments.warmup_steps", EVERYWHERE, _warmup, "3 % of the steps"),
    _Row("TrainingArguments.logging_steps", EVERYWHERE, _logging_steps, f"a curve of at most {POINTS} points"),
    _Row("TrainingArguments.eval_strategy", OURS, _eval_strategy, "held-out loss on the way"),
    _Row("TrainingArguments.eval_steps", EVERYWHERE, _eval_steps, "four times in the run"),
    _Row("TrainingArguments.per_device_eval_batch_size", ("kaito",), _eval_batch, "KAITO's trainer fails on more"),
    _Row("TrainingArguments.save_strategy", OURS, _save_strategy, "a stopped run can go on"),
    _Row("TrainingArguments.save_steps", OURS, _save_steps, "ten checkpoints in the run"),
    _Row("TrainingArguments.save_total_limit", OURS, _save_total_limit, "keep the last two"),
)  # fmt: skip


def choose(spec: TuningSpec, target: Target, rows: int | None) -> tuple[TrainingConfig, list[Default]]:
    """The configuration that will run, and what in it is our choice. Takes wrong values too: `check` names them."""
    said = spec.config.to_dict()
    lowest = kaito_defaults(spec.method)
    if target == "local":
        # KAITO's bfloat16 is for its GPUs: on many CPUs it takes several times as long as float32. The trainer looks.
        lowest.ModelConfig.torch_dtype = None
    config = lowest.merged(said)
    chosen: list[Default] = []
    for row in _TABLE:
        section, name = row.path.split(".")
        keys = said.get(section, {})
        if target not in row.targets or not isinstance(keys, Mapping) or (name in keys and not row.over_user):
            continue
        value = row.value(_Facts(spec, target, rows, config))
        if value is not None and value != getattr(getattr(config, section), name):
            config = config.merged({section: {name: value}})
            chosen.append(Default(row.path, value, row.reason))
    return config, chosen
