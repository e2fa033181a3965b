"""The numbers of the models that are bundled: KAITO's tunable presets, and small ones that people try first.

Read off copies of each model's `config.json` in litgpt's `config.py` (Lightning-AI/litgpt, commit 2685705), which links each
of them; two come from elsewhere: Phi-3-medium's from the one set of numbers of its kind that gives its published count of
parameters, gemma-3-1b-it's context from its GGUF's metadata (litgpt has the larger sisters' 131,072). What they come to is
held against the published counts (`safetensors.total` on the hub) and against `transformers` in the tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from .known import find
from .shape import Shape


@dataclass(frozen=True, slots=True)
class Marks:
    """What a chat template puts around an answer."""

    opens: str
    """Right before the answer."""
    closes: str
    """Right after it: the token that ends the turn."""


CHATML: Final = Marks("<|im_start|>assistant\n", "<|im_end|>")
PHI3: Final = Marks("<|assistant|>\n", "<|end|>")


@dataclass(frozen=True, slots=True)
class Model:
    """A model that is known without its files."""

    id: str
    """On Hugging Face."""
    parameters: int
    """As published; a tied head counted once."""
    shape: Shape
    marks: Marks | None = None
    """None: a base model without a chat template, which must be given one."""

    @property
    def target_modules(self) -> tuple[str, ...]:
        """All linear layers but the head."""
        return tuple(x.name for x in self.shape.linears)

    @property
    def source(self) -> str:
        return f"https://huggingface.co/{self.id}/blob/main/config.json"


def _shape(type: str, hidden: int, layers: int, heads: tuple[int, int], ffn: int, vocab: int, context: int, **more: Any) -> Shape:  # fmt: skip
    return Shape(
        type=type, hidden=hidden, layers=layers, heads=heads[0], kv_heads=heads[1], ffn=ffn, vocab=vocab, context=context,
        **{"head_dim": hidden // heads[0], **more},
    )  # fmt: skip


_QWEN: Final[dict[str, Any]] = {"qkv_bias": True}
_TIED: Final[dict[str, Any]] = {"tied": True}
_GEMMA: Final[dict[str, Any]] = {"head_dim": 256, "norms": 4, "qk_norm": True, "tied": True}
_PHI3_MINI: Final = (3072, 32, (32, 32), 8192, 32064)
_PHI3_MEDIUM: Final = (5120, 40, (40, 10), 17920, 32064)

MODELS: Final[dict[str, Model]] = {
    m.id.lower(): m
    for m in (
        # KAITO's presets
        Model("microsoft/Phi-3-mini-4k-instruct", 3_821_079_552, _shape("phi3", *_PHI3_MINI, 4096), PHI3),
        Model("microsoft/Phi-3-mini-128k-instruct", 3_821_079_552, _shape("phi3", *_PHI3_MINI, 131_072), PHI3),
        Model("microsoft/Phi-3-medium-4k-instruct", 13_960_238_080, _shape("phi3", *_PHI3_MEDIUM, 4096), PHI3),
        Model("microsoft/Phi-3-medium-128k-instruct", 13_960_238_080, _shape("phi3", *_PHI3_MEDIUM, 131_072), PHI3),
        Model("microsoft/Phi-3.5-mini-instruct", 3_821_079_552, _shape("phi3", *_PHI3_MINI, 131_072), PHI3),
        Model(
            "microsoft/phi-4",
            14_659_507_200,
            _shape("phi3", 5120, 40, (40, 10), 17920, 100_352, 16_384),
            Marks("<|im_start|>assistant<|im_sep|>", "<|im_end|>"),
        ),
        Model(
            "microsoft/Phi-4-mini-instruct",
            3_836_021_760,
            _shape("phi3", 3072, 32, (24, 8), 8192, 200_064, 131_072, **_TIED),
            Marks("<|assistant|>", "<|end|>"),
        ),
        Model(
            "mistralai/Mistral-7B-v0.3",
            7_248_023_552,
            _shape("mistral", 4096, 32, (32, 8), 14336, 32_768, 32_768),
            None,
        ),
        Model(
            "Qwen/Qwen2.5-Coder-7B-Instruct",
            7_615_616_512,
            _shape("qwen2", 3584, 28, (28, 4), 18944, 152_064, 32_768, **_QWEN),
            CHATML,
        ),
        Model(
            "Qwen/Qwen2.5-Coder-32B-Instruct",
            32_763_876_352,
            _shape("qwen2", 5120, 64, (40, 8), 27648, 152_064, 32_768, **_QWEN),
            CHATML,
        ),
        Model(
            "tiiuae/falcon-7b",
            6_921_720_704,
            _shape("falcon", 4544, 32, (71, 1), 4 * 4544, 65_024, 2048, norms=1, **_TIED),
            None,
        ),
        # Small ones
        Model(
            "HuggingFaceTB/SmolLM2-135M-Instruct",
            134_515_008,
            _shape("llama", 576, 30, (9, 3), 1536, 49_152, 8192, **_TIED),
            CHATML,
        ),
        Model(
            "HuggingFaceTB/SmolLM2-360M-Instruct",
            361_821_120,
            _shape("llama", 960, 32, (15, 5), 2560, 49_152, 8192, **_TIED),
            CHATML,
        ),
        Model(
            "HuggingFaceTB/SmolLM2-1.7B-Instruct",
            1_711_376_384,
            _shape("llama", 2048, 24, (32, 32), 8192, 49_152, 8192, **_TIED),
            CHATML,
        ),
        Model(
            "Qwen/Qwen2.5-0.5B-Instruct",
            494_032_768,
            _shape("qwen2", 896, 24, (14, 2), 4864, 151_936, 32_768, **_QWEN, **_TIED),
            CHATML,
        ),
        Model(
            "Qwen/Qwen2.5-1.5B-Instruct",
            1_543_714_304,
            _shape("qwen2", 1536, 28, (12, 2), 8960, 151_936, 32_768, **_QWEN, **_TIED),
            CHATML,
        ),
        Model(
            "Qwen/Qwen3-0.6B",
            596_049_920,
            _shape("qwen3", 1024, 28, (16, 8), 3072, 151_936, 40_960, head_dim=128, qk_norm=True, **_TIED),
            CHATML,
        ),
        Model(
            "meta-llama/Llama-3.2-1B-Instruct",
            1_235_814_400,
            _shape("llama", 2048, 16, (32, 8), 8192, 128_256, 131_072, **_TIED),
            Marks("<|start_header_id|>assistant<|end_header_id|>\n\n", "<|eot_id|>"),
        ),
        Model(
            "google/gemma-3-1b-it",
            999_885_952,
            _shape("gemma3_text", 1152, 26, (4, 1), 6912, 262_144, 32_768, **_GEMMA),
            Marks("<start_of_turn>model\n", "<end_of_turn>"),
        ),
        Model(
            "TinyLlama/TinyLlama-1.1B-Chat-v1.0",
            1_100_048_384,
            _shape("llama", 2048, 22, (32, 4), 5632, 32_000, 2048),
            Marks("<|assistant|>\n", "</s>"),
        ),
    )
}
"""By Hugging Face id in small letters."""


def model(name: object) -> Model | None:
    """The bundled model of that preset's name or Hugging Face id (whatever the case of its letters)."""
    preset = find(name)
    return MODELS.get((preset.hugging_face_id if preset else name).lower()) if isinstance(name, str) else None


__all__ = ["MODELS", "Marks", "Model", "model"]
