"""`run.wait()` and `await run.wait()`: one word for code that blocks and code that must not."""

from __future__ import annotations

import asyncio
import inspect
import sys
import time
from typing import TYPE_CHECKING, Final

from ..errors import BackendError, RunFailed, WaitTimeout
from ..state import Failure, RunState

if TYPE_CHECKING:
    from .reader import Reader

LOOK: Final = 0.1
"""Seconds between two looks of an awaiting task; blocking code is woken."""
_AWAITS: Final = inspect.CO_COROUTINE | inspect.CO_ITERABLE_COROUTINE | inspect.CO_ASYNC_GENERATOR
_INLINE: Final = ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>", "<lambda>")
"""Code objects that stand within the function (or cell) that decides."""


def caller_awaits(depth: int) -> bool:
    """Whether the code `depth` frames above the caller's can await: a coroutine, or a cell with an `await` in it."""
    frame = sys._getframe(depth + 1)
    while frame.f_code.co_name in _INLINE and frame.f_back is not None:
        frame = frame.f_back
    return bool(frame.f_code.co_flags & _AWAITS)


class Patience:
    """One wait for a run's end: keeps it being read, and knows when the time is over."""

    def __init__(self, reader: Reader, name: str, seconds: float | None) -> None:
        self._reader, self._name, self._seconds = reader, name, seconds
        self._deadline = float("inf") if seconds is None else time.monotonic() + seconds

    def block(self) -> None:
        """Return when the run is over. Raises `WaitTimeout`; a KeyboardInterrupt ends the wait and not the run."""
        while not self._over():
            self._reader.over.wait(min(1.0, self._left()))

    async def sleep(self) -> None:
        """The same for a task."""
        while not self._over():
            await asyncio.sleep(min(LOOK, self._left()))

    def _over(self) -> bool:
        reader = self._reader
        if reader.broken:
            raise BackendError(f"run {self._name}: it cannot be read: {reader.trouble!r}. The run itself goes on.")
        if not reader.over.is_set():
            reader.open()  # somebody may have closed it
        return reader.over.is_set()

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            with self._reader.lock:
                how = self._reader.state.describe(time.time())
            trouble = f" ({self._reader.trouble})" if self._reader.trouble else ""
            raise WaitTimeout(
                f"run {self._name}: it has not ended within {self._seconds:g} s: {how}{trouble}. It goes on; wait again."
            )
        return left


def raise_for(state: RunState, name: str, adapter: object) -> None:
    """Nothing for a run that succeeded. Raises `RunFailed` for one that failed or was cancelled, with what to do."""
    if state.state == "Cancelled":
        steps = f"{state.global_step} of {state.max_steps}" if state.max_steps else str(state.global_step)
        reason = f" {state.reason}" if state.reason else ""
        kept = f" Its adapter so far is in {adapter}." if adapter else ""
        raise RunFailed(f"run {name} was cancelled at step {steps}.{reason}{kept}")
    if state.state == "Failed":
        failure = state.failure or Failure("crash", state.reason or "Nobody said why.")
        first = f"run {name} failed: {failure.kind}: {failure.message}"
        if failure.remedy:
            first += f" {failure.remedy}"
        raise RunFailed("\n".join((first, *(f"  {line}" for line in failure.details))))
