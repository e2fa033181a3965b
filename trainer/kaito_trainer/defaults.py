"""What we choose where the user said nothing, each with its reason. A written value always wins.

Measured on SmolLM2-135M and 160 to 400 rows unless another reason is given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from .contract import TrainingConfig

MAX_LENGTH: Final = 1024
"""Tokens of an example at most, TRL's own default; less when the model's context is shorter."""
SMALL: Final = 1_000_000_000
"""Parameters below which a GPU keeps all activations, where there is no estimate of the memory."""

EVALUATIONS: Final = 10
"""How often a run evaluates where the best adapter is wanted, or an early end, and nothing is said of how often."""

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
    capability: tuple[int, int] | None = None
    """NVIDIA's compute capability, of the weakest GPU."""


@dataclass(frozen=True)
class Change:
    """One stock default that we change."""

    field: str
    """`Section.field`."""
    stock: Any
    """What KAITO's trainer does: its own template's value, else Hugging Face's."""
    ours: Any
    """Our value, or how it comes from the device and the config."""
    why: str
    learns: bool = False
    """Whether what is learnt depends on it: `compat: kaito` puts the stock value back."""

    @property
    def name(self) -> str:
        return self.field.partition(".")[2]

    def value(self, device: Device, config: TrainingConfig) -> Any:
        """The value for this run."""
        if self.learns and config.TrainerOptions.compat == "kaito":
            return self.stock
        return self.ours(device, config) if callable(self.ours) else self.ours


def _full_precision(config: TrainingConfig) -> bool:
    return config.ModelConfig.torch_dtype == "float32"


def _eval_batch(device: Device, config: TrainingConfig) -> int:
    batch = config.TrainingArguments.per_device_train_batch_size or 1
    return batch if device.type == "cpu" else 4 * batch


_T: Final = "TrainingArguments"
TABLE: Final = (
    Change(
        f"{_T}.learning_rate", 2e-5, 2e-4, learns=True,
        why="2e-5 is meant for full fine-tuning: an adapter hardly moves in one epoch (loss 3.31 against 2.86).",
    ),
    Change(
        f"{_T}.lr_scheduler_type", "linear", "cosine", learns=True,
        why="It ends on small steps, and the last weights are the ones that are kept.",
    ),
    Change(
        f"{_T}.per_device_train_batch_size", 1, 1,
        why="KAITO's, kept; Hugging Face's 8 costs memory that nobody asked for.",
    ),
    Change(
        f"{_T}.per_device_eval_batch_size", 8, _eval_batch,
        why="Evaluation keeps no activations, so on a GPU four times the training batch fits where that one fits; on a CPU "
        "the logits of a larger batch cost memory and save no time.",
    ),
    Change(f"{_T}.logging_steps", 10, 1, why="An event costs 0.01 ms, and a curve wants points."),
    Change(f"{_T}.logging_first_step", False, True, why="A curve begins at its first step."),
    Change(
        f"{_T}.logging_nan_inf_filter", True, False,
        why="A loss that is no number is replaced by the mean before it: the curve would lie.",
    ),
    Change(f"{_T}.report_to", "all", "none", why="Nobody asked for a tracker, and its absence must not fail a run."),
    Change(f"{_T}.disable_tqdm", False, True, why="Events tell how far it is; a bar's carriage returns garble the log."),
    Change(f"{_T}.seed", 42, 42, why="Hugging Face's, written down: a run can be repeated."),
    Change(
        f"{_T}.eval_on_start", False, True,
        why="Measured before the first step, so that the end has something to be compared with.",
    ),
    Change(
        f"{_T}.bf16", False, lambda device, config: device.bf16 and not _full_precision(config),
        why="Half the memory, and 1.5 times the speed where the device knows bfloat16.",
    ),
    Change(
        f"{_T}.fp16", False,
        lambda device, config: device.type == "cuda" and not device.bf16 and not _full_precision(config),
        why="T4 and V100 know only float16.",
    ),
    Change(f"{_T}.use_cpu", False, lambda device, _: device.type == "cpu", why="Said where there is no GPU."),
    Change(
        f"{_T}.tf32", None, lambda device, _: (device.capability or (0, 0)) >= (8, 0) or None,
        why="From Ampere on, what is left in 32 bits is multiplied by the tensor cores.",
    ),
    Change(
        f"{_T}.dataloader_pin_memory", True, lambda device, _: device.type != "cpu",
        why="Without a GPU there is nothing to pin pages for.",
    ),
    Change("LoraConfig.r", 8, 8, why="KAITO's rank, where the section leaves it out."),
    Change(
        "LoraConfig.lora_alpha", 8, 16, learns=True,
        why="A scale of twice the rank is what most recipes use with it.",
    ),
    Change("LoraConfig.lora_dropout", 0.0, 0.0, why="KAITO's."),
    Change("LoraConfig.task_type", None, "CAUSAL_LM", why="The adapter says what it is for."),
    Change(
        "QuantizationConfig.bnb_4bit_quant_type", "fp4", "nf4",
        why="As the QLoRA paper and KAITO's template have it.",
    ),
    Change("QuantizationConfig.bnb_4bit_compute_dtype", "float32", "bfloat16", why="The same."),
    Change("QuantizationConfig.bnb_4bit_use_double_quant", False, True, why="The same."),
    # What follows is decided in its own place, from data and model; the table tells of it.
    Change(
        "LoraConfig.target_modules", "q_proj and v_proj, or KAITO's list for the preset", "all-linear", learns=True,
        why="All linear layers learn more for few parameters (0.40 against 2.86 after one epoch, with the answers alone "
        "trained on); KAITO's list names layers that some models do not have.",
    ),
    Change(
        f"{_T}.assistant_only_loss", False, True, learns=True,
        why="A model shall learn to answer, not to ask (field note K1). For instruction data: completion_only_loss.",
    ),
    Change(
        f"{_T}.gradient_checkpointing", True, "where the estimate of the memory asks for it",
        why="Computing activations twice takes 1.2 to 1.7 times as long.",
    ),
    Change(
        f"{_T}.padding_free", False, "for batches of several rows, where the model keeps rows end to end apart",
        why="Nothing is computed for padding; the rows of a batch, and so what is learnt, stay the same.",
    ),
    Change(
        f"{_T}.train_sampling_strategy", "random", "group_by_length for batches that have to be padded",
        why="Rows of like length in a batch need little padding.",
    ),
    Change(
        f"{_T}.optim", "adamw_torch_fused", "in 8 bits (adamw_8bit, paged_adamw_8bit) where a GPU's memory is still short",
        why="Its state takes a quarter, and a run that does not fit learns nothing.",
    ),
    Change(
        f"{_T}.use_liger_kernel", False, "on a GPU where liger-kernel is installed and knows the architecture",
        why="Who installs it wants it; norms, rotations and gates are one pass each.",
    ),
    Change(
        "ModelConfig.attn_implementation", "sdpa", "eager on a CPU and rows up to 512 tokens",
        why="On a CPU it is 1.17 times as fast there; on long rows its memory grows with the square. flash_attention_2 on a GPU "
        "that takes it, where flash-attn is installed.",
    ),
)  # fmt: skip
"""Every stock default that we change (or write down where KAITO's template leaves it out), with its reason."""
BY_DATA: Final = frozenset(
    {
        "target_modules", "assistant_only_loss", "gradient_checkpointing", "attn_implementation", "padding_free",
        "train_sampling_strategy", "optim", "use_liger_kernel",
    }
)  # fmt: skip
"""Names in the table that are decided from data and model, in their own places."""


def values(section: str, device: Device, config: TrainingConfig) -> dict[str, Any]:
    """Our values of a section, by name."""
    ours = (c for c in TABLE if c.field.startswith(f"{section}.") and c.name not in BY_DATA)
    return {c.name: c.value(device, config) for c in ours}


def training_arguments(device: Device, config: TrainingConfig) -> dict[str, Any]:
    """Defaults of `TrainingArguments`, by name."""
    return values(_T, device, config) | evaluation(config)


def evaluation(config: TrainingConfig) -> dict[str, Any]:
    """When to evaluate, and to save, where the best adapter is wanted, or an early end: both need to evaluate."""
    t, extra = config.TrainingArguments, config.TrainingArguments.extra
    best = extra.get("load_best_model_at_end") is True
    if not best and config.TrainerOptions.early_stopping_patience is None:
        return {}
    found: dict[str, Any] = {"metric_for_best_model": "loss"}
    said = t.save_strategy if best and t.save_strategy in ("steps", "epoch") else "steps"  # they must be the same then
    if t.eval_strategy is None:
        found["eval_strategy"] = said
    if (t.eval_strategy or said) == "steps" and t.eval_steps is None:
        by_steps = best and (t.save_strategy == "steps" or t.save_steps is not None)
        found["eval_steps"] = (t.save_steps or 500) if by_steps else 1 / EVALUATIONS
    if best and t.save_strategy is None and t.save_steps is None:
        found["save_strategy"] = "best"
    return found


def lora(config: TrainingConfig) -> dict[str, Any]:
    """Defaults of `LoraConfig`, by name."""
    return values("LoraConfig", _NONE, config)


def quantization(config: TrainingConfig) -> dict[str, Any]:
    """Defaults of `BitsAndBytesConfig`, by name."""
    return values("QuantizationConfig", _NONE, config)


_NONE: Final = Device("cpu", "cpu", 1, bf16=False)


def max_length(config: TrainingConfig, context: int | None) -> int:
    """Tokens of an example at most."""
    told = config.TrainingArguments.max_length
    return told if told is not None else min(MAX_LENGTH, context or MAX_LENGTH)


__all__ = [
    "TABLE",
    "Change",
    "Device",
    "lora",
    "max_length",
    "quantization",
    "training_arguments",
]
