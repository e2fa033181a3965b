"""What a delivery says while it works, for whoever holds the cell: a sentence at a time, in the thread that called."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from .parcel import amount

EVERY: Final = 0.5
"""Seconds between two sentences about the same transfer."""

Say = Callable[[str], None]


def silent(text: str) -> None:
    """For a caller who does not listen."""


class Transfer:
    """Bytes on their way. Call it with what went; a negative number takes back what has to go again."""

    def __init__(self, say: Say, size: int, where: str) -> None:
        self._say, self._size, self._where = say, size, where
        self._went = 0
        self._next = 0.0
        self(0)

    def __call__(self, size: int) -> None:
        self._went += size
        now = time.monotonic()
        if now >= self._next:
            self._next = now + EVERY
            share = self._went / self._size if self._size else 1.0
            self._say(f"The data ({amount(self._size)}) is on its way to {self._where}: {min(share, 1.0):.0%}")


__all__ = ["Say", "Transfer", "silent"]
