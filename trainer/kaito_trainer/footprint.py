"""The memory of a training step, estimated from the model that is loaded: for what is chosen by it, before anything is short.

The formula is that of the notebook's estimate before a run (`kaito_jupyter.preflight.memory`, which knows no torch), fed with the
model's own layers; it was held against torch's allocator on a CPU (`benchmarks/memory.json`). What CUDA takes for itself is
an allowance that was not measured. A wrong estimate costs speed or a halved batch (`oom`), never the run.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

CUDA: Final = int(0.6 * 2**30)
"""Bytes of a GPU that CUDA and its libraries take for themselves."""
PYTHON: Final = int(0.5 * 2**30)
"""Bytes of a process with torch, transformers and TRL in it."""
SCATTER: Final = 0.08
"""Share of a step's memory that is lost between its pieces, on a GPU."""
USABLE: Final = 0.95
"""Share of a device that a step may take by the estimate."""
TILE: Final = 4096 * 32768
"""Numbers of the largest piece of the logits that TRL's fused head makes at once."""


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """A loaded model with its adapter, in the numbers that its memory follows from."""

    weights: int
    """Bytes of the loaded model."""
    trained: int
    """Parameters of the adapter."""
    kept: float
    """Bytes for a token that all blocks keep for the backward pass."""
    layers: int
    hidden: int
    vocab: int
    heads: int
    number: int = 2
    """Bytes of a number in the computation."""
    gpu: bool = False
    fused: bool = False
    """Whether the loss is made in pieces."""

    def need(
        self, tokens: int, seen: int, *, checkpointing: bool = False, optimizer: float = 8, eager: bool = False
    ) -> int:
        """Bytes at the peak of a step of so many tokens, each compared with those `seen`.

        `optimizer`: bytes of its state for a trained parameter, 8 for Adam, 2 in eight bits, 0 where that lies elsewhere.
        """
        pairs = (4 + self.number) * self.heads * seen * self.layers if eager else 0
        activations = tokens * (self.kept + pairs)
        tile = min(TILE, tokens * self.vocab) * self.number + 4 * tokens * self.hidden
        logits = tile if self.fused else 12 * self.vocab * tokens
        if checkpointing:
            # A block's input is kept for each; the rest of one block comes back when the logits are gone.
            block = activations / max(1, self.layers)
            activations = self.number * self.hidden * tokens * self.layers + max(0, block - logits)
        passing = activations + logits
        lasting = self.weights + (4 + 4 + optimizer) * self.trained
        return int(lasting + passing + (CUDA + SCATTER * passing if self.gpu else PYTHON))


def of_model(
    model: Any, targets: Iterable[str] | str, rank: int, *, dropout: bool = False, gpu: bool, fused: bool
) -> Footprint | None:
    """The footprint of a loaded model with an adapter in those layers; None where its configuration has other words."""
    import re

    from torch.nn import Linear

    config = model.config.get_text_config()
    hidden, layers = getattr(config, "hidden_size", None), getattr(config, "num_hidden_layers", None)
    heads, vocab = getattr(config, "num_attention_heads", None), getattr(config, "vocab_size", None)
    if not (hidden and layers and heads and vocab):
        return None
    head = getattr(config, "head_dim", None) or hidden // heads
    kv = (getattr(config, "num_key_value_heads", None) or heads) * head
    ffn = getattr(config, "moe_intermediate_size", None) or getattr(config, "intermediate_size", None) or 4 * hidden
    ffn *= max(1, getattr(config, "num_experts_per_tok", None) or 1)
    number = 4 if str(model.dtype).endswith("float32") else 2
    half, trained, copies = number == 2, 0, 0.0
    names = None if isinstance(targets, str) else tuple(targets)
    for name, module in model.named_modules():
        if not isinstance(module, Linear):
            continue
        last = name.rpartition(".")[2]
        if not (re.fullmatch(str(targets), name) if names is None else last in names or name in names):
            continue
        inputs, outputs = module.in_features, module.out_features
        trained += rank * (inputs + outputs)
        # In half precision each adapter makes its own copy of its input.
        copies += (2 * inputs if half else 0) + 8 * rank + (inputs if dropout else 0)
    norms = sum("norm" in type(m).__name__.lower() for m in model.modules() if len(list(m.children())) == 0)
    norms = max(2, round(norms / layers)) if norms else 2
    # The norms keep their input in float32; query and output of the attention, keys, values; gate, its activation, the product.
    block = 4 * hidden * min(4, norms) + number * (2 * heads * head + 2 * kv) + number * 3 * ffn
    block += 0 if half else 4 * (2 * hidden + ffn)
    return Footprint(
        weights=sum(p.numel() * p.element_size() for p in model.parameters()),
        trained=trained,
        kept=block * layers + copies,
        layers=layers,
        hidden=hidden,
        vocab=vocab,
        heads=heads,
        number=number,
        gpu=gpu,
        fused=fused,
    )


__all__ = ["USABLE", "Footprint", "of_model"]
