"""One local run's folder: what lies where, and what its files and locks say of the run.

::

    <state>/runs/<namespace>/<name>/      the trainer's mount root; for its owner's eyes only (0700): data is private
        data/train.parquet                the one data file
        config/training_config.yaml       the content of KAITO's ConfigMap
        results/                          adapter, checkpoints, events.jsonl; a link when the user named a folder
        trainer.log                       stdout and stderr of the trainer
        spec.yaml  run.json               what was asked for, and what is fixed at the start
        process.json  cancel.json  exit.json        the supervisor's: who runs, who shall end, how it ended
        supervisor.lock  trainer.lock     held while they live
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kaito_trainer.contract.names import ADAPTER_FILES, RESULTS_DIR, SENTINEL_FILE

from ..errors import RunNotFound
from ..status import State, Status
from . import supervisor as files
from .boot import boot_id

SPEC_FILE: Final = "spec.yaml"
_BY_SIGTERM: Final = (143, 130, -15, -2)
"""Exit codes of a trainer that was told to end: its own, and those of one that did not get as far as to handle it."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Reads only; all it says is read anew."""

    path: Path

    @property
    def log(self) -> Path:
        return self.path / files.LOG_FILE

    @property
    def results(self) -> Path:
        return self.path / RESULTS_DIR

    def run(self) -> dict[str, Any]:
        """What was fixed at the start. Raises `RunNotFound` when the folder is gone."""
        if found := self._json(files.RUN_FILE):
            return found
        raise RunNotFound(f"run {self.path.name}: there is no such run any more in {self.path.parent}. It was deleted.")

    def status(self) -> Status:
        """How the run stands. Raises `RunNotFound` when the folder is gone."""
        run = self.run()
        created = run.get("created")
        if end := self._json(files.EXIT_FILE):
            return self._ended(end, created)
        started = self._json(files.PROCESS_FILE).get("started")
        if held(self.path / files.SUPERVISOR_LOCK):
            return Status("Running" if started else "Pending", created=created, started=started)
        if end := self._json(files.EXIT_FILE):  # it ended between the two looks
            return self._ended(end, created)
        if held(self.path / files.TRAINER_LOCK):
            reason = "The process that watched over the trainer was killed; the trainer still lives."
            return Status("Running", reason, created=created, started=started)
        return self._unwatched_end(run, started)

    def _ended(self, end: dict[str, Any], created: float | None) -> Status:
        """The status of a run whose supervisor has written down how it ended."""
        code = int(end["exit_code"])
        asked = (self.path / files.CANCEL_FILE).exists()
        state: State = "Failed"
        reason, kind = f"The trainer ended with exit code {code}.", ""
        if code == 0:
            state, reason = "Succeeded", ""
        elif end.get("error"):
            reason, kind = f"The trainer could not be started: {end['error']}.", "dependency"
        elif end.get("killed_after_grace"):
            state = "Cancelled"
            reason = "The trainer did not end when asked and was killed: what it had not saved is lost."
        elif code in _BY_SIGTERM:
            state, reason = "Cancelled", "" if asked else "SIGTERM came from outside (a shutdown, or `kill`)."
        elif code == -9 and end.get("oom_kills"):
            peak = (end.get("max_rss_bytes") or 0) / 2**30
            reason = f"This machine's memory ran out and the system killed the trainer, which had used {peak:.1f} GiB."
            kind = "out-of-memory"
        elif code == -9:
            reason, kind = "The trainer was killed from outside (SIGKILL).", "killed"
        elif code < 0:
            reason, kind = f"The trainer was ended by {signal_name(-code)}.", "crash"
        return Status(state, reason, kind, created, end.get("started"), end.get("ended"), code)

    def _unwatched_end(self, run: dict[str, Any], started: float | None) -> Status:
        """Neither process lives and nobody wrote down how it ended: say what can be known."""
        created = run.get("created")
        ended = self._last_sign()
        if (self.results / SENTINEL_FILE).exists():
            return Status("Succeeded", "", "", created, started, ended)
        if (self.path / files.CANCEL_FILE).exists():
            return Status("Cancelled", "", "", created, started, ended)
        if run.get("boot") != boot_id():
            where = run.get("host") or "this machine"
            reason = f"{where} was restarted while the run was on it (its container counts as a machine)."
            return Status("Failed", reason, "reboot", created, started, ended)
        reason = "The process that watched over the trainer was killed, and the trainer ended with it."
        return Status("Failed", reason, "killed", created, started, ended)

    def _last_sign(self) -> float | None:
        with contextlib.suppress(OSError):
            return self.log.stat().st_mtime
        return None

    def alive(self) -> bool:
        """Whether any process of the run lives."""
        return held(self.path / files.SUPERVISOR_LOCK) or held(self.path / files.TRAINER_LOCK)

    def process(self) -> dict[str, Any]:
        """`pid` of the trainer and of its `supervisor`, once it has been started."""
        return self._json(files.PROCESS_FILE)

    def has_adapter(self) -> bool:
        return all((self.results / name).is_file() for name in ADAPTER_FILES)

    def _json(self, name: str) -> dict[str, Any]:
        """The content, or an empty dict: not there (yet), or not ours."""
        try:
            content = json.loads((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}


def held(lock: Path) -> bool:
    """Whether a living process holds the lock. Asks for a shared one, so that two who ask don't see each other."""
    import fcntl

    try:
        fd = os.open(lock, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False


def ask_to_end(folder: RunFolder, grace: float) -> None:
    """Have the trainer ended: by SIGTERM, after `grace` seconds by SIGKILL (with 0 at once). Raises `OSError`.

    The wish is a file, which the supervisor looks for: nothing here relies on a process number that may have become
    another's. Only a trainer that outlived its supervisor is signalled directly, and only while it holds its lock.
    """
    wish = {"time": time.time(), "grace": grace}
    files.write_atomically(folder.path / files.CANCEL_FILE, json.dumps(wish))
    pid = folder.process().get("pid")
    if isinstance(pid, int) and not held(folder.path / files.SUPERVISOR_LOCK):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if held(folder.path / files.TRAINER_LOCK):
                os.killpg(pid, signal.SIGTERM if grace > 0 else signal.SIGKILL)


def signal_name(number: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"


def supported() -> bool:
    """Whether this system has what a detached run needs (locks that end with their process, process groups)."""
    return sys.platform != "win32"
