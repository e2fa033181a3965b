"""Starts trainers quickly: a process that has imported everything, and forks one for each line that it reads.

A trainer of its own takes ten seconds to import torch; a kill test wants thirty of them. What is forked is a process like any
other, with its own signals, lock and exit code; nothing but the imports is shared.

As a program: each line is `results-file<TAB>argument<TAB>argument…`; it answers with the child's number, then, when that one
has ended, with its exit code (negative: the signal that killed it).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path


class Starter:
    """The process that forks."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )

    def start(self, out: Path, *arguments: str) -> int:
        """Start `python -m kaito_trainer ARGUMENTS…` with its stdout in a file, and return its number."""
        assert self._process.stdin is not None
        out.write_text("")  # nobody shall take the words of the one before for this one's
        self._process.stdin.write("\t".join([str(out), *arguments]) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def wait(self) -> int:
        """The exit code of the one that was started last."""
        return self._answer()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()

    def _answer(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


def _main() -> None:
    import kaito_trainer.__main__ as program

    for name, value in program.ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    program._quiet()
    from kaito_trainer import sft  # noqa: F401 (what takes its time)

    for line in sys.stdin:
        out, *arguments = line.rstrip("\n").split("\t")
        child = os.fork()
        if not child:
            os.dup2(os.open(out, os.O_WRONLY | os.O_APPEND, 0o644), 1)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            code = 1
            try:
                code = program.main(arguments)
                sys.stdout.flush()
            finally:
                os._exit(code)
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _main()
