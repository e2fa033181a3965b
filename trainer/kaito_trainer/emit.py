"""The emitter: events become lines on stdout and in `events.jsonl`. It never raises: no event is worth a training."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Final, TextIO

from .contract.events import Payload, TrainEnd, decode, encode
from .contract.names import EVENTS_FILE

TAIL: Final = 1 << 20
"""Bytes at the end of an earlier `events.jsonl` in which its last event is looked for."""


class Emitter:
    """Call it with a payload. `speaks` is False for all processes of a run but the first."""

    def __init__(self, stream: TextIO | None, *, speaks: bool = True) -> None:
        self.step = 0
        """The latest step that an event told of."""
        self._stream = stream
        self.speaks = speaks
        """Whether this process writes, and saves."""
        self._seq = 0
        self._file: int | None = None
        self._torn = False
        self._complained = False

    def copy_to(self, folder: Path) -> None:
        """Append all further events to the folder's `events.jsonl`. Their numbers go on from those already there."""
        if not self.speaks:
            return
        try:
            path = folder / EVENTS_FILE
            last, self._torn = _last(path)
            self._seq = max(self._seq, last + 1)
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            self._complain(error)

    def __call__(self, payload: Payload) -> None:
        if not self.speaks:
            return
        try:
            self.step = getattr(payload, "global_step", self.step)
            line = encode(payload, seq=self._seq) + "\n"
        except Exception as error:  # noqa: BLE001 (an event must not end a training)
            self._complain(error)
            return
        self._seq += 1
        self._write(line)

    def sync(self) -> None:
        """Wait until all events so far are on the disk: none of a step that a checkpoint has behind it may get lost."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.fsync(self._file)

    def cancelled(self) -> None:
        """Say that the run was ended from outside with nothing to keep."""
        self(TrainEnd(status="cancelled", global_step=self.step))

    def _write(self, line: str) -> None:
        if self._file is not None:
            try:
                data = (("\n" if self._torn else "") + line).encode()
                self._torn = os.write(self._file, data) < len(data)
            except OSError as error:
                self._complain(error)
        if self._stream is not None:
            try:
                self._stream.write(line)
                self._stream.flush()
            except (OSError, ValueError) as error:
                self._complain(error)
                if isinstance(error, BrokenPipeError):
                    self._silence()

    def _silence(self) -> None:
        """Nobody reads any more: later writes of anyone, and Python's last flush, go nowhere instead of failing."""
        stream, self._stream = self._stream, None
        if stream is not None:
            with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 (no path: a device)
                os.dup2(nowhere.fileno(), stream.fileno())

    def _complain(self, error: Exception) -> None:
        if not self._complained:
            self._complained = True
            with contextlib.suppress(OSError):
                print(f"events get lost: {error!r}", file=sys.stderr, flush=True)  # noqa: T201 (for the log's reader)


def _last(path: Path) -> tuple[int, bool]:
    """The number of the file's last event (-1: none), and whether its last line is torn."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL))
            tail = file.read()
    except FileNotFoundError:
        return -1, False
    events = (decode(line) for line in reversed(tail.splitlines()))
    last = next((event.seq for event in events if event is not None), -1)
    return last, bool(tail) and not tail.endswith(b"\n")


__all__ = ["Emitter"]
