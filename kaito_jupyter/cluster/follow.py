"""One run as one stream: the lines of all containers of all its pods, and a `Status` whenever it changes.

All thinking is done by the consumer's thread, inside this generator; `fetchers` only fetch. Closing the generator, its
end, or `stop` ends their threads.

Order: init containers one after another, then the trainer, then the sidecars once the trainer's log is caught up; a new
pod after the old one. So a late reader gets lines as they were written, as far as that can be told.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from ..status import TERMINAL, Lines, Status
from . import pods as p
from .client import Client
from .cursor import Cursor, Key
from .fetchers import Changed, Crashed, Fetchers, Happened, Listed, Read, ReadAll, Trouble
from .judge import Json, Judge, View, Watched
from .refusals import ClusterError
from .resources import PODS, Resource
from .watch import SILENCE

TICK: Final = 0.2
"""Seconds between two looks at `stop` and at the clock."""
NO_CONTACT: Final = 12.0
"""Seconds of trouble after which the status says so."""
NEXT_POD: Final = 10.0
"""Seconds that a new pod's lines wait for the rest of the old pod's."""
DRAIN: Final = 75.0
"""Seconds that the end waits for the rest of the logs; more than `podlogs.PATIENCE`."""
SIDECARS: Final = 3.0
"""Seconds that the end waits for the lines of sidecars that live on."""
Belongs = Callable[[Json, View], bool]
REMARKS: Final = "kaito-jupyter"
"""The source of lines that are our own."""


def follow(
    client: Client,
    *,
    namespace: str | None,
    labels: str,
    judge: Judge,
    since: str | None = None,
    stop: threading.Event,
    silence: float = SILENCE,
    belongs: Belongs | None = None,
) -> Iterator[Lines | Status | None]:
    """Lines and `Status` changes of the run whose pods bear `labels`, from its beginning or after the cursor `since`.

    As `Backend.follow` has it: lines in batches as large as what is there, None when all that there is has been given.
    Ends after a terminal `Status`, all lines before it having been given, or soon after `stop` is set. Waits out every
    trouble that may pass, and tells when there is no contact; raises `ClusterError` for others (`Forbidden`, …).

    A run may have several revisions (`Status.revision`): a status with the new number comes before the first of its lines.
    `belongs` tells which pods are the present one's; the others' lines are left out. None: all are.
    """
    fetchers = Fetchers(client, namespace or client.namespace, silence)
    try:
        yield from _Follower(fetchers, labels, judge, Cursor.parse(since), belongs).run(stop)
    finally:
        fetchers.close()


def snapshot(client: Client, *, namespace: str | None, labels: str, judge: Judge) -> View:
    """All that the judge wants to see, by one list for each kind."""
    view = View()
    for w in judge.watched:
        view.objects[w.resource] = [*client.list(w.resource, namespace, labels=w.labels, fields=w.fields)[0]]
    # The pods last: they must not be older than a Job that tells of their end.
    view.pods = sorted(client.list(PODS, namespace, labels=labels)[0], key=p.created)
    return view


class _Follower:
    def __init__(self, fetchers: Fetchers, labels: str, judge: Judge, cursor: Cursor, belongs: Belongs | None) -> None:
        self._fetchers, self._judge, self._cursor, self._belongs = fetchers, judge, cursor, belongs
        self._revision = 1
        self._begun: dict[Key, int] = {}
        """In which revision the reading of a container's log began: a later one has nothing to do with its lines."""
        self._watched = [Watched(PODS, labels), *judge.watched]
        self._objects: dict[Watched, dict[str, Json]] = {w: {} for w in self._watched}
        self._synced: set[Watched] = set()
        self._trouble: dict[Watched, tuple[float, ClusterError]] = {}
        self._events: list[Json] = []
        self._about: list[str] = []
        """Names of the objects whose events would explain something now."""
        self._reading: set[Key] = set()
        self._caught_up: set[Key] = set()
        self._read: dict[Key, int] = {}
        """Containers whose log was read to its end, with the restart count that it was the end of."""
        self._held: dict[str, float] = {}
        """Pods whose lines wait for those of an older pod, and since when."""
        self._final_since: float | None = None
        self._gone: set[str] = set()
        """Objects that were deleted, by uid."""
        self._confirmed = False
        """The pods were listed after the end was told: watches run beside each other, and that of the Job may be ahead."""

    def run(self, stop: threading.Event) -> Iterator[Lines | Status | None]:
        for w in self._watched:
            self._fetchers.watch(w)
        told: Status | None = None
        up_to_date = False
        while not stop.is_set():
            # How it stands is part of what there is: a run that has ended must not look alive to who waits for this.
            if not up_to_date and told is not None and self._fetchers.empty() and self._is_up_to_date():
                up_to_date = True
                yield None
            item = self._fetchers.get(TICK)
            if isinstance(item, Read):
                up_to_date = False
                yield from self._lines(item)
                if not item.chunk.caught_up:
                    continue  # lines alone change nothing
            elif item is not None:
                self._take(item)
            elif self._final_since is None and not self._trouble and not self._held:
                continue
            if len(self._synced) < len(self._watched):
                continue
            status = self._judge(self._view())
            if status.revision > self._revision:
                self._revision = status.revision
                if status.state in TERMINAL:
                    yield Status("Running", created=status.created, started=status.started, revision=status.revision)
            self._start_logs()
            if status.state in TERMINAL:
                if self._final_since is None:
                    self._final_since = time.monotonic()
                    self._fetchers.list(self._watched[0])
                if not self._drained(time.monotonic() - self._final_since):
                    continue
            else:
                self._final_since, self._confirmed = None, False
                status = self._contact(status)
                self._ask_for_events()
            if status != told:
                told = status
                yield status
            if status.state in TERMINAL:
                return

    def _take(self, item: Changed | Listed | Trouble | ReadAll | Happened | Crashed) -> None:
        match item:
            case Changed(watched, change) if change.kind == "SYNCED":
                self._synced.add(watched)
            case Changed(watched, change) if change.kind == "DELETED":
                self._objects[watched].pop(p.uid(change.object), None)
                self._gone.add(p.uid(change.object))
            case Changed(watched, change):
                self._know(watched, change.object)
            case Listed(watched, objects):
                for each in objects:
                    self._know(watched, each)
                self._confirmed = self._final_since is not None
            case Trouble(watched, None):
                self._trouble.pop(watched, None)
            case Trouble(watched, error) if error is not None:
                since, _ = self._trouble.get(watched, (time.monotonic(), None))
                self._trouble[watched] = (since, error)
            case ReadAll(key, restart):
                self._reading.discard(key)
                self._caught_up.add(key)
                self._read[key] = restart
            case Happened(events):
                self._events = events
            case Crashed(error):
                raise error

    def _know(self, watched: Watched, item: Json) -> None:
        """The object is so. What is behind (a watch behind a list, or the other way round) tells what was before: no news."""
        uid = p.uid(item)
        known = self._objects[watched].get(uid)
        if uid not in self._gone and (known is None or p.version(known) <= p.version(item)):
            self._objects[watched][uid] = item

    def _lines(self, item: Read) -> Iterator[Lines]:
        key, chunk = item
        if self._begun.get(key, self._revision) < self._revision:
            return
        if chunk.caught_up:
            self._caught_up.add(key)
        if chunk.lines:
            self._cursor.put(key, chunk.position)
            written = chunk.lines[-1].time / 1e9
            yield Lines([line.text for line in chunk.lines], str(self._cursor), key[1], written)
        if chunk.remark:
            yield Lines([chunk.remark], str(self._cursor), REMARKS)

    def _is_up_to_date(self) -> bool:
        """Whether all that has been written so far was given."""
        if len(self._synced) < len(self._watched) or not self._reading <= self._caught_up:
            return False
        started = ((pod, c) for pod in self._pods() for c in p.containers(pod) if c.phase != "waiting")
        return all((p.uid(pod), c.name) in self._caught_up for pod, c in started)

    def _pods(self) -> list[Json]:
        pods = sorted(self._objects[self._watched[0]].values(), key=p.created)
        if self._belongs is None:
            return pods
        view = View(pods, self._others())
        return [pod for pod in pods if self._belongs(pod, view)]

    def _others(self) -> dict[Resource, list[Json]]:
        return {w.resource: list(self._objects[w].values()) for w in self._watched[1:]}

    def _view(self) -> View:
        objects = self._others()
        return View([self._settled(pod) for pod in self._pods()], objects, self._events)

    def _settled(self, pod: Json) -> Json:
        """The pod, with the end of those containers whose log has ended and whose end the kubelet does not tell."""
        return p.settled(pod, [c.name for c in p.containers(pod) if c.left and self._is_done(pod, c)])

    def _contact(self, status: Status) -> Status:
        """The status; or, with no contact, the last that we know and that we know no more."""
        lost = [error for began, error in self._trouble.values() if time.monotonic() - began > NO_CONTACT]
        if not lost:
            return status
        return replace(status, reason=f"no contact with the cluster ({lost[0].said}); the run goes on without us")

    def _ask_for_events(self) -> None:
        """Events only explain why nothing runs: they are asked for while that is so."""
        pods = self._pods()
        if not pods:
            self._about = [p.name(o) for w in self._watched[1:] for o in self._objects[w].values()]
        else:
            self._about = [p.name(pods[-1])] if p.why_pending(pods[-1], self._judge.main) else []
        self._about = sorted(set(self._about))
        if self._about:
            self._fetchers.events(lambda: self._about)
        else:
            self._events = []

    # Which logs to read, and when all are read

    def _start_logs(self) -> None:
        whole = True
        for pod in self._pods():
            if whole:
                self._held.pop(p.uid(pod), None)
            elif any(c.phase != "waiting" for c in p.containers(pod)):
                since = self._held.setdefault(p.uid(pod), time.monotonic())
                if time.monotonic() - since < NEXT_POD:
                    return
            self._start_logs_of(pod)
            whole = whole and self._is_read(pod)

    def _start_logs_of(self, pod: Json) -> None:
        each = p.containers(pod, self._judge.main)
        for c in each:
            if c.role == "init":
                self._start_log(pod, c)
                if not self._is_done(pod, c):
                    return
        main = next((c for c in each if c.role == "main"), None)
        if main is not None:
            self._start_log(pod, main)
        if main is None or main.phase == "waiting" or (p.uid(pod), main.name) in self._caught_up:
            for c in each:
                if c.role == "sidecar":
                    self._start_log(pod, c)

    def _start_log(self, pod: Json, container: p.Container) -> None:
        key = (p.uid(pod), container.name)
        if key in self._reading or container.phase == "waiting" or self._read.get(key, -1) >= container.restart:
            return
        self._reading.add(key)
        self._begun[key] = self._revision
        self._fetchers.log(key, p.name(pod), self._cursor.at(key), lambda: self._look(key))

    def _look(self, key: Key) -> p.Container | None:
        """How a container is, as far as we know. Called from the threads: one look-up, no state."""
        pod = self._objects[self._watched[0]].get(key[0])
        return None if pod is None else next((c for c in p.containers(pod) if c.name == key[1]), None)

    def _is_done(self, pod: Json, container: p.Container) -> bool:
        read = self._read.get((p.uid(pod), container.name), -1)
        return (container.phase == "ended" or container.left) and read >= container.restart

    def _is_read(self, pod: Json) -> bool:
        over = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
        return all(self._is_done(pod, c) or (over and c.phase == "waiting") for c in p.containers(pod))

    def _drained(self, waited: float) -> bool:
        """Whether all lines before the end were given, or cannot be had."""
        if waited > DRAIN:
            return True
        if not self._confirmed:
            return False
        known = {(p.uid(pod), c.name): (pod, c) for pod in self._pods() for c in p.containers(pod, self._judge.main)}
        if any(key not in known for key in self._reading):
            return False  # its pod is gone: this ends by itself
        for key, (pod, c) in known.items():
            if c.phase == "ended" or c.left or (c.phase == "running" and c.role == "main"):
                if not self._is_done(pod, c):
                    return False
            elif c.phase == "running" and key not in self._caught_up and waited < SIDECARS:
                return False
        return True
