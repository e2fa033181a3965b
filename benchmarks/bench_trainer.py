"""Our trainer against TRL's, on the CPU: tokens a second, time to a loss, memory, preparation, and what events cost.

SmolLM2-135M-Instruct, LoRA r 8 on all linear layers, bfloat16, one thread, rows of one made-up form. Each training runs in a
process of its own, in turns; rates are by CPU seconds of the training alone, and the median of the rounds' ratios counts.

    python -m benchmarks trainer [--quick]
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

ROUNDS, QUICK_ROUNDS = 3, 1
ROWS = 160
RATE_ROWS = 24
"""Rows of the comparison of rates: the stock trainer takes a second for each."""
PREPARED, QUICK_PREPARED = 5_000, 1_000


def leg(name: str, rows: int, aim: str) -> dict[str, Any]:
    """One training in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.trainer_legs", name, str(rows), aim]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr[-2000:]}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def prepared(count: int) -> tuple[float, float]:
    """Rows a CPU second that TRL and we make ready, of the same conversations."""
    from datasets import Dataset, disable_progress_bars
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM
    from trl import SFTConfig, SFTTrainer

    from benchmarks.trainer_legs import TRAINING_TEMPLATE, rows
    from kaito_jupyter.demo import smollm2
    from kaito_trainer.data import Example
    from kaito_trainer.tokens import Tokenizing

    disable_progress_bars()
    made = rows(count)
    tokenizer = AutoTokenizer.from_pretrained(smollm2())
    examples = [Example(messages=row["messages"]) for row in made]
    tokenizing = Tokenizing(tokenizer, "conversational", "assistant", 1024, {tokenizer.eos_token_id})
    tokenizing.dataset(examples[:1], lambda done: None)  # what is imported on first use counts for neither
    began = time.process_time()
    assert len(tokenizing.dataset(examples, lambda done: None).dataset) == count
    us = count / (time.process_time() - began)
    tokenizer.chat_template = TRAINING_TEMPLATE
    tiny = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1
    )
    model, data = LlamaForCausalLM(tiny), Dataset.from_list(made)
    arguments = SFTConfig(
        output_dir="/tmp/unused", report_to="none", use_cpu=True, bf16=False, assistant_only_loss=True
    )
    began = time.process_time()
    with contextlib.redirect_stderr(io.StringIO()):
        SFTTrainer(model, arguments, train_dataset=data, processing_class=tokenizer)
    return us, count / (time.process_time() - began)


def main(quick: bool = False) -> dict[str, float]:
    """Print the comparison; the figures come back for the summary."""
    rates, peaks, goals, events = [], [], [], []
    for number in range(QUICK_ROUNDS if quick else ROUNDS):
        stock, ours = leg("stock", RATE_ROWS, "no"), leg("ours", RATE_ROWS, "no")
        rates.append((ours["tokens"] / ours["seconds"]) / (stock["tokens"] / stock["seconds"]))
        peaks.append(ours["peak"] / stock["peak"])
        print(
            f"round {number + 1}: stock {stock['tokens'] / stock['seconds']:.0f} tok/s, {stock['peak'] / 1e6:.0f} MB; "
            f"ours {ours['tokens'] / ours['seconds']:.0f} tok/s, {ours['peak'] / 1e6:.0f} MB"
        )
        events.append(ours["events"] / ours["seconds"])
        if quick:
            continue
        plain, ours = leg("plain", ROWS, "goal"), leg("ours", ROWS, "goal")
        for name, figures in (("plain TRL", plain), ("ours", ours)):
            reached = "not reached" if figures["to_goal"] is None else f"{figures['to_goal']:.1f} s"
            print(f"  to the goal: {name} {reached}, {figures['steps_to_goal']} steps, {figures['peak'] / 1e6:.0f} MB")
        goals.append((plain["to_goal"] or plain["seconds"]) / (ours["to_goal"] or float("inf")))
        peaks.append(ours["peak"] / plain["peak"])
        events.append(ours["events"] / ours["seconds"])
    us, them = prepared(QUICK_PREPARED if quick else PREPARED)
    found = {
        "tokens/s against the stock defaults": statistics.median(rates),
        "peak memory against TRL": max(peaks),
        "preparation, rows/s against TRL": us / them,
        "events, share of the training": max(events),
    } | ({"time to the goal, plain TRL against ours": statistics.median(goals)} if goals else {})
    wanted = {
        "tokens/s against the stock defaults": "at least 1.8",
        "time to the goal, plain TRL against ours": "at least 1.5",
        "peak memory against TRL": "at most 1.05",
        "preparation, rows/s against TRL": "at least 2.5",
        "events, share of the training": "at most 0.005",
    }
    for name, value in found.items():
        print(f"{name + ':':44} {value:8.4f}   goal: {wanted[name]}")
    print(f"   (prepared: ours {us:,.0f} rows/s, TRL {them:,.0f} rows/s)")
    return found


if __name__ == "__main__":
    main(quick="--quick" in sys.argv)
