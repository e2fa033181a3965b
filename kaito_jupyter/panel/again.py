"""Starting a run again from its panel: what the button says, and what pressing it does (`run.resume`)."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from ..diagnose import Diagnosis
from ..errors import KaitoError

if TYPE_CHECKING:
    from .feed import Shown

log = logging.getLogger(__name__)

EVERY: Final = 1.0
"""Seconds between two words about how the new run stands."""


class Started(Protocol):
    """What is told of the run that was started in the old one's stead."""

    @property
    def name(self) -> str: ...
    @property
    def state(self) -> Any: ...
    @property
    def lock(self) -> Any: ...

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]: ...


def offer(run: Shown, found: Diagnosis) -> dict[str, Any] | None:
    """The button below what is wrong; None where a person has to say more than a button can.

    `fix` and `end` are what `run.resume` is called with; `costs` what must be confirmed, empty for nothing.
    """
    words = found.command.split()
    if words[:2] != ["%kaito", "resume"] or not set(words[3:]) <= {"--fix", "--yes"}:
        return None
    end = "--yes" in words
    costs = ["The run is ended first."] if end else []
    if run.ref.backend != "local":
        node = run.spec.resource.instance_type
        costs.append(f"It takes a GPU again ({node})." if node else "It takes a GPU again.")
    elif run.state.train_begin.get("device") not in (None, "cpu"):
        costs.append("It takes this machine's GPU again.")
    if run.ref.backend == "kaito":
        costs.append("The old Workspace is deleted once the new one stands.")
    changes = [str(change) for change in found.fix.changes] if found.fix is not None else []
    return {"fix": "--fix" in words, "end": end, "changes": changes, "costs": " ".join(costs)}


class Again:
    """Remembers what became of it, for pages that come later."""

    def __init__(self, run: Shown, send: Callable[[dict[str, Any]], None]) -> None:
        self._run, self._send = run, send
        self._lock = threading.Lock()
        self._busy = False
        self._new: Started | None = None
        self._told = 0.0
        self.last: dict[str, Any] | None = None
        """The last word, or None when nobody pressed the button."""

    def start(self, offered: dict[str, Any] | None) -> None:
        """Start it again as was offered. Waits for cluster and disk: not for the kernel's own thread."""
        with self._lock:
            if self._busy or self._new is not None or offered is None:
                return
            self._busy = True
        self._say("starting", "Starting …")
        try:
            self._new = self._run.resume(
                fix=offered["fix"], end=offered["end"], on_progress=lambda text: self._say("starting", text)
            )
            self._follow(self._new)
        except KaitoError as error:
            self._say("refused", str(error))
        except Exception as error:
            log.exception("the run %s could not be started again", self._run.name)
            self._say("refused", f"{type(error).__name__}: {error}")
        finally:
            self._busy = False

    def _follow(self, new: Started) -> None:
        def tell() -> None:
            over = new.state.ended is not None
            if not over and time.monotonic() - self._told < EVERY:
                return
            self._told = time.monotonic()
            with new.lock:
                text = new.state.describe(time.time())
            self._say("started", text, new.name)
            if over:
                unsubscribe()

        self._say("started", "waiting to start", new.name)
        unsubscribe = new.subscribe(tell)

    def _say(self, state: str, text: str, name: str = "") -> None:
        self.last = {"k": "again", "state": state, "text": text, "name": name}
        self._send(self.last)


__all__ = ["Again", "offer"]
