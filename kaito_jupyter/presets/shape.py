"""What a model's size and memory come from: the numbers of its `config.json`. Pure: no file is read here.

Exact for the dense types that `TYPES` names, held against `transformers` in the tests; any other type is taken for a model like
Llama, and says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

TYPES: Final = (
    "llama", "mistral", "qwen2", "qwen3", "phi3", "gemma", "gemma2", "gemma3_text", "falcon", "mixtral", "qwen3_moe",
    "granite", "smollm3",
)  # fmt: skip
"""Values of `model_type` whose parameters are counted exactly."""


@dataclass(frozen=True, slots=True)
class Linear:
    """One kind of linear layer, as often as there are blocks."""

    name: str
    inputs: int
    outputs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A decoder's numbers, by the meaning of Hugging Face's keys."""

    type: str
    """`model_type`."""
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    """Width of the feed-forward part; of one expert where there are several."""
    vocab: int
    context: int
    """`max_position_embeddings`, tokens."""
    tied: bool = False
    """Whether the head is the embedding."""
    qkv_bias: bool = False
    o_bias: bool = False
    mlp_bias: bool = False
    norms: int = 2
    """Norms of the residual stream in a block."""
    qk_norm: bool = False
    experts: int = 0
    experts_per_token: int = 0

    @property
    def exact(self) -> bool:
        """Whether the count of parameters is known to be right for this type."""
        return self.type in TYPES

    @property
    def q(self) -> int:
        """Width of the queries."""
        return self.heads * self.head_dim

    @property
    def kv(self) -> int:
        """Width of the keys, and of the values."""
        return self.kv_heads * self.head_dim

    @property
    def busy_ffn(self) -> int:
        """Width of the feed-forward part that a token goes through."""
        return self.ffn * max(1, self.experts_per_token)

    @property
    def linears(self) -> tuple[Linear, ...]:
        """The linear layers of a block, under the names that the model has for them. Experts are no linear layers."""
        h, q, kv, ffn = self.hidden, self.q, self.kv, self.ffn
        if self.type == "falcon":
            return (
                Linear("query_key_value", h, q + 2 * kv), Linear("dense", q, h),
                Linear("dense_h_to_4h", h, ffn), Linear("dense_4h_to_h", ffn, h),
            )  # fmt: skip
        if self.type == "phi3":
            return (
                Linear("qkv_proj", h, q + 2 * kv), Linear("o_proj", q, h),
                Linear("gate_up_proj", h, 2 * ffn), Linear("down_proj", ffn, h),
            )  # fmt: skip
        attention = (
            Linear("q_proj", h, q), Linear("k_proj", h, kv), Linear("v_proj", h, kv), Linear("o_proj", q, h),
        )  # fmt: skip
        if self.experts:
            return attention
        return (*attention, Linear("gate_proj", h, ffn), Linear("up_proj", h, ffn), Linear("down_proj", ffn, h))

    @property
    def linear_parameters(self) -> int:
        """Weights of the linear layers: those that are quantised."""
        return self.layers * sum(x.inputs * x.outputs for x in self.linears)

    @property
    def parameters(self) -> int:
        """All of them, a tied head counted once."""
        h = self.hidden
        biases = (self.q + 2 * self.kv) * self.qkv_bias + h * self.o_bias + (2 * self.ffn + h) * self.mlp_bias
        norms = 1 if self.type != "falcon" else 2  # LayerNorm has a bias, RMSNorm has none
        block = biases + self.norms * h * norms + 2 * self.head_dim * self.qk_norm
        block += self.experts * (3 * h * self.ffn + h)
        embeddings = self.vocab * h * (1 if self.tied else 2)
        return embeddings + self.linear_parameters + self.layers * block + h * norms


def read(config: Mapping[str, Any]) -> Shape | None:
    """The shape that a `config.json` tells of; None when it does not hold what a decoder has."""
    text = config.get("text_config")
    if isinstance(text, Mapping):  # a model for images and text: what is tuned here is its language model
        config = {
            **text,
            "tie_word_embeddings": text.get("tie_word_embeddings", config.get("tie_word_embeddings", True)),
        }

    def number(*names: str, otherwise: int = 0) -> int:
        found = next((config[n] for n in names if config.get(n) is not None), otherwise)
        return found if isinstance(found, int) and not isinstance(found, bool) and found > 0 else 0

    kind = str(config.get("model_type", ""))
    hidden, layers = number("hidden_size", "n_embd", "d_model"), number("num_hidden_layers", "n_layer", "num_layers")
    heads = number("num_attention_heads", "n_head", "num_heads")
    vocab = number("vocab_size")
    if not (hidden and layers and heads and vocab):
        return None
    kv_heads = number("num_key_value_heads", otherwise=heads)
    if kind == "falcon" and not config.get("new_decoder_architecture") and config.get("multi_query", True):
        kv_heads = 1
    experts = number("num_local_experts", "num_experts", "n_routed_experts")
    ffn = number("ffn_hidden_size", "intermediate_size", "n_inner", otherwise=4 * hidden)
    ffn = number("moe_intermediate_size", otherwise=ffn) if experts else ffn
    attention_bias = bool(config.get("attention_bias", False)) and kind in ("llama", "granite", "qwen3", "smollm3")
    return Shape(
        type=kind,
        hidden=hidden,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=number("head_dim", otherwise=hidden // heads),
        ffn=ffn,
        vocab=vocab,
        context=number("max_position_embeddings", "n_positions", otherwise=2048),
        tied=bool(config.get("tie_word_embeddings", kind.startswith("gemma") or kind in ("falcon", "smollm3"))),
        qkv_bias=kind == "qwen2" or attention_bias,
        o_bias=attention_bias,
        mlp_bias=bool(config.get("mlp_bias", False)) and kind in ("llama", "granite", "smollm3"),
        norms=4 if kind in ("gemma2", "gemma3_text") else 1 if kind == "falcon" else 2,
        qk_norm=kind in ("qwen3", "qwen3_moe", "gemma3_text"),
        experts=experts,
        experts_per_token=number("num_experts_per_tok", otherwise=2) if experts else 0,
    )


__all__ = ["TYPES", "Linear", "Shape", "read"]
