"""How a run stands, where it is, and lines of its log: the words that backends, state and faces share. No I/O here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

State = Literal["Pending", "Running", "Succeeded", "Failed", "Cancelled"]
"""KAITO's own words for a Workspace's `status.state`, and one more: a run that its user ended."""

TERMINAL: frozenset[State] = frozenset(("Succeeded", "Failed", "Cancelled"))


@dataclass(frozen=True, slots=True)
class RunRef:
    """Where a run is: enough to find it again from another kernel."""

    backend: str
    name: str
    namespace: str
    location: str
    """For people and for the backend: a folder, a cluster's context, a file."""


@dataclass(frozen=True, slots=True)
class Status:
    """How a run stands, as the backend (not the trainer's log) knows it."""

    state: State
    reason: str = ""
    """Why, as a sentence; empty when there is nothing to say."""
    kind: str = ""
    """One of the contract's `ERROR_KINDS` when the run failed and the backend knows why (`killed`, `reboot`, …).

    Of a run that goes on: an attempt failed with that, and is being tried again.
    """
    created: float | None = None
    """Seconds since the epoch."""
    started: float | None = None
    ended: float | None = None
    exit_code: int | None = None
    """Of the trainer; negative: ended by that signal."""
    revision: int = 1
    """Which one of the run: grows when its spec is changed while it lives, and the training begins anew."""


class Lines(NamedTuple):
    """Some lines of a run's log, in order: those that came together, so that a reader can take them in one go."""

    texts: list[str]
    """Each without its newline."""
    cursor: str
    """Opaque: hand it back to a backend's `follow` to go on after the last of them."""
    source: str = "trainer"
    """Which process or container wrote them."""
    written: float | None = None
    """When the last of them was written (seconds since the epoch, by the clock of where it was), if the place tells."""
