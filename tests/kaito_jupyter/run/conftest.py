"""A call of `tune` as short as a test wants it, and what the stub trainer's curve must look like."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import kaito_jupyter
from kaito_jupyter.backends.local import LocalBackend
from kaito_jupyter.run import Run

STUB = Path(__file__).parents[2] / "stub_trainer.py"


@pytest.fixture
def start(local: Callable[..., LocalBackend]) -> Callable[..., Run]:
    """`start("--seconds", "0.05", name="x")`: a run of the stub with those options; the rest goes to `tune`."""

    def tune(*stub: str, **options: Any) -> Run:
        frame = pd.DataFrame({"prompt": [f"q{n}" for n in range(40)], "completion": [f"a{n}" for n in range(40)]})
        given = {"preset": "phi-4-mini-instruct", "backend": local(*stub), "max_steps": 20}
        return kaito_jupyter.tune(frame, **{**given, **options})

    return tune


@pytest.fixture(scope="session")
def loss() -> Callable[[int], float]:
    """The stub's loss at a step."""
    spec = importlib.util.spec_from_file_location("stub_trainer", STUB)
    assert spec
    assert spec.loader
    stub = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(stub)
    found: Callable[[int], float] = stub.loss
    return found


def reading_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("kaito run")]


@pytest.fixture(autouse=True)
def no_thread_stays(until: Callable[..., Any]) -> Iterator[None]:
    yield
    until(lambda: not reading_threads())
