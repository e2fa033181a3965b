"""What a place to train is to the rest of the house: one small protocol.

A backend moves bytes: it starts a run, says how it stands, and yields its log lines. It does not understand events;
that is `kaito_jupyter.state`'s work, so that every backend's lines fold into the same state.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from kaito_trainer.contract import Problem

from ..dataset import Dataset
from ..spec import DataSource, Difference, TuningSpec
from ..status import Lines, RunRef, Status


@dataclass(frozen=True, slots=True)
class TuningJob:
    """What is submitted: the one thing that goes from the notebook to a backend."""

    spec: TuningSpec
    """Valid and complete: name and namespace are set."""
    dataset: Dataset | None
    """The data to deliver, or None when `spec.input` names data that is there already."""
    total_steps: int | None
    """Optimiser steps expected, when the number of rows is known."""
    on_progress: Callable[[str], None] | None = None
    """Told, in the thread that submits, how the data's way goes: a sentence at a time."""


@dataclass(frozen=True, slots=True)
class Record:
    """A run as a list of runs shows it: what the backend knows without following it."""

    ref: RunRef
    status: Status
    preset: str = ""
    method: str = ""
    rows: int | None = None
    """Rows delivered, those held out included."""
    total_steps: int | None = None
    """Optimiser steps expected at the start."""
    tail: tuple[str, ...] = ()
    """The last lines that tell of progress, oldest first; empty where asking would cost a call for each run."""


class Backend(Protocol):
    """A place to train. All methods may be called from any thread; all raise `BackendError` with what to do."""

    @property
    def name(self) -> Literal["local", "job", "kaito"]:
        """Also the `target` that `TuningSpec.problems` and `effective_config` ask for."""
        ...

    def problems(self, spec: TuningSpec) -> list[Problem]:
        """What stands against starting the spec at this place now, besides the spec itself: packages, rights, names taken."""
        ...

    def submit(self, job: TuningJob) -> RunRef:
        """Deliver the data, start a run and return at once. Raises `SpecError` with `problems`, the name taken among them."""
        ...

    def find(self, name: str, namespace: str | None = None) -> RunRef:
        """The run of that name. Raises `RunNotFound`, naming close matches."""
        ...

    def runs(self) -> Sequence[RunRef]:
        """All runs there, newest first."""
        ...

    def records(self, *, everywhere: bool = False) -> Sequence[Record]:
        """The same with how each stands, at a cost that hundreds of finished runs do not make felt.

        `everywhere`: those of all namespaces.
        """
        ...

    def record(self, ref: RunRef) -> Record:
        """One of them."""
        ...

    def status(self, ref: RunRef) -> Status: ...

    def keep(self, ref: RunRef, words: Sequence[str], revision: int) -> None:
        """Leave the last numbers of a revision that has ended (event lines) where `records` finds them without its log.

        Nothing is lost without it: who may not write there leaves nothing.
        """
        ...

    def spec(self, ref: RunRef) -> TuningSpec:
        """The spec that the run was submitted with."""
        ...

    def sent(self, ref: RunRef) -> Dataset | DataSource:
        """The run's data for another run: read back, or where it lies (then a spec names that). Raises `BackendError`."""
        ...

    def follow(self, ref: RunRef, since: str | None, stop: threading.Event) -> Iterator[Lines | Status | None]:
        """Lines from the start (or after the cursor `since`), as they come, with a `Status` whenever it changes.

        Lines come in batches as large as what is there, so that a late reader takes a long log in few steps; a batch is
        not held back to grow. None comes whenever all that there is has been given and a wait begins: a reader is up to
        date then. Ends after a terminal `Status`, all lines before it having been given, or soon after `stop` is set.
        That a stream of lines has ended is never taken for the end of the run.
        """
        ...

    def logs(self, ref: RunRef, tail: int | None = None) -> list[str]:
        """The log's lines (the last `tail` of them), foreign lines and events alike."""
        ...

    def cancel(self, ref: RunRef) -> None:
        """Ask the trainer to save and end (SIGTERM). Returns at once; harmless when it has ended."""
        ...

    def delete(self, ref: RunRef) -> None:
        """Remove all that the run made, the adapter in its own folder included. Ends it first when it is live.

        A destination that the user named (an image, a claim, a folder) is the user's: it stays.
        """
        ...

    def adapter(self, ref: RunRef) -> Path | str | None:
        """Where the finished adapter is: a folder here, or an address; None when there is none (yet)."""
        ...


@runtime_checkable
class Rehearsing(Protocol):
    """A place whose server can be asked about a run beforehand, and keeps nothing of it."""

    @property
    def server(self) -> str:
        """Its address."""
        ...

    def rehearse(self, job: TuningJob) -> list[Problem]:
        """What stands against it, the server's own findings among them: its dry run, with strict field validation."""
        ...

    def difference(self, job: TuningJob) -> Difference | None:
        """Where it differs from the run of its name that is there; None when there is none."""
        ...
