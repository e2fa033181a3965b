"""The threads that fetch for one followed run, and the bounded queue that they fill.

One thread for each watch, one for each container whose log is being read, one for events while someone asks for them.
They hold no state of the run: each item says what was fetched. A slow consumer makes them wait.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from . import podlogs
from .client import Client
from .connection import Stop, Stopped
from .cursor import Key
from .judge import Json, Watched
from .pods import Container
from .position import Position
from .refusals import ClusterError, Unauthorized
from .resources import EVENTS
from .watch import LOGIN_PAUSE, Change, Pause, watch

QUEUE: Final = 256
"""Items fetched ahead of the consumer: a piece of a log (32 KiB at most, as servers send them), or a change."""
BATCH: Final = 20_000
"""Lines from which on no more are put into one batch."""
EVENTS_EVERY: Final = 3.0
"""Seconds."""


class Changed(NamedTuple):
    """A watch told something."""

    watched: Watched
    change: Change


class Listed(NamedTuple):
    """All objects that there are, as a list has just told them."""

    watched: Watched
    objects: list[Json]


class Trouble(NamedTuple):
    """A watch has lost contact, or (None) has it again."""

    watched: Watched
    error: ClusterError | None


class Read(NamedTuple):
    """Lines of a container."""

    key: Key
    chunk: podlogs.Chunk


class ReadAll(NamedTuple):
    """A container's log was read to its end."""

    key: Key
    restart: int
    """The container's restart count that it was the end of."""


class Happened(NamedTuple):
    """The events that were asked for, oldest first."""

    events: list[Json]


class Crashed(NamedTuple):
    """A thread could not go on."""

    error: Exception


Item = Changed | Listed | Trouble | Read | ReadAll | Happened | Crashed


class Fetchers:
    """Starts the threads, hands out what they fetch, ends them."""

    def __init__(self, client: Client, namespace: str, silence: float) -> None:
        self._client, self._namespace, self._silence = client, namespace, silence
        self._stop = Stop()
        self._queue: queue.Queue[Item] = queue.Queue(QUEUE)
        self._threads: list[threading.Thread] = []
        self._events: threading.Thread | None = None
        self._ahead: Item | None = None
        """Taken from the queue already, and not handed out."""

    def get(self, timeout: float) -> Item | None:
        """The next item, or None when there is none in time. Pieces of one log that wait in a row come as one."""
        item = self._next(timeout)
        while isinstance(item, Read) and item.chunk.lines and len(item.chunk.lines) < BATCH:
            ahead = self._next(0.0)
            if not (isinstance(ahead, Read) and ahead.key == item.key and ahead.chunk.lines):
                self._ahead = ahead
                break
            item.chunk.lines.extend(ahead.chunk.lines)
            item = Read(item.key, ahead.chunk._replace(lines=item.chunk.lines))
        return item

    def _next(self, timeout: float) -> Item | None:
        if self._ahead is not None:
            item, self._ahead = self._ahead, None
            return item
        try:
            return self._queue.get(block=timeout > 0, timeout=timeout)
        except queue.Empty:
            return None

    def empty(self) -> bool:
        """Whether nothing waits."""
        return self._ahead is None and self._queue.empty()

    def close(self, timeout: float = 5.0) -> None:
        """End all threads and wait for them: at once, but for a connection that is just being made."""
        self._stop.set()
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def watch(self, watched: Watched) -> None:
        def run() -> None:
            changes = watch(
                self._client,
                watched.resource,
                namespace=self._namespace,
                labels=watched.labels,
                fields=watched.fields,
                stop=self._stop,
                silence=self._silence,
                trouble=lambda error: self._put(Trouble(watched, error)),
            )
            for change in changes:
                self._put(Changed(watched, change))

        self._start(f"watch {watched.resource.plural}", run)

    def list(self, watched: Watched) -> None:
        """List those objects anew, once: what is told then is at least as new as all that was told before."""

        def run() -> None:
            pause = Pause()
            while not self._stop.is_set():
                try:
                    items, _ = self._client.list(
                        watched.resource,
                        self._namespace,
                        labels=watched.labels,
                        fields=watched.fields,
                        stop=self._stop,
                    )
                except ClusterError as e:
                    refused = isinstance(e, Unauthorized)
                    if not e.passing and not refused:
                        raise
                    self._stop.wait(LOGIN_PAUSE if refused else e.retry_after or pause.next())
                else:
                    self._put(Listed(watched, [*items]))
                    return

        self._start(f"list {watched.resource.plural}", run)

    def log(self, key: Key, pod: str, position: Position, look: Callable[[], Container | None]) -> None:
        def run() -> None:
            source = podlogs.Source(pod, key[1], self._namespace)
            chunks = podlogs.follow(
                self._client, source, position=position, look=look, stop=self._stop, silence=self._silence
            )
            for chunk in chunks:
                self._put(Read(key, chunk))
            self._put(ReadAll(key, position.restart))

        self._start(f"log {pod} {key[1]}", run)

    def events(self, about: Callable[[], Sequence[str]]) -> None:
        """Fetch the events about the objects of those names now and then, until there are none."""

        def run() -> None:
            while names := about():
                found: dict[str, Json] = {}
                with contextlib.suppress(ClusterError):  # they only explain: without them less is told
                    for name in names:
                        fields = f"involvedObject.name={name}"
                        items, _ = self._client.list(EVENTS, self._namespace, fields=fields, stop=self._stop)
                        found |= {e["metadata"]["uid"]: e for e in items}
                self._put(Happened(sorted(found.values(), key=_when)))
                if self._stop.wait(EVENTS_EVERY):
                    return

        if self._events is None or not self._events.is_alive():
            self._events = self._start("events", run)

    def _start(self, name: str, run: Callable[[], None]) -> threading.Thread:
        def guarded() -> None:
            try:
                run()
            except Stopped:
                pass
            except Exception as e:  # noqa: BLE001 (whatever it was: the consumer has to know)
                with contextlib.suppress(Stopped):
                    self._put(Crashed(e))

        self._threads = [t for t in self._threads if t.is_alive()]
        thread = threading.Thread(target=guarded, name=f"kaito {name}", daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def _put(self, item: Item) -> None:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=0.5)
            except queue.Full:
                continue
            return
        raise Stopped


def _when(event: Json) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or event.get("firstTimestamp") or "")
