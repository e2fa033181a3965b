"""What `%load_ext kaito_jupyter` costs a notebook's first cell: time, and which heavy packages it imports.

Side by side with the same thing done eagerly (all rooms imported at once), each in a fresh interpreter with a real IPython
shell, several times; the middle one counts.

    python benchmarks/bench_load_ext.py [--quick]
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile

GOAL_MS = 30.0
HEAVY = ("kubernetes", "pandas", "matplotlib", "torch", "transformers", "pyarrow", "ipywidgets", "anywidget")
CHILD = """
import json, sys, time
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config
config = Config()
config.HistoryManager.enabled = False
shell = InteractiveShell.instance(config=config)
import ipykernel.zmqshell  # what every kernel has loaded already
before = set(sys.modules)
began, cpu = time.perf_counter(), time.process_time()
{eager}
shell.run_line_magic("load_ext", "kaito_jupyter")
took, cpu = time.perf_counter() - began, time.process_time() - cpu
print(json.dumps({{"ms": took * 1e3, "cpu_ms": cpu * 1e3, "modules": sorted({{m.partition(".")[0] for m in set(sys.modules) - before}})}}))
"""
EAGER = "import kaito_jupyter.run, kaito_jupyter.panel, kaito_jupyter.plots, pandas, matplotlib.figure"


def measure(eager: str, times: int, bytecode: str) -> tuple[float, float, set[str]]:
    """Milliseconds on the clock and of CPU (the middle of several each), and the top packages that came in."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": bytecode}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its bytecode
    told = []
    for _ in range(times):
        child = subprocess.run(
            [sys.executable, "-c", CHILD.format(eager=eager)],
            capture_output=True, text=True, check=True, env=environment,
        )  # fmt: skip
        told.append(json.loads(child.stdout.splitlines()[-1]))
    clock, cpu = (statistics.median(t[key] for t in told) for key in ("ms", "cpu_ms"))
    return clock, cpu, {name for t in told for name in t["modules"]}


def main(quick: bool = False) -> dict[str, float]:
    """Print the comparison; the figures come back for the summary."""
    times = 3 if quick else 9
    with tempfile.TemporaryDirectory() as bytecode:
        measure(EAGER, 1, bytecode)  # compiles the bytecode
        ours, cpu, modules = measure("", times, bytecode)
        eager, eager_cpu, _ = measure(EAGER, 1 if quick else 3, bytecode)
    heavy = [name for name in HEAVY if name in modules]
    print(f"%load_ext kaito_jupyter  {ours:7.1f} ms, {cpu:7.1f} ms of CPU   goal: {GOAL_MS:.0f} ms, nothing heavy")
    print(f"everything at once       {eager:7.1f} ms, {eager_cpu:7.1f} ms of CPU   {eager_cpu / cpu:.0f} times as much")
    print(f"heavy imports            {', '.join(heavy) or 'none'}  (of {', '.join(HEAVY)})")
    return {"load_ext_ms": ours, "load_ext_cpu_ms": cpu, "ratio": eager_cpu / cpu, "heavy": float(len(heavy))}


if __name__ == "__main__":
    main(quick="--quick" in sys.argv)
