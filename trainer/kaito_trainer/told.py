"""What a folder's `events.jsonl` has told already: a run that goes on tells each step once, and its curve whole."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .contract.events import Evaluate, Event, Log, decode
from .contract.names import EVENTS_FILE


@dataclass
class Told:
    """The steps that stand, by their numbers."""

    logs: dict[int, Log] = field(default_factory=dict)
    evaluations: dict[int, Evaluate] = field(default_factory=dict)
    answered: set[int] = field(default_factory=set)
    """Steps at which the held-out prompts were answered."""
    ended: bool = False
    """Whether the last thing told is that the run was over, completed or cancelled."""

    failed: bool = False
    """Whether the last thing told is why it has failed."""

    @property
    def step(self) -> int:
        """The latest step that was told of."""
        return max(self.logs, default=0)

    @property
    def unfinished(self) -> bool:
        """Whether steps were told of, and no end."""
        return bool(self.logs) and not self.ended

    def until(self, step: int) -> Told:
        """What stands when the run goes on, otherwise, from a step."""
        return Told(
            {s: log for s, log in self.logs.items() if s <= step},
            {s: e for s, e in self.evaluations.items() if s <= step},
            {s for s in self.answered if s <= step},
        )


def told(folder: Path) -> Told:
    """What the folder's file says; nothing when there is none, or it cannot be read."""
    try:
        with (folder / EVENTS_FILE).open("rb") as file:
            return of_events(event for line in file if (event := decode(line)) is not None)
    except OSError:
        return Told()


def of_events(events: Iterable[Event]) -> Told:
    """What events in the order of their writing leave standing: each return to an earlier step voids what came after."""
    found = Told()
    for event in events:
        step = event.data.get("global_step")
        if event.type in ("train_end", "phase", "error"):
            found.ended, found.failed = event.type == "train_end", event.type == "error"
        if not isinstance(step, int):
            continue
        if event.type == "train_begin":
            found = found.until(max(step, event.data.get("told_to") or 0) if step or "told_to" in event.data else -1)
        elif event.type == "log":
            found.logs[step] = Log(**_known(Log, event))
        elif event.type == "evaluate" and isinstance(event.data.get("eval_loss"), int | float):
            found.evaluations[step] = Evaluate(**_known(Evaluate, event))
        elif event.type == "generate":
            found.answered.add(step)
    return found


def _known(cls: type[Log] | type[Evaluate], event: Event) -> dict[str, Any]:
    """The fields of a class; a newer trainer may have written more."""
    names = {f.name for f in dataclasses.fields(cls)}
    return {k: v for k, v in event.data.items() if k in names}


__all__ = ["Told", "of_events", "told"]
