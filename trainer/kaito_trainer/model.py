"""Tokenizer, (4-bit) base model, and which of its layers get an adapter."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from . import choices, hf_config
from .contract import TrainingConfig
from .contract.problems import close_match, listing
from .defaults import Device
from .failures import Failure, in_loading
from .places import Places

ALL_LINEAR: Final = "all-linear"
ROUTERS: Final = ("gate", "router", "shared_expert_gate")
"""Last parts of the names of layers that choose experts: an adapter there makes the choice drift (PEFT takes them along)."""
EXPERTS: Final = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
"""Keys of a configuration that has experts."""
FUSED: Final = (("qkv_proj", ("q_proj", "k_proj", "v_proj")), ("gate_up_proj", ("gate_proj", "up_proj")))
"""Layers that some models (Phi-3) hold as one, by the names that they have in most others: KAITO's own example for Phi-3
names those, and PEFT silently leaves them without an adapter."""
TARGETS_VARIABLE: Final = "DEFAULT_TARGET_MODULES"
"""KAITO's list for the preset, comma-separated, in the trainer's environment."""
STOCK_TARGETS: Final = ["q_proj", "v_proj"]
"""What PEFT adapts by itself in most models, and so KAITO's trainer where no list is set."""
TEMPLATE_REMEDY: Final = (
    "Set ModelConfig.chat_template to the path of a Jinja file, or to a one-line template such as: "
    "{% for m in messages %}<|im_start|>{{ m.role }}\\n{{ m.content }}<|im_end|>\\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\\n{% endif %}"
)


def device(config: TrainingConfig) -> Device:
    """What the run computes on."""
    import torch

    if torch.cuda.is_available() and config.TrainingArguments.use_cpu is not True:
        count = int(os.environ.get("WORLD_SIZE", "0")) or torch.cuda.device_count()
        return Device(
            "cuda",
            torch.cuda.get_device_name(int(os.environ.get("LOCAL_RANK", "0"))),
            count,
            # Older GPUs say yes, too, and then emulate it at a fraction of their speed.
            torch.cuda.is_bf16_supported(including_emulation=False),
            min(torch.cuda.get_device_capability(i) for i in range(torch.cuda.device_count())),
        )
    bf16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return Device("cpu", _cpu_name(), int(os.environ.get("WORLD_SIZE", "1")), bf16)


def tokenizer(path: str, config: TrainingConfig, places: Places) -> Any:
    """The tokenizer, with the end token and the chat template that the config asks for.

    Raises `Failure` of kind `model`, `gated-model` or `config`.
    """
    from transformers import AutoTokenizer

    with _loading(path, "the tokenizer"):
        loaded = AutoTokenizer.from_pretrained(path, **_where_from(config))
    extra = config.TrainingArguments.extra
    for name in ("eos_token", "pad_token"):
        if (token := extra.get(name)) is not None:
            if token not in loaded.get_vocab():
                raise Failure("config", f'TrainingArguments.{name}: the model has no token "{token}".')
            setattr(loaded, name, token)
    if loaded.eos_token_id is None:
        message = "the tokenizer has no end token, so the model could never learn to stop."
        raise Failure("model", f"{path}: {message}", "Set TrainingArguments.eos_token to one of its tokens.")
    template = config.ModelConfig.chat_template or extra.get("chat_template_path")
    if template:
        loaded.chat_template = _template(str(template), places)
    return loaded


def base(path: str, config: TrainingConfig, on: Device) -> Any:
    """The base model, quantised if the config says so. Raises `Failure` of kind `model`, `gated-model` or `config`."""
    from transformers import AutoModelForCausalLM

    section = config.ModelConfig
    values = {
        **(config.TrainingArguments.extra.get("model_init_kwargs") or {}),
        **_where_from(config),
        "dtype": section.torch_dtype or choices.dtype(choices.Facts(device=on)).value,
        "device_map": _device_map(section.device_map, on),
        "quantization_config": hf_config.quantization(config),
        "attn_implementation": section.attn_implementation,
    }
    with _loading(path, "the base model"):
        model = AutoModelForCausalLM.from_pretrained(path, **{k: v for k, v in values.items() if v is not None})
    model.config.use_cache = False
    if on.type == "cpu" and values["quantization_config"] is not None:
        for parameter in model.parameters():
            if parameter.is_floating_point():
                # What stays unquantised (embeddings, norms) is a view of the whole file in memory, which stays with it.
                parameter.data = parameter.data.clone()
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            # In evaluation bitsandbytes would repack 4-bit weights for its CPU kernel: with rounded scales, for good, and
            # in a format without gradients. An evaluation before or amid the training must change nothing.
            module.support_avx512bf16_for_cpu = False
    return model


def attend(model: Any, implementation: str) -> None:
    """Change the attention's implementation; where the model does not take it, it stays as it is."""
    if implementation != model.config._attn_implementation:
        with contextlib.suppress(ImportError, ValueError):
            model.set_attn_implementation(implementation)


def ends(tokenizer: Any, model: Any) -> set[int]:
    """The tokens at which the model's generation stops."""
    told = model.generation_config.eos_token_id if model.generation_config is not None else None
    return {tokenizer.eos_token_id, *([told] if isinstance(told, int) else told or [])}


def context_length(model: Any) -> int | None:
    """Tokens that the model was made for."""
    length = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return length if isinstance(length, int) and length > 0 else None


def wanted_modules(config: TrainingConfig) -> list[str] | str | None:
    """The layers to adapt: what the config says, else KAITO's variable; None, for all linear ones, without both."""
    listed = [name.strip() for name in os.environ.get(TARGETS_VARIABLE, "").split(",") if name.strip()]
    stock = STOCK_TARGETS if config.TrainerOptions.compat == "kaito" else None
    return config.LoraConfig.target_modules or listed or stock


def target_modules(model: Any, told: list[str] | str | None) -> tuple[list[str] | str, list[str]]:
    """Which layers get an adapter, for PEFT: names (or a regular expression), and full names left out.

    `all-linear`, and saying nothing, means all linear layers but the head and the routers of experts. A layer that this
    model holds fused with others is found under its usual name. Raises `Failure` of kind `target-modules` when a name (or
    the expression) matches no layer.
    """
    linear = _linear_layers(model)
    head = next((n for n, m in model.named_modules() if m is model.get_output_embeddings()), None)
    if told is None or (isinstance(told, str) and told.lower() == ALL_LINEAR):
        experts = any(getattr(model.config.get_text_config(), key, None) for key in EXPERTS)
        left_out = [n for n in linear if n == head or (experts and _last(n) in ROUTERS)]
        wanted = {_last(n) for n in linear if n not in left_out}
        return sorted(wanted), [n for n in left_out if _last(n) in wanted]
    names = [n for n, _ in model.named_modules() if n]
    if isinstance(told, str):
        missing = [] if any(re.fullmatch(told, n) for n in names) else [told]
    else:
        told = list(dict.fromkeys(_as_held(name, names) for name in told))
        missing = [t for t in told if not _holds(names, t)]
    if missing:
        available = sorted({_last(n) for n in linear if n != head})
        near = [f"{name}: {m}" for name in missing if isinstance(told, list) and (m := close_match(name, available))]
        raise Failure(
            "target-modules",
            f"LoraConfig.target_modules: {listing(missing, 'and')} {'is' if len(missing) == 1 else 'are'} not in the "
            f"model. {' '.join(near)}".strip(),
            f"The model's linear layers are {listing(available, 'and')}; all-linear takes them all.",
        )
    return told, []


def _holds(names: list[str], name: str) -> bool:
    return any(n == name or n.endswith(f".{name}") for n in names)


def _as_held(name: str, names: list[str]) -> str:
    """The layer's name, or that of the fused layer which it is a part of in this model."""
    if _holds(names, name):
        return name
    return next((fused for fused, parts in FUSED if name in parts and _holds(names, fused)), name)


def _linear_layers(model: Any) -> list[str]:
    from torch.nn import Linear
    from transformers.pytorch_utils import Conv1D

    return [name for name, module in model.named_modules() if isinstance(module, Linear | Conv1D)]


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _where_from(config: TrainingConfig) -> dict[str, Any]:
    """What tokenizer and model are both told about where they come from."""
    section = config.ModelConfig
    told: dict[str, Any] = {
        "local_files_only": section.local_files_only,
        "revision": section.revision,
        "trust_remote_code": section.trust_remote_code,
    }
    passed = {k: v for k, v in section.extra.items() if k in hf_config.MODEL_KEYS}
    return {k: v for k, v in told.items() if v is not None} | passed


def _device_map(told: Any, on: Device) -> Any:
    """KAITO's `auto` means something on one process with GPUs only."""
    if on.type == "cpu":
        return None
    if "LOCAL_RANK" in os.environ:
        return {"": int(os.environ["LOCAL_RANK"])}
    return told if told is not None else "auto"


def _template(told: str, places: Places) -> str:
    """KAITO takes a file's path or the template itself."""
    if "{" in told:
        return told
    place: Path = places.resolve(told)
    try:
        return place.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = f"ModelConfig.chat_template: {place} cannot be read: {error}"
        raise Failure("config", message, "Give the path of a Jinja file, or a one-line template.") from error


@contextlib.contextmanager
def _loading(path: str, what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        failure = in_loading(error, f"{what} {path}", offline=os.environ.get("HF_HUB_OFFLINE") == "1")
        if failure is None:
            raise
        raise failure from error


def _cpu_name() -> str:
    """The processor's name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return f"cpu ({name})" if name else "cpu"


__all__ = ["attend", "base", "context_length", "device", "ends", "target_modules", "tokenizer"]
