"""Where a model's numbers are found without asking a hub: bundled, in a folder, or in Hugging Face's cache."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from ..chat import hub_cache
from ..presets import Shape, is_hugging_face_id, is_path, model
from ..presets.shape import read
from ..tilde import expanded


def shape_of(name: object) -> tuple[Shape, str] | None:
    """The shape of a preset, id or folder, and where it was read; None when nothing here knows it. Never raises."""
    if not isinstance(name, str) or not name:
        return None
    if known := model(name):
        return known.shape, known.source
    for file in _files(name):
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        shape = read(content) if isinstance(content, dict) else None
        if shape is not None:
            return shape, str(file)
    return None


def _files(name: str) -> Iterator[Path]:
    if is_path(name):
        yield expanded(name) / "config.json"
    elif is_hugging_face_id(name):
        cached = hub_cache() / f"models--{name.replace('/', '--')}"
        try:
            revision = (cached / "refs" / "main").read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            revision = ""
        if revision:
            yield cached / "snapshots" / revision / "config.json"
        yield from sorted(cached.glob("snapshots/*/config.json"))


__all__ = ["shape_of"]
