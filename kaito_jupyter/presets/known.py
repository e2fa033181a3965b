"""What KAITO can tune and on what: its presets, and the GPU nodes that it knows. Facts only, no I/O but one folder check.

Sources: KAITO v0.12 (`presets/workspace/models`, `pkg/sku`), and each model's `config.json` on Hugging Face.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..tilde import expanded

FUSED: Final = ("qkv_proj", "o_proj", "gate_up_proj", "down_proj")
"""Linear layers of the Phi-3 architecture, which Phi-3, Phi-3.5 and Phi-4 share."""

SPLIT: Final = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""Linear layers of Llama-like architectures: Mistral, Qwen2."""

FALCON: Final = ("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h")


@dataclass(frozen=True, slots=True)
class Preset:
    """A model that KAITO can tune."""

    name: str
    """KAITO's word: `tuning.preset.name`."""
    hugging_face_id: str
    parameters: int
    """Of the base model, embeddings included."""
    context_length: int
    """Longest sequence in tokens (`max_position_embeddings`)."""
    target_modules: tuple[str, ...]
    """All linear layers but the output head, for `LoraConfig.target_modules`. KAITO's own detection misses most of
    them on Phi (the fused names differ) and its trainer does not understand `all-linear`."""
    retired: bool = False
    """Only older releases of KAITO can tune it."""

    @property
    def source(self) -> str:
        """Where these facts were read: the model's `config.json`."""
        return f"https://huggingface.co/{self.hugging_face_id}/blob/main/config.json"


@dataclass(frozen=True, slots=True)
class Sku:
    """A GPU node size that KAITO knows."""

    name: str
    """KAITO's word: `resource.instanceType`."""
    gpus: int
    memory_gib: int
    """Of all its GPUs together."""
    gpu: str
    """The GPU's model."""


PRESETS: Final[dict[str, Preset]] = {
    p.name: p
    for p in (
        Preset("phi-3-mini-4k-instruct", "microsoft/Phi-3-mini-4k-instruct", 3_821_079_552, 4096, FUSED),
        Preset("phi-3-mini-128k-instruct", "microsoft/Phi-3-mini-128k-instruct", 3_821_079_552, 131_072, FUSED),
        Preset("phi-3-medium-4k-instruct", "microsoft/Phi-3-medium-4k-instruct", 13_960_238_080, 4096, FUSED),
        Preset("phi-3-medium-128k-instruct", "microsoft/Phi-3-medium-128k-instruct", 13_960_238_080, 131_072, FUSED),
        Preset("phi-3.5-mini-instruct", "microsoft/Phi-3.5-mini-instruct", 3_821_079_552, 131_072, FUSED),
        Preset("phi-4", "microsoft/phi-4", 14_659_507_200, 16_384, FUSED),
        Preset("phi-4-mini-instruct", "microsoft/Phi-4-mini-instruct", 3_836_021_760, 131_072, FUSED),
        Preset("mistral-7b-v0.3", "mistralai/Mistral-7B-v0.3", 7_248_023_552, 32_768, SPLIT),
        Preset("qwen2.5-coder-7b-instruct", "Qwen/Qwen2.5-Coder-7B-Instruct", 7_615_616_512, 32_768, SPLIT),
        Preset("qwen2.5-coder-32b-instruct", "Qwen/Qwen2.5-Coder-32B-Instruct", 32_763_876_352, 32_768, SPLIT),
        Preset("falcon-7b", "tiiuae/falcon-7b", 6_921_720_704, 2048, FALCON, retired=True),
    )
}
"""KAITO's tunable presets by name."""

SKUS: Final[dict[str, Sku]] = {
    s.name: s
    for s in (
        Sku("Standard_NV36ads_A10_v5", 1, 24, "A10"),
        Sku("Standard_NV72ads_A10_v5", 2, 48, "A10"),
        Sku("Standard_NC24ads_A100_v4", 1, 80, "A100"),
        Sku("Standard_NC48ads_A100_v4", 2, 160, "A100"),
        Sku("Standard_NC96ads_A100_v4", 4, 320, "A100"),
        Sku("Standard_ND96asr_A100_v4", 8, 320, "A100"),
        Sku("Standard_ND96amsr_A100_v4", 8, 640, "A100"),
        Sku("Standard_NC40ads_H100_v5", 1, 94, "H100"),
        Sku("Standard_NC80adis_H100_v5", 2, 188, "H100"),
        Sku("Standard_ND96isr_H100_v5", 8, 640, "H100"),
        Sku("Standard_NCC40ads_H100_v5", 1, 94, "H100"),
        Sku("Standard_ND96isr_H200_v5", 8, 1128, "H200"),
    )
}
"""GPU nodes that KAITO knows on Azure, by name."""

_REPO = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?")
_BARE_IDS: Final = frozenset(("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl", "distilgpt2", "openai-gpt"))
"""The hub's language models from before every id had an owner."""


def is_hugging_face_id(text: str) -> bool:
    """Whether it has the form of a Hugging Face id: `owner/name` (or one of the few old ones without an owner)."""
    parts = text.split("/")
    well_formed = all(_REPO.fullmatch(p) and "--" not in p and ".." not in p for p in parts)
    return text in _BARE_IDS or (len(parts) == 2 and well_formed)


def is_path(text: str) -> bool:
    """Whether a model is meant as a folder: it looks like a path, or is a folder here."""
    return text.startswith((".", "/", "~")) or text.count("/") > 1 or Path(text).is_dir()


def find(model: object) -> Preset | None:
    """The preset of that name, or with that Hugging Face id (whatever the case of its letters)."""
    if not isinstance(model, str):
        return None
    return PRESETS.get(model) or next((p for p in PRESETS.values() if p.hugging_face_id.lower() == model.lower()), None)


def resolve_model(preset: str) -> str:
    """What a trainer of ours loads: the preset's Hugging Face id, an absolute folder, or the id as it came."""
    if preset in PRESETS:
        return PRESETS[preset].hugging_face_id
    if is_path(preset):
        return str(expanded(preset).absolute())
    return preset


def gpus(instance_type: str | None) -> int:
    """GPUs of a node size; 1 when it is unknown."""
    sku = SKUS.get(instance_type or "")
    return sku.gpus if sku else 1
