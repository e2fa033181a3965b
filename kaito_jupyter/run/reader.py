"""The one thread of a watched run: it takes what the backend yields, folds it, and tells who wants to know. No more.

A plain thread and not a task: during a synchronous cell an event loop starves. It never prints and never displays: on
current kernels that would land in whatever cell is the latest.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import threading
import time
import weakref
from collections.abc import Callable
from typing import Final

from ..backends.base import Backend
from ..errors import KaitoError, RunNotFound
from ..hf_logs import Reader as LogReader
from ..state import RunState, last_words
from ..status import TERMINAL, Lines, RunRef, Status
from .keeping import keep

FIRST_RETRY: Final = 0.2
LONGEST_RETRY: Final = 15.0
"""Seconds between two tries at a backend that cannot be reached; they double from the first to this."""
TRAINER: Final = "trainer"
BESIDE: Final = {
    "data-downloader": "downloading",
    "puller": "downloading",
    "model-weights-downloader": "downloading",
    "pusher": "pushing",
}
"""The containers beside KAITO's trainer, and what it means for the run that they say something."""
_JOIN: Final = 2.0
"""Seconds that closing waits for the thread. It wakes at once unless the backend hangs in a call."""

log = logging.getLogger(__name__)


class Reader:
    """Keeps one `RunState` up to date while it is open. All methods may be called from any thread, any number of times."""

    def __init__(
        self, backend: Backend, ref: RunRef, state: RunState, renew: Callable[[], LogReader | None] = lambda: None
    ) -> None:
        """`renew` gives what reads the lines of the run's next revision, once its spec is another one."""
        self.lock = threading.RLock()
        """Held while the state changes: hold it to read more than one thing of it."""
        self.state = state
        self.over = threading.Event()
        """The backend has said how the run ended, and every line before is folded."""
        self.trouble: Exception | None = None
        """Why nothing comes: the backend cannot be reached (it is tried again), or reading failed for good (`broken`)."""
        self.broken = False
        self.stepped: float | None = None
        """When a step last came in while all before was read already, by our own clock; None: none has come so."""
        self.written: float | None = None
        """When the trainer's last line was written, by the clock where it runs; None: nobody told."""
        self._backend = backend
        self._ref = ref
        self._renew = renew
        self._cursor: str | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._current = threading.Event()
        self._subscribers: list[Callable[[], None]] = []

    @property
    def reading(self) -> bool:
        """Whether the thread is at work."""
        thread = self._thread
        return thread is not None and thread.is_alive() and not self._stop.is_set()

    def open(self) -> None:
        """Begin to read, or go on after `close` where it ended. Nothing happens when it reads already, or all was read."""
        with self.lock:
            if self.reading or self.over.is_set():
                return
            self._stop = threading.Event()
            self._current.clear()
            self.stepped = None
            self.trouble, self.broken = None, False
            self._thread = threading.Thread(
                target=self._read, args=(self._stop,), name=f"kaito run {self._ref.name}", daemon=True
            )
            _open.add(self)
            self._thread.start()

    def close(self, join: bool = True) -> None:
        """End the thread. The run itself goes on, and so can the reading."""
        self._stop.set()
        thread = self._thread
        if join and thread is not None and thread is not threading.current_thread():
            thread.join(_JOIN)

    def catch_up(self, seconds: float) -> bool:
        """Wait until all lines that were there have been folded. False when that took longer."""
        return self._current.wait(seconds)

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Have it called, by the reader's thread, after each batch that was folded. Gives back what ends that."""
        with self.lock:
            self._subscribers.append(callback)

        def unsubscribe() -> None:
            with self.lock, contextlib.suppress(ValueError):
                self._subscribers.remove(callback)

        return unsubscribe

    def _read(self, stop: threading.Event) -> None:
        try:
            retry = FIRST_RETRY
            while True:
                try:
                    if self._follow(stop):
                        retry = FIRST_RETRY
                except RunNotFound as gone:
                    self._fold(stop, Status("Cancelled", str(gone)))
                except KaitoError as error:  # out of reach for now
                    self.trouble = error
                    self._tell()
                if self.over.is_set() or stop.wait(retry):
                    return
                retry = min(2 * retry, LONGEST_RETRY)
        except Exception as error:  # whatever it is, who waits must hear of it
            log.debug("reading the run %s failed", self._ref.name, exc_info=True)
            self.trouble, self.broken = error, True
            self._tell()
        finally:
            if self._stop is stop:
                self._current.set()

    def _follow(self, stop: threading.Event) -> bool:
        """One stream of the backend's, to its end. Whether anything came."""
        came = False
        for item in self._backend.follow(self._ref, self._cursor, stop):
            came, self.trouble = True, None
            if item is None:
                self._current.set()
                continue
            if isinstance(item, Status) and item.revision > self.state.revision_number:
                reader = self._renew()  # asks the backend: not under the lock
                with self.lock:
                    self.state.begin_anew(item.revision, reader)
            if not self._fold(stop, item):
                break
        return came

    def _fold(self, stop: threading.Event, item: Lines | Status) -> bool:
        """Take one item in. False when another thread reads by now, or all is said."""
        over = isinstance(item, Status) and item.state in TERMINAL
        seen = self._current.is_set()  # what comes after all that there was comes live
        with self.lock:
            if self._stop is not stop:
                return False
            before = (self.state.global_step, len(self.state.series), len(self.state.evaluations))
            if isinstance(item, Status):
                self.state.apply(item)
                live = self.stepped is not None  # contact was lost, perhaps, and silence says nothing
            else:
                self._feed(item)
                self._cursor = item.cursor
                live = before != (self.state.global_step, len(self.state.series), len(self.state.evaluations))
            if live and self._current.is_set():
                self.stepped = time.time()
        if over:
            self._keep_for_good()  # before anybody hears of the end: who waited for it finds it in the history
            self._current.set()
        self._tell()
        if over:  # after the views, so that who waited finds them complete: a headless notebook ends right then
            self.over.set()
            if seen:
                self._keep()
        return not over

    def _keep_for_good(self) -> None:
        """Take the run into the history. Its last words are said: nothing of it changes any more, and no lock is needed."""
        try:
            keep(self._backend, self._ref, self.state)
        except Exception:  # a backend out of reach, or a mistake of ours: who waits for the run must not suffer for it
            log.debug("the run %s is not kept", self._ref.name, exc_info=True)

    def _keep(self) -> None:
        """Leave the last numbers with the run: a list of runs reads no logs. Who only found it ended leaves nothing."""
        words, revision = last_words(self.state), self.state.revision_number
        with contextlib.suppress(KaitoError):
            self._backend.keep(self._ref, words, revision)

    def _feed(self, lines: Lines) -> None:
        if lines.source in (TRAINER, self._ref.name):  # KAITO names its trainer's container after the Workspace
            self.state.feed_many(lines.texts)
            self.written = lines.written or self.written
        else:
            # When it was, only who reads it live can tell.
            phase = BESIDE.get(lines.source, "") if self._current.is_set() else ""
            self.state.feed_beside(lines.texts, phase, time.time())

    def _tell(self) -> None:
        with self.lock:
            subscribers = tuple(self._subscribers)
        for callback in subscribers:
            try:
                callback()
            except Exception:  # a view's mistake must not end the reading
                log.debug("a subscriber of the run %s failed", self._ref.name, exc_info=True)


_open: weakref.WeakSet[Reader] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Before the interpreter goes: a thread that wakes in the middle of that can crash it."""
    readers = list(_open)
    for reader in readers:
        reader.close(join=False)
    for reader in readers:
        reader.close()
