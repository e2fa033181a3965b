"""What a place to train is to the rest of the house: one small protocol.

A backend moves bytes: it starts a run, says how it stands, and yields its log lines. It does not understand events;
that is `kaito_jupyter.state`'s work, so that every backend's lines fold into the same state.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..dataset import Dataset
from ..spec import TuningSpec
from ..status import Line, RunRef, Status


@dataclass(frozen=True, slots=True)
class TuningJob:
    """What is submitted: the one thing that goes from the notebook to a backend."""

    spec: TuningSpec
    """Valid and complete: name and namespace are set."""
    dataset: Dataset | None
    """The data to deliver, or None when `spec.input` names data that is there already."""
    total_steps: int | None
    """Optimiser steps expected, when the number of rows is known."""


class Backend(Protocol):
    """A place to train. All methods may be called from any thread; all raise `BackendError` with what to do."""

    name: str

    def submit(self, job: TuningJob) -> RunRef:
        """Start a run and return at once. Raises `SpecError` when a live run has that name already."""
        ...

    def find(self, name: str, namespace: str | None = None) -> RunRef:
        """The run of that name. Raises `RunNotFound`, naming close matches."""
        ...

    def runs(self) -> Sequence[RunRef]:
        """All runs there, newest first."""
        ...

    def status(self, ref: RunRef) -> Status: ...

    def spec(self, ref: RunRef) -> TuningSpec:
        """The spec that the run was submitted with."""
        ...

    def follow(self, ref: RunRef, since: str | None, stop: threading.Event) -> Iterator[Line | Status]:
        """Lines from the start (or after the cursor `since`), as they come, with a `Status` whenever it changes.

        Ends after a terminal `Status`, all lines before it having been given, or soon after `stop` is set. That a stream
        of lines has ended is never taken for the end of the run.
        """
        ...

    def logs(self, ref: RunRef, tail: int | None = None) -> list[str]:
        """The log's lines (the last `tail` of them), foreign lines and events alike."""
        ...

    def cancel(self, ref: RunRef) -> None:
        """Ask the trainer to save and end (SIGTERM). Returns at once; harmless when it has ended."""
        ...

    def delete(self, ref: RunRef) -> None:
        """Remove all that the run made, the adapter in its own folder included. Ends it first when it is live."""
        ...

    def adapter(self, ref: RunRef) -> Path | str | None:
        """Where the finished adapter is: a folder here, or an address; None when there is none (yet)."""
        ...
