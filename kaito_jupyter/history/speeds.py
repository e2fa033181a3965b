"""How fast earlier runs were, for the estimate of the next one."""

from __future__ import annotations

from typing import NamedTuple

from .archive import Archive, archive
from .entry import Entry
from .file import HistoryError


class Speed(NamedTuple):
    """How fast one run was."""

    name: str
    ended: float | None
    """Seconds since the epoch."""
    tokens_per_second: float
    """The median over its steps, of all its devices together."""
    seconds_per_step: float | None
    devices: int | None
    """Processes that shared the work; None: not told."""
    device: str | None
    """As torch calls it."""
    rows: int | None


def speeds(
    preset: str,
    method: str,
    instance_type: str | None = None,
    *,
    backend: str | None = None,
    within: Archive | None = None,
) -> list[Speed]:
    """Earlier runs of that model and method on that GPU node (None: where no node was named), the latest first.

    Empty when there was none or the history cannot be read: an estimate then says what it knows without. `backend` names the
    place if only one counts; `within` is another history than the user's own.
    """
    try:
        entries = (archive() if within is None else within).entries()
    except HistoryError:
        return []
    found = [
        Speed(e.name, e.ended, rate, e.seconds_per_step, e.devices, e.device, e.rows)
        for e in entries
        if (rate := _rate(e))
        and (e.preset, e.method, e.instance_type) == (preset, method, instance_type)
        and backend in (None, e.backend)
    ]
    return sorted(found, key=lambda speed: speed.ended or 0.0, reverse=True)


def _rate(entry: Entry) -> float | None:
    """Tokens a second: told, or by steps and tokens, where a log (KAITO's trainer's) tells of those alone."""
    if entry.tokens_per_second or not (entry.tokens and entry.steps and entry.seconds_per_step):
        return entry.tokens_per_second
    return entry.tokens / entry.steps / entry.seconds_per_step


__all__ = ["Speed", "speeds"]
