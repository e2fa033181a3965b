"""Rows of like length in one batch, in an order that a restart finds again.

Hugging Face's own sampler draws its order from torch's global generator (another one after a restart, and in each process), and
goes through each fifty batches from the longest rows to the shortest. Here the order follows from the seed and the epoch alone, and
batches of all lengths come in turn.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from torch.utils.data import Sampler

from .batching import GROUPED


class Grouped(Sampler[int]):
    """Indices so that each step has rows of like length. `step`: rows a step, of all batches and processes.

    The longest row is in the first step: what does not fit into the memory is found out at once. The epoch is told by the loop.
    """

    def __init__(self, lengths: Sequence[int], step: int, seed: int) -> None:
        self.lengths, self.step, self.seed, self.epoch = list(lengths), max(1, step), seed, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        drawn = random.Random(f"{self.seed} {self.epoch}")
        order, steps = drawn.sample(range(len(self.lengths)), len(self.lengths)), []
        for at in range(0, len(order), self.step * GROUPED):
            some = sorted(order[at : at + self.step * GROUPED], key=lambda i: -self.lengths[i])
            steps += [some[a : a + self.step] for a in range(0, len(some), self.step)]
        # Only the last step may be short: batches are cut from this order by counting.
        last = [steps.pop()] if steps and len(steps[-1]) < self.step else []
        drawn.shuffle(steps)
        longest = max(self.lengths, default=0)
        steps.sort(key=lambda rows: all(self.lengths[i] < longest for i in rows))
        return (i for rows in (*steps, *last) for i in rows)


__all__ = ["Grouped"]
