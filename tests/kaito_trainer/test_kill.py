"""Killed at random, again and again: a run ends with the very losses, and the very adapter, of one that nobody touched.

`KAITO_KILLS=30` kills it thirty times over; three times are enough for every day.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starts import Starter
from tiny import Run, conversations

from kaito_jupyter.state import RunState
from kaito_trainer.contract import decode

pytestmark = [pytest.mark.train, pytest.mark.timeout(3600)]
KILLS = int(os.environ.get("KAITO_KILLS", "3"))
STEPS = 6 + 4 * KILLS
CONFIG: dict[str, dict[str, Any]] = {
    # Dropout draws from the generators in every step, and five steps make an epoch.
    "LoraConfig": {"lora_dropout": 0.2},
    "TrainingArguments": {
        "max_steps": STEPS, "learning_rate": 0.01, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2,
        "save_strategy": "steps", "save_steps": 3, "save_total_limit": 2, "eval_strategy": "steps", "eval_steps": 4,
    },
    "TrainerOptions": {"samples": 1, "sample_tokens": 4},
}  # fmt: skip


@pytest.fixture(scope="module")
def starter(libraries: None) -> Iterator[Starter]:
    made = Starter()
    yield made
    made.close()


def start(starter: Starter, run: Run) -> int:
    config = str(run.root / "training_config.yaml")
    return starter.start(run.root / "out", "train", "--config", config, "--mount-root", str(run.root))


def wait_for(run: Run, type: str, step: int) -> None:
    """Until the trainer that was started last tells of the step, or nothing comes for long."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        told = (decode(line) for line in (run.root / "out").read_text(encoding="utf-8").splitlines())
        if any(e is not None and e.type == type and e.data["global_step"] >= step for e in told):
            return
        time.sleep(0.002)
    raise AssertionError(f"no {type} of step {step}")


def numbers(run: Run) -> dict[str, Any]:
    """What must not depend on how often the run was killed."""
    logs = [e.data for e in run.events() if e.type == "log"]
    return {
        "loss": {log["global_step"]: log["loss"] for log in logs},
        "tokens": {log["global_step"]: log["num_tokens"] for log in logs},
        "rate": {log["global_step"]: log["learning_rate"] for log in logs},
        "held out": {e.data["global_step"]: e.data["eval_loss"] for e in run.events() if e.type == "evaluate"},
    }


def adapter(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    loaded: dict[str, Any] = load_file(folder / "adapter_model.safetensors")
    return loaded


def assert_alike(run: Run, whole: Run) -> None:
    """The run that was killed has told, and left, what the whole one has."""
    expected, got = numbers(whole), numbers(run)
    for name in expected:
        assert got[name] == pytest.approx(expected[name], rel=1e-4, abs=1e-9), name
    logged = [e.data["global_step"] for e in run.events() if e.type == "log"]
    assert logged == list(range(1, STEPS + 1)), "each step once"
    evaluated = [e.data["global_step"] for e in run.events() if e.type == "evaluate"]
    assert evaluated == sorted(set(evaluated)), "each evaluation once"
    assert [e.data["global_step"] for e in run.events() if e.type == "generate"] == [0, STEPS]
    assert [e.seq for e in run.events()] == list(range(len(run.events()))), "numbered on"
    ours, theirs = adapter(run.results), adapter(whole.results)
    assert all(bool((ours[name] == theirs[name]).all()) for name in theirs), "byte for byte"
    assert {p.name for p in run.results.glob("checkpoint-*")} == {p.name for p in whole.results.glob("checkpoint-*")}
    assert not list(run.results.glob(".checkpoint-*"))


@pytest.fixture
def whole(run: Run, starter: Starter, tmp_path: Path) -> Run:
    """The run that nobody touched."""
    made = Run(tmp_path / "whole", run.model, run.config)
    made.root.mkdir()
    made.write(conversations(25), **CONFIG)
    start(starter, made)
    assert starter.wait() == 0
    return made


def test_a_run_that_is_killed_again_and_again_ends_as_one_that_nobody_touched(
    run: Run, starter: Starter, whole: Run
) -> None:
    run.write(conversations(25), **CONFIG)
    chance, reached, signals = random.Random(KILLS), 0, []
    for _ in range(KILLS):
        process = start(starter, run)
        reached += chance.randint(1, 4)
        wait_for(run, "log", reached)
        time.sleep(chance.uniform(0, 0.06))
        signals.append(chance.choice((signal.SIGKILL, signal.SIGTERM)))
        os.kill(process, signals[-1])
        assert starter.wait() in (-signal.SIGKILL, 128 + signal.SIGTERM), "it was still at work"
        reached = max(e.data["global_step"] for e in run.events() if e.type == "log")
        assert not (run.results / "fine_tuning_completed.txt").exists()
    start(starter, run)
    assert starter.wait() == 0

    assert_alike(run, whole)
    assert run.events()[-1].data["train_loss"] == pytest.approx(whole.only("train_end")["train_loss"], rel=1e-4)

    state = RunState()
    state.feed_many((run.results / "events.jsonl").read_text(encoding="utf-8").splitlines())
    assert list(state.series["global_step"]) == list(range(1, STEPS + 1)), "so does who reads along"
    print(f"{KILLS} kills ({signals.count(signal.SIGKILL)} SIGKILL), {STEPS} steps")


def test_killed_around_the_steps_it_ends_as_one_that_nobody_touched(run: Run, starter: Starter, whole: Run) -> None:
    run.write(conversations(25), **CONFIG)
    for type, step in (("evaluate", 0), ("evaluate", STEPS), ("save", STEPS), ("train_begin", STEPS)):
        process = start(starter, run)
        wait_for(run, type, step)
        os.kill(process, signal.SIGKILL)
        starter.wait()
    start(starter, run)
    assert starter.wait() == 0
    assert_alike(run, whole)
