"""Which optimiser step a log dict belongs to: the stock trainer does not say.

Sources, in this order: `logging_steps`, told or learnt (dict after dict is so many steps later); the share of an epoch
in the dict, when the total is known; the bar that is drawn again at once after a dict. Bars are drawn ten times a second
at most, and may reach the reader late: they never move a step backwards, and what was told is not doubted.
"""

from __future__ import annotations

import math
from typing import Final

DEFAULT_EVERY: Final = 10
"""TRL's `logging_steps` (`SFTConfig`), assumed while nothing is known."""


class Steps:
    """Numbers log dicts, one after the other."""

    def __init__(self, every: float | None = None, total: int | None = None, epochs: float | None = None) -> None:
        self.total = total
        self.epochs = epochs
        self.last = 0
        """Step of the latest dict."""
        self.drawn = 0
        """Step of the latest bar."""
        self._told = every if every and every > 0 else None
        self._every: int | None = None
        self._gap = 0
        self._fresh = False  # whether a bar came after the latest dict
        self._bars = False
        self._from_start = True

    def begin(self, step: int, total: int) -> None:
        """The training's first bar: at 0, or wherever a late reader finds it."""
        self.total, self.last, self.drawn = total, 0, step
        self._gap, self._fresh, self._bars, self._from_start = 0, step > 0, True, step == 0

    def draw(self, step: int) -> bool:
        """The training's bar stands here. False when it stood so far before."""
        self._fresh = True
        moved = step > self.drawn
        self.drawn = max(self.drawn, step)
        return moved

    def log(self, epoch: float | None) -> int | None:
        """The step of the dict that came now; None: ask `late` once the bar is drawn again."""
        every = self._stride()
        if every:
            step = (self.last // every + 1) * every
            if self._fresh and self.drawn > step:  # dicts are missing; a bar may be one step ahead of its dict
                step = math.ceil((self.drawn - 1) / every) * every
            return self._assign(step)
        if epoch is not None and self.total and self.epochs:
            step = round(epoch * self.total / self.epochs)
            if step > self.last:
                return self._assign(step)
        return None if self._bars else self._assign(self.last + DEFAULT_EVERY)

    def late(self) -> int:
        """The step of a dict after which the bar has been drawn again (the trainer's `write` redraws it at once)."""
        return self._assign(self.drawn if self.drawn > self.last else self.last + (self._every or DEFAULT_EVERY))

    def now(self) -> int:
        """The step that the training is at, for what comes with no step of its own."""
        return max(self.last, self.drawn)

    def _stride(self) -> int | None:
        if self._every is None and self._told is not None:
            if self._told >= 1:
                self._every = round(self._told)
            elif self.total:  # a share of all steps
                self._every = max(1, math.ceil(self._told * self.total))
        return self._every

    def _assign(self, step: int) -> int:
        if self.total and step > self.total >= self.last:
            step = self.total
        gap = step - self.last
        if self._every is None and gap > 0:
            first = self.last == 0 and self._from_start and gap > 1  # at 1 it may be `logging_first_step`
            if first or gap == self._gap:
                self._every = gap
            self._gap = gap
        self.last = max(self.last, step)
        self._fresh = False
        return step
