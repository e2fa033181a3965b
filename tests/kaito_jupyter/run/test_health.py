"""A run knows what is wrong with it, and with which spec it may do better."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kaito_jupyter import RunFailed, SpecError, watch
from kaito_jupyter.diagnose import stalled
from kaito_jupyter.errors import BackendError
from kaito_jupyter.run import Run

Start = Callable[..., Run]
Until = Callable[..., Any]


def test_a_failed_run_names_its_cause_and_the_changed_spec(start: Start) -> None:
    run = start("--fail", "out-of-memory", name="oom", per_device_train_batch_size=4, gradient_checkpointing=True)
    with pytest.raises(RunFailed):
        run.wait()
    found = run.diagnose()
    assert (found.cause, found.state) == ("cuda-oom", "Failed")
    assert "batches of 4" in found.sentence
    assert found.command == "%kaito resume oom --fix"
    fix = run.fix()
    assert fix == found.fix
    arguments = fix.spec.config.TrainingArguments
    assert (arguments.per_device_train_batch_size, arguments.gradient_accumulation_steps) == (2, 2)
    assert run.spec.config.TrainingArguments.per_device_train_batch_size == 4
    # Another kernel says the same.
    assert watch("oom", backend=run.backend).diagnose() == found


def test_a_run_with_which_nothing_is_wrong_has_nothing_to_fix(start: Start) -> None:
    run = start(name="well").wait()
    assert run.diagnose().well
    with pytest.raises(SpecError, match=r"^run well: Nothing is wrong: succeeded"):
        run.fix()


def test_a_killed_trainer_is_told_from_one_that_failed(start: Start, until: Until) -> None:
    run = start("--hang", name="killed")
    until(lambda: len(run.state.series) >= 10)
    os.kill(json.loads((Path(run.ref.location) / "process.json").read_text())["pid"], signal.SIGKILL)
    with pytest.raises(RunFailed):
        run.wait(30)
    found = run.diagnose()
    assert (found.cause, found.fix) == ("killed", None)
    assert found.command == "%kaito resume killed"


def test_a_hang_is_a_stall_for_who_watches_it_and_for_who_comes_late(
    start: Start, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: Any = {"eval_strategy": "no", "save_strategy": "no"}
    run = start("--hang", "--at", "10", name="hung", **options)
    until(lambda: len(run.state.series) >= 10)
    assert run.diagnose().well
    rules = sys.modules[stalled.__module__]
    monkeypatch.setattr(rules, "FLOOR", 0.2)
    monkeypatch.setattr(rules, "TIMES", 0.0)
    found = until(lambda: None if run.diagnose().well else run.diagnose())
    assert (found.cause, found.state) == ("stall", "Running")
    assert "hangs after step 10 of 20" in found.sentence
    late = watch("hung", backend=run.backend)
    assert until(lambda: late.diagnose().cause == "stall")
    run.delete()


def test_a_closed_run_is_read_again_before_it_is_judged(start: Start, until: Until) -> None:
    run = start("--seconds", "0.02", "--fail", "dataset", name="closed")
    run.close()
    late = watch("closed", backend=run.backend)
    with pytest.raises(RunFailed):
        late.wait()
    assert until(lambda: run.diagnose().cause == "dataset-malformed")


def test_a_place_out_of_reach_is_no_hang(start: Start, until: Until, monkeypatch: pytest.MonkeyPatch) -> None:
    run = start("--hang", name="reach")
    until(lambda: len(run.state.series) >= 10)
    run.close()

    def silent(*_: Any) -> Any:
        raise BackendError("the server does not answer")
        yield

    monkeypatch.setattr(run.backend, "follow", silent)
    run.open()
    until(lambda: run.trouble)
    found = run.diagnose()
    assert (found.cause, found.evidence) == ("no-contact", ("the server does not answer",))
    run.delete()
