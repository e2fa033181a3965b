"""Where things lie: KAITO's `/mnt` and what stands for it on this machine, and the lock of the output folder."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from .contract import TrainingConfig
from .contract.names import DATA_DIR, LOCK_FILE, MOUNT_ROOT, RESULTS_DIR
from .failures import Failure

LOCK_WITHIN: Final = 2.0
"""Seconds in which the lock must be had: the sidecar takes it for a moment whenever it looks whether a trainer lives."""
WEIGHTS: Final = ("/workspace/tfs/weights", "/workspace/weights")
"""Where KAITO's images and its downloader keep the preset's weights."""


@dataclass(frozen=True)
class Places:
    """All paths of a run."""

    root: Path
    """The folder that stands for `/mnt`."""

    def resolve(self, path: str) -> Path:
        """A path of the configuration on this machine; what lies outside of `/mnt` stays where it is."""
        pure = PurePosixPath(path)
        if pure.is_relative_to(MOUNT_ROOT):
            return self.root / pure.relative_to(MOUNT_ROOT)
        return Path(path)

    def output(self, config: TrainingConfig) -> Path:
        """Where checkpoints, adapter and sentinel go."""
        return self.resolve(config.TrainingArguments.output_dir or f"{MOUNT_ROOT}/{RESULTS_DIR}")

    def data(self, config: TrainingConfig) -> Path:
        """The data file, or the folder with the data files.

        KAITO's trainer reads `dataset_path` as relative to `/mnt`, a leading slash or not (`dataset.py`); a path that
        begins with `/mnt` is taken as it is.
        """
        told = config.DatasetConfig.dataset_path
        if told is None:
            return self.resolve(os.environ.get("DATASET_FOLDER_PATH", f"{MOUNT_ROOT}/{DATA_DIR}"))
        if PurePosixPath(told).is_relative_to(MOUNT_ROOT):
            return self.resolve(told)
        return self.root / told.strip("/")

    def model(self, config: TrainingConfig) -> str:
        """A folder of this machine, or a Hugging Face id. Raises `Failure` of kind `model` when the folder is not there."""
        told = config.ModelConfig.pretrained_model_name_or_path
        if told is None:
            told = next((w for w in WEIGHTS if Path(w).is_dir()), None)
        if told is None:
            raise Failure(
                "model",
                "ModelConfig.pretrained_model_name_or_path: no base model is named.",
                "Give a folder or a Hugging Face id.",
            )
        place = self.resolve(told)
        if place.is_dir():
            return str(place)
        if told.startswith(("/", ".", "~")) or told.count("/") > 1:
            raise Failure(
                "model",
                f"ModelConfig.pretrained_model_name_or_path: the folder {place} does not exist.",
                "Give an existing folder, or a Hugging Face id such as org/name.",
            )
        return told


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make the folder and hold its lock: while it is held, a trainer lives. Raises `Failure` when another one does."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        if not _taken(handle):
            raise Failure(
                "config",
                f"TrainingArguments.output_dir: another trainer is at work in {folder}.",
                "Wait for it, or use another folder.",
            )
        yield
    finally:
        os.close(handle)


def _taken(handle: int) -> bool:
    deadline = time.monotonic() + LOCK_WITHIN
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.05)
        else:
            return True


__all__ = ["Places", "locked"]
