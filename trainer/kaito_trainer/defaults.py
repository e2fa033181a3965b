"""What we choose where the user said nothing, each with its reason. A written value always wins.

Measured on SmolLM2-135M and 160 to 400 rows unless another reason is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from .contract import TrainingConfig

MAX_LENGTH: Final = 1024
"""Tokens of an example at most, TRL's own default; less when the model's context is shorter."""
SMALL: Final = 1_000_000_000
"""Parameters below which a GPU keeps all activations."""

SHORT: Final = 512
"""Tokens up to which all pairs of them cost little memory."""


@dataclass(frozen=True)
class Device:
    """What the run computes on."""

    type: str
    """`cuda`, `cpu`, … as torch names it."""
    name: str
    count: int
    bf16: bool
    """Whether it computes in bfloat16 at full speed."""


def training_arguments(device: Device, config: TrainingConfig) -> dict[str, Any]:
    """Defaults of `TrainingArguments`, by name."""
    half = config.ModelConfig.torch_dtype != "float32"
    batch = config.TrainingArguments.per_device_train_batch_size or 1
    return {
        # TRL's 2e-5 is meant for full fine-tuning: an adapter hardly moves in one epoch (loss 3.31 against 2.86).
        "learning_rate": 2e-4,
        # Ends on small steps; the last weights are the ones that are kept.
        "lr_scheduler_type": "cosine",
        # KAITO's; Hugging Face's 8 costs memory that nobody asked for.
        "per_device_train_batch_size": 1,
        # Evaluation keeps no activations, so on a GPU four times the training batch fits where that one fits; on a CPU
        # the logits of a larger batch cost memory and save no time.
        "per_device_eval_batch_size": batch if device.type == "cpu" else 4 * batch,
        # One event costs 0.01 ms, and a curve wants points.
        "logging_steps": 1,
        "logging_first_step": True,
        # Hugging Face replaces a loss that is no number by the mean before it: the curve would lie.
        "logging_nan_inf_filter": False,
        # Nobody asked for a tracker, and its absence must not fail a run.
        "report_to": "none",
        "disable_tqdm": True,
        "seed": 42,
        # Measured before the first step, so that the end has something to be compared with.
        "eval_on_start": True,
        # Half the memory, and 1.5 times the speed where the device knows bfloat16; T4 and V100 know only float16.
        "bf16": half and device.bf16,
        "fp16": half and device.type == "cuda" and not device.bf16,
        "use_cpu": device.type == "cpu",
        # There is nothing to pin pages for.
        "dataloader_pin_memory": device.type != "cpu",
    }


def gradient_checkpointing(device: Device, parameters: int) -> bool:
    """Computing activations twice costs a quarter of the speed (1.16 to 1.28 times): only large models on a GPU need it."""
    return device.type != "cpu" and parameters >= SMALL


def attention(device: Device, longest: int) -> str | None:
    """On a CPU the plain attention is 1.17 times as fast on short rows; on long ones its memory grows with the square."""
    return "eager" if device.type == "cpu" and longest <= SHORT else None


LORA: Final[Mapping[str, Any]] = {
    # KAITO's rank; a scale of 2 r is what most recipes use with it.
    "r": 8,
    "lora_alpha": 16,
    "lora_dropout": 0.0,
    "task_type": "CAUSAL_LM",
}
QUANTIZATION: Final[Mapping[str, Any]] = {
    # As the QLoRA paper has it, and KAITO's template; bitsandbytes' own defaults are fp4 and float32.
    "bnb_4bit_quant_type": "nf4",
    "bnb_4bit_compute_dtype": "bfloat16",
    "bnb_4bit_use_double_quant": True,
}


def max_length(config: TrainingConfig, context: int | None) -> int:
    """Tokens of an example at most."""
    told = config.TrainingArguments.max_length
    return told if told is not None else min(MAX_LENGTH, context or MAX_LENGTH)


__all__ = ["LORA", "QUANTIZATION", "Device", "attention", "gradient_checkpointing", "max_length", "training_arguments"]
