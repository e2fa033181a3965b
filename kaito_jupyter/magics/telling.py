"""How a long step of a magic is told while it works: one line in the cell that keeps itself current."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .kaito_magics import KaitoMagics

APART: Final = 10.0
"""Seconds between two lines about the same transfer where lines cannot be changed: in a terminal."""


class Telling:
    """Call it with what there is to say. For the thread of the cell alone."""

    def __init__(self, magics: KaitoMagics) -> None:
        self._magics = magics
        self._handle: Any = None
        self._next = 0.0

    def __call__(self, text: str) -> None:
        if self._magics.terminal:
            passing = text.endswith("%")
            if not passing or time.monotonic() >= self._next:
                self._next = time.monotonic() + APART
                self._magics.say(text)
            return
        from IPython.display import display

        line = _Line(f"kaito: {text}")
        if self._handle is None:
            self._handle = display(line, display_id=True)
        else:
            self._handle.update(line)


class _Line:
    """Text that shows as it is."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text
