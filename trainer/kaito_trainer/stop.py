"""Signals that ask the trainer to end: at once while it loads, after the present step (of several batches: the batch) later."""

from __future__ import annotations

import os
import signal
from types import FrameType


class Cancelled(BaseException):
    """The run was asked to end. No `Exception`, so that no library takes it for a failure of its own."""


class Stop:
    """What SIGTERM and SIGINT have asked for. A second signal ends the process on the spot."""

    def __init__(self) -> None:
        self.signal: int | None = None
        """The signal that came, if one did."""
        self._patient = False

    @property
    def asked(self) -> bool:
        """Whether the run is to end."""
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """As a shell would tell it: 143 for SIGTERM, 130 for SIGINT."""
        return 128 + (self.signal or signal.SIGTERM)

    def install(self) -> None:
        """Take over both signals. Main thread only."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._take)

    def check(self) -> None:
        """Raise `Cancelled` if the run is to end."""
        if self.asked:
            raise Cancelled

    def be_patient(self) -> None:
        """From now on a signal interrupts nothing: who runs looks at `asked` where it can stop."""
        self._patient = True

    def _take(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            os._exit(128 + number)
        self.signal = number
        if not self._patient:
            raise Cancelled


__all__ = ["Cancelled", "Stop"]
