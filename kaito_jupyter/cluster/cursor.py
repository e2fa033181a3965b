"""How far a whole run has been read: the positions of all its containers, as one compact text."""

from __future__ import annotations

import json
from typing import Final

from .position import Position

VERSION: Final = 1

Key = tuple[str, str]
"""A container: its pod's uid, and its name."""


class Cursor:
    """Where reading stands in each container's log. `str` and `parse` carry it to another process."""

    def __init__(self) -> None:
        self._at: dict[str, str] = {}

    @classmethod
    def parse(cls, text: str | None) -> Cursor:
        """None, and a text that another version or another backend wrote, mean the beginning."""
        cursor = cls()
        try:
            value = json.loads(text or "{}")
            if value.get("v") == VERSION:
                cursor._at = {str(k): str(Position.parse(v)) for k, v in value["at"].items()}
        except (ValueError, KeyError, AttributeError):
            pass
        return cursor

    def __str__(self) -> str:
        return json.dumps({"v": VERSION, "at": self._at}, separators=(",", ":"))

    def at(self, key: Key) -> Position:
        """Where to go on in that container's log."""
        text = self._at.get(_short(key))
        return Position.parse(text) if text else Position()

    def put(self, key: Key, position: str) -> None:
        """That container was read up to there."""
        self._at[_short(key)] = position


def _short(key: Key) -> str:
    return f"{key[0][:8]}/{key[1]}"
