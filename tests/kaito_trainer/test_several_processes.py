"""Several processes on one machine, as torchrun starts them for several GPUs; here with gloo on the CPU."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from tiny import Run, conversations

from kaito_trainer.contract import decode

pytestmark = pytest.mark.train
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
STEPS = {"max_steps": 4, "per_device_train_batch_size": 2, "learning_rate": 0.01}


def start(run: Run, *launch: str) -> subprocess.Popen[str]:
    command = [sys.executable, *launch, "-m", "kaito_trainer", "train", "--mount-root", str(run.root)]
    return subprocess.Popen(
        [*command, "--config", str(run.root / "training_config.yaml")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def numbers(run: Run) -> list[float]:
    """Losses, tokens seen, and held-out losses."""
    logs = [e.data for e in run.events() if e.type == "log"]
    held_out = [e.data["eval_loss"] for e in run.events() if e.type == "evaluate"]
    return [*(log["loss"] for log in logs), *(log["num_tokens"] for log in logs), *held_out]


def test_two_processes_give_the_curve_of_one_with_twice_the_accumulation(run: Run) -> None:
    run.write(conversations(20), TrainingArguments={**STEPS, "gradient_accumulation_steps": 2})
    assert run.train() == 0
    alone = numbers(run)
    assert run.only("train_begin")["devices"] == 1
    (run.results / "events.jsonl").unlink()
    run.write(TrainingArguments={"gradient_accumulation_steps": 1})
    process = start(run, *TORCHRUN)
    out, _ = process.communicate(timeout=600)
    assert process.returncode == 0
    assert numbers(run) == pytest.approx(alone, rel=1e-5)
    assert run.only("train_begin")["devices"] == 2
    told = [line for line in out.splitlines() if decode(line)]
    assert told == (run.results / "events.jsonl").read_text(encoding="utf-8").splitlines(), "rank zero alone speaks"


def test_a_signal_ends_both_after_the_same_step_with_a_checkpoint(run: Run) -> None:
    run.write(conversations(20), TrainingArguments={**STEPS, "max_steps": 100_000, "logging_steps": 1})
    process = start(run, *TORCHRUN)
    assert process.stdout is not None
    for line in process.stdout:
        event = decode(line)
        if event is not None and event.type == "log" and event.data["global_step"] == 3:
            break
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=600)
    end = run.only("train_end")
    assert end["status"] == "cancelled"
    assert (run.results / f"checkpoint-{end['global_step']}" / "adapter_model.safetensors").is_file()
    assert not (run.results / "fine_tuning_completed.txt").exists()
