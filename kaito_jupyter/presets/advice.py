"""What to begin with for a model that is known, each value with where it comes from. What nobody has published or measured is left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from .known import SKUS, Preset, find
from .models import model

TEMPLATE: Final = "KAITO v0.12, lora-params-template and qlora-params-template"
RATE: Final = "measured on SmolLM2-135M: 2e-5 hardly moves an adapter in an epoch (loss 3.31 against 2.86)"
STYLES: Final = "litgpt's prompts.py (commit 2685705)"

NEEDS: Final[dict[str, tuple[int, int, str]]] = {
    "phi-3-mini-4k-instruct": (72, 72, "phi3"),
    "phi-3-mini-128k-instruct": (72, 72, "phi3"),
    "phi-3-medium-4k-instruct": (80, 80, "phi3"),
    "phi-3-medium-128k-instruct": (80, 80, "phi3"),
    "phi-3.5-mini-instruct": (72, 72, "phi3"),
    "phi-4": (70, 70, "phi4"),
    "phi-4-mini-instruct": (72, 72, "phi4"),
    "mistral-7b-v0.3": (16, 16, "mistral"),
    "qwen2.5-coder-7b-instruct": (24, 24, "qwen"),
    "qwen2.5-coder-32b-instruct": (140, 70, "qwen"),
    "falcon-7b": (16, 16, "falcon"),
}
"""GiB of GPU memory that KAITO asks for to tune a preset: in all, and of each GPU; and the folder of its `model.go`."""


@dataclass(frozen=True, slots=True)
class Sourced:
    """One value, and where it was read or measured."""

    value: Any
    source: str


def advice(name: object) -> dict[str, Sourced]:
    """What is known to begin with, by a spec's words for it; empty for a model that is not bundled.

    `chat_marks` are the texts around an answer (see `Marks`). `instance_type` is the smallest GPU node that has what KAITO
    itself asks for; how much a run really takes is what `kaito_jupyter.estimate` tells.
    """
    known = model(name)
    if known is None:
        return {}
    found = {
        "target_modules": Sourced(known.target_modules, known.source),
        "context_length": Sourced(known.shape.context, known.source),
        "learning_rate": Sourced(2e-4, RATE),
    }
    if known.marks is not None:
        found["chat_marks"] = Sourced(known.marks, STYLES)
    if preset := find(name):
        found |= _of_kaito(preset)
    elif known.id.endswith("SmolLM2-135M-Instruct"):
        found["r"] = Sourced(8, "measured: one epoch of 160 rows on all linear layers, loss 3.34 to 0.40")
        found["per_device_train_batch_size"] = Sourced(4, "measured: 400 rows of the demo in 174 s on two cores")
    return found


def _of_kaito(preset: Preset) -> dict[str, Sourced]:
    total, each, folder = NEEDS[preset.name]
    fits = [s for s in SKUS.values() if s.memory_gib >= total and s.memory_gib / s.gpus >= each]
    smallest = min(fits, key=lambda s: (s.memory_gib, s.gpus))
    source = f"KAITO, presets/workspace/models/{folder}/model.go, GetTuningParameters: {total} GiB"
    return {
        "r": Sourced(8, TEMPLATE),
        "per_device_train_batch_size": Sourced(1, TEMPLATE),
        "instance_type": Sourced(smallest.name, source),
    }


__all__ = ["Sourced", "advice"]
