"""The choices that decide the speed, made for this run: facts are gathered, `choices` decides, and what it says is done."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from . import batching, choices, footprint, hf_config, machine, model, packing, results
from .choices import Choice, Facts
from .contract import TrainingConfig
from .defaults import Device
from .tokens import Tokenized, lengths

PACKAGES: Final = ("flash_attn", "liger_kernel", "bitsandbytes")
"""Optional packages that a choice depends on."""
OURS: Final = {
    "train_sampling_strategy": ("random", "group_by_length"),
    "optim": ("adamw_torch_fused", "adamw_8bit", "paged_adamw_8bit"),
}
"""What we choose among, of what decides what is learnt: a run goes on only with what it began with."""


@dataclass(frozen=True)
class Fast:
    """What was chosen, and the data set as it is to be trained on."""

    sequences: Any
    made: tuple[Choice, ...]

    def __getitem__(self, name: str) -> Any:
        """The value of a choice."""
        return next(c.value for c in self.made if c.name == name)

    @property
    def chosen(self) -> dict[str, Any]:
        """Those that nobody wrote, by name."""
        return {c.name: c.value for c in self.made if not c.yours}


def settle(
    base: Any,
    arguments: Any,
    chosen: dict[str, Any],
    config: TrainingConfig,
    device: Device,
    targets: list[str] | str,
    train: Tokenized,
    held_out: Tokenized,
    length: int,
    output: Path,
) -> Fast:
    """Choose, and change model and arguments accordingly. `chosen` hears what follows from packing."""
    import torch
    from transformers.training_args import OptimizerNames

    batch = arguments.per_device_train_batch_size
    longest = max(train.longest, held_out.longest)
    text = base.config.get_text_config()
    f = Facts(
        device=device,
        told=written(config),
        before=_before(output, batch * arguments.gradient_accumulation_steps * arguments.world_size),
        compat=config.TrainerOptions.compat == "kaito",
        installed=frozenset(name for name in PACKAGES if importlib.util.find_spec(name)),
        cpus=max(1, machine.cpus() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))),
        threads=torch.get_num_threads(),
        waiting=os.environ.get("OMP_WAIT_POLICY", "not set"),
        attention=base.config._attn_implementation,
        flash=bool(getattr(base, "_supports_flash_attn", False)),
        liger=_liger_knows(text.model_type),
        half=base.dtype != torch.float32,
        batch=batch,
        longest=longest,
        costs=batching.costs(lengths(train.dataset), batch, getattr(text, "hidden_size", 0)),
        parameters=base.num_parameters(),
    )
    torch.set_num_threads(choices.threads(f).value)
    flat = choices.packing(f).value or choices.padding_free(f).value
    tokens = _tokens(f, length)
    model.attend(base, choices.attention(f, tokens).value)
    if flat and (leak := packing.why_not(base, train.dataset["input_ids"][:2])):
        asked = [c.name for c in (choices.packing(f), choices.padding_free(f)) if c.yours and c.value]
        chosen.update(dict.fromkeys(asked, f"off: {leak}"))
        f = dataclasses.replace(f, leak=leak)
        tokens = _tokens(f, length)
        model.attend(base, choices.attention(f, tokens).value)
    arguments.packing, arguments.padding_free = choices.packing(f).value, choices.padding_free(f).value
    sequences = packing.settle(arguments, chosen, config, train.dataset, length)
    if arguments.padding_free and "per_device_eval_batch_size" in chosen:
        # Rows end to end are one sequence, whose evaluation shall not take more than its training.
        arguments.per_device_eval_batch_size = chosen["per_device_eval_batch_size"] = batch
    if hasattr(arguments, "train_sampling_strategy"):
        arguments.train_sampling_strategy = choices.sampling(f).value
    arguments.use_liger_kernel = choices.kernels(f).value
    f = dataclasses.replace(f, **_estimate(base, config, f, targets, tokens, batch))
    hf_config.checkpointing(arguments, choices.gradient_checkpointing(f).value)
    arguments.optim = OptimizerNames(choices.optimizer(f).value)
    made = {c.name: c for c in choices.all_choices(f, tokens)}
    made["dtype"] = dataclasses.replace(made["dtype"], value=str(base.dtype).removeprefix("torch."))
    used = base.config._attn_implementation
    if made["attn_implementation"].value != used:
        why = "The model does not take another."
        made["attn_implementation"] = dataclasses.replace(made["attn_implementation"], value=used, why=why, yours=False)
    return Fast(sequences, tuple(made.values()))


def written(config: TrainingConfig) -> dict[str, Any]:
    """What the user wrote, by `Section.field`, newer names of a field under the one that the choices know."""
    told = {f"{s.NAME}.{name}": value for s in config.sections() for name, value in s.to_dict().items()}
    arguments = config.TrainingArguments.extra
    if (new := arguments.get("activation_checkpointing")) is not None:
        told.setdefault("TrainingArguments.gradient_checkpointing", new)
    if arguments.get("group_by_length"):
        told.setdefault("TrainingArguments.train_sampling_strategy", "group_by_length")
    if (number := os.environ.get("OMP_NUM_THREADS", "")).isdecimal() and int(number):
        told["OMP_NUM_THREADS"] = int(number)
    if arguments.get("torch_compile_mode") or arguments.get("torch_compile_backend"):
        told.setdefault("TrainingArguments.torch_compile", True)
    return told


def _tokens(f: Facts, length: int) -> int:
    """Of the longest sequence that the model gets."""
    if choices.packing(f).value:
        return length * f.batch
    return f.longest * f.batch if choices.padding_free(f).value else f.longest


def _estimate(
    base: Any, config: TrainingConfig, f: Facts, targets: list[str] | str, tokens: int, batch: int
) -> Mapping[str, Any]:
    """The facts about memory; nothing where the model's configuration has words that are not known."""
    rank = config.LoraConfig.r or 8
    step = footprint.of_model(
        base,
        targets,
        rank,
        dropout=bool(config.LoraConfig.lora_dropout),
        gpu=f.gpu,
        fused=choices.loss_head(f).value == "fused",
    )
    if step is None:
        return {}
    eager = base.config._attn_implementation == "eager"
    end_to_end = choices.packing(f).value or choices.padding_free(f).value
    whole = tokens if end_to_end else tokens * batch
    return {
        "need": step.need(whole, tokens, eager=eager),
        "need_recomputed": step.need(whole, tokens, checkpointing=True, eager=eager),
        "state": 8 * step.trained,
        "room": int(footprint.USABLE * _memory(f.device)),
    }


def _memory(device: Device) -> int:
    """Bytes of the device that are ours: of a GPU, what others leave; of several that hold one model, their sum."""
    import torch

    if device.type != "cuda":
        return machine.memory()
    rank = os.environ.get("LOCAL_RANK")
    on = [int(rank)] if rank is not None else list(range(torch.cuda.device_count()))
    return sum(torch.cuda.mem_get_info(i)[0] + torch.cuda.memory_reserved(i) for i in on)


def _before(output: Path, rows: int) -> dict[str, Any]:
    """What the folder's run, if it has as many rows a step, was begun with: of what is chosen here and decides what is learnt."""
    trajectory = results.noted(output).get("trajectory")
    if not isinstance(trajectory, dict) or trajectory.get("rows a step") != rows:
        return {}
    return {name: trajectory[name] for name, ours in OURS.items() if trajectory.get(name) in ours}


def _liger_knows(kind: str) -> bool:
    if importlib.util.find_spec("liger_kernel") is None:
        return False
    try:
        from liger_kernel.transformers import monkey_patch  # type: ignore[import-not-found]
    except Exception:  # noqa: BLE001 (its import needs a working Triton)
        return False
    return kind in monkey_patch.MODEL_TYPE_TO_APPLY_LIGER_FN


__all__ = ["Fast", "settle", "written"]
