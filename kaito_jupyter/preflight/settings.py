"""A spec's configuration -> what its step is made of, and on what it will run."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from kaito_trainer.contract import TrainingConfig

from ..presets import SKUS, Shape, Sku
from ..spec import Target, TuningSpec
from .memory import FOUR_BITS, GIB, Head, Load

PARTS: Final = {
    "q_proj": "qkv_proj", "k_proj": "qkv_proj", "v_proj": "qkv_proj", "gate_proj": "gate_up_proj", "up_proj": "gate_up_proj",
}  # fmt: skip
"""Layers that some models hold fused -> the fused layer's name."""
BILLION: Final = 1_000_000_000
"""Parameters from which on our trainer computes activations twice on a GPU of unknown size (`kaito_trainer.choices`)."""
HERE: Final = "this machine"
VISIBLE: Final = "CUDA_VISIBLE_DEVICES"
PATIENCE: Final = 10.0
"""Seconds in which NVIDIA's tool must have answered: it takes two where no other program holds the driver."""
LENGTH: Final = 1024
"""TRL's `max_length` where nobody sets one."""


@dataclass(frozen=True, slots=True)
class Device:
    """What a run has."""

    name: str
    """A GPU node's size, or what stands for it."""
    gpu: str
    """The GPU's model; empty on a CPU, `GPU` when it is not known."""
    count: int
    memory: int | None
    """Bytes of one GPU (or of the machine, on a CPU); None when it is unknown."""

    @property
    def here(self) -> bool:
        """Whether it is the notebook's own machine: it cannot be exchanged by a word in the spec."""
        return self.name == HERE

    @property
    def shown(self) -> str:
        """For the middle of a sentence."""
        return f"{self.name}'s {self.gpu}" if self.here and self.gpu else self.name


def load(spec: TuningSpec, target: Target, shape: Shape, rows: int | None) -> Load:
    """The step that the spec asks for. Takes wrong values too, and then counts with what the trainer would choose."""
    config = spec.effective_config(target, rows=rows)
    t, lora, bits = config.TrainingArguments, config.LoraConfig, config.QuantizationConfig
    gpu = on_gpu(spec, target)
    number = _bytes(config, gpu=gpu)
    double = bits.bnb_4bit_use_double_quant is not False
    weight: float = FOUR_BITS[0 if double else 1] if bits.load_in_4bit is True else number
    told = t.gradient_checkpointing
    head: Head = "stock" if target == "kaito" else "fused" if gpu else "plain"
    return Load(
        batch=_positive(t.per_device_train_batch_size, 1),
        length=_positive(t.max_length, min(LENGTH, shape.context)),
        rank=_positive(lora.r, 8),
        targets=_targets(shape, lora.target_modules),
        checkpointing=told if isinstance(told, bool) else target == "kaito" or (gpu and shape.parameters >= BILLION),
        weight=1 if bits.load_in_8bit is True else weight,
        number=number,
        optimizer=_optimizer(t.optim),
        dropout=isinstance(lora.lora_dropout, float) and lora.lora_dropout > 0,
        eager=config.ModelConfig.attn_implementation == "eager",
        head=head,
        gpu=gpu,
    )


def device(spec: TuningSpec, target: Target) -> Device:
    """What the spec runs on, as far as it can be known from here."""
    if target == "local":
        if not on_gpu(spec, target):
            return Device(HERE, "", 1, machine_memory())
        name, memory = machine_gpu(os.environ.get(VISIBLE))
        return Device(HERE, name, 1, memory)
    if not on_gpu(spec, target):
        return Device("a pod without GPUs", "", 1, None)
    sku = SKUS.get(spec.resource.instance_type or "")
    if sku is None:
        return Device(spec.resource.instance_type or "the cluster's GPU nodes", "GPU", spec.gpus(target), None)
    return Device(sku.name, sku.gpu, spec.gpus(target), of_one(sku))


def on_gpu(spec: TuningSpec, target: Target) -> bool:
    """Whether it will run on a GPU. On this machine: whether NVIDIA's driver is there and the spec leaves it the choice."""
    if target == "local":
        hidden = os.environ.get(VISIBLE) in ("", "-1")
        return spec.config.TrainingArguments.use_cpu is not True and not hidden and Path("/dev/nvidia0").exists()
    return not (target == "job" and spec.placement.gpus == 0)


def of_one(sku: Sku) -> int:
    """Bytes of one of the node's GPUs."""
    return int(sku.memory_gib / sku.gpus * GIB)


@cache
def machine_gpu(visible: str | None) -> tuple[str, int | None]:
    """Name and bytes of the GPU that a run on this machine takes, by NVIDIA's own tool: torch is not here to be asked.

    `visible`: CUDA's list of GPUs, of which the first one counts. Without the tool's word the memory is unknown.
    """
    command = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    if visible:
        command.append(f"--id={visible.split(',')[0].strip()}")
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout
        name, _, mebibytes = told.splitlines()[0].rpartition(",")
        return name.strip(), int(mebibytes) * 2**20
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return "GPU", None


def machine_memory() -> int:
    """Bytes of this machine, or that its container may use."""
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return there
    return min(there, limit)


@cache
def knows_bfloat16() -> bool:
    """Whether this machine's processor computes in bfloat16, by the flags that our trainer asks torch for."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_tile" in flags


def _bytes(config: TrainingConfig, *, gpu: bool) -> int:
    told = config.ModelConfig.torch_dtype
    if told in ("float32", "bfloat16", "float16"):
        return 4 if told == "float32" else 2
    return 2 if gpu or knows_bfloat16() else 4


def _optimizer(name: object) -> float:
    text = str(name or "adamw_torch")
    if "8bit" in text or "4bit" in text:
        return 2
    return 0 if text.startswith(("sgd", "adafactor")) else 8


def _targets(shape: Shape, told: object) -> tuple[str, ...] | None:
    """The adapted layers' names as this model has them; None: all."""
    names = {x.name for x in shape.linears}
    if isinstance(told, str) and told in names:
        told = [told]
    if not isinstance(told, Iterable) or isinstance(told, str):
        return None
    found = {str(name) if name in names else PARTS.get(str(name), "") for name in told}
    return tuple(sorted(found & names)) or None


def _positive(value: Any, otherwise: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else otherwise


__all__ = ["Device", "device", "load", "of_one", "on_gpu"]
