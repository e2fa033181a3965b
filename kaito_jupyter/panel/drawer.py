"""The log in a panel: read and sent only while somebody has it open, and never more at a time than a page can take.

One thread follows the log, another sends what came; both end when the drawer is closed, or when no page has said for a
while that it is still open. A Jupyter server drops what a kernel sends faster than a megabyte a second.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from ..errors import KaitoError
from .lines import level, readable

if TYPE_CHECKING:
    from .feed import Shown

KEPT: Final = 100_000
"""The latest lines that the drawer can show. What is older is in the log itself (`run.logs()`)."""
PAGE: Final = 2_000
"""Lines of a message, at most."""
PAGE_TEXT: Final = 200_000
"""Characters of a message, at most."""
EVERY: Final = 0.4
"""Seconds between two messages."""
EXPIRES: Final = 120.0
"""Seconds after which a page that said nothing counts as gone. It speaks each 10 s, but not while a cell runs."""


class Drawer:
    """`open`, `more` and `close` may be called from any thread; `send` must be too."""

    def __init__(self, run: Shown, send: Callable[[dict[str, Any]], None]) -> None:
        self._run, self._send = run, send
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._stop.set()
        self._new = threading.Event()
        self._lines: deque[tuple[str, str]] = deque(maxlen=KEPT)
        self._count = 0
        """Lines that came so far: the index of the next one."""
        self._has = (0, 0)
        """Which lines the page has: from, and up to before."""
        self._over = False
        self._heard = 0.0
        self._asked = False

    @property
    def is_open(self) -> bool:
        return not self._stop.is_set()

    def open(self, *, anew: bool = False) -> None:
        """Somebody looks at the log. `anew`: and has no lines of it yet."""
        with self._lock:
            self._heard = time.monotonic()
            if not self.is_open:
                self._stop, self._over = threading.Event(), False
                self._lines.clear()
                self._count, self._has = 0, (0, 0)
                for work in (self._read, self._tell):
                    name = f"kaito log {self._run.name}"
                    threading.Thread(target=work, args=(self._stop,), name=name, daemon=True).start()
            elif anew:
                self._has = (0, 0)
            self._new.set()

    def more(self) -> None:
        """Send what lies before the lines that the page has."""
        with self._lock:
            if self.is_open:
                self._asked = True
                self._new.set()

    def close(self) -> None:
        """Nobody looks at it any more."""
        with self._lock:
            self._stop.set()
            self._lines.clear()
            self._new.set()

    def _read(self, stop: threading.Event) -> None:
        try:
            for line in self._run.follow_logs(KEPT, events=True, stop=stop):
                with self._lock:
                    if self._stop is not stop or stop.is_set():
                        return
                    self._lines.append((level(line), readable(line)))
                    self._count += 1
                self._new.set()
        except KaitoError as error:
            self._send({"k": "log", "error": str(error)})
        finally:
            with self._lock:
                if self._stop is stop:
                    self._over = True
            self._new.set()

    def _tell(self, stop: threading.Event) -> None:
        while not stop.wait(EVERY):
            self._new.wait(10.0)
            self._new.clear()
            if stop.is_set():
                return
            with self._lock:
                if time.monotonic() - self._heard > EXPIRES:
                    self.close()
                    return
                message = self._news()
            if message is not None:
                self._send(message)

    def _news(self) -> dict[str, Any] | None:
        """The next lines that the page lacks: the latest of all first, then what it asks for. Hold the lock."""
        first = self._count - len(self._lines)
        since, upto = self._has
        if upto == 0 or self._count - upto > PAGE:  # a page without lines, or a flood: the end of it is what matters
            since = upto = max(first, self._count - PAGE)
            begin, end, reset = upto, self._count, True
        elif self._count > upto or not self._asked:
            begin, end, reset = upto, self._count, False
        else:
            begin, end, reset = max(first, since - PAGE), since, False
            self._asked = False
        some = list(islice(self._lines, begin - first, end - first))
        room = PAGE_TEXT
        for i in range(len(some) - 1, -1, -1):
            room -= len(some[i][1])
            if room < 0:
                reset = reset or begin >= upto  # not all of the new ones go: what lies before them goes as well
                begin, some = begin + i + 1, some[i + 1 :]
                break
        self._has = (begin, end) if reset else (min(since, begin), max(upto, end))
        if self._asked:
            self._new.set()
        levels, texts = "".join(kind for kind, _ in some), [text for _, text in some]
        content = {"k": "log", "at": begin, "lines": texts, "levels": levels, "first": first, "over": self._over}
        return content | {"reset": reset}


__all__ = ["KEPT", "Drawer"]
