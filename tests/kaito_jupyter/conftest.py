"""Runs on this machine with the stub trainer in the real one's place; whatever a test leaves alive is ended."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from kaito_jupyter.backends.base import TuningJob
from kaito_jupyter.backends.local import LocalBackend
from kaito_jupyter.dataset import Dataset
from kaito_jupyter.spec import TuningSpec, build_spec
from kaito_jupyter.status import RunRef, Status

STUB = Path(__file__).parents[1] / "stub_trainer.py"


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Callable[..., LocalBackend]]:
    """`local("--steps", "30")`: a backend whose trainer is the stub with those options."""
    root = tmp_path / "state" / "runs"

    def make(*options: str, **more: Any) -> LocalBackend:
        return LocalBackend(root, command=[sys.executable, str(STUB), *options], **more)

    yield make
    backend = make()
    for ref in backend.runs():
        backend.delete(ref)


@pytest.fixture
def until() -> Callable[..., Any]:
    """`until(lambda: …)`: what it gives as soon as that is true; a test that waits in vain fails."""

    def wait(ask: Callable[[], Any], seconds: float = 30.0) -> Any:
        deadline = time.monotonic() + seconds
        while not (found := ask()):
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.01)
        return found

    return wait


@pytest.fixture
def ended(until: Callable[..., Any]) -> Callable[[LocalBackend, RunRef], Status]:
    def wait(backend: LocalBackend, ref: RunRef) -> Status:
        def terminal() -> Status | None:
            status = backend.status(ref)
            return status if status.state in ("Succeeded", "Failed", "Cancelled") else None

        found: Status = until(terminal)
        return found

    return wait


@pytest.fixture(scope="session")
def small_dataset() -> Dataset:
    return Dataset.read(
        pd.DataFrame({"prompt": [f"q{n}" for n in range(40)], "completion": [f"a{n}" for n in range(40)]})
    )


@pytest.fixture
def job(small_dataset: Dataset) -> Callable[..., TuningJob]:
    """`job("name", …)`: what is submitted; options as `build_spec` takes them."""

    def make(name: str = "first", **options: Any) -> TuningJob:
        spec: TuningSpec = build_spec(preset="phi-4-mini-instruct", name=name, **options)
        return TuningJob(spec, small_dataset, spec.total_steps(small_dataset.rows))

    return make
