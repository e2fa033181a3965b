"""KAITO's sections → the objects of Hugging Face's libraries: `SFTConfig`, `LoraConfig`, `BitsAndBytesConfig`."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from . import defaults
from .contract import Problem, TrainingConfig
from .contract.config import options
from .contract.fields import gone
from .contract.problems import close_match
from .defaults import Device
from .failures import Failure, of_problems

OURS: Final = frozenset(
    {
        # Done before TRL sees the data (tokens.py), or set here.
        "assistant_only_loss", "completion_only_loss", "max_length", "truncation_mode", "dataset_text_field",
        "chat_template_path", "eos_token", "pad_token", "model_init_kwargs", "dataset_kwargs", "shuffle_dataset",
        "dataset_num_proc", "trust_remote_code", "output_dir", "resume_from_checkpoint",
        "restore_callback_states_from_checkpoint",  # it would restore that the training is to stop, too
    }
)  # fmt: skip
MODEL_KEYS: Final = frozenset(
    {
        "cache_dir", "force_download", "proxies", "token", "subfolder", "variant", "use_safetensors", "code_revision",
        "max_memory", "offload_folder", "offload_state_dict", "offload_buffers", "ignore_mismatched_sizes",
        "weights_only", "experts_implementation", "tp_plan", "use_kernels",
    }
)  # fmt: skip
"""Keys of `from_pretrained` that pass through to it, beside those that the contract explains."""
MODEL_IGNORED: Final = frozenset(
    {"state_dict", "from_tf", "from_flax", "resume_download", "output_loading_info", "low_cpu_mem_usage"}
)
"""Keys that KAITO's `ModelConfig` has, and that mean nothing any more."""
QUANTIZATION_KEYS: Final = frozenset({"quant_method"})
COLLATOR_KEYS: Final = frozenset(
    {"mlm", "mlm_probability", "mask_replace_prob", "random_replace_prob", "pad_to_multiple_of", "return_tensors",
     "tf_experimental_compile", "seed", "whole_word_mask"}
)  # fmt: skip


def check_keys(config: TrainingConfig) -> None:
    """Raise `Failure` of kind `config` with all keys that the installed Hugging Face classes don't know.

    The contract's check has let pass what it takes for a field of another release.
    """
    from peft import LoraConfig
    from transformers import BitsAndBytesConfig
    from trl import SFTConfig

    known: dict[str, Iterable[str]] = {
        "ModelConfig": MODEL_KEYS | MODEL_IGNORED,
        "QuantizationConfig": QUANTIZATION_KEYS | set(inspect.signature(BitsAndBytesConfig.__init__).parameters),
        "LoraConfig": [f.name for f in dataclasses.fields(LoraConfig)],
        "TrainingArguments": [f.name for f in dataclasses.fields(SFTConfig)],
        "DataCollator": COLLATOR_KEYS,
    }
    problems = [p for s in config.sections() if s.NAME in known for p in _unknown(s.NAME, s.extra, set(known[s.NAME]))]
    if problems:
        raise of_problems(problems)


def _unknown(section: str, keys: Mapping[str, Any], known: set[str]) -> Iterator[Problem]:
    allowed = {*known, *(o.name for o in options() if o.section == section)} - {"self", "kwargs"}
    for key in keys:
        if key not in allowed:
            _, now = gone(f"{section}.{key}") or ("", "")
            remedy = now or close_match(str(key), allowed) or "Leave it out."
            yield Problem(f"{section}.{key}", "there is no such field in the installed release.", remedy)


def training_arguments(config: TrainingConfig, output: Path, device: Device) -> tuple[Any, dict[str, Any]]:
    """The `SFTConfig`, and the defaults in it that are ours. Raises `Failure` of kind `config` for impossible values."""
    from trl import SFTConfig

    written = config.TrainingArguments.to_dict()
    chosen = {name: value for name, value in defaults.training_arguments(device, config).items() if name not in written}
    if chosen.get("tf32", True) is None:
        del chosen["tf32"]  # there is none
    if chosen.get("bf16") and written.get("fp16"):
        chosen["bf16"] = False
    if chosen.get("fp16") and written.get("bf16"):
        chosen["fp16"] = False
    # transformers 5.23 renamed it; TRL still reads the old name, and both are kept alike.
    name = _checkpointing_name(SFTConfig)
    written[name] = written.pop("gradient_checkpointing", written.get(name, False))
    pad = config.DataCollator.extra.get("pad_to_multiple_of")
    values = chosen | ({"pad_to_multiple_of": pad} if pad else {}) | {k: v for k, v in written.items() if k not in OURS}
    # The examples come tokenised and cut, so TRL has nothing left to prepare.
    ours = {"output_dir": str(output), "max_length": None, "dataset_kwargs": {"skip_prepare_dataset": True}}
    return _built("TrainingArguments", SFTConfig, values | ours), chosen


def settle(arguments: Any, chosen: dict[str, Any], *, held_out: int) -> None:
    """Choose what depends on the held-out rows. Raises `Failure` when the config asks for an evaluation of none."""
    if not held_out:
        chosen.pop("eval_on_start", None)
        arguments.eval_on_start = False
        if arguments.eval_strategy != "no":
            message = "TrainingArguments.eval_strategy: no rows are held out that could be evaluated on."
            raise Failure("config", message, "Set DatasetConfig.train_test_split below 1, or give more rows.")


def checkpointing(arguments: Any, wanted: bool) -> None:
    """Say, by all of its names, whether activations are computed twice."""
    arguments.gradient_checkpointing = wanted
    setattr(arguments, _checkpointing_name(type(arguments)), wanted)


def _checkpointing_name(cls: Any) -> str:
    new = "activation_checkpointing"
    return new if new in {f.name for f in dataclasses.fields(cls)} else "gradient_checkpointing"


def lora(config: TrainingConfig, target_modules: list[str] | str, exclude: list[str]) -> Any:
    """The `peft.LoraConfig`. Raises `Failure` of kind `config` for impossible values."""
    from peft import LoraConfig

    values = {**defaults.lora(config), **config.LoraConfig.to_dict(), "target_modules": target_modules}
    if exclude:
        values.setdefault("exclude_modules", exclude)
    return _built("LoraConfig", LoraConfig, {name: _parsed(value) for name, value in values.items()})


def quantization(config: TrainingConfig) -> Any | None:
    """The `BitsAndBytesConfig`, or None for unquantised weights."""
    from transformers import BitsAndBytesConfig

    section = config.QuantizationConfig
    if section.load_in_4bit is not True and section.load_in_8bit is not True:
        return None
    values = {**defaults.quantization(config), **section.to_dict()}
    return _built(
        "QuantizationConfig", BitsAndBytesConfig, {k: v for k, v in values.items() if k not in QUANTIZATION_KEYS}
    )


def _parsed(value: Any) -> Any:
    """KAITO passes mappings as JSON text (field note K5)."""
    if isinstance(value, str) and value.lstrip().startswith(("{", "[")):
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            return value
    return value


def _built(section: str, cls: Callable[..., Any], values: Mapping[str, Any]) -> Any:
    try:
        return cls(**values)
    except (ValueError, TypeError, AttributeError) as error:
        raise Failure("config", f"{section}: {' '.join(str(error).split())}", "Change this value.") from error


__all__ = ["check_keys", "lora", "quantization", "training_arguments"]
