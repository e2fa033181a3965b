"""Where the training's time goes between two logs, and how many rows were trained on in it.

Told apart are waiting for data, checkpoints, evaluations, and the rest: the steps themselves. The whole is taken by the wall
clock from log to log, because a GPU works on while the loop's hooks are called: only at a log, which needs the loss, have
the two met.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple, TypeVar

Batch = TypeVar("Batch")


class Spent(NamedTuple):
    """What one process has done since its last log. Times in seconds."""

    loop: float
    """In steps: all but checkpoints and evaluations, so waiting for data is part of it."""
    data: float
    save: float
    eval: float
    samples: float
    """Rows of the data that its steps have trained on, each part of a packed sequence counted as one."""


class Clock:
    """Asked by the trainer's own methods, and read at each log."""

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._within = False
        self.begin()

    def begin(self) -> None:
        """Begin anew: what was before belongs to no log."""
        self._since = self._now()
        self._seconds = {"data": 0.0, "save": 0.0, "eval": 0.0}
        self._samples: Any = 0  # on a GPU, a number there, fetched when it is asked for

    def split(self) -> Spent:
        """What was since the last log, or the beginning; begins anew."""
        whole, samples = self._now() - self._since, float(self._samples)
        data, save, evaluation = self._seconds.values()
        self.begin()
        return Spent(max(0.0, whole - save - evaluation), data, save, evaluation, samples)

    @contextmanager
    def on(self, what: Literal["data", "save", "eval"]) -> Iterator[None]:
        """What is done under it counts as that; within another, as that one's."""
        if self._within:
            yield
            return
        self._within, began = True, self._now()
        try:
            yield
        finally:
            self._within = False
            self._seconds[what] += self._now() - began

    def waiting(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The same batches, the time until each comes counted."""
        while True:
            with self.on("data"):
                batch = next(batches, None)
            if batch is None:
                return
            yield batch

    def count(self, batches: Iterable[dict[str, Any]]) -> None:
        """Count the rows of a step's batches."""
        for batch in batches:
            self._samples = self._samples + rows(batch)


def rows(batch: dict[str, Any]) -> Any:
    """Rows of the data in a batch, be they one below the other or end to end; a number, or a tensor of one.

    Of rows that lie end to end each has one second position; the padding behind them has none.
    """
    places = batch.get("position_ids")
    return batch["input_ids"].shape[0] if places is None else (places == 1).sum()


__all__ = ["Clock", "Spent"]
