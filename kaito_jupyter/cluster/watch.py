"""Every change of a kind of object, for ever: list, then watch, and again whenever that breaks.

What breaks, and what is done: the server ends each watch after a while (go on from the last resourceVersion); a
connection is cut, refused, or goes silent (the same, after a pause that grows); the server has forgotten our
resourceVersion and says 410, as an answer or inside the stream (list anew, and tell what has changed meanwhile).
"""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Callable, Iterator
from typing import Any, Final, Literal, NamedTuple

from .client import Client
from .connection import Stop, Stopped
from .refusals import Asked, ClusterError, Gone, Unauthorized, Unreachable, refusal
from .resources import Resource
from .transport import Json

SILENCE: Final = 10.0
"""Seconds without a byte after which a connection counts as dead. The server ends a quiet watch somewhat earlier."""
PAUSES: Final = (0.1, 5.0)
"""Seconds: the first and the longest pause before another try."""
LOGIN_PAUSE: Final = 15.0
"""Seconds between two tries while our login is refused: each asks for a new one."""

_log = logging.getLogger(__name__)

Kind = Literal["ADDED", "MODIFIED", "DELETED", "SYNCED"]


class Change(NamedTuple):
    """One thing that a watch tells."""

    kind: Kind
    """SYNCED: all objects that exist were told. Comes after each list, at the start and after each gap."""
    object: Json
    """As it is now; as it was last seen, when DELETED; empty when SYNCED."""


class Pause:
    """How long to wait before another try: longer each time, and not in step with others."""

    def __init__(self, first: float = PAUSES[0], longest: float = PAUSES[1]) -> None:
        self._first, self._longest = first, longest
        self.tries = 0

    def reset(self) -> None:
        self.tries = 0

    def next(self) -> float:
        """Seconds."""
        self.tries += 1
        return float(min(self._first * 2 ** min(self.tries - 1, 16), self._longest) * random.uniform(0.5, 1.0))


def watch(
    client: Client,
    resource: Resource,
    *,
    namespace: str | None = None,
    everywhere: bool = False,
    labels: str = "",
    fields: str = "",
    stop: Stop,
    silence: float = SILENCE,
    trouble: Callable[[ClusterError | None], None] = lambda _: None,
) -> Iterator[Change]:
    """Changes from now on, beginning with an ADDED for each object there is. Ends only when `stop` is set.

    An object is told only when it differs from what was told before; changes between two lists are told as one.
    `trouble` is called with each error that may pass (a login that is refused is one: people log in again), and with
    None when the server answers again. Other errors (`Forbidden`, …) are raised.
    """
    ns = None if everywhere else namespace or client.namespace
    known: dict[str, Json] = {}
    version = ""
    pause = Pause()
    query = {"labelSelector": labels, "fieldSelector": fields}
    # Whole seconds, at least 1; less than our own patience, so that a healthy quiet watch ends cleanly.
    query["timeoutSeconds"] = str(max(1, int(silence * 0.8)))
    while not stop.is_set():
        try:
            if not version:
                items, version = client.list(
                    resource, ns, labels=labels, fields=fields, everywhere=everywhere, stop=stop
                )
                trouble(None)
                yield from _difference(known, items)
                yield Change("SYNCED", {})
            options = {**query, "resourceVersion": version, "allowWatchBookmarks": "true"}
            with client.watch(resource, ns, options, stop=stop, read_timeout=silence) as pieces:
                trouble(None)
                for event in _events(Asked.of("watch", resource, ns), pieces):
                    pause.reset()
                    version = event.object["metadata"]["resourceVersion"]
                    if event.kind in ("ADDED", "MODIFIED", "DELETED"):
                        yield from _change(known, event)
            pause.reset()
        except Stopped:
            return
        except Gone:
            version = ""
        except ClusterError as e:
            refused = isinstance(e, Unauthorized)
            if not e.passing and not refused:
                raise
            _log.debug("watch of %s goes on after: %s", resource.plural, e)
            trouble(e)
            if stop.wait(LOGIN_PAUSE if refused else e.retry_after or pause.next()):
                return


class _Event(NamedTuple):
    kind: str
    object: Json


def _events(asked: Asked, pieces: Iterator[bytes]) -> Iterator[_Event]:
    """The events in a watch's answer. A line that is cut off at the end was not received."""
    for line in _lines(pieces):
        try:
            value: dict[str, Any] = json.loads(line)
            event = _Event(value["type"], value["object"])
        except (ValueError, KeyError, TypeError):
            raise Unreachable(asked, "the answer is garbled") from None
        if event.kind == "ERROR":
            raise refusal(asked, int(event.object.get("code") or 500), json.dumps(event.object).encode())
        yield event


def _lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole


def _identity(item: Json) -> str:
    meta = item["metadata"]
    return str(meta.get("uid") or f"{meta.get('namespace')}/{meta['name']}")


def _change(known: dict[str, Json], event: _Event) -> Iterator[Change]:
    identity = _identity(event.object)
    before = known.get(identity)
    if event.kind == "DELETED":
        if known.pop(identity, None) is not None:
            yield Change("DELETED", event.object)
    elif before is None or before["metadata"].get("resourceVersion") != event.object["metadata"]["resourceVersion"]:
        known[identity] = event.object
        yield Change("ADDED" if before is None else "MODIFIED", event.object)


def _difference(known: dict[str, Json], items: list[Json]) -> Iterator[Change]:
    """What a new list tells beyond what was known."""
    now = {_identity(i): i for i in items}
    for identity in [k for k in known if k not in now]:
        yield Change("DELETED", known.pop(identity))
    for item in items:
        yield from _change(known, _Event("MODIFIED", item))
