"""`%kaito diagnose` and `%kaito resume`, typed into a real shell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

import kaito_jupyter as kaito
from kaito_jupyter.errors import SpecError


def value(shell: InteractiveShell, cell: str) -> Any:
    """The value of a cell that succeeds."""
    result = shell.run_cell(cell)
    result.raise_error()
    return result.result


@pytest.fixture
def failed(shell: InteractiveShell, shown: list[Any], trainer: Callable[..., None]) -> None:
    """A run that ran out of memory, with a batch of eight; what is started after it succeeds."""
    trainer("--fail", "out-of-memory")
    shell.run_cell("%kaito_tune df --preset a/b --max-steps 4 --batch-size 8 --name big --wait")
    trainer()
    shown.clear()


def test_diagnose_says_what_to_type_next(shell: InteractiveShell, failed: None, shown: list[Any]) -> None:
    found = value(shell, "%kaito diagnose big")
    assert found.cause == "cuda-oom"
    assert "  %kaito resume big --fix changes:" in repr(found)
    assert value(shell, "%kaito diagnose").name == "big"
    assert shown == []


def test_what_it_says_can_be_typed(
    shell: InteractiveShell, failed: None, shown: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    line = value(shell, "%kaito diagnose big").command
    capsys.readouterr()
    run = value(shell, line)
    assert shown == [run]
    assert run.name == "big-2"
    told = capsys.readouterr().out
    assert "kaito: TrainingArguments.per_device_train_batch_size: 8 → 4   (fewer examples in memory at once)" in told
    assert "kaito: big-2 goes on for big.\n" in told
    run.wait(60)
    assert run.diagnose().well
    assert [r.name for r in kaito.runs()] == ["big-2", "big"]


def test_a_dry_run_shows_the_difference_and_starts_nothing(shell: InteractiveShell, failed: None) -> None:
    found = value(shell, "%kaito resume big --fix --set r=4 --dry-run")
    assert {path for path, _, _ in found} == {
        "TrainingArguments.per_device_train_batch_size",
        "TrainingArguments.gradient_accumulation_steps",
        "TrainingArguments.gradient_checkpointing",
        "LoraConfig.r",
    }
    assert [r.name for r in kaito.runs()] == ["big"]


def test_without_fix_it_is_the_same_again_with_what_the_line_says(
    shell: InteractiveShell, failed: None, shown: list[Any]
) -> None:
    run = value(shell, "%kaito resume big --set TrainingArguments.max_steps=2 --as small")
    run.wait(60)
    assert (run.name, run.state.global_step) == ("small", 2)
    error = shell.run_cell("%kaito resume small").error_in_exec
    assert type(error) is SpecError
    assert "small has succeeded" in str(error)
