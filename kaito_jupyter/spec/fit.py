"""Whether the configuration fits the model and the GPU that it is to run on, as far as names tell."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from kaito_trainer.contract import Problem, TrainingConfig
from kaito_trainer.contract.combinations import number

from .. import presets

if TYPE_CHECKING:
    from .model import Target, TuningSpec

BEFORE_AMPERE: Final = {
    r"Standard_NC\d+as_T4_v3": "T4", r"Standard_NC\d+r?s_v3": "V100", r"Standard_NC\d+r?s_v2": "P100",
    r"Standard_ND40rs_v2": "V100", r"g4dn\..*": "T4", r"p3(dn)?\..*": "V100", r"p2\..*": "K80",
}  # fmt: skip
"""Node sizes (a pattern) of Azure and AWS -> their GPU, which is older than Ampere and has no bfloat16."""


def problems(spec: TuningSpec, config: TrainingConfig, target: Target) -> Iterator[Problem]:
    """What the model or the GPU cannot do."""
    yield from _length(spec, config)
    if target != "local":
        yield from _precision(spec.resource.instance_type, config)
        yield from _devices(config)


def _length(spec: TuningSpec, config: TrainingConfig) -> Iterator[Problem]:
    preset = presets.find(spec.preset) if isinstance(spec.preset, str) else None
    length, path = config.TrainingArguments.max_length, "TrainingArguments.max_length"
    if preset and number(length) and length is not None and length > preset.context_length:
        yield Problem(
            path,
            f"{length} tokens are more than {preset.name} was made for ({preset.context_length}).",
            f"Use at most {preset.context_length}; a tenth of it often does.",
            "warning",
            fix=((path, preset.context_length),),
        )


def _precision(node: Any, config: TrainingConfig) -> Iterator[Problem]:
    gpu = next((g for p, g in BEFORE_AMPERE.items() if isinstance(node, str) and re.fullmatch(p, node)), "")
    t, model = config.TrainingArguments, config.ModelConfig
    if not gpu or (t.bf16 is False and model.torch_dtype != "bfloat16"):
        return
    fix: list[tuple[str, Any]] = [("TrainingArguments.bf16", False), ("TrainingArguments.fp16", True)]
    fix.append(("ModelConfig.torch_dtype", "float16"))
    if config.QuantizationConfig.bnb_4bit_compute_dtype == "bfloat16":
        fix.append(("QuantizationConfig.bnb_4bit_compute_dtype", "float16"))
    say = ", ".join(f"{path.partition('.')[2]}: {str(value).lower()}" for path, value in fix)
    yield Problem(
        "TrainingArguments.bf16",
        f"the {gpu} of {node} has no bfloat16, in which the model is loaded and trained unless it is told otherwise.",
        f"Set {say}, or take a newer GPU.",
        fix=tuple(fix),
    )


def _devices(config: TrainingConfig) -> Iterator[Problem]:
    path = "TrainingArguments.use_cpu"
    if config.TrainingArguments.use_cpu is True:
        what = "the node's GPU is paid for and not used."
        yield Problem(path, what, "Leave it out, or train on this machine.", "warning", fix=((path, None),))
