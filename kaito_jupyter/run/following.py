"""A run's log as it is written: the last lines that there are, then each as it comes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Final

from kaito_trainer.contract import decode

from ..backends.base import Backend
from ..errors import KaitoError, RunNotFound
from ..status import TERMINAL, Lines, RunRef

PAUSE: Final = 2.0
"""Seconds until a backend that cannot be reached is asked again."""


def following(
    backend: Backend, ref: RunRef, tail: int, *, events: bool, stop: threading.Event | None = None
) -> Iterator[str]:
    """The last `tail` lines, then those that come, until the run has ended. Without `events`, those meant for people.

    A backend that is out of reach is waited for. Whoever stops to take lines ends it, and so does `stop` once it is set.
    """
    stop, cursor = stop or threading.Event(), None
    before: deque[str] | None = deque(maxlen=tail)
    try:
        while not stop.is_set():
            try:
                for item in backend.follow(ref, cursor, stop):
                    over = False
                    if isinstance(item, Lines):
                        cursor = item.cursor
                        texts = [text for text in item.texts if events or decode(text) is None]
                        if before is None:
                            yield from texts
                        else:
                            before.extend(texts)
                        continue
                    over = item is not None and item.state in TERMINAL
                    if before is not None and (item is None or over):
                        yield from before
                        before = None
                    if over:
                        return
            except RunNotFound:
                return
            except KaitoError:
                pass
            stop.wait(PAUSE)
    except BaseException:  # nobody takes its lines any more. At the run's own end the caller's event is left as it is
        stop.set()
        raise


__all__ = ["following"]
