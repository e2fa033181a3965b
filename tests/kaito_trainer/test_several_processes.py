"""Several processes on one machine, as torchrun starts them for several GPUs; here with gloo on the CPU."""

from __future__ import annotations

import json
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


SHORT_OF_MEMORY = """
import os, sys
import torch
from kaito_trainer import trainer

tried, forward = [], trainer.Trainer.compute_loss

class Refusing(torch.autograd.Function):
    @staticmethod
    def forward(ctx, loss):
        return loss.clone()

    @staticmethod
    def backward(ctx, gradient):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

def compute_loss(self, model, inputs, *args, **kwargs):
    loss = forward(self, model, inputs, *args, **kwargs)
    if not model.training:
        return loss
    with open(f"{self.args.output_dir}/tried-{os.environ['RANK']}", "a") as file:
        print(self.state.global_step, len(inputs["input_ids"]), file=file)
    small = os.environ["RANK"] == "1" and self.state.global_step >= 1
    return Refusing.apply(loss) if small and len(inputs["input_ids"]) > int(os.environ["ROOM"]) else loss

trainer.Trainer.compute_loss = compute_loss
from kaito_trainer.__main__ import main
sys.exit(main(sys.argv[1:]))
"""
"""The trainer, where the second process's device has, from its second step on, room for $ROOM rows."""


def start(
    run: Run, *launch: str, program: tuple[str, ...] = ("-m", "kaito_trainer"), **environment: str
) -> subprocess.Popen[str]:
    command = [sys.executable, *launch, *program, "train", "--mount-root", str(run.root)]
    return subprocess.Popen(
        [*command, "--config", str(run.root / "training_config.yaml")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
    )


def short_of_memory(run: Run) -> tuple[str]:
    program = run.root / "short_of_memory.py"
    program.write_text(SHORT_OF_MEMORY, encoding="utf-8")
    return (str(program),)


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


def test_one_that_is_short_of_memory_halves_its_part_and_the_others_hear_of_it(run: Run) -> None:
    """In the middle of a step of two batches, on the way back through the model: no restart, and the same curve."""
    arguments = {**STEPS, "gradient_accumulation_steps": 2}
    run.write(conversations(20), TrainingArguments={**arguments, "gradient_accumulation_steps": 4})
    assert run.train() == 0
    alone = numbers(run)
    for name in ("events.jsonl", "kaito_run.json"):
        (run.results / name).unlink()
    run.write(TrainingArguments=arguments)
    process = start(run, *TORCHRUN, program=short_of_memory(run), ROOM="1")
    process.communicate(timeout=600)
    assert process.returncode == 0
    assert numbers(run) == pytest.approx(alone, rel=1e-5)
    first, second = (
        [tuple(map(int, line.split())) for line in (run.results / f"tried-{rank}").read_text().splitlines()]
        for rank in (0, 1)
    )
    assert first[:4] == [(0, 2), (0, 2), (1, 2), (1, 2)]
    assert set(first[4:]) == {(2, 1), (3, 1)}, "it heard of it after the step"
    assert second[:3] == [(0, 2), (0, 2), (1, 2)]
    assert set(second[3:]) == {(1, 1), (2, 1), (3, 1)}, "what does not fit is tried once"
    said = [e.data.get("detail") or "" for e in run.events() if e.type == "phase"]
    assert "out of memory in another process: rows_at_once: 1" in said
    assert json.loads((run.results / "kaito_run.json").read_text())["memory"]["rows"] == 1
    assert run.only("train_end")["status"] == "completed"


def test_a_failure_of_another_process_is_told_and_not_that_it_went_away(run: Run) -> None:
    run.write(conversations(20), TrainingArguments=STEPS, DatasetConfig={"train_test_split": 1})
    process = start(run, *TORCHRUN, program=short_of_memory(run), ROOM="0")
    process.communicate(timeout=600)
    assert process.returncode == 1
    told = run.only("error")
    assert (run.events()[-1].type, told["kind"]) == ("error", "out-of-memory")
    assert told["message"].startswith("A single row of ")
    assert [e.seq for e in run.events()] == list(range(len(run.events())))
