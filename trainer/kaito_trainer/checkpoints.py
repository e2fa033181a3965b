"""Checkpoints that are whole or not there at all, often enough to lose little and rare enough to cost little.

A checkpoint is written into a hidden folder, brought to the disk file by file, listed in its own marker (names, sizes, sums)
and only then renamed to `checkpoint-N`. Whatever kills the process, or the machine, leaves the one before untouched. A folder
without a marker, or with one that does not agree with its files, is never gone on from.

Hugging Face's own way leaves half a checkpoint where it is killed, and takes it for the latest at the next start.
"""

from __future__ import annotations

import json
import re
import shutil
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from . import failures, results
from .contract import TrainingConfig
from .failures import Failure

MARKER: Final = "kaito_checkpoint.json"
INCOMPLETE: Final = "checkpoint-is-incomplete.txt"
"""What transformers' own checkpoint at a signal leaves behind when it is killed, and takes no notice of when it resumes."""
HIDDEN: Final = ".checkpoint-"
"""How the folders begin in which a checkpoint is on its way in or out."""
KEPT: Final = 2
"""Checkpoints that are kept to go on from: the latest, and one in case that the disk loses it."""
MINUTES: Final = 2.0
"""Time between two of them, where the user said nothing: what is lost at most."""
SHARE: Final = 0.02
"""The most of the training's time that they may cost."""
RATE: Final = 50e6
"""Bytes a second at which the first one is thought to be written: a slow network volume's."""
_NAME: Final = re.compile(r"checkpoint-(\d+)")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was found whole."""

    path: Path
    step: int
    run: str
    asked: bool = False
    """Whether the configuration asked for it: then it is kept."""
    numbers: dict[str, Any] = field(default_factory=dict)
    """What the loop has counted so far, beside the state that Hugging Face keeps."""


class Checkpoints:
    """The checkpoints of one run in its output folder."""

    def __init__(
        self,
        folder: Path,
        run: str,
        *,
        minutes: float | None = None,
        limit: int | None = None,
        speaks: bool = True,
        sync: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder, self.run = folder, run
        self.took = 0.0
        """Seconds that the last one has cost."""
        self.written: set[int] = set()
        """Steps of which there is one by this process, or that it went on from."""
        self.asked = False
        """Whether the configuration asks for the next one."""
        self._every = (MINUTES if minutes is None else minutes) * 60
        self._limit, self._speaks, self._sync, self._clock = limit, speaks, sync, clock
        self._cost, self._last = 0.0, clock()
        if speaks:
            for left in folder.glob(f"{HIDDEN}*"):
                shutil.rmtree(left, ignore_errors=True)

    @classmethod
    def of(
        cls, folder: Path, run: str, config: TrainingConfig, *, speaks: bool, sync: Callable[[], None]
    ) -> Checkpoints:
        """As the configuration says. `sync` brings to the disk what is told of the steps behind a checkpoint."""
        limit, minutes = config.TrainingArguments.save_total_limit, config.TrainerOptions.checkpoint_minutes
        return cls(folder, run, minutes=minutes, limit=limit, speaks=speaks, sync=sync)

    def begin(self, bytes: int) -> None:
        """The training begins, and a checkpoint will have about so many bytes."""
        self._last, self._cost = self._clock(), bytes / RATE

    def due(self) -> bool:
        """Whether it is time for one."""
        return self._every > 0 and self._clock() - self._last >= max(self._every, self._cost / SHARE)

    def write(
        self,
        step: int,
        fill: Callable[[Path], None],
        numbers: dict[str, Any],
        *,
        best: Path | None = None,
        together: Callable[[], None] = lambda: None,
    ) -> None:
        """Write one. `fill` writes the files; `together` waits for all processes.

        Raises `Failure` of kind `disk-full` or `volume`. On a full disk older ones make room first.
        """
        begun, goal = self._clock(), self.folder / f"checkpoint-{step}"
        try:
            with failures.writing(goal):
                try:
                    self._write(goal, step, fill, numbers, together)
                except Exception as error:
                    if not failures.is_full(error) or not self._prune(1, best):
                        raise
                    self._write(goal, step, fill, numbers, together)
        except BaseException:
            shutil.rmtree(self._staging(goal), ignore_errors=True)
            raise
        self.written.add(step)
        self._prune(KEPT, best)
        self._last = self._clock()
        self._cost = self._last - begun
        self.took = round(self._cost, 3)

    def latest(self) -> Checkpoint | None:
        """The latest whole one of this run."""
        return next((found for found in self._found() if intact(found.path)), None)

    def has(self, step: int) -> bool:
        """Whether there is a whole one of this run and step."""
        found = read(self.folder / f"checkpoint-{step}")
        return found is not None and found.run == self.run and intact(found.path)

    def clear(self) -> None:
        """Remove those that were only there to go on from: the run is over."""
        if self._speaks:
            for found in self._found():
                if not found.asked:
                    self._remove(found.path)

    def _found(self) -> Iterator[Checkpoint]:
        """Those of this run by their markers, latest first."""
        places = ((int(m[1]), p) for p in self.folder.glob("checkpoint-*") if (m := _NAME.fullmatch(p.name)))
        for _, place in sorted(places, reverse=True):
            found = read(place)
            if found is not None and found.run == self.run:
                yield found

    def _write(
        self,
        goal: Path,
        step: int,
        fill: Callable[[Path], None],
        numbers: dict[str, Any],
        together: Callable[[], None],
    ) -> None:
        staging = self._staging(goal)
        if self._speaks:
            shutil.rmtree(staging, ignore_errors=True)
            staging.mkdir()
        together()
        fill(staging)
        together()
        if self._speaks:
            self._sync()
            _seal(staging, {"version": 1, "run": self.run, "step": step, "asked": self.asked, "numbers": numbers})
            if goal.exists():
                self._remove(goal)
            staging.rename(goal)
            results.synced(self.folder)
        together()

    def _staging(self, goal: Path) -> Path:
        return self.folder / f".{goal.name}"

    def _prune(self, kept: int, best: Path | None) -> bool:
        """Remove what is not to be kept, and say whether that was anything."""
        if not self._speaks:
            return False
        found = list(self._found())
        wanted = [c for c in found if c.asked][: self._limit] if self._limit else [c for c in found if c.asked]
        keep = {c.path for c in (*wanted, *found[: min(kept, self._limit or kept)])} | ({best} if best else set())
        removed = [c for c in found if c.path not in keep]
        for checkpoint in removed:
            self._remove(checkpoint.path)
        return bool(removed)

    def _remove(self, place: Path) -> None:
        """Out of sight in one step, so that a crash leaves no half of it."""
        hidden = place.with_name(f".{place.name}-old")
        shutil.rmtree(hidden, ignore_errors=True)
        place.rename(hidden)
        shutil.rmtree(hidden, ignore_errors=True)


def read(place: Path) -> Checkpoint | None:
    """A checkpoint by its marker, its files unchecked."""
    try:
        marker = json.loads((place / MARKER).read_text(encoding="utf-8"))
        return Checkpoint(
            place, int(marker["step"]), str(marker["run"]), bool(marker["asked"]), dict(marker["numbers"])
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def intact(place: Path) -> bool:
    """Whether all files that the marker lists are there as they were written."""
    try:
        listed = json.loads((place / MARKER).read_text(encoding="utf-8"))["files"]
        return all(_sum(place / name) == tuple(told) for name, told in listed.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def named(place: Path) -> Checkpoint:
    """The one that the configuration names, ours or Hugging Face's. Raises `Failure` of kind `config` for half of one."""
    found = read(place)
    wrong = ""
    if not (place / "trainer_state.json").is_file():
        wrong = "there is no checkpoint" if not place.exists() else "it is no checkpoint: trainer_state.json is missing"
    elif (place / INCOMPLETE).exists() or (found is not None and not intact(place)):
        wrong = "it was not written to its end"
    if wrong:
        message = f"TrainingArguments.resume_from_checkpoint: {place}: {wrong}."
        raise Failure(
            "config", message, "Name a whole one, or leave it out: an unfinished run is gone on with by itself."
        )
    if found is not None:
        return found
    state = json.loads((place / "trainer_state.json").read_text(encoding="utf-8"))
    return Checkpoint(place, int(state["global_step"]), "")


def _seal(folder: Path, marker: dict[str, Any]) -> None:
    """Bring all files to the disk, then the marker that lists them."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    listed = {}
    for file in files:
        file.chmod(results.MODE)
        results.synced(file)
        listed[str(file.relative_to(folder))] = _sum(file)
    written = folder / MARKER
    written.write_text(json.dumps(marker | {"files": listed}), encoding="utf-8")
    written.chmod(results.MODE)
    results.synced(written)
    results.synced(folder)


def _sum(file: Path) -> tuple[int, int]:
    """Size, and a sum over the content."""
    size = total = 0
    with file.open("rb") as handle:
        while chunk := handle.read(1 << 20):
            size, total = size + len(chunk), zlib.crc32(chunk, total)
    return size, total


__all__ = ["Checkpoint", "Checkpoints", "intact", "named", "read"]
