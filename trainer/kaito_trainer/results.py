"""What a run leaves behind: the adapter in PEFT's format, the sentinel that says it is whole, and what a restart must know."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from . import failures
from .contract.names import ADAPTER_FILES, RUN_FILE, SENTINEL_FILE

MODE: Final = 0o644
"""Readable by the sidecar that pushes the adapter under another user; safetensors writes 0600."""
TRAINED_EMBEDDINGS: Final = ("embed_tokens", "lm_head", "wte", "word_embeddings")


def save_adapter(model: Any, folder: Path) -> Path:
    """Write the adapter into the folder, each file at once, and return the folder. Raises `Failure` of kind `volume`."""
    with failures.writing(folder), tempfile.TemporaryDirectory(dir=folder, prefix=".adapter-") as scratch:
        write_adapter(model, Path(scratch))
        for name in ADAPTER_FILES:
            file = Path(scratch) / name
            file.chmod(MODE)
            synced(file)
            file.replace(folder / name)
    return folder


def write_adapter(model: Any, folder: Path) -> None:
    """Write the adapter's files into the folder, not all at once."""
    config = model.peft_config["default"]
    touched = {*(config.modules_to_save or ()), *(config.target_modules or ())}
    # "auto" would ask the model hub whether the vocabulary was resized; it never is here.
    embeddings: bool | str = "auto" if touched & set(TRAINED_EMBEDDINGS) else False
    model.save_pretrained(str(folder), save_embedding_layers=embeddings)


def prepare(folder: Path) -> None:
    """Make the folder, and find out that it can be written to. Raises `Failure` of kind `volume`."""
    with failures.writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass


def complete(folder: Path, steps: int, end: Mapping[str, Any] | None = None) -> None:
    """Write the sentinel: all else is on the disk. `end` is what is then said of it, for a start that finds it unsaid."""
    note(folder, end=end)
    _write(folder / SENTINEL_FILE, f"Completed after {steps} steps.\n")


def forget(folder: Path) -> None:
    """Remove the sentinel of an earlier run: until this one completes, the folder holds nothing whole.

    With it goes what a restart would go on from: a run that is complete is over.
    """
    if (folder / SENTINEL_FILE).exists():
        note(folder, run=None)
        (folder / SENTINEL_FILE).unlink(missing_ok=True)


def noted(folder: Path) -> dict[str, Any]:
    """What the trainers before this one have noted for it. A file that cannot be read says nothing."""
    try:
        values = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def note(folder: Path, **values: Any) -> None:
    """Note values for the trainers after this one, beside those that are there; None takes one away."""
    kept = {k: v for k, v in {**noted(folder), **values}.items() if v is not None}
    _write(folder / RUN_FILE, json.dumps(kept, indent=1, default=str) + "\n")


def is_over(folder: Path) -> Mapping[str, Any] | None:
    """The words with which a run wanted to end that was killed before it could say them, though all was on the disk."""
    end = noted(folder).get("end")
    whole = all((folder / name).is_file() for name in (*ADAPTER_FILES, SENTINEL_FILE))
    return end if whole and isinstance(end, dict) else None


def synced(file: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk."""
    handle = os.open(file, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write(file: Path, text: str) -> None:
    """The whole text or, after a crash, what was there before."""
    written = file.with_name(f".{file.name}-{os.getpid()}")
    with failures.writing(file):
        written.write_text(text, encoding="utf-8")
        written.chmod(MODE)
        synced(written)
        written.replace(file)
        synced(file.parent)


__all__ = ["complete", "forget", "is_over", "note", "noted", "prepare", "save_adapter", "synced", "write_adapter"]
