"""Recorded runs, played again: for documentation, demonstrations and tests. Nothing is trained.

A recording is the log of a run as it was written (`events.jsonl`, or a trainer's whole output). With a speed, its lines
come at the distances in time at which they were written, as if the run were going on now; without, all at once.
"""

from __future__ import annotations

import json
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal

from kaito_trainer.contract import METHODS, Problem, decode
from kaito_trainer.contract.events import VERSION
from kaito_trainer.contract.problems import close_match

from ..dataset import Dataset
from ..errors import BackendError, RunNotFound, SpecError
from ..spec import TuningSpec
from ..state import RunState
from ..status import TERMINAL, Lines, RunRef, Status
from .base import Record, TuningJob

LATEST_WAIT: Final = 0.25
"""Seconds after which a reader that waits for the next line looks whether it shall stop."""
_TAIL: Final = 12


@dataclass
class _Tape:
    """One recording, and how far its playing is."""

    lines: list[str]
    due: list[float]
    """Seconds after the start at which each line comes, at speed 1."""
    end: Status
    spec: TuningSpec
    location: str
    started: float
    """By the clock that does not jump."""
    created: float
    cancelled: int | None = None
    """Lines that had come when it was cancelled."""
    state: RunState = field(repr=False, default_factory=RunState)
    """The whole recording, folded."""


class ReplayBackend:
    """Plays recordings. `recordings`: log files, each a run by the name of its file (`otter.jsonl` is the run `otter`).
    A spec's YAML beside it (`otter.yaml`) is what that run was asked for; without it, the lines tell model and method.

    `speed` 1 is as it was, 60 a minute a second, None at once. A run that is submitted plays the first recording under
    its own name, whatever its data. `end` says how a recording ended that does not tell itself. Raises `BackendError`
    when a file cannot be read.
    """

    def __init__(
        self,
        *recordings: str | Path,
        speed: float | None = None,
        end: Status | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if speed is not None and not speed > 0:
            raise BackendError(f"speed: {speed} is no speed. Give a number above 0, or None for all lines at once.")
        self._speed = speed
        self._end = end
        self._clock = clock
        self._lock = threading.Lock()
        self._sources = [Path(r) for r in recordings]
        self._tapes = {path.stem: self._tape(path) for path in self._sources}

    @property
    def name(self) -> Literal["local", "job", "kaito"]:
        """Specs are checked as for this machine."""
        return "local"

    def problems(self, spec: TuningSpec) -> list[Problem]:
        if not self._sources:
            return [Problem("backend", "there is no recording to play.", "Give ReplayBackend a file.")]
        if spec.name in self._tapes:
            return [Problem("metadata.name", f'"{spec.name}" is the name of another run here.', "Choose another name.")]
        return []

    def submit(self, job: TuningJob) -> RunRef:
        if found := self.problems(job.spec):
            raise SpecError(found)
        tape = self._tape(self._sources[0], job.spec)
        with self._lock:
            self._tapes[job.spec.name or ""] = tape
        return self._ref(job.spec.name or "", tape)

    def find(self, name: str, namespace: str | None = None) -> RunRef:
        for ref in self.runs():
            if ref.name == name and namespace in (None, ref.namespace):
                return ref
        raise RunNotFound(f"run {name}: there is no such recording. {close_match(name, self._tapes)}".rstrip())

    def runs(self) -> Sequence[RunRef]:
        with self._lock:
            newest = sorted(self._tapes.items(), key=lambda item: item[1].created, reverse=True)
        return [self._ref(name, tape) for name, tape in newest]

    def records(self, *, everywhere: bool = False) -> Sequence[Record]:
        return [self.record(ref) for ref in self.runs()]

    def record(self, ref: RunRef) -> Record:
        tape = self._get(ref)
        events = [line for line in self.logs(ref) if decode(line) is not None]
        return Record(
            ref,
            self.status(ref),
            preset=tape.spec.preset,
            method=tape.spec.method,
            total_steps=tape.state.max_steps,
            tail=tuple(events[-_TAIL:]),
        )

    def status(self, ref: RunRef) -> Status:
        tape = self._get(ref)
        return self._status(tape, self._played(tape))

    def keep(self, ref: RunRef, words: Sequence[str], revision: int) -> None:
        """Nothing: a recorded run is as it is."""

    def spec(self, ref: RunRef) -> TuningSpec:
        return self._get(ref).spec

    def sent(self, ref: RunRef) -> Dataset:
        raise BackendError(f"run {ref.name}: a recording holds lines, and no data. Play it again as it is.")

    def follow(self, ref: RunRef, since: str | None, stop: threading.Event) -> Iterator[Lines | Status | None]:
        tape = self._get(ref)
        at = int(since) if since and since.isdecimal() else 0
        known: Status | None = None
        while not stop.is_set():
            played = self._played(tape)
            status = self._status(tape, played)
            over = status.state in TERMINAL
            if status != known and not over:
                known = status
                yield status
            if played > at:
                yield Lines(tape.lines[at:played], str(played))
                at = played
            if over:
                yield status
                return
            yield None
            wait = LATEST_WAIT if self._speed is None else tape.due[at] / self._speed - (self._clock() - tape.started)
            stop.wait(min(LATEST_WAIT, max(0.001, wait)))

    def logs(self, ref: RunRef, tail: int | None = None) -> list[str]:
        tape = self._get(ref)
        lines = tape.lines[: self._played(tape)]
        return lines if tail is None else lines[max(0, len(lines) - tail) :]

    def cancel(self, ref: RunRef) -> None:
        tape = self._get(ref)
        played = self._played(tape)
        if played < len(tape.lines):
            tape.cancelled = played

    def delete(self, ref: RunRef) -> None:
        """Forget the run. The file stays."""
        self.cancel(ref)
        with self._lock:
            self._tapes.pop(ref.name, None)

    def adapter(self, ref: RunRef) -> Path | str | None:
        """Where the recorded run's adapter was."""
        tape = self._get(ref)
        return tape.state.adapter if self.status(ref).state == "Succeeded" else None

    def _ref(self, name: str, tape: _Tape) -> RunRef:
        return RunRef("replay", name, tape.spec.namespace, tape.location)

    def _get(self, ref: RunRef) -> _Tape:
        with self._lock:
            tape = self._tapes.get(ref.name)
        if tape is None:
            raise RunNotFound(f"run {ref.name}: it was deleted.")
        return tape

    def _tape(self, path: Path, spec: TuningSpec | None = None) -> _Tape:
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
        except OSError as error:
            raise BackendError(f"{path}: {error.strerror or error}. Give the file of a run's lines.") from error
        if lines[-1] == "":
            del lines[-1]
        state = RunState()
        state.feed_many(lines)
        told = (
            Status(state.state) if state.state in TERMINAL else Status("Failed", "The recording has no end.", "killed")
        )
        model, method = (state.train_begin.get(key) for key in ("model", "method"))
        spec = (
            spec
            or _spec_beside(path)
            or TuningSpec(
                preset=model if isinstance(model, str) else path.stem,
                method=method if method in METHODS else "lora",
                name=path.stem,
            )
        )
        due, created = _times(lines), time.time()
        if self._speed is not None:
            lines = [_retimed(line, created + at / self._speed) for line, at in zip(lines, due, strict=True)]
        return _Tape(lines, due, self._end or told, spec, str(path), self._clock(), created, state=state)

    def _played(self, tape: _Tape) -> int:
        """Lines that have come by now."""
        if tape.cancelled is not None:
            return tape.cancelled
        if self._speed is None:
            return len(tape.lines)
        return bisect_right(tape.due, (self._clock() - tape.started) * self._speed)

    def _status(self, tape: _Tape, played: int) -> Status:
        if tape.cancelled is not None:
            return Status("Cancelled", created=tape.created, started=tape.created)
        if played < len(tape.lines):
            return Status("Running", created=tape.created, started=tape.created)
        return tape.end


def _spec_beside(path: Path) -> TuningSpec | None:
    """What the recorded run was asked for, where that lies beside its lines. Raises `SpecError`."""
    try:
        text = path.with_suffix(".yaml").read_text(encoding="utf-8")
    except OSError:
        return None
    return replace(TuningSpec.from_yaml(text), name=path.stem)


def _times(lines: Sequence[str]) -> list[float]:
    """Seconds from the first event to each line. A line without a time comes with the one before it."""
    times, latest, first = [], 0.0, None
    for line in lines:
        event = decode(line)
        if event is not None:
            first = event.time if first is None else first
            latest = max(latest, event.time - first)
        times.append(latest)
    return times


def _retimed(line: str, at: float) -> str:
    """An event line as if it were written at that time; others as they are."""
    event = decode(line)
    if event is None:
        return line
    envelope = {"kaito_event": VERSION, "type": event.type, "seq": event.seq, "time": round(at, 3)}
    return json.dumps(envelope | event.data, separators=(",", ":"))
