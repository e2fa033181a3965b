"""Event lines: reading them against bare `json.loads`, and a million of them from text to the first picture.

The log is what our trainer writes: a line a step, a held-out loss each 1,000 steps, a `history` summary of at most 500
points each 200 logs. It is folded in batches of 1,000 lines, about what a backend gives at a time. All in one process and
one run; of several rounds the fastest counts, on the clock and in CPU time (all threads).

    python benchmarks/bench_events.py [--quick]
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from kaito_jupyter import plots
from kaito_jupyter.state import RunState
from kaito_trainer.contract import decode, encode
from kaito_trainer.contract.events import HISTORY_POINTS, Evaluate, History, Log, TrainBegin

EVENTS = 1_000_000
QUICK_EVENTS = 50_000
PARSED = 100_000
"""Lines of a round of the comparison with `json.loads`."""
BATCH = 1_000
HISTORY_EVERY = 200
EVALUATE_EVERY = 1_000
GOAL_PARSE = 1.5
GOAL_SECONDS = 2.0
BEGAN = 1_764_000_000.0


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Seconds on the clock and of CPU."""
    gc.collect()
    began, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - cpu


def fastest(rounds: int, **works: Callable[[], Any]) -> dict[str, tuple[float, float]]:
    """Each work's fastest round, the works taking turns."""
    told: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            told[name].append(timed(work))
    return {name: (min(t[0] for t in times), min(t[1] for t in times)) for name, times in told.items()}


def log(step: int) -> Log:
    return Log(
        global_step=step,
        epoch=float(f"{step / 1000:.6g}"),
        loss=float(f"{1 + 2 / (1 + step / 9000) + (step * 7919 % 1000) / 4000:.6g}"),
        learning_rate=2e-4 * (1 - step / EVENTS),
        grad_norm=float(f"{0.5 + (step * 104729 % 1000) / 1000:.6g}"),
        num_tokens=step * 512.0,
        tokens_per_second=1234.5,
        mean_token_accuracy=float(f"{0.5 + (step * 31 % 1000) / 4000:.6g}"),
        device_memory_bytes=1_904_214_016,
    )


def lines(count: int) -> list[str]:
    """A run's whole log."""
    found = [encode(TrainBegin(max_steps=count), seq=1, time=BEGAN)]
    losses: list[float | None] = []

    def say(payload: Any, step: int) -> None:
        found.append(encode(payload, seq=len(found) + 1, time=BEGAN + step / 2))

    for step in range(1, count + 1):
        payload = log(step)
        losses.append(payload.loss)
        say(payload, step)
        if step % HISTORY_EVERY == 0:
            stride = -(-step // HISTORY_POINTS)
            points = [float(s) for s in range(stride, step + 1, stride)]
            say(History(columns={"global_step": points, "loss": losses[stride - 1 :: stride]}, max_steps=count), step)
        if step % EVALUATE_EVERY == 0:
            say(Evaluate(global_step=step, eval_loss=1.5 + 1 / step), step)
    return found


def fold(log_lines: list[str]) -> RunState:
    state = RunState()
    for i in range(0, len(log_lines), BATCH):
        state.feed_many(log_lines[i : i + BATCH])
    return state


def one_by_one(log_lines: list[str]) -> None:
    state = RunState()
    for line in log_lines:
        state.feed(line)


def main(quick: bool = False) -> dict[str, float]:
    """Print the comparison; the figures come back for the summary."""
    sample = [
        encode(log(step), seq=step, time=BEGAN + step / 2) for step in range(1, (PARSED // 10 if quick else PARSED) + 1)
    ]
    found = fastest(
        3 if quick else 7,
        loads=lambda: [json.loads(line) for line in sample],
        decode=lambda: [decode(line) for line in sample],
        feed=lambda: one_by_one(sample),
        feed_many=lambda: fold(sample),
    )
    ratios = {name: cpu / found["loads"][1] for name, (_, cpu) in found.items()}
    each = {name: 1e6 * cpu / len(sample) for name, (_, cpu) in found.items()}
    print(f"a log event, CPU:            {len(sample):,} lines of {len(sample[0])} characters")
    print(f"  json.loads                 {each['loads']:6.2f} µs   1.00")
    print(
        f"  contract.decode            {each['decode']:6.2f} µs   {ratios['decode']:.2f}   goal: at most {GOAL_PARSE}"
    )
    print(
        f"  RunState.feed              {each['feed']:6.2f} µs   {ratios['feed']:.2f}   decoded and folded, one by one"
    )
    print(
        f"  RunState.feed_many         {each['feed_many']:6.2f} µs   {ratios['feed_many']:.2f}   decoded and folded, in batches"
    )

    count = QUICK_EVENTS if quick else EVENTS
    run = lines(count)
    state = RunState()

    def whole() -> None:
        nonlocal state
        state = fold(run)

    first = timed(lambda: plots.png(RunState()))  # imports matplotlib
    folded = fastest(1 if quick else 3, fold=whole)["fold"]
    painted = fastest(3, paint=lambda: plots.png(state, title="a million steps"))["paint"]
    short = fold(run[:1000])
    little = fastest(3, paint=lambda: plots.png(short, title="a thousand steps"))["paint"]
    assert len(state.series) == count, "a step is missing"
    assert state.series.rewrites == 0
    size = sum(map(len, run)) / 1e6
    both = folded[0] + painted[0]
    print(f"{count:,} steps, {len(run):,} lines, {size:.0f} MB, from text to the first picture:")
    print(f"  folding                    {folded[0]:6.2f} s    {folded[1]:.2f} s of CPU")
    print(f"  picture                    {painted[0]:6.2f} s    {little[0]:.2f} s for 1,000 steps")
    print(f"  both                       {both:6.2f} s    goal: below {GOAL_SECONDS:.0f} s")
    print(f"  (importing matplotlib      {first[0]:6.2f} s    once in a kernel)")
    return {
        "decode_ratio": ratios["decode"],
        "feed_ratio": ratios["feed"],
        "feed_many_ratio": ratios["feed_many"],
        "fold_s": folded[0],
        "paint_s": painted[0],
        "fold_and_paint_s": both,
    }


if __name__ == "__main__":
    main(quick="--quick" in sys.argv)
