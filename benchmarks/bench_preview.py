"""Rows previewed a second: `preview` of a frame of conversations, every row counted as it is labelled, by SmolLM2's tokenizer.

Beside it, on the same texts, rendering and tokenising each row once by the `tokenizers` library, which the preview does for
each word but once. CPU seconds are told too, since wall time on a busy machine says more of the machine.

    python -m benchmarks [--quick] preview
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from kaito_jupyter import Dataset, preview
from kaito_jupyter.chat import ChatTemplate
from kaito_jupyter.demo import docstring_pairs, smollm2
from kaito_jupyter.lookahead.tokenizer import ModelTokenizer

ROWS = 100_000
QUICK_ROWS = 10_000
GOAL = 10_000
"""Rows a second: 100,000 in 10 s on two cores."""


def main(quick: bool = False) -> dict[str, float]:
    """Print the table; the figure with a goal comes back for the summary."""
    folder, rows = smollm2(), QUICK_ROWS if quick else ROWS
    frame = make(rows)
    dataset, _, _ = _timed(lambda: Dataset.read(frame))
    preview(frame[:100], preset=folder)  # imports
    seen, wall, cpu = _timed(lambda: preview(dataset, preset=folder))
    _, alone, alone_cpu = _timed(lambda: _alone(frame, folder))
    estimate, guess, guess_cpu = _timed(lambda: preview(dataset, preset="a/b"))
    print(f"{rows:,} conversations, {dataset.lengths.p50:,} characters and {seen.figures.lengths.p50:,} tokens each")
    print(f"  {'':<34}{'s':>7}{'CPU s':>8}{'rows/s':>10}")
    for name, count, s, c in (
        (f"preview, of {seen.figures.rows:,} rows", rows, wall, cpu),
        ("rendering once, and tokenising", rows, alone, alone_cpu),
        (f"an estimate, of {estimate.figures.rows:,} rows", rows, guess, guess_cpu),
    ):
        print(f"  {name:<34}{s:>7.2f}{c:>8.2f}{count / s:>10,.0f}")
    print(
        f"  preview: {rows / wall:,.0f} rows/s (goal ≥ {GOAL:,} on two free cores; {2 * rows / cpu:,.0f} by CPU time), {cpu / alone_cpu:.2f}× the CPU time of tokenising alone"
    )
    return {"rows/s": rows / wall}


def make(rows: int) -> pd.DataFrame:
    """Conversations of two turns, about 300 characters of English; the same for the same argument."""
    draw = random.Random(0)
    words = " ".join(turn["content"] for turns in docstring_pairs()["messages"] for turn in turns).split()
    text: Callable[[int], str] = lambda n: " ".join(draw.choices(words, k=n))  # noqa: E731
    return pd.DataFrame(
        {
            "messages": [
                [{"role": "user", "content": text(15)}, {"role": "assistant", "content": text(draw.randint(20, 45))}]
                for _ in range(rows)
            ]
        }
    )


def _alone(frame: pd.DataFrame, folder: Path) -> int:
    template, tokenizer = ChatTemplate.of(folder), ModelTokenizer.of(folder)
    assert template is not None
    talks = frame["messages"].tolist()
    total = 0
    for start in range(0, len(talks), 512):
        total += sum(map(len, tokenizer([template.render(t) for t in talks[start : start + 512]])["input_ids"]))
    return total


def _timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    made = work()
    return made, time.perf_counter() - wall, time.process_time() - cpu
