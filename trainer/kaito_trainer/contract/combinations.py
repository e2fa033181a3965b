"""Fields that are right by themselves and fail together.

Each rule names the place that refuses it: `TrainingArguments._validate_args` of transformers 5.23, `LoraConfig.__post_init__`
of peft 0.21, `DataCollatorForLanguageModeling.__post_init__`, and `Trainer.__init__`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

from .config import TrainingConfig
from .fields import Image
from .problems import Problem, listing, shown

PACKAGES: Final = {
    "galore": "galore_torch", "apollo": "apollo_torch", "lomo": "lomo_optim", "adalomo": "lomo_optim",
    "grokadamw": "grokadamw", "schedule_free": "schedulefree", "stable_adamw": "torch_optimi", "adamw_torch_8bit": "torchao",
    "adamw_torch_4bit": "torchao", "anyprecision": "torchdistx", "apex": "apex", "xla": "torch_xla", "npu": "torch_npu",
}  # fmt: skip
"""A part of an optimiser's name -> the Python package that brings it, which neither KAITO's image nor ours holds."""

MEASURED: Final = ("eval_loss", "eval_mean_token_accuracy")
"""What our trainer measures on the held-out rows, by the names of `metric_for_best_model`."""
_BEST: Final = "TrainingArguments.load_best_model_at_end"


def combinations(config: TrainingConfig, image: Image) -> Iterator[Problem]:
    """What fails together. Where ours leaves open whether it evaluates, the rows decide; KAITO's image then does not."""
    evaluation = config.TrainingArguments.eval_strategy or ("no" if image == "stock" else None)
    yield from _precision(config)
    yield from _steps(config)
    yield from _evaluation(config, evaluation)
    yield from _best(config, evaluation, image)
    if image == "ours":
        yield from _held_out(config)
    yield from _adapter(config)
    yield from _loading(config)
    yield from _beside(config)


def _arg(config: TrainingConfig, name: str) -> Any:
    t = config.TrainingArguments
    return t.extra[name] if name in t.extra else getattr(t, name, None)


def number(value: Any) -> bool:
    """Whether it is a number that can be reckoned with; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _precision(config: TrainingConfig) -> Iterator[Problem]:
    for one, other in (("bf16", "fp16"), ("bf16_full_eval", "fp16_full_eval")):
        if _arg(config, one) is True and _arg(config, other) is True:
            path = f"TrainingArguments.{other}"
            yield Problem(path, f"{one} and {other} are both true.", "Keep one of them.", fix=((path, None),))


def _steps(config: TrainingConfig) -> Iterator[Problem]:
    t = config.TrainingArguments
    if t.max_steps == 0 and not isinstance(t.max_steps, bool):
        path = "TrainingArguments.max_steps"
        yield Problem(path, "0 steps would train nothing.", "Give 1 or more, or -1 for no limit.", fix=((path, None),))
    for name in ("logging_steps", "eval_steps", "save_steps"):
        value, path = _arg(config, name), f"TrainingArguments.{name}"
        if getattr(t, name.replace("steps", "strategy")) not in ("steps", None):
            continue
        if number(value) and value > 1 and value != int(value):
            yield Problem(
                path,
                f"{shown(value)} steps cannot be counted.",
                f"Write {round(value)}, or a number below 1 for a share of all steps.",
                fix=((path, round(value)),),
            )


def _evaluation(config: TrainingConfig, evaluation: str | None) -> Iterator[Problem]:
    t = config.TrainingArguments
    evaluates = t.eval_strategy in ("steps", "epoch")
    if evaluates and config.DatasetConfig.train_test_split == 1:
        yield Problem(
            "TrainingArguments.eval_strategy",
            f"{shown(t.eval_strategy)} needs held-out rows, and DatasetConfig.train_test_split is 1.",
            "Set train_test_split below 1, for example 0.9.",
            fix=(("DatasetConfig.train_test_split", 0.9),),
        )
    if t.lr_scheduler_type in ("reduce_lr_on_plateau", "greedy") and evaluation == "no":
        yield Problem(
            "TrainingArguments.lr_scheduler_type",
            f"{shown(t.lr_scheduler_type)} follows the held-out loss, and nothing is evaluated (eval_strategy).",
            'Set eval_strategy: epoch (and train_test_split below 1), or another schedule such as "cosine".',
            fix=(("TrainingArguments.lr_scheduler_type", "cosine"),),
        )


def _best(config: TrainingConfig, evaluation: str | None, image: Image) -> Iterator[Problem]:
    t, path = config.TrainingArguments, _BEST
    if t.save_strategy == "best" and _arg(config, "metric_for_best_model") is None:
        if _arg(config, "load_best_model_at_end") is not True:  # which takes the loss by itself
            yield Problem(
                "TrainingArguments.save_strategy",
                '"best" needs to know what is best, and metric_for_best_model is not set.',
                "Set metric_for_best_model: eval_loss.",
                fix=(("TrainingArguments.metric_for_best_model", "eval_loss"),),
            )
        return
    if _arg(config, "load_best_model_at_end") is not True or t.save_strategy == "best":
        return
    if evaluation == "no" and t.save_strategy != "no":
        yield Problem(
            path,
            "the best model is found by evaluating, and nothing is evaluated (eval_strategy).",
            "Set eval_strategy to what save_strategy says (and train_test_split below 1), or leave this out.",
            fix=((path, None),),
        )
    elif (
        evaluation
        and t.save_strategy
        and evaluation != t.save_strategy
        and (t.save_strategy != "no" or image == "stock")
    ):
        yield Problem(
            path,
            f"checkpoints come by {shown(t.save_strategy)}, evaluations by {shown(evaluation)}: the best one may not be kept.",
            "Set save_strategy and eval_strategy to the same.",
            fix=(("TrainingArguments.save_strategy", evaluation),),
        )
    elif t.eval_strategy == "steps" and number(t.save_steps) and number(t.eval_steps):
        saves, evaluations = float(t.save_steps or 0), float(t.eval_steps or 1)
        if (saves < 1) != (evaluations < 1) or round(saves * 1e6) % max(1, round(evaluations * 1e6)):
            yield Problem(
                "TrainingArguments.save_steps",
                f"{shown(t.save_steps)} is no multiple of eval_steps, which is {shown(t.eval_steps)}: load_best_model_at_end needs that.",
                f"Set save_steps to {shown(t.eval_steps)}.",
                fix=(("TrainingArguments.save_steps", t.eval_steps),),
            )


def _held_out(config: TrainingConfig) -> Iterator[Problem]:
    """What our trainer's early end, and the best adapter, need: rows to evaluate on, and a number that is measured."""
    t, patience = config.TrainingArguments, "TrainerOptions.early_stopping_patience"
    stops, best = (
        config.TrainerOptions.early_stopping_patience is not None,
        _arg(config, "load_best_model_at_end") is True,
    )
    path, what = (
        (patience, "it follows the held-out loss") if stops else (_BEST, "the best model is found by evaluating")
    )
    if (stops or best) and config.DatasetConfig.train_test_split == 1 and t.eval_strategy is None:
        yield Problem(
            path,
            f"{what}, and DatasetConfig.train_test_split is 1.",
            "Set train_test_split below 1, for example 0.9.",
            fix=(("DatasetConfig.train_test_split", 0.9),),
        )
    if stops and t.eval_strategy == "no":
        yield Problem(
            patience,
            "it follows the held-out loss, and nothing is evaluated (eval_strategy).",
            "Set eval_strategy: steps (and train_test_split below 1), or leave this out.",
            fix=(("TrainingArguments.eval_strategy", "steps"),),
        )
    if best and t.save_strategy == "no" and t.eval_strategy != "no":
        yield Problem(
            _BEST,
            'the best model is kept as a checkpoint, and save_strategy is "no".',
            "Set save_strategy: best.",
            fix=(("TrainingArguments.save_strategy", "best"),),
        )
    if config.TrainerOptions.early_stopping_threshold is not None and not stops:
        yield Problem(
            "TrainerOptions.early_stopping_threshold",
            "it means nothing without early_stopping_patience.",
            "Set early_stopping_patience, for example 3, or leave this out.",
            fix=((patience, 3),),
        )
    metric = _arg(config, "metric_for_best_model")
    if isinstance(metric, str) and f"eval_{metric.removeprefix('eval_')}" not in MEASURED:
        path = "TrainingArguments.metric_for_best_model"
        yield Problem(
            path,
            f"{shown(metric)} is not measured on the held-out rows.",
            f"Use {listing(MEASURED)}.",
            fix=((path, MEASURED[0]),),
        )


def _adapter(config: TrainingConfig) -> Iterator[Problem]:
    lora = config.LoraConfig
    extra, path = lora.extra, "LoraConfig.layers_to_transform"
    said = extra.get("layers_to_transform")
    if isinstance(lora.target_modules, str) and lora.target_modules != "all-linear":
        for name in ("layers_to_transform", "layers_pattern"):
            if extra.get(name) is not None:
                yield Problem(
                    f"LoraConfig.{name}",
                    "it chooses among layers that are named, and target_modules is a pattern.",
                    "Give target_modules as a list of names.",
                    fix=(("LoraConfig.target_modules", [lora.target_modules]),),
                )
    elif extra.get("layers_pattern") and said is None:
        yield Problem(
            "LoraConfig.layers_pattern",
            "it says where layers are numbered, and layers_to_transform does not say which.",
            "Set layers_to_transform, for example [0, 1], or leave this out.",
            fix=(("LoraConfig.layers_pattern", None),),
        )
    if isinstance(said, list) and any(number(n) and n < 0 for n in said):
        yield Problem(path, "layers are counted from 0.", "Give numbers of at least 0.")
    if lora.use_dora is True and extra.get("megatron_config"):
        path = "LoraConfig.use_dora"
        yield Problem(path, "DoRA does not go with megatron_config.", "Leave one of them out.", fix=((path, None),))
    if extra.get("lora_bias") is True:
        for name, clashes in (
            ("use_dora", lora.use_dora is True),
            ("init_lora_weights", isinstance(extra.get("init_lora_weights"), str)),
        ):
            if clashes:
                yield Problem(
                    "LoraConfig.lora_bias",
                    f"it does not go with {name}.",
                    "Leave one of them out.",
                    fix=(("LoraConfig.lora_bias", None),),
                )
    if extra.get("init_lora_weights") == "loftq" and not extra.get("loftq_config"):
        yield Problem(
            "LoraConfig.init_lora_weights",
            '"loftq" needs loftq_config, and it is not set.',
            "Set loftq_config: {loftq_bits: 4}, or leave this out.",
            fix=(("LoraConfig.init_lora_weights", None),),
        )


def _loading(config: TrainingConfig) -> Iterator[Problem]:
    path = "TrainingArguments.dataloader_prefetch_factor"
    workers = _arg(config, "dataloader_num_workers")
    if _arg(config, "dataloader_prefetch_factor") is not None and not workers:
        yield Problem(
            path,
            "batches are fetched ahead by workers, and dataloader_num_workers is 0.",
            "Set dataloader_num_workers to at least 1, or leave this out.",
            fix=((path, None),),
        )
    collator = config.DataCollator.extra
    mask, other = collator.get("mask_replace_prob"), collator.get("random_replace_prob")
    if number(mask) and number(other) and float(mask or 0) + float(other or 0) > 1:
        yield Problem(
            "DataCollator.random_replace_prob",
            f"{shown(mask)} and {shown(other)} are together above 1.",
            "Leave both out: a language model's loss does not use them.",
            fix=(("DataCollator.mask_replace_prob", None), ("DataCollator.random_replace_prob", None)),
        )


def _beside(config: TrainingConfig) -> Iterator[Problem]:
    """What needs a package, a login or a network that a tuning pod mostly lacks."""
    t = config.TrainingArguments
    if isinstance(t.optim, str):
        package = next((p for part, p in PACKAGES.items() if part in t.optim), "")
        if package:
            yield Problem(
                "TrainingArguments.optim",
                f"{shown(t.optim)} needs the Python package {package} where the trainer runs.",
                "Install it there, or use adamw_torch_fused.",
                "warning",
                fix=(("TrainingArguments.optim", None),),
            )
    if _arg(config, "use_liger_kernel") is True:
        path = "TrainingArguments.use_liger_kernel"
        yield Problem(
            path,
            "it needs the Python package liger-kernel where the trainer runs.",
            "Install it there, or leave this out.",
            "warning",
            fix=((path, None),),
        )
    if _arg(config, "deepspeed"):
        path = "TrainingArguments.deepspeed"
        yield Problem(
            path,
            "it needs the Python package deepspeed where the trainer runs, and its file.",
            "Leave it out: an adapter's gradients and optimiser are small.",
            "warning",
            fix=((path, None),),
        )
    if _arg(config, "push_to_hub") is True:
        path = "TrainingArguments.push_to_hub"
        yield Problem(
            path,
            "the pod has no token that may write to the Hugging Face hub.",
            "Leave it out: the adapter goes to what --output says.",
            "warning",
            fix=((path, None),),
        )
    told = _arg(config, "report_to")
    names = [told] if isinstance(told, str) else told if isinstance(told, list) else []
    if away := [n for n in names if n not in ("none", "tensorboard")]:
        path = "TrainingArguments.report_to"
        yield Problem(
            path,
            f"{', '.join(map(str, away))} needs its Python package, a login and a way out of the cluster.",
            'Write "none": the curve comes to this notebook without it.',
            "warning",
            fix=((path, "none"),),
        )


__all__ = ["combinations", "number"]
