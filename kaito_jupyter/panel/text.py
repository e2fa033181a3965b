"""A run in a terminal: some lines now, or one line that keeps itself current."""

from __future__ import annotations

import shutil
import sys
import time
from typing import Final, TextIO

from .feed import Shown

WIDTH: Final = 100
"""Columns of the line in what is not a terminal."""
EVERY: Final = 0.1
"""Share of the run after which a new line comes in what is not a terminal."""


def terminal() -> bool:
    """Is there no front end that can show more than text: plain IPython, or no IPython at all?"""
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    return shell is None or type(shell).__name__ == "TerminalInteractiveShell"


def print_summary(run: Shown) -> None:
    from ..plots import summary

    with run.lock:
        text = summary(run.state, run.name)
    print(text)  # noqa: T201  (a terminal's output)


def follow(run: Shown, stream: TextIO | None = None, *, every: float = 0.5) -> None:
    """Keep one line current until the run has ended (Ctrl-C ends the following, not the run). Blocks.

    In a terminal the line is written over; elsewhere (a log file, a pipe) there is a new one for each tenth of the run
    and each change of phase.
    """
    out = sys.stderr if stream is None else stream
    over_write = out.isatty()
    last = ""
    told: tuple[object, ...] = ()
    while True:
        done = run.done
        with run.lock:
            state = run.state
            line = f"{run.name}: {state.describe(time.time())}"
            mark = (state.state, state.phase, int((state.progress or 0.0) / EVERY))
        line = _plain(line, shutil.get_terminal_size((WIDTH, 24)).columns - 1 if over_write else 10 * WIDTH)
        if over_write and line != last:
            out.write(f"\r{line}{' ' * max(0, len(last) - len(line))}")
        elif not over_write and mark != told:
            out.write(f"{line}\n")
        last, told = line, mark
        out.flush()
        if done:
            break
        time.sleep(every)
    if over_write:
        out.write("\n")
        out.flush()


def _plain(text: str, width: int) -> str:
    """Text that cannot steer a terminal, cut to its width."""
    text = "".join(c if c.isprintable() else " " for c in text)
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"
