"""`make demo`: run quickstart.ipynb headless, show how it goes in the terminal, and say what came of it."""

from __future__ import annotations

import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter

import kaito_jupyter as kaito

HERE = Path(__file__).parent
OUT = HERE.parent / "build" / "demo"


class Terminal:
    """One line that is written over while something goes on; plain lines where the output is no terminal."""

    def __init__(self) -> None:
        self.live = sys.stdout.isatty()
        self.last = ""
        self.written = 0.0

    def say(self, text: str) -> None:
        self.clear()
        print(text, flush=True)

    def progress(self, text: str) -> None:
        if text == self.last:
            return
        if self.live:
            print(f"\r\x1b[2K  {text[:100]}", end="", flush=True)
        elif time.monotonic() - self.written > 5:
            print(f"  {text}", flush=True)
            self.written = time.monotonic()
        self.last = text

    def clear(self) -> None:
        if self.live:
            print("\r\x1b[2K", end="", flush=True)
        self.last, self.written = "", 0.0


def newest(since: float) -> kaito.Run | None:
    """The run that the notebook has started."""
    started = [r for r in kaito.runs(backend="local") if (r.state.created or 0) >= since]
    return started[0].watch() if started else None


def follow(terminal: Terminal, stop: threading.Event, since: float) -> None:
    """Tell in the terminal how the notebook's run goes: found and watched as any other kernel would."""
    run = None
    while not stop.wait(0.5):
        if run is None and (run := newest(since)) is None:
            continue
        with run.lock:
            terminal.progress(run.state.describe(time.time()))
    if run is not None:
        run.close()


def first_line(cell: Any) -> str:
    return str(cell.source).strip().splitlines()[0]


def main() -> int:
    OUT.mkdir(parents=True, exist_ok=True)
    notebook = nbformat.read(HERE / "quickstart.ipynb", as_version=4)
    terminal, stop, began = Terminal(), threading.Event(), time.time()
    client = NotebookClient(
        notebook,
        timeout=1800,
        kernel_name="python3",
        resources={"metadata": {"path": str(HERE)}},
        on_cell_execute=lambda cell, cell_index: (
            terminal.say(f"[{cell_index + 1}/{len(notebook.cells)}] {first_line(cell)}")
            if cell.cell_type == "code"
            else None
        ),
    )
    print(f"Running {HERE / 'quickstart.ipynb'}\n")
    watcher = threading.Thread(target=follow, args=(terminal, stop, began), daemon=True)
    watcher.start()
    failed: CellExecutionError | None = None
    try:
        client.execute()
    except CellExecutionError as error:
        failed = error
    stop.set()
    watcher.join(5)
    terminal.clear()
    page = write(notebook)
    if failed is not None:
        print(f"\n{failed.ename}: {failed.evalue}\n\nThe notebook, as far as it came: {OUT / 'quickstart.ipynb'}")
        return 1
    return report(page, newest(began), time.time() - began)


def write(notebook: Any) -> Path:
    """The executed notebook and its HTML."""
    nbformat.write(notebook, OUT / "quickstart.ipynb")
    page = OUT / "quickstart.html"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nbconvert's about alt texts of other people's outputs
        page.write_text(HTMLExporter().from_notebook_node(notebook)[0])
    return page


def report(page: Path, run: kaito.Run | None, seconds: float) -> int:
    """What was learnt, in figures and in words."""
    if run is None:
        print("The notebook has started no run.", file=sys.stderr)
        return 1
    run.wait()
    losses = run.evaluations["eval_loss"]
    before, after = losses.iloc[0], losses.iloc[-1]
    print(f"\nTrained {run.state.global_step} steps; all in {seconds / 60:.1f} minutes.\n")
    print(f"Held-out loss   {before:.2f} before, {after:.2f} after ({(after - before) / before:+.0%})\n")
    first, last = run.samples[0], run.samples[-1]
    for old, new in zip(first.samples, last.samples, strict=True):
        print(f"Q  {old['prompt']}\n   before  {shorten(old['completion'])}\n   after   {shorten(new['completion'])}\n")
    print(f"Adapter   {run.adapter}\nNotebook  {OUT / 'quickstart.ipynb'}\nHTML      {page}")
    print("\nNext: `make lab` opens the same in JupyterLab, live.")
    if after > 0.8 * before:
        print("\nThe held-out loss fell by less than 20 %: something is wrong.", file=sys.stderr)
        return 1
    return 0


def shorten(text: str, width: int = 160) -> str:
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1] + "…"


if __name__ == "__main__":
    sys.exit(main())
