"""A path as people write it: `~` is the home, and what names no one's home stays as it is."""

from __future__ import annotations

import contextlib
from pathlib import Path


def expanded(path: str | Path) -> Path:
    """The path with its `~` or `~user` filled in. `Path.expanduser` raises for a user that there is none of."""
    written = Path(path)
    with contextlib.suppress(RuntimeError):
        return written.expanduser()
    return written


__all__ = ["expanded"]
