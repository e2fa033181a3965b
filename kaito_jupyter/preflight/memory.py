"""The memory of a training step, by a formula. Pure: numbers in, bytes out.

Each term is what torch's autograd keeps for the backward pass of a block like Llama's with an adapter, checked on SmolLM2-135M
against torch's own allocator on the CPU (`benchmarks/memory.json`). Nothing of it was measured on a GPU: `overhead`, which
there stands for what CUDA takes for itself, is an allowance.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

from ..presets.shape import Linear, Shape

GIB: Final = 2**30
CUDA: Final = int(0.6 * GIB)
"""Bytes of a GPU that CUDA and its libraries take for themselves: an allowance, not measured."""
SCATTER: Final = 0.08
"""Share of what is taken and given back within a step that is lost between its pieces: an allowance, not measured."""
PYTHON: Final = int(0.5 * GIB)
"""Bytes of a process that has torch, transformers and TRL in it (measured: 478 MB)."""
FOUR_BITS: Final = (0.5 + 1 / 64 + 4 / (64 * 256), 0.5 + 4 / 64)
"""Bytes of a 4-bit weight with its scale, a block of 64 weights each: scales quantised in turn, or not."""
TILE_TOKENS, TILE_VOCAB = 4096, 32768
"""The largest piece of the logits that TRL's fused head makes at once (TRL 1.16, `kernels/chunked_logprob.py`)."""

Head = Literal["plain", "stock", "fused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a step is made of, beside the model's shape."""

    batch: int = 1
    length: int = 1024
    """Tokens of the longest row, or of a pack."""
    rank: int = 8
    targets: tuple[str, ...] | None = None
    """Names of the linear layers with an adapter; None: all of them."""
    checkpointing: bool = False
    weight: float = 2
    """Bytes of a weight in a linear layer."""
    number: int = 2
    """Bytes of all other numbers: 2 in bfloat16 and float16, 4 in float32."""
    optimizer: float = 8
    """Bytes of the optimiser's state for a trained parameter: 8 for Adam."""
    dropout: bool = False
    eager: bool = False
    """Whether attention writes out all pairs of tokens."""
    trained: float = 1.0
    """Share of the tokens that is trained on: the logits of the others are not made (with the head `plain`)."""
    head: Head = "fused"
    """How the loss is made: `plain` on the trained tokens (ours on a CPU), `stock` on all, `fused` in pieces (ours on a GPU)."""
    gpu: bool = True


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes at the peak of a step, on each GPU."""

    weights: int
    adapter: int
    gradients: int
    optimizer: int
    activations: int
    logits: int
    overhead: int

    @property
    def parts(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in self.__slots__}

    @property
    def total(self) -> int:
        return sum(self.parts.values())

    @property
    def resident(self) -> int:
        """What lies there between the steps."""
        return self.weights + self.adapter + self.optimizer


def adapted(shape: Shape, load: Load) -> int:
    """Trained parameters: the adapters' two matrices in each target."""
    return shape.layers * sum(load.rank * (x.inputs + x.outputs) for x in _targets(shape, load))


def weights(shape: Shape, load: Load) -> int:
    """Bytes of the frozen model."""
    return int(shape.linear_parameters * load.weight + (shape.parameters - shape.linear_parameters) * load.number)


def memory(shape: Shape, load: Load) -> Memory:
    """The peak of a step."""
    tokens = load.batch * load.length
    block = tokens * (_block(shape, load) + _pairs(shape, load))
    logits = _logits(shape, load, tokens)
    if load.checkpointing:
        # A block's input is kept for each; the rest of one block comes back when the logits are gone.
        kept = load.number * shape.hidden * tokens * shape.layers
        activations = kept + max(0, block - logits)
    else:
        activations = block * shape.layers
    trained = adapted(shape, load)
    passing = activations + logits
    return Memory(
        weights=weights(shape, load),
        adapter=4 * trained,
        gradients=4 * trained,
        optimizer=int(load.optimizer * trained),
        activations=int(activations),
        logits=int(logits),
        overhead=CUDA + int(SCATTER * passing) if load.gpu else PYTHON,
    )


def largest(shape: Shape, load: Load, room: float, *, most: int = 1024) -> int:
    """The largest batch that fits into that many bytes; 0 when a single row does not."""
    fits, fails = 0, most + 1
    while fails - fits > 1:
        middle = (fits + fails) // 2
        if memory(shape, replace(load, batch=middle)).total <= room:
            fits = middle
        else:
            fails = middle
    return fits


def longest(shape: Shape, load: Load, room: float) -> int:
    """The longest row, in tokens, that fits alone; 0 when none does."""
    fits, fails = 0, load.length + 1
    while fails - fits > 1:
        middle = (fits + fails) // 2
        if memory(shape, replace(load, batch=1, length=middle)).total <= room:
            fits = middle
        else:
            fails = middle
    return fits


def _targets(shape: Shape, load: Load) -> tuple[Linear, ...]:
    if load.targets is None:
        return shape.linears
    return tuple(x for x in shape.linears if x.name in load.targets)


def _block(shape: Shape, load: Load) -> float:
    """Bytes for a token that a block keeps, without the pairs of tokens."""
    half = load.number == 2
    # The norms compute in float32, and keep their input so.
    kept = 4 * shape.hidden * shape.norms
    # Query and output of the attention; keys and values.
    kept += load.number * (2 * shape.q + 2 * shape.kv)
    # Gate, its activation, and what it is multiplied with; the product is what the last layer gets.
    kept += load.number * 3 * shape.busy_ffn
    for x in _targets(shape, load):
        # In half precision each adapter makes its own copy of its input; in full precision those of one input share it.
        kept += (2 * x.inputs if half else 0) + 8 * load.rank + (x.inputs if load.dropout else 0)
    if not half:
        kept += 4 * (2 * shape.hidden + shape.busy_ffn)
    return kept


def _pairs(shape: Shape, load: Load) -> float:
    """Bytes for a token that the eager attention keeps: its scores with all others."""
    return (4 + load.number) * shape.heads * load.length if load.eager else 0


def _logits(shape: Shape, load: Load, tokens: int) -> float:
    if load.head == "fused":
        tile = min(tokens, TILE_TOKENS) * min(shape.vocab, TILE_VOCAB) * load.number
        return tile + 4 * tokens * shape.hidden
    return shape.vocab * tokens * (12 * load.trained if load.head == "plain" else 14)


__all__ = ["GIB", "Load", "Memory", "adapted", "largest", "longest", "memory", "weights"]
