"""A GGUF model made into an ordinary model folder, once: safetensors, tokenizer and chat template.

Small models come as GGUF files in Python packages, where no model hub can be reached. Training wants plain weights, and
loading them from safetensors takes a third of a second instead of twenty.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .failures import Failure


def import_gguf(source: str | Path, destination: Path, say: Callable[[str], None] = print) -> Path:
    """Convert the GGUF file at `source` to a model folder at `destination`, and return that folder.

    `source` is a file, a folder that holds one, or the name of an installed package that does. A destination that
    exists is complete (it is renamed into place) and is left alone. Raises `Failure` of kind `model` when there is no
    such file, and `dependency` when the package `gguf` is missing.
    """
    destination = destination.expanduser()
    file = find_gguf(source)
    destination.parent.mkdir(parents=True, exist_ok=True)
    with _locked(destination.parent / f".{destination.name}.lock"):
        if destination.exists():
            say(f"{destination} is there already")
            return destination
        with tempfile.TemporaryDirectory(dir=destination.parent, prefix=f".{destination.name}.") as scratch:
            folder = Path(scratch) / destination.name
            folder.mkdir()
            _convert(file, folder, say)
            folder.rename(destination)
    say(f"model folder: {destination}")
    return destination


def find_gguf(source: str | Path) -> Path:
    """The one GGUF file that is meant. Raises `Failure` of kind `model`."""
    place = Path(source).expanduser()
    if not place.exists() and "/" not in str(source) and str(source).isidentifier():
        package = importlib.util.find_spec(str(source))
        if package is not None and package.submodule_search_locations:
            place = Path(next(iter(package.submodule_search_locations)))
    if place.is_file():
        return place
    files = sorted(place.glob("*.gguf")) if place.is_dir() else []
    if len(files) == 1:
        return files[0]
    found = "several: " + ", ".join(f.name for f in files) if files else "none"
    raise Failure("model", f"{source}: one GGUF file is needed, there is {found}.", "Give the path of one .gguf file.")


def _convert(file: Path, folder: Path, say: Callable[[str], None]) -> None:
    if importlib.util.find_spec("gguf") is None:
        raise Failure("dependency", "The Python package gguf is missing.", "pip install 'kaito-trainer[gguf]'")
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    say(f"reading the tokenizer of {file.name}")
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    config = AutoConfig.from_pretrained(file.parent, gguf_file=file.name)
    tokenizer.model_max_length = config.max_position_embeddings
    say(f"reading the weights of {file.name}")
    loaded = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.bfloat16, **_unpacked())
    # A model that came from GGUF refuses `save_pretrained`; a fresh one with its weights does not.
    config.name_or_path = folder.name
    config.dtype = torch.bfloat16
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.load_state_dict(loaded.state_dict())
    model.generation_config = loaded.generation_config
    say("writing safetensors")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for written in folder.iterdir():
        written.chmod(0o644)
    folder.chmod(0o755)


def _unpacked() -> dict[str, Any]:
    """Newer transformers keep GGUF's blocks packed unless told not to; older ones have no such word."""
    import transformers

    config = getattr(transformers, "GgufConfig", None)
    return {} if config is None else {"quantization_config": config(dequantize=True)}


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Only one process converts; the others wait and find it done."""
    handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


__all__ = ["find_gguf", "import_gguf"]
