"""What a run leaves behind: the adapter in PEFT's format, and the sentinel that says it is whole."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any, Final

from .contract.names import ADAPTER_FILES, SENTINEL_FILE

MODE: Final = 0o644
"""Readable by the sidecar that pushes the adapter under another user; safetensors writes 0600."""
TRAINED_EMBEDDINGS: Final = ("embed_tokens", "lm_head", "wte", "word_embeddings")


def save_adapter(model: Any, folder: Path) -> Path:
    """Write the adapter into the folder, each file at once, and return the folder."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".adapter-") as scratch:
        config = model.peft_config["default"]
        touched = {*(config.modules_to_save or ()), *(config.target_modules or ())}
        # "auto" would ask the model hub whether the vocabulary was resized; it never is here.
        embeddings: bool | str = "auto" if touched & set(TRAINED_EMBEDDINGS) else False
        model.save_pretrained(scratch, save_embedding_layers=embeddings)
        for name in ADAPTER_FILES:
            file = Path(scratch) / name
            file.chmod(MODE)
            _synced(file)
            file.replace(folder / name)
    return folder


def complete(folder: Path, steps: int) -> None:
    """Write the sentinel: all else is on the disk."""
    written = folder / f".{SENTINEL_FILE}"
    written.write_text(f"Completed after {steps} steps.\n", encoding="utf-8")
    written.chmod(MODE)
    _synced(written)
    written.replace(folder / SENTINEL_FILE)


def forget(folder: Path) -> None:
    """Remove the sentinel of an earlier run: until this one completes, the folder holds nothing whole."""
    (folder / SENTINEL_FILE).unlink(missing_ok=True)


def _synced(file: Path) -> None:
    handle = os.open(file, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


__all__ = ["complete", "forget", "save_adapter"]
