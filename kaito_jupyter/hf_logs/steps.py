"""Which optimiser step a log dict belongs to: the stock trainer does not say.

Three sources, in this order: `logging_steps`, told or learnt (dict after dict is so many steps later); the share of an
epoch in the dict, when the total is known; the bar just before, when every one of its steps was drawn. Bars are drawn
ten times a second at most, and may reach the reader late: they never move a step backwards.
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
        self.last = 0
        """Step of the latest dict."""
        self.drawn = 0
        """Step of the latest bar."""
        self._told = every if every and every > 0 else None
        self._every: int | None = None
        self._epochs = epochs
        self._exact = False
        self._fresh = False
        self._bars = False
        self._doubts = 0

    def begin(self, step: int, total: int) -> None:
        """The training's bar was made, with `step` steps made before."""
        self.total, self.last, self.drawn = total, step, step
        self._exact = self._fresh = False
        self._bars = True

    def draw(self, step: int) -> bool:
        """The training's bar stands here. False when it stood so far before."""
        self._exact = step == self.drawn + 1 or (self._exact and step == self.drawn)
        self._fresh = True
        moved = step > self.drawn
        self.drawn = max(self.drawn, step)
        return moved

    def log(self, epoch: float | None) -> int | None:
        """The step of the dict that came now; None: ask `late` once the bar is drawn again."""
        step = self._guess(epoch)
        return None if step is None else self._assign(step)

    def late(self) -> int:
        """The step of a dict after which the bar has been drawn again (the trainer's `write` redraws it at once)."""
        return self._assign(self.drawn if self.drawn > self.last else self.last + (self._every or DEFAULT_EVERY))

    def now(self) -> int:
        """The step that the training is at, for what comes with no step of its own."""
        return max(self.last, self.drawn)

    def _guess(self, epoch: float | None) -> int | None:
        every = self._stride()
        ahead = self._fresh and self.drawn > self.last
        if every:
            step = (self.last // every + 1) * every
            if ahead and self._exact and self.last == 0 and self.drawn == 1:
                return 1  # logging_first_step
            if ahead and self.drawn > step:
                return math.ceil((self.drawn - 1) / every) * every  # dicts are missing
            if ahead and self._exact and self.drawn <= step - max(1, every // 2):
                self._doubts += 1
                if self._doubts > 1:  # what was told is wrong
                    self._told = self._every = None
                    return self.drawn
            return step
        if epoch is not None and self.total and self._epochs:
            step = round(epoch * self.total / self._epochs)
            if step > self.last:
                return step
        if ahead and self._exact:
            return self.drawn
        return None if self._bars else self.last + DEFAULT_EVERY

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
        if self._every is None and gap > 0 and step % gap == 0 and (self.last or gap > 1):
            self._every = gap
        self.last = max(self.last, step)
        self._fresh = False
        return step
