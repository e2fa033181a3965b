"""What a batch of several rows costs in operations, by how its rows lie: padded, padded and of like length, or end to end.

Pure: lengths in, numbers out. A token costs 24 h² operations in the linear layers of a block and 4 h for each token that it is
compared with (Llama's shape; h: width of the model), forward; that ratio is all that is needed here.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

SAMPLE: Final = 4096
"""Rows that are looked at: more of them say the same."""
GROUPED: Final = 50
"""Batches that are sorted together when rows are grouped by length, as Hugging Face's sampler does."""


@dataclass(frozen=True)
class Costs:
    """Operations, as multiples of what the rows would cost with no padding between them."""

    padded: float = 1.0
    """Random batches, each padded to its longest row."""
    grouped: float = 1.0
    """Batches of rows of like length, padded."""
    flat: float = 1.0
    """Rows end to end in one sequence, told apart by a mask: each token is compared with those of all rows."""
    apart: float = 1.0
    """Rows end to end, with an attention that knows where each ends: nothing is wasted."""


def costs(lengths: Sequence[int], batch: int, hidden: int) -> Costs:
    """What batches of so many rows cost for a model of that width."""
    drawn = random.Random(0)
    some = list(lengths) if len(lengths) <= SAMPLE else drawn.sample(list(lengths), SAMPLE)
    if batch < 2 or len(some) < 2 or not hidden:
        return Costs()
    drawn.shuffle(some)
    mega = batch * GROUPED
    grouped = [n for at in range(0, len(some), mega) for n in sorted(some[at : at + mega])]
    least = sum(n * _token(n, hidden) for n in some)
    return Costs(
        padded=sum(len(b) * max(b) * _token(max(b), hidden) for b in _batches(some, batch)) / least,
        grouped=sum(len(b) * max(b) * _token(max(b), hidden) for b in _batches(grouped, batch)) / least,
        flat=sum(sum(b) * _token(sum(b), hidden) for b in _batches(some, batch)) / least,
    )


def _token(seen: int, hidden: int) -> int:
    """A token's operations, in units of 4 h, when it is compared with so many."""
    return 6 * hidden + seen


def _batches(rows: Sequence[int], batch: int) -> Iterator[Sequence[int]]:
    return (rows[at : at + batch] for at in range(0, len(rows), batch))


__all__ = ["Costs", "costs"]
