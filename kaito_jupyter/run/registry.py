"""Runs found again, by name or as a list. The backends are the registry: nothing is remembered here."""

from __future__ import annotations

import html
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final, overload

from ..backends.base import Backend, Record
from ..backends.choice import all_backends, choose_backend
from ..errors import BackendError, RunNotFound
from ..presets import is_path
from ..state import RunState, duration
from ..status import TERMINAL, RunRef
from .run import CATCH_UP, Run

SHOWN: Final = 50
"""Rows of a list that are shown; the rest is counted."""
_HEADS: Final = ("name", "state", "step", "loss", "age", "preset", "backend")


def watch(name: str, namespace: str | None = None, backend: str | Backend | None = None) -> Run:
    """The run of that name, from whatever kernel it was started, with its whole curve. Raises `RunNotFound`.

    Returns when all that its log holds has been read (at the latest after some seconds), and goes on reading.
    """
    misses: list[RunNotFound] = []
    for place in _places(backend, namespace):
        try:
            ref = place.find(name, namespace)
        except RunNotFound as miss:
            misses.append(miss)
            continue
        return Run(place, ref).open(CATCH_UP)
    raise misses[0] if len(misses) == 1 else RunNotFound("\n".join(str(m) for m in misses))


def runs(namespace: str | None = None, backend: str | Backend | None = None, *, everywhere: bool = False) -> Runs:
    """All runs, newest first, each with how it stands. Cheap: one list a kind, and of live runs the end of the log.

    Those of `namespace` (default: that of the kubeconfig's context) or, with `everywhere`, of all namespaces; runs on this
    machine have none but `default`, and are always listed where none is named. A backend that cannot be reached is
    named in `.troubles`, and the others are listed.
    """
    found: list[Listed] = []
    troubles: list[str] = []
    for place in _places(backend, namespace):
        try:
            records = place.records(everywhere=True) if everywhere else place.records()
        except BackendError as error:
            troubles.append(f"{place.name}: {error}")
            continue
        found += [Listed(place, r) for r in records if namespace is None or r.ref.namespace == namespace]
    return Runs(sorted(found, key=lambda r: r.state.created or 0.0, reverse=True), troubles)


def _places(backend: str | Backend | None, namespace: str | None) -> Sequence[Backend]:
    if backend is None or backend == "auto":
        return all_backends(namespace)
    return (choose_backend(backend, namespace=namespace)[0],)


class Listed:
    """A run as a list shows it: as it stood when it was asked for. `watch` makes it a live one."""

    def __init__(self, backend: Backend, record: Record) -> None:
        self.backend = backend
        self.ref: RunRef = record.ref
        self.preset = record.preset
        self.method = record.method
        self.state = RunState()
        """Folded from the log's end: state, step and numbers are right, the curve is not whole."""
        self.state.apply(record.status)
        for line in record.tail:
            self.state.feed(line)
        if self.state.max_steps is None:
            self.state.max_steps = record.total_steps

    @property
    def name(self) -> str:
        return self.ref.name

    @property
    def namespace(self) -> str:
        return self.ref.namespace

    def watch(self) -> Run:
        """The run itself, with its whole curve."""
        return Run(self.backend, self.ref).open(CATCH_UP)

    def cancel(self) -> None:
        """Ask it to save and end."""
        self.backend.cancel(self.ref)

    def delete(self) -> None:
        """Remove all that it made."""
        self.backend.delete(self.ref)

    def __repr__(self) -> str:
        return f"<{self.name} ({self.ref.backend}): {self.state.describe(time.time())}>"

    def cells(self, now: float) -> tuple[str, ...]:
        """What stands in its row."""
        state = self.state
        return (
            self.name if self.namespace == "default" else f"{self.namespace}/{self.name}",
            state.state if state.state in TERMINAL or state.phase == "training" else f"{state.state} ({state.phase})",
            self._step(),
            "" if state.loss is None else f"{state.loss:.4g}",
            "" if state.created is None else duration(now - state.created),
            self.preset.rstrip("/").rpartition("/")[2] if is_path(self.preset) else self.preset,
            self.ref.backend,
        )

    def _step(self) -> str:
        """`120/400`; of one that succeeded all, and nothing of one that ended where nobody saw it."""
        state, total = self.state, self.state.max_steps
        if total is None:
            return str(state.global_step) if state.global_step else ""
        if state.state == "Succeeded" and not state.global_step:
            return f"{total}/{total}"
        return "" if state.state in TERMINAL and not state.global_step else f"{state.global_step}/{total}"


class Runs(Sequence[Listed]):
    """A list of runs, newest first. Shows as a table."""

    def __init__(self, runs: Iterable[Listed], troubles: Iterable[str] = ()) -> None:
        self._runs = tuple(runs)
        self.troubles = tuple(troubles)
        """Backends that could not be asked, and why."""

    @overload
    def __getitem__(self, index: int) -> Listed: ...
    @overload
    def __getitem__(self, index: slice) -> Runs: ...
    def __getitem__(self, index: int | slice) -> Listed | Runs:
        if isinstance(index, slice):
            return Runs(self._runs[index], self.troubles)
        return self._runs[index]

    def __len__(self) -> int:
        return len(self._runs)

    def __repr__(self) -> str:
        rows = self._rows()
        widths = [max(map(len, column)) for column in zip(_HEADS, *rows, strict=True)]
        table = [
            "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in (_HEADS, *rows)
        ]
        return "\n".join([*(table if rows else ["No runs yet."]), *self._notes()])

    def _repr_html_(self) -> str:
        rows = self._rows()
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self._notes())
        if not rows:
            return f"<p>No runs yet.</p>{notes}"
        left = "style='text-align:left;white-space:nowrap'"
        head = "".join(f"<th scope='col' {left}>{name}</th>" for name in _HEADS)
        lines = ("".join(f"<td {left}>{html.escape(cell)}</td>" for cell in row) for row in rows)
        body = "".join(f"<tr>{line}</tr>" for line in lines)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{notes}"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))

    def _rows(self) -> list[tuple[str, ...]]:
        now = time.time()
        return [run.cells(now) for run in self._runs[:SHOWN]]

    def _notes(self) -> list[str]:
        more = len(self._runs) - SHOWN
        return [*([f"… and {more} more"] if more > 0 else []), *(f"Not asked: {t}" for t in self.troubles)]
