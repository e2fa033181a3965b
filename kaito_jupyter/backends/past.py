"""A run that only the history knows any more: its lines are played again, and nothing of it can be changed but its end there."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn

from kaito_trainer.contract import Problem
from kaito_trainer.contract.events import VERSION
from kaito_trainer.contract.names import ADAPTER_FILES

from ..errors import BackendError, RunNotFound
from ..history import Archive, Entry, archive
from ..spec import TuningSpec
from ..status import Lines, RunRef, Status
from .base import Record, TuningJob


class PastBackend:
    """The place of one run that was kept. `entry` may come from a list, without its lines: they are read when asked for."""

    def __init__(self, entry: Entry, within: Archive | None = None) -> None:
        self.entry = entry
        self.ref = RunRef(entry.backend, entry.name, entry.namespace, entry.location)
        self._archive = archive() if within is None else within

    def __repr__(self) -> str:
        return f"PastBackend({self.entry.name!r})"

    @property
    def name(self) -> Literal["local", "job", "kaito"]:
        """Where it ran: its spec is read as for that place."""
        return {"job": "job", "kaito": "kaito"}.get(self.entry.backend, "local")  # type: ignore[return-value]

    def problems(self, spec: TuningSpec) -> list[Problem]:
        return [Problem("backend", "the history starts no runs.", "Start the spec with %kaito_tune.")]

    def submit(self, job: TuningJob) -> RunRef:
        self._refuse("starts no runs")

    def find(self, name: str, namespace: str | None = None) -> RunRef:
        if name != self.ref.name or namespace not in (None, self.ref.namespace):
            raise RunNotFound(f"run {name}: this is the history of {self.ref.name}.")
        return self.ref

    def runs(self) -> Sequence[RunRef]:
        return [self.ref]

    def records(self, *, everywhere: bool = False) -> Sequence[Record]:
        return [self.record(self.ref)]

    def record(self, ref: RunRef) -> Record:
        e = self.entry
        return Record(ref, self.status(ref), e.preset, e.method, e.rows, e.max_steps, tuple(self._last_words()))

    def status(self, ref: RunRef) -> Status:
        e = self.entry
        return Status(e.state, e.reason, e.kind, e.created, e.started, e.ended)

    def keep(self, ref: RunRef, words: Sequence[str], revision: int) -> None:
        """Nothing: it is kept."""

    def spec(self, ref: RunRef) -> TuningSpec:
        return TuningSpec.from_yaml(self.entry.spec)

    def sent(self, ref: RunRef) -> Any:
        self._refuse("holds no data")

    def follow(self, ref: RunRef, since: str | None, stop: threading.Event) -> Iterator[Lines | Status | None]:
        lines = self.logs(ref)
        if since is None and lines:
            yield Lines(lines, str(len(lines)))
        yield self.status(ref)

    def logs(self, ref: RunRef, tail: int | None = None) -> list[str]:
        """Its events, as far as they tell what it was; the log itself went with the run."""
        lines = self.entry.lines or self._whole().lines
        return list(lines if tail is None else lines[max(0, len(lines) - tail) :])

    def cancel(self, ref: RunRef) -> None:
        """Nothing: it has ended."""

    def delete(self, ref: RunRef) -> None:
        """Forget it, with its notes and tags. What it made elsewhere stays."""
        self._archive.forget(self.entry.key)

    def adapter(self, ref: RunRef) -> Path | str | None:
        """Where its adapter is, if that is an address or a folder in which it still lies."""
        told = self.entry.adapter
        if not told or not told.startswith("/"):
            return told or None
        folder = Path(told)
        return folder if all((folder / name).is_file() for name in ADAPTER_FILES) else None

    def _whole(self) -> Entry:
        found = self._archive.entry(self.entry.key)
        if found is None:
            raise RunNotFound(f"run {self.ref.name}: it was removed from the history.")
        return found

    def _last_words(self) -> Iterator[str]:
        e = self.entry
        if e.steps:
            yield _line("log", 0, e.ended, {"global_step": e.steps, "loss": e.loss, "num_tokens": e.tokens})
        if e.eval_loss is not None:
            yield _line("evaluate", 1, e.ended, {"global_step": e.steps, "eval_loss": e.eval_loss})

    def _refuse(self, what: str) -> NoReturn:
        raise BackendError(
            f"run {self.ref.name}: only the history knows it, which {what}. "
            f"Its spec is there (%kaito yaml {self.ref.name}) for a new run."
        )


def _line(kind: str, seq: int, time: float | None, data: dict[str, Any]) -> str:
    envelope = {"kaito_event": VERSION, "type": kind, "seq": seq, "time": time or 0.0}
    return json.dumps(envelope | {k: v for k, v in data.items() if v is not None}, separators=(",", ":"))


__all__ = ["PastBackend"]
