"""The sections of KAITO's `training_config.yaml`, each field explained once.

KAITO parses the sections as Hugging Face classes (`TrainingArguments` as TRL's `SFTConfig`). Here stand the fields that
we explain; any other key of those classes passes through in `extra`, as in KAITO. From these fields follow the YAML, the
magic's flags, the form's controls and the documentation: a new tuning option is one field here and one test row.

A field that is `None` is not written; the trainer then takes its own default. Standard library only: YAML text belongs
to the edges.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Final, Literal, Self, get_args

Method = Literal["lora", "qlora"]
METHODS: Final[tuple[Method, ...]] = get_args(Method)

_HF = "https://huggingface.co/docs"
_ARGS = f"{_HF}/transformers/main_classes/trainer#transformers.TrainingArguments"
_SFT = f"{_HF}/trl/sft_trainer#trl.SFTConfig"
_LORA = f"{_HF}/peft/package_reference/lora#peft.LoraConfig"
_BNB = f"{_HF}/transformers/main_classes/quantization#transformers.BitsAndBytesConfig"
_MODEL = f"{_HF}/transformers/model_doc/auto#transformers.AutoModelForCausalLM.from_pretrained"
_COLLATOR = f"{_HF}/transformers/main_classes/data_collator#transformers.DataCollatorForLanguageModeling"
_KAITO = "https://kaito-project.github.io/kaito/docs/tuning"
_OURS = "kaito_trainer"
TRAINER_KEY: Final = "kaito_trainer"
"""Top-level key of the file beside `training_config`, with the keys of `TrainerOptions`."""


def option(
    help: str,
    *,
    source: str,
    unit: str = "",
    choices: tuple[str, ...] = (),
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
    flag: str = "",
    simple: bool = False,
) -> Any:
    """Describe one field. `above` is an exclusive minimum; `flag` the magic's shortcut; `simple` puts it on the form's first page."""
    facts = {
        "help": help,
        "source": source,
        "unit": unit,
        "choices": choices,
        "minimum": minimum,
        "above": above,
        "maximum": maximum,
        "flag": flag,
        "simple": simple,
    }
    return field(default=None, metadata=facts)


@dataclass(kw_only=True)
class Section:
    """One section of the configuration. `None` fields are unset; `extra` holds keys that we don't explain."""

    NAME: ClassVar[str]
    extra: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """What to write: the fields that are set, then the extra keys."""
        named = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "extra"}
        return {k: v for k, v in named.items() if v is not None} | self.extra

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read a section. Takes anything: what is wrong with the values is `check`'s to say."""
        names = {f.name for f in fields(cls)} - {"extra"}
        known = {k: v for k, v in values.items() if k in names}
        return cls(**known, extra={k: v for k, v in values.items() if k not in names})


@dataclass(kw_only=True)
class ModelSection(Section):
    """How the base model is loaded (`AutoModelForCausalLM.from_pretrained`)."""

    NAME: ClassVar[str] = "ModelConfig"
    pretrained_model_name_or_path: str | None = option(
        "Folder or Hugging Face id of the base model. KAITO sets it from the preset.", source=_MODEL
    )
    torch_dtype: str | None = option(
        "Type of the weights in memory.", choices=("bfloat16", "float16", "float32", "auto"), source=_MODEL
    )
    local_files_only: bool | None = option("Never ask the model hub for files.", source=_MODEL)
    device_map: str | dict[str, Any] | None = option("Where the layers go.", source=_MODEL)
    chat_template: str | None = option(
        "Path of a Jinja file, or a one-line Jinja template, in place of the model's own.", source=_KAITO
    )
    attn_implementation: str | None = option(
        "Attention kernel.",
        choices=("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention"),
        source=_MODEL,
    )
    trust_remote_code: bool | None = option("Run the Python code that comes with the model.", source=_MODEL)
    revision: str | None = option("Branch, tag or commit of the model on the hub.", source=_MODEL)


@dataclass(kw_only=True)
class QuantizationSection(Section):
    """How the base model's weights are quantised (`BitsAndBytesConfig`)."""

    NAME: ClassVar[str] = "QuantizationConfig"
    load_in_4bit: bool | None = option("Load the weights in 4 bits; `qlora` asks for it (or for 8).", source=_BNB)
    load_in_8bit: bool | None = option("Load the weights in 8 bits.", source=_BNB)
    bnb_4bit_quant_type: str | None = option("The 4-bit data type.", choices=("nf4", "fp4"), source=_BNB)
    bnb_4bit_compute_dtype: str | None = option(
        "Type in which the 4-bit layers compute.", choices=("bfloat16", "float16", "float32"), source=_BNB
    )
    bnb_4bit_use_double_quant: bool | None = option("Quantise the quantisation constants too.", source=_BNB)


@dataclass(kw_only=True)
class LoraSection(Section):
    """The adapter (`peft.LoraConfig`)."""

    NAME: ClassVar[str] = "LoraConfig"
    r: int | None = option("Rank of the adapter's matrices.", minimum=1, flag="--rank", simple=True, source=_LORA)
    lora_alpha: int | None = option(
        "Scale of the adapter: its output is multiplied by lora_alpha / r.", minimum=1, simple=True, source=_LORA
    )
    lora_dropout: float | None = option(
        "Share of the adapter's inputs dropped in training.", minimum=0, maximum=1, simple=True, source=_LORA
    )
    target_modules: list[str] | str | None = option(
        "Names of the layers that get an adapter, or `all-linear`.", simple=True, source=_LORA
    )
    bias: str | None = option("Which biases are trained.", choices=("none", "all", "lora_only"), source=_LORA)
    modules_to_save: list[str] | None = option(
        "Layers that are trained in full and saved with the adapter.", source=_LORA
    )
    use_rslora: bool | None = option("Scale by lora_alpha / √r, steadier at high ranks.", source=_LORA)
    use_dora: bool | None = option("Train magnitude and direction apart (DoRA).", source=_LORA)
    task_type: str | None = option("PEFT's task.", choices=("CAUSAL_LM",), source=_LORA)


@dataclass(kw_only=True)
class TrainingSection(Section):
    """How it is trained (`trl.SFTConfig`, a `transformers.TrainingArguments`)."""

    NAME: ClassVar[str] = "TrainingArguments"
    output_dir: str | None = option("Where checkpoints and the adapter go; a folder below /mnt.", source=_KAITO)
    num_train_epochs: float | None = option(
        "Times that the data is gone through.", unit="epochs", above=0, flag="--epochs", simple=True, source=_ARGS
    )
    max_steps: int | None = option(
        "Stop after this many optimiser steps; -1: no limit.",
        unit="steps",
        minimum=-1,
        flag="--max-steps",
        simple=True,
        source=_ARGS,
    )
    per_device_train_batch_size: int | None = option(
        "Examples a device takes at once.", unit="rows", minimum=1, flag="--batch-size", simple=True, source=_ARGS
    )
    per_device_eval_batch_size: int | None = option("The same, in evaluation.", unit="rows", minimum=1, source=_ARGS)
    gradient_accumulation_steps: int | None = option(
        "Batches added up before an optimiser step.", unit="batches", minimum=1, simple=True, source=_ARGS
    )
    learning_rate: float | None = option(
        "Peak learning rate.", above=0, flag="--learning-rate", simple=True, source=_ARGS
    )
    lr_scheduler_type: str | None = option(
        "How the learning rate falls.",
        choices=(
            "linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup",
            "inverse_sqrt", "reduce_lr_on_plateau", "cosine_with_min_lr", "cosine_warmup_with_min_lr", "warmup_stable_decay", "greedy",
        ),
        source=_ARGS,
    )  # fmt: skip
    warmup_steps: float | None = option(
        "Steps (or, below 1, the share of steps) in which the learning rate rises.",
        unit="steps",
        minimum=0,
        source=_ARGS,
    )
    weight_decay: float | None = option("Weight decay.", minimum=0, source=_ARGS)
    max_grad_norm: float | None = option("Gradients are cut to this norm.", minimum=0, source=_ARGS)
    optim: str | None = option("Optimiser, by its Hugging Face name.", source=_ARGS)
    max_length: int | None = option(
        "Longest example; the rest is cut off.", unit="tokens", minimum=1, simple=True, source=_SFT
    )
    packing: bool | None = option("Put several short examples into one sequence.", source=_SFT)
    assistant_only_loss: bool | None = option("Train on the assistant's turns only.", source=_SFT)
    completion_only_loss: bool | None = option("Train on the completion only.", source=_SFT)
    gradient_checkpointing: bool | None = option("Compute activations twice to save memory.", simple=True, source=_ARGS)
    bf16: bool | None = option("Compute in bfloat16.", source=_ARGS)
    fp16: bool | None = option("Compute in float16.", source=_ARGS)
    use_cpu: bool | None = option("Train on the CPU even where there is a GPU.", source=_ARGS)
    logging_strategy: str | None = option("When to log.", choices=("no", "steps", "epoch"), source=_ARGS)
    logging_steps: float | None = option("Steps between two points of the curve.", unit="steps", above=0, source=_ARGS)
    save_strategy: str | None = option(
        "When to write checkpoints.", choices=("no", "steps", "epoch", "best"), source=_ARGS
    )
    save_steps: float | None = option("Steps between two checkpoints.", unit="steps", above=0, source=_ARGS)
    save_total_limit: int | None = option("Checkpoints to keep.", minimum=1, source=_ARGS)
    eval_strategy: str | None = option(
        "When to evaluate on the held-out rows.", choices=("no", "steps", "epoch"), source=_ARGS
    )
    eval_steps: float | None = option("Steps between two evaluations.", unit="steps", above=0, source=_ARGS)
    seed: int | None = option("Seed of everything random.", minimum=0, source=_ARGS)
    ddp_find_unused_parameters: bool | None = option(
        "For several GPUs: look for parameters without a gradient.", source=_ARGS
    )


@dataclass(kw_only=True)
class CollatorSection(Section):
    """How rows become batches (`DataCollatorForLanguageModeling`, in KAITO's own trainer)."""

    NAME: ClassVar[str] = "DataCollator"
    mlm: bool | None = option("Masked language modelling. KAITO's trainer ignores `true`.", source=_COLLATOR)


@dataclass(kw_only=True)
class DatasetSection(Section):
    """Which data is read, and how it is split (KAITO's own section)."""

    NAME: ClassVar[str] = "DatasetConfig"
    dataset_path: str | None = option("Data file below /mnt; found by looking when unset.", source=_KAITO)
    dataset_extension: str | None = option(
        "Format of the data file.", choices=("csv", "json", "parquet", "arrow", "webdataset"), source=_KAITO
    )
    shuffle_dataset: bool | None = option("Shuffle the rows before the split.", source=_KAITO)
    shuffle_seed: int | None = option("Seed of that shuffle.", minimum=0, source=_KAITO)
    context_column: str | None = option("Column with the prompt.", source=_KAITO)
    response_column: str | None = option("Column with the completion, or with plain text.", source=_KAITO)
    messages_column: str | None = option("Column with the conversation.", source=_KAITO)
    train_test_split: float | None = option(
        "Share of rows that is trained on; the rest is held out.",
        above=0,
        maximum=1,
        flag="--train-test-split",
        simple=True,
        source=_KAITO,
    )


SECTIONS: Final[tuple[type[Section], ...]] = (
    ModelSection, QuantizationSection, LoraSection, TrainingSection, CollatorSection, DatasetSection,
)  # fmt: skip
SECTION_NAMES: Final = tuple(s.NAME for s in SECTIONS)


@dataclass(kw_only=True)
class TrainerSection(Section):
    """What only our trainer understands. It stands beside KAITO's sections, and is left out for KAITO's own image."""

    NAME: ClassVar[str] = "TrainerOptions"
    compat: str | None = option(
        "Train as KAITO's own trainer does, its defaults included: for comparisons.", choices=("kaito",), source=_OURS
    )
    samples: int | None = option(
        "Held-out prompts that the model answers before and after the training.",
        unit="prompts",
        minimum=0,
        source=_OURS,
    )
    sample_tokens: int | None = option("Longest such answer.", unit="tokens", minimum=1, source=_OURS)
    checkpoint_minutes: float | None = option(
        "Time between two checkpoints that a restart goes on from; 0: only when the run is asked to end. They are made more "
        "rarely where they would cost more than a fiftieth of the time.",
        unit="minutes",
        minimum=0,
        source=_OURS,
    )
    loss_head: str | None = option(
        "How the loss is made: `plain` by torch's own cross-entropy on the trained tokens, `fused` in pieces by TRL.",
        choices=("plain", "fused"),
        source=_OURS,
    )
    threads: int | None = option(
        "Threads that compute on the CPU; by default as many as the container may keep busy.",
        unit="threads",
        minimum=1,
        source=_OURS,
    )
    tokenize_rows: int | None = option("Rows tokenised at once.", unit="rows", minimum=1, source=_OURS)
    early_stopping_patience: int | None = option(
        "End the training when so many evaluations in a row are no better than the best one before, by the held-out loss or "
        "metric_for_best_model. With load_best_model_at_end the best adapter is kept, else the last.",
        unit="evaluations",
        minimum=1,
        flag="--early-stopping-patience",
        source=_OURS,
    )
    early_stopping_threshold: float | None = option(
        "By how much an evaluation must beat the best one before it to count as better.", minimum=0, source=_OURS
    )


ALL_SECTIONS: Final[tuple[type[Section], ...]] = (*SECTIONS, TrainerSection)
