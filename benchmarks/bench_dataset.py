"""Rows to parquet: `Dataset.write` against pyarrow's own writer on the same frame, time and memory side by side.

Time: one process a kind of frame, all variants taking turns, so that whatever else the machine does hits all alike.
Memory: a process for each variant; the peak of resident memory above what it held with the frame made, compared with the
frame's size as Arrow counts it (Python's own objects make the frame several times larger).

    python -m benchmarks [--quick] dataset
"""

from __future__ import annotations

import gc
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROWS = 1_000_000
QUICK_ROWS = 50_000
ROUNDS = 3
FRAMES = ("lists of dicts", "arrays of dicts", "JSON text", "prompt/completion")
"""Conversations as Python makes them, as pandas reads them from parquet, as csv holds them; and instructions."""
UNEQUAL = {
    "JSON text": "pyarrow writes the text as it is; Dataset.write parses it",
    "prompt/completion": "the frame is Arrow already: there is only packing, snappy against zstd",
}
"""Where the two don't do the same work, so that the goal does not apply."""
VARIANTS = {
    "pyarrow": "pa.Table.from_pandas + pq.write_table",
    "write": "Dataset.write",
    "read": "Dataset.read (checks, fingerprint, repeats)",
    "read+write": "Dataset.read + Dataset.write",
}
TIME_GOAL, MEMORY_GOAL = 1.3, 1.2


def main(quick: bool = False) -> dict[str, float]:
    """Print the tables; the figures that have a goal come back for the summary."""
    figures: dict[str, float] = {}
    for frame in FRAMES[:1] if quick else FRAMES:
        rows = QUICK_ROWS if quick else ROWS // 5 if frame in UNEQUAL else ROWS
        timed = _child("time", frame, rows, list(VARIANTS))
        held = {v: _child("memory", frame, rows, [v])[v] for v in VARIANTS}
        size, base = timed["frame"]["bytes"], timed["pyarrow"]["seconds"]
        print(f"{rows:,} rows, {frame}, {size / 1e6:.0f} MB as Arrow; median of {ROUNDS} rounds")
        print(f"  {'':<45}{'s':>7}{'ratio':>8}{'CPU s':>8}{'extra MB':>10}{'of frame':>10}{'file MB':>9}")
        for variant, name in VARIANTS.items():
            t, extra = timed[variant], held[variant]["extra"]
            file = f"{t['file'] / 1e6:>9.0f}" if variant != "read" else ""
            print(
                f"  {name:<45}{t['seconds']:>7.2f}{t['seconds'] / base:>7.2f}×{t['cpu']:>8.2f}"
                f"{extra / 1e6:>10.0f}{extra / size:>9.2f}×{file}"
            )
        if frame in UNEQUAL:
            print(f"  ({UNEQUAL[frame]})")
            continue
        figures[f"{frame}: time"] = timed["write"]["seconds"] / base
        figures[f"{frame}: memory"] = held["write"]["extra"] / size
        print(
            f"  write: {figures[f'{frame}: time']:.2f}× the time (goal ≤ {TIME_GOAL}×), "
            f"{figures[f'{frame}: memory']:.2f}× the frame in extra memory (goal ≤ {MEMORY_GOAL}×)"
        )
    return figures


def _child(what: str, frame: str, rows: int, variants: list[str]) -> dict[str, dict[str, float]]:
    command = [sys.executable, "-m", "benchmarks.bench_dataset", what, frame, str(rows), *variants]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    result: dict[str, dict[str, float]] = json.loads(done.stdout)
    return result


def make(frame: str, rows: int) -> Any:
    """A frame of rows with two or three turns, about 350 characters of words each; the same for the same arguments."""
    import numpy as np
    import pandas as pd

    rng = random.Random(7)
    words = [
        "".join(rng.choices("etaoinshrdlucmfwypvbgkjqxz", range(26, 0, -1), k=rng.randint(2, 9))) for _ in range(5000)
    ]
    pool = [" ".join(rng.choices(words, k=rng.randint(5, 45))) for _ in range(20_000)]

    def turns(i: int) -> list[dict[str, str]]:
        said = [
            {"role": "user", "content": f"{rng.choice(pool)} {i}?"},
            {"role": "assistant", "content": f"{i}: {rng.choice(pool)}"},
        ]
        return [{"role": "system", "content": "You are a helpful assistant."}, *said] if rng.random() < 0.5 else said

    if frame == "prompt/completion":
        pairs = [(f"{rng.choice(pool)} {i}?", f"{i}: {rng.choice(pool)}") for i in range(rows)]
        return pd.DataFrame(pairs, columns=["prompt", "completion"])
    values = [turns(i) for i in range(rows)]
    if frame == "JSON text":
        return pd.DataFrame({"messages": [json.dumps(v) for v in values]})
    column = np.empty(rows, object)
    column[:] = [np.array(v, object) for v in values] if frame == "arrays of dicts" else values
    return pd.DataFrame({"messages": column})


def measure(what: str, frame: str, rows: int, variants: list[str]) -> dict[str, dict[str, float]]:
    """Time the variants in turns, or watch the memory of one, in this process."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from kaito_jupyter.dataset import Dataset

    df = make(frame, rows)
    size = sum(pa.Table.from_pandas(df.iloc[i : i + 50_000]).nbytes for i in range(0, rows, 50_000))
    read = Dataset.read(df)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.parquet"
        todo: dict[str, Callable[[], Any]] = {
            "pyarrow": lambda: pq.write_table(pa.Table.from_pandas(df), path),
            "write": lambda: read.write(path),
            "read": lambda: Dataset.read(df),
            "read+write": lambda: Dataset.read(df).write(path),
        }
        if what == "memory":
            gc.collect()
            pa.default_memory_pool().release_unused()
            before = _memory("VmRSS")
            Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
            todo[variants[0]]()
            return {variants[0]: {"extra": _memory("VmHWM") - before}}
        taken: dict[str, list[tuple[float, float]]] = {v: [] for v in variants}
        files: dict[str, float] = {}
        for _ in range(ROUNDS):
            for variant in variants:
                wall, cpu = time.perf_counter(), time.process_time()
                todo[variant]()
                taken[variant].append((time.perf_counter() - wall, time.process_time() - cpu))
                files[variant] = path.stat().st_size
    seconds = {v: [statistics.median(column) for column in zip(*t, strict=True)] for v, t in taken.items()}
    found = {v: {"seconds": s, "cpu": c, "file": files[v]} for v, (s, c) in seconds.items()}
    return {"frame": {"bytes": size}, **found}


def _memory(key: str) -> int:
    """Bytes of this process's memory, as Linux counts it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise KeyError(key)


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:])))
