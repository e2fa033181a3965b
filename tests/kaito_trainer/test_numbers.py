"""Whole trainings of a tiny model: the numbers of time and device are there, and may be true."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from tiny import Run, conversations

pytestmark = [
    pytest.mark.train,
    # PEFT asks transformers by the old name.
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
]
TIMES = ("step_seconds", "data_seconds", "save_seconds", "eval_seconds")
EVERY = {
    "max_steps": 6, "logging_steps": 2, "logging_first_step": False,
    "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2,
    "eval_strategy": "steps", "eval_steps": 3, "save_strategy": "steps", "save_steps": 4,
}  # fmt: skip


def logs(run: Run) -> list[dict[str, Any]]:
    return [e.data for e in run.events() if e.type == "log"]


def test_each_log_says_where_the_time_went(run: Run) -> None:
    assert run.train(conversations(20), TrainingArguments=EVERY) == 0
    told = logs(run)
    assert [log["global_step"] for log in told] == [2, 4, 6]
    assert all(log[name] >= 0 for log in told for name in TIMES)
    # The base model is measured before the first step; then come an evaluation after the third and a checkpoint after the fourth.
    assert [log["eval_seconds"] > 0 for log in told] == [True, True, False]
    assert [log["save_seconds"] > 0 for log in told] == [False, False, True]
    saved = [e.data["seconds"] for e in run.events() if e.type == "save" and e.data.get("seconds")]
    assert told[2]["save_seconds"] >= saved[0] - 0.001
    for log in told:
        assert 0 < log["data_seconds"] < 2 * log["step_seconds"], "waiting is a part of the step"
        rows = log["samples_per_second"] * 2 * log["step_seconds"]
        assert rows == pytest.approx(8, rel=0.05), "2 steps of 2 batches of 2 rows"
    tokens = [log["tokens_per_second"] * 2 * log["step_seconds"] for log in told]
    counts = [log["num_tokens"] for log in told]
    assert tokens == pytest.approx([b - a for a, b in zip([0, *counts], counts, strict=False)], rel=0.05)
    assert not {"gpu_utilization", "device_memory_used_bytes"} & set(told[0]), "no GPU: absent, not 0"
    columns = run.only("history")["columns"]
    assert columns["step_seconds"] == [log["step_seconds"] for log in told]


@pytest.mark.parametrize("way", [{"packing": True, "max_length": 128}, {"padding_free": True}])
def test_rows_are_the_datas_however_they_are_laid_together(run: Run, way: dict[str, Any]) -> None:
    rows = conversations(12)
    arguments = {"num_train_epochs": 1, "max_steps": -1, "per_device_train_batch_size": 3, "logging_steps": 1}
    run.train(rows, TrainingArguments={**arguments, **way}, DatasetConfig={"train_test_split": 1})
    told = logs(run)
    assert len(told) < 12
    assert sum(log["samples_per_second"] * log["step_seconds"] for log in told) == pytest.approx(12, rel=0.05)


def test_a_run_that_goes_on_counts_from_where_it_begins(run: Run) -> None:
    rows = conversations(20)
    assert run.train(rows, TrainingArguments=EVERY | {"logging_steps": 1, "max_steps": 4}) == 0
    going_on = {"max_steps": 6, "resume_from_checkpoint": str(run.results / "checkpoint-4")}
    assert run.train(TrainingArguments=going_on) == 0
    told = logs(run)
    assert [log["global_step"] for log in told] == [1, 2, 3, 4, 5, 6]
    counts = [log["num_tokens"] for log in told]
    for log, before in zip(told[4:], counts[3:], strict=False):
        assert log["samples_per_second"] * log["step_seconds"] == pytest.approx(4, rel=0.05)
        seen = log["tokens_per_second"] * log["step_seconds"]
        assert seen == pytest.approx(log["num_tokens"] - before, rel=0.05)


def test_rows_of_two_processes_are_counted_together(run: Run) -> None:
    run.write(
        conversations(20),
        TrainingArguments={"max_steps": 3, "per_device_train_batch_size": 2, "logging_steps": 1},
    )
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [sys.executable, *launch, "-m", "kaito_trainer", "train", "--mount-root", str(run.root)]
    subprocess.run(
        [*command, "--config", str(run.root / "training_config.yaml")],
        check=True,
        capture_output=True,
        timeout=600,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    for log in logs(run):
        assert log["samples_per_second"] * log["step_seconds"] == pytest.approx(4, rel=0.05)
        assert log["device_memory_bytes"] > 50e6


def test_a_device_that_cannot_be_read_does_not_end_the_training(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("no such device")

    monkeypatch.setattr("resource.getrusage", fail)
    assert run.train(TrainingArguments={"max_steps": 2}) == 0
    assert "device_memory_bytes" not in logs(run)[0]
