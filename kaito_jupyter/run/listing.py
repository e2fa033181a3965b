"""A list of runs: how each stood when it was asked for. It shows as a table, and asks again when it is told to."""

from __future__ import annotations

import contextlib
import html
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, overload

from ..backends.base import Backend, Record
from ..backends.past import PastBackend
from ..errors import KaitoError
from ..history import Entry, Note
from ..history.entry import SPARKS, key_of
from ..plots.text import means, sparkline
from ..presets import is_path
from ..state import RunState, duration
from ..status import TERMINAL, RunRef
from .run import CATCH_UP, Run

if TYPE_CHECKING:
    from pandas import DataFrame

SHOWN: Final = 50
"""Rows of a list that are shown; the rest is counted."""
SPARK: Final = 12
"""Characters of the small curve in a text."""
PLACE: Final = 40
"""Characters of an adapter's place from which on its end stands for it."""
_HEADS: Final = ("name", "state", "step", "loss", "curve", "left", "age", "preset", "backend", "adapter", "tags")
_ALWAYS: Final = ("name", "state", "step", "loss", "age", "preset", "backend")
"""Columns that are shown even when they are empty in all rows."""


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
        self._entry: Entry | None = None
        self.notes: tuple[Note, ...] = ()
        self.tags: tuple[str, ...] = ()

    def remember(self, entry: Entry | None, remarks: tuple[tuple[Note, ...], tuple[str, ...]] | None) -> None:
        """Take in what the history knows of it."""
        self._entry = entry
        self.notes, self.tags = remarks or ((), ())

    @property
    def name(self) -> str:
        return self.ref.name

    @property
    def namespace(self) -> str:
        return self.ref.namespace

    @property
    def key(self) -> str:
        """Which run it is, in the history's terms."""
        return key_of(self.ref, self.state.created)

    @property
    def past(self) -> bool:
        """Whether only the history knows it: its objects, or its folder, are gone."""
        return isinstance(self.backend, PastBackend)

    @property
    def spark(self) -> tuple[float, ...]:
        """The loss in a few points: of the whole run where it is known, else of its latest steps."""
        if self._entry is not None and self._entry.spark:
            return self._entry.spark
        return tuple(means(self.state.series["loss"], SPARKS))

    @property
    def adapter(self) -> str:
        """Where its adapter is said to be; empty when it made none, or nobody here knows."""
        if self._entry is not None and self._entry.adapter:
            return self._entry.adapter
        return (self.state.adapter or "") if self.state.state in TERMINAL else ""

    def watch(self) -> Run:
        """The run itself, with its whole curve."""
        return Run(self.backend, self.ref).open(CATCH_UP)

    def cancel(self) -> None:
        """Ask it to save and end."""
        self.backend.cancel(self.ref)

    def delete(self) -> None:
        """Remove all that it made. One that has ended goes into the history first."""
        if self._entry is None and self.state.state in TERMINAL:
            with contextlib.suppress(KaitoError):
                self.watch().close()
        self.backend.delete(self.ref)

    def __repr__(self) -> str:
        return f"<{self.name} ({self.ref.backend}): {self.state.describe(time.time())}>"

    def cells(self, now: float) -> tuple[str, ...]:
        """What stands in its row, by the table's heads."""
        state, left = self.state, self.state.seconds_left(now)
        word = state.state if state.state in TERMINAL or state.phase == "training" else f"{state.state} ({state.phase})"
        return (
            self.name if self.namespace == "default" else f"{self.namespace}/{self.name}",
            f"{word}, deleted" if self.past else word,
            self._step(),
            "" if state.loss is None else f"{state.loss:.4g}",
            sparkline(self.spark, SPARK) if len(self.spark) > 1 else "",
            "" if left is None else duration(left),
            "" if state.created is None else duration(now - state.created),
            self.preset.rstrip("/").rpartition("/")[2] if is_path(self.preset) else self.preset,
            self.ref.backend,
            short(self.adapter),
            " ".join(self.tags),
        )

    def _step(self) -> str:
        """`120/400`; of one that succeeded all, and nothing of one that ended where nobody saw it."""
        state, total = self.state, self.state.max_steps
        if total is None:
            return str(state.global_step) if state.global_step else ""
        if state.state == "Succeeded" and not state.global_step:
            return f"{total}/{total}"
        return "" if state.state in TERMINAL and not state.global_step else f"{state.global_step}/{total}"


def short(place: str) -> str:
    """An adapter's place for a row: a folder by its end, an image without all of its digest."""
    image, at, digest = place.partition("@sha256:")
    if at:
        return f"{image}@{digest[:12]}"
    parts = place.split("/")
    return place if len(place) <= PLACE or len(parts) < 3 else f"…/{'/'.join(parts[-2:])}"


Found = tuple[Iterable[Listed], Iterable[str]]


class Runs(Sequence[Listed]):
    """A list of runs, newest first. Shows as a table; `again()` asks anew."""

    def __init__(
        self, runs: Iterable[Listed], troubles: Iterable[str] = (), again: Callable[[], Found] | None = None
    ) -> None:
        self._runs = tuple(runs)
        self._again = again
        self.troubles = tuple(troubles)
        """Backends that could not be asked, and why; what is wrong with the history."""

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

    @property
    def alive(self) -> bool:
        """Whether one of them has not ended."""
        return any(run.state.state not in TERMINAL for run in self._runs)

    def again(self) -> Runs:
        """The same list as of now; a part of a list stays as it is."""
        return self if self._again is None else Runs(*self._again(), again=self._again)

    def to_frame(self) -> DataFrame:
        """A row a run: how it stands, figures as numbers, times as timestamps (UTC), durations in seconds."""
        from pandas import DataFrame, to_datetime

        now = time.time()
        rows = [
            {
                "name": run.name,
                "namespace": run.namespace,
                "backend": run.ref.backend,
                "state": run.state.state,
                "phase": run.state.phase,
                "step": run.state.global_step,
                "max_steps": run.state.max_steps,
                "loss": run.state.loss,
                "eval_loss": run.state.eval_loss,
                "seconds_left": run.state.seconds_left(now),
                "created": run.state.created,
                "started": run.state.started,
                "ended": run.state.ended,
                "preset": run.preset,
                "method": run.method,
                "adapter": run.adapter or None,
                "past": run.past,
                "tags": list(run.tags),
                "notes": [note.text for note in run.notes],
            }
            for run in self._runs
        ]
        frame = DataFrame(rows)
        for name in ("created", "started", "ended"):
            if name in frame:
                frame[name] = to_datetime(frame[name].astype("float64"), unit="s", utc=True)
        return frame

    def __repr__(self) -> str:
        heads, rows = self.table()
        widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
        table = [
            "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in (heads, *rows)
        ]
        return "\n".join([*(table if rows else ["No runs yet."]), *self.asides()])

    def _repr_html_(self) -> str:
        heads, rows = self.table()
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self.asides())
        if not rows:
            return f"<p>No runs yet.</p>{notes}"
        left = "style='text-align:left;white-space:nowrap'"
        head = "".join(f"<th scope='col' {left}>{name}</th>" for name in heads)
        lines = ("".join(f"<td {left}>{html.escape(cell)}</td>" for cell in row) for row in rows)
        body = "".join(f"<tr>{line}</tr>" for line in lines)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{notes}"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))

    def table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Heads and rows as text, without columns in which nothing stands."""
        now = time.time()
        rows = [run.cells(now) for run in self._runs[:SHOWN]]
        kept = [i for i, head in enumerate(_HEADS) if head in _ALWAYS or any(row[i] for row in rows)]
        return tuple(_HEADS[i] for i in kept), [tuple(row[i] for i in kept) for row in rows]

    def asides(self) -> list[str]:
        """What stands below the table."""
        more = len(self._runs) - SHOWN
        return [*([f"… and {more} more"] if more > 0 else []), *(f"Not asked: {t}" for t in self.troubles)]


__all__ = ["Listed", "Runs"]
