"""Training on this machine: a detached process with a folder of its own, that outlives the kernel.

`folder` says what lies where, `supervisor` watches over the trainer, `tail` reads its log, `launch` starts it. Here they
become a `Backend`.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

from kaito_trainer.contract import Problem
from kaito_trainer.contract.events import MARK
from kaito_trainer.contract.names import DATA_DIR, TRAIN_FILE
from kaito_trainer.contract.problems import close_match

from ..dataset import Dataset
from ..errors import BackendError, RunNotFound, SpecError
from ..spec import TuningSpec
from ..status import TERMINAL, Lines, RunRef, Status
from . import launch
from .base import Record, TuningJob
from .folder import SPEC_FILE, RunFolder, ask_to_end
from .tail import Tail, last_lines

POLL: Final = 0.15
"""Seconds between two looks at a log and at how its run stands. A look costs about a tenth of a millisecond."""
GRACE: Final = 60.0
"""Seconds that a cancelled trainer has for saving, before it is killed."""
_TAIL_BYTES: Final = 128 * 1024
_TAIL_EVENTS: Final = 12
_END: Final = 15.0
"""Seconds that `delete` waits for processes that were killed."""


class LocalBackend:
    """Runs in folders below `root` (default: the user's state folder; `$XDG_STATE_HOME/kaito-jupyter/runs` on Linux).

    `command` takes the place of `python -m kaito_trainer`, as does the environment variable `KAITO_LOCAL_TRAINER`. Both
    are for development: with `tests/stub_trainer.py` a run needs no torch.
    """

    name: Literal["local"] = "local"

    def __init__(self, root: Path | None = None, *, command: Sequence[str] | None = None, grace: float = GRACE) -> None:
        self.root = default_root() if root is None else Path(root).resolve()
        self._command = command
        self._grace = grace

    def __repr__(self) -> str:
        return f"LocalBackend({str(self.root)!r})"

    def problems(self, spec: TuningSpec) -> list[Problem]:
        found = launch.problems(spec, self._command)
        for ref in self.runs():
            if (ref.name, ref.namespace) == (spec.name, spec.namespace):
                with contextlib.suppress(RunNotFound):  # deleted just now
                    found.append(_taken(ref, self.status(ref)))
        return found

    def submit(self, job: TuningJob) -> RunRef:
        if found := [p for p in self.problems(job.spec) if p.severity == "error"]:
            raise SpecError(found)
        folder = launch.start(job, self.root, self._command)
        return self._ref(folder)

    def find(self, name: str, namespace: str | None = None) -> RunRef:
        refs = [r for r in self.runs() if namespace is None or r.namespace == namespace]
        mine = [r for r in refs if r.name == name]
        if len({r.namespace for r in mine}) > 1:
            places = ", ".join(sorted(r.namespace for r in mine))
            raise RunNotFound(f"run {name}: there are several, in the namespaces {places}. Say which namespace.")
        if mine:
            return mine[0]
        where = f" in namespace {namespace}" if namespace else ""
        hint = close_match(name, [r.name for r in refs])
        if not hint and refs:
            hint = f"The latest are: {', '.join(r.name for r in refs[:5])}."
        raise RunNotFound(f"run {name}: there is no such run on this machine{where}. {hint or 'There is none yet.'}")

    def runs(self) -> Sequence[RunRef]:
        folders = [path.parent for path in self.root.glob("[!.]*/[!.]*/run.json")]
        return [self._ref(folder) for _, folder in sorted(((_created(f), f) for f in folders), reverse=True)]

    def records(self, *, everywhere: bool = False) -> Sequence[Record]:
        found = []
        for ref in self.runs():
            with contextlib.suppress(RunNotFound):  # deleted just now
                found.append(self.record(ref))
        return found

    def record(self, ref: RunRef) -> Record:
        folder = _folder(ref)
        run = folder.run()
        lines = last_lines(folder.log, None, _TAIL_BYTES)
        events = [line for line in lines if MARK in line]
        # A summary of the curve costs as much as all else together, and says nothing that a step's own line does not.
        steps = [line for line in events if '"type":"history"' not in line]
        tail = tuple((steps if any('"type":"log"' in line for line in steps) else events or lines)[-_TAIL_EVENTS:])
        return Record(
            ref,
            folder.status(),
            preset=run.get("preset") or "",
            method=run.get("method") or "",
            rows=run.get("rows"),
            total_steps=run.get("total_steps"),
            tail=tail,
        )

    def status(self, ref: RunRef) -> Status:
        return _folder(ref).status()

    def keep(self, ref: RunRef, words: Sequence[str], revision: int) -> None:
        """Nothing: the end of its log is at hand."""

    def spec(self, ref: RunRef) -> TuningSpec:
        try:
            return TuningSpec.from_yaml((_folder(ref).path / SPEC_FILE).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise _deleted(ref) from None

    def sent(self, ref: RunRef) -> Dataset:
        file = _folder(ref).path / DATA_DIR / TRAIN_FILE
        if not file.is_file():
            raise _deleted(ref)
        return Dataset.read(file, name="data")

    def follow(self, ref: RunRef, since: str | None, stop: threading.Event) -> Iterator[Lines | Status | None]:
        folder = _folder(ref)
        known: Status | None = None
        with Tail(folder.log, since) as tail:
            while not stop.is_set():
                try:
                    status = folder.status()
                except RunNotFound:
                    status = Status("Cancelled", "The run was deleted.")
                over = status.state in TERMINAL
                if status != known and not over:
                    known = status
                    yield status
                # What is read after the end was seen is all there will be.
                for lines in tail.read(last=over):
                    yield lines
                    if stop.is_set():
                        return
                if over:
                    yield status
                    return
                yield None
                stop.wait(POLL)

    def logs(self, ref: RunRef, tail: int | None = None) -> list[str]:
        folder = _folder(ref)
        folder.run()
        return last_lines(folder.log, tail)

    def cancel(self, ref: RunRef) -> None:
        folder = _folder(ref)
        if folder.status().state in TERMINAL:
            return
        try:
            ask_to_end(folder, self._grace)
        except FileNotFoundError:
            raise _deleted(ref) from None
        except OSError as error:
            raise BackendError(f"run {ref.name}: cannot ask it to end: {error.strerror} ({error.filename}).") from error

    def delete(self, ref: RunRef) -> None:
        folder = _folder(ref)
        folder.run()
        if folder.alive():
            self._end_now(folder)
        trash = self.root / f".trash-{uuid.uuid4().hex}"
        try:
            folder.path.rename(trash)  # the name is free at once, whatever the removing takes
        except FileNotFoundError:
            return  # somebody else was faster
        except OSError as error:
            raise BackendError(f"run {ref.name}: cannot remove {folder.path}: {error.strerror}.") from error
        shutil.rmtree(trash, ignore_errors=True)

    def adapter(self, ref: RunRef) -> Path | None:
        folder = _folder(ref)
        over = folder.status().state in TERMINAL
        return folder.results.resolve() if over and folder.has_adapter() else None

    def _end_now(self, folder: RunFolder) -> None:
        with contextlib.suppress(OSError):
            ask_to_end(folder, 0.0)
        deadline = time.monotonic() + _END
        while folder.alive():
            if time.monotonic() > deadline:
                raise BackendError(
                    f"run {folder.path.name}: its processes do not end, although they were killed. "
                    f"Look at {folder.process()} with `ps`, and delete the run again later."
                )
            time.sleep(0.02)

    def _ref(self, folder: Path) -> RunRef:
        return RunRef(self.name, folder.name, folder.parent.name, str(folder))


def _taken(ref: RunRef, status: Status) -> Problem:
    if status.state in TERMINAL:
        message = f'"{ref.name}" is the name of an earlier run here ({status.state}).'
        remedy = f"Choose another name, or remove that run and its adapter with `%kaito delete {ref.name}`."
    else:
        message = f'"{ref.name}" is the name of a run that is going on.'
        remedy = f"Choose another name, or end that run first with `%kaito cancel {ref.name}`."
    return Problem("metadata.name", message, remedy)


def default_root() -> Path:
    """Where runs are when nothing else is said."""
    import platformdirs

    return platformdirs.user_state_path("kaito-jupyter") / "runs"


def _folder(ref: RunRef) -> RunFolder:
    return RunFolder(Path(ref.location))


def _created(folder: Path) -> float:
    """When the run was made, by its file: it is written once."""
    with contextlib.suppress(OSError):
        return (folder / "run.json").stat().st_mtime
    return 0.0


def _deleted(ref: RunRef) -> RunNotFound:
    return RunNotFound(f"run {ref.name}: there is no such run any more. It was deleted.")
