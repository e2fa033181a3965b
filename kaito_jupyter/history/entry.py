"""What is kept of a run that has ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from ..status import RunRef, State

SPARKS: Final = 40
"""The most points of the small curve in a list."""


class Note(NamedTuple):
    """A line that a person wrote about a run."""

    time: float
    """Seconds since the epoch."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One run. None stands for what nobody knows."""

    key: str
    """Which run it is; see `key_of`."""
    name: str
    namespace: str
    backend: str
    location: str
    """Where it was, for people: a folder, a cluster's context."""
    state: State
    reason: str = ""
    """Why it stands so, by its backend."""
    kind: str = ""
    """The failure's kind, when it failed and the backend knew it."""
    preset: str = ""
    method: str = ""
    instance_type: str | None = None
    device: str | None = None
    """Of the trainer, as torch calls it."""
    devices: int | None = None
    rows: int | None = None
    """Rows that it was sent, those held out included."""
    created: float | None = None
    started: float | None = None
    ended: float | None = None
    steps: int = 0
    max_steps: int | None = None
    loss: float | None = None
    """The last one."""
    best_loss: float | None = None
    eval_loss: float | None = None
    """The last one."""
    best_eval_loss: float | None = None
    """The lowest after the first step."""
    tokens: float | None = None
    """Tokens trained on."""
    tokens_per_second: float | None = None
    """The median over its steps."""
    seconds_per_step: float | None = None
    """What a step took, without pauses."""
    adapter: str | None = None
    """Where its adapter was put: a folder, or an image with its digest."""
    adapter_bytes: int | None = None
    spark: tuple[float, ...] = ()
    """Loss over its steps in at most `SPARKS` points."""
    spec: str = ""
    """What was asked for, as YAML."""
    lines: tuple[str, ...] = ()
    """Event lines from which its state folds again; empty in lists."""
    notes: tuple[Note, ...] = ()
    """Oldest first."""
    tags: tuple[str, ...] = ()
    """Sorted."""


def key_of(ref: RunRef, created: float | None) -> str:
    """Which run it is: a name may be given again once a run was deleted, so that the time when it was made counts too."""
    when = "" if created is None else f"{created:.3f}"
    return f"{ref.backend}\n{ref.location}\n{ref.namespace}\n{ref.name}\n{when}"
