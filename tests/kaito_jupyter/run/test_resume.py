"""A run goes on as a new one, without the data in the kernel, and with the spec that was mended."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kaito_jupyter import RunFailed, SpecError, watch
from kaito_jupyter.backends.local import LocalBackend
from kaito_jupyter.backends.marks import RESUMED_FROM
from kaito_jupyter.run import Run
from kaito_jupyter.run.resume import next_name
from kaito_jupyter.spec import build_spec
from kaito_trainer.contract.names import DATA_DIR, TRAIN_FILE

Start = Callable[..., Run]
Until = Callable[..., Any]
STUB = Path(__file__).parents[2] / "stub_trainer.py"
WHEN_TOO_LARGE = f"""
import re, runpy, sys
config = open(sys.argv[sys.argv.index("--config") + 1]).read()
batch = int(re.search(r"per_device_train_batch_size: (\\d+)", config)[1])
sys.argv[1:1] = ["--fail", "out-of-memory"] if batch > 2 else []
runpy.run_path({str(STUB)!r}, run_name="__main__")
"""


@pytest.fixture
def greedy(local: Callable[..., LocalBackend]) -> LocalBackend:
    """A place whose trainer runs out of memory with batches of more than two."""
    backend = local()
    backend._command = [sys.executable, "-c", WHEN_TOO_LARGE]
    return backend


def failed(run: Run) -> Run:
    with pytest.raises(RunFailed):
        run.wait()
    return run


def test_what_ran_out_of_memory_goes_green_with_the_mended_spec(start: Start, greedy: LocalBackend) -> None:
    run = failed(start(name="big", backend=greedy, per_device_train_batch_size=8, gradient_checkpointing=True))
    again = failed(watch("big", backend=greedy).resume(fix=True))
    assert again.name == "big-2"
    assert again.spec.annotations == {RESUMED_FROM: "big"}
    green = again.resume(fix=True).wait()
    assert (green.name, green.state.state) == ("big-3", "Succeeded")
    arguments = green.spec.config.TrainingArguments
    assert (arguments.per_device_train_batch_size, arguments.gradient_accumulation_steps) == (2, 4)
    files = [Path(r.ref.location) / DATA_DIR / TRAIN_FILE for r in (run, green)]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert {ref.name for ref in greedy.runs()} == {"big", "big-2", "big-3"}
    assert green.dataset is not None
    assert run.dataset is not None
    assert green.dataset.fingerprint == run.dataset.fingerprint


def test_what_no_spec_can_mend_is_said_with_its_remedy(start: Start) -> None:
    run = failed(start("--fail", "gated-model", name="gated"))
    with pytest.raises(SpecError, match=r"^run gated: .* may only be loaded .* Accept the licence"):
        run.resume(fix=True)


def test_without_fix_it_is_the_same_spec_with_what_is_given_in_its_place(start: Start) -> None:
    run = failed(start("--fail", "dataset", name="same"))
    again = run.resume(name="other", assignments=["TrainingArguments.max_steps=7", "r=4"])
    failed(again)
    changes = {path: after for path, _, after in run.spec.diff(again.spec)}
    assert changes == {
        "metadata.name": "other",
        "TrainingArguments.max_steps": 7,
        "LoraConfig.r": 4,
        f"metadata.annotations.{RESUMED_FROM}": "same",
    }
    with pytest.raises(SpecError, match="there is no such option"):
        run.resume(assignments=["nonsense=1"])
    with pytest.raises(SpecError, match="at least 1"):
        run.resume(assignments=["r=-1"])


def test_a_run_that_is_alive_is_ended_only_when_that_is_said(start: Start, until: Until) -> None:
    run = start("--hang", "--at", "3", name="alive")
    until(lambda: len(run.state.series) >= 3)
    with pytest.raises(SpecError, match=r"alive is alive \(Running\)\. Add --yes"):
        run.resume()
    again = run.resume(end=True)
    assert run.state.state == "Cancelled"
    assert again.name == "alive-2"
    again.delete()


def test_a_run_that_has_succeeded_has_nothing_to_go_on_with(start: Start) -> None:
    with pytest.raises(SpecError, match="has succeeded"):
        start(name="done").wait().resume()


def test_the_new_run_finds_the_checkpoints_of_the_old_one(start: Start) -> None:
    run = failed(start("--fail", "dataset", name="kept"))
    results = Path(run.ref.location) / "results"
    (results / "checkpoint-5").mkdir()
    (results / "checkpoint-5" / "file").write_text("x")
    again = failed(run.resume())
    assert (Path(again.ref.location) / "results" / "checkpoint-5" / "file").read_text() == "x"


def test_a_folder_that_the_user_named_is_gone_on_with(start: Start, tmp_path: Path) -> None:
    run = failed(start("--fail", "dataset", name="named", output=tmp_path / "adapter"))
    assert any((tmp_path / "adapter").iterdir())
    with pytest.raises(SpecError, match="is not empty"):
        start(name="another", output=tmp_path / "adapter")
    failed(run.resume())


@pytest.mark.parametrize(
    ("name", "resumed", "taken", "after"),
    [
        ("a", False, ["a"], "a-2"),
        ("a-2", True, ["a", "a-2"], "a-3"),
        ("phi-4", False, ["phi-4"], "phi-4-2"),
        ("a", False, ["a", "a-2", "a-3"], "a-4"),
        ("x" * 63, False, [], "x" * 61 + "-2"),
    ],
)
def test_the_next_name(name: str, resumed: bool, taken: list[str], after: str) -> None:
    spec = build_spec(preset="a/b", name=name)
    notes = {RESUMED_FROM: "before"} if resumed else {}
    assert next_name(name, type(spec)(preset="a/b", name=name, annotations=notes), taken) == after
