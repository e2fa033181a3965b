"""Every line of one container's log, once and in order, to the container's end.

"The stream has ended" means nothing here: the server, a proxy, the kubelet's log rotation end streams when they please,
and some just go silent. Reading ends when the container has ended *and* a request made after that was known brought
nothing new. Between requests `Position` says where to go on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from .client import Client
from .connection import Stop, Stopped
from .loglines import LineReader, Stamped, Stamps
from .pods import Container, now_stamp
from .position import Position, Replay
from .refusals import ClusterError, NotFound, Unauthorized, Unreachable
from .watch import LOGIN_PAUSE, PAUSES, SILENCE, Pause

PATIENCE: Final = 60.0
"""Seconds for which the log of a container that has ended is asked for, while it cannot be had (its node is down)."""
PATIENCE_REFUSED: Final = 10.0
"""The same when the node says that it has no such log (any more)."""
PATIENCE_REMOVED: Final = 2.0
"""The same when the log was followed until the node ended it: what is removed then was read."""
ENDS_AT_ONCE: Final = 2
"""Of a pod that is over the kubelet may tell for ever that a container runs. A log that is followed ends when its container has;
that often in a row and without a line, no proxy has cut it."""
SHORT_ANSWERS: Final = 3
"""An answer that ends before what was read already was cut off; that often in a row, the log was emptied."""
LOOK_AT: Final = 20
"""Of the lines that come once more, the last are looked at, the others only counted: there may be many."""
LONG_REPLAY: Final = 200
"""From so many lines on that would come once more, a stream that was silent is first gone on with from its last line alone."""
NOT_YET: Final = 0.25
"""Seconds between two looks at a container that has not been started."""

_log = logging.getLogger(__name__)


class Chunk(NamedTuple):
    """Some lines of a container's log, or a word about it."""

    lines: list[Stamped]
    position: str
    """Where reading stands after them: `Position.parse` it."""
    caught_up: bool = False
    """All that had been written when reading began was given: what comes now is live."""
    remark: str = ""
    """Lines may be missing here, and why."""


class Source(NamedTuple):
    """Which container."""

    pod: str
    container: str
    namespace: str


def follow(
    client: Client,
    source: Source,
    *,
    position: Position | None = None,
    look: Callable[[], Container | None],
    stop: Stop,
    silence: float = SILENCE,
    patience: float = PATIENCE,
) -> Iterator[Chunk]:
    """The container's lines after `position` (which moves on), as they come.

    `look` tells how the container is, by the newest that is known (None: its pod is gone). Ends when the container has
    ended and its log was read to the end, when the pod is gone, or when `stop` is set. Passing errors are waited out;
    others (`Forbidden`, …) are raised. A log that cannot be had for `patience` s after the end is given up with a remark.
    """
    reader = _Reader(client, source, position or Position(), stop, silence)
    pause = Pause(PAUSES[0], 2.0)
    live = False
    dead_since: float | None = None
    empty = 0
    while not stop.is_set():
        container = look()
        if container is None:
            # The last of a deleted pod's log may still be there.
            yield from reader.attempt({})
            return
        if container.restart > reader.position.restart:
            yield from reader.finish_previous(container.restart)
        if container.phase == "waiting":
            stop.wait(NOT_YET)
            continue
        over = container.phase == "ended"
        if not (over or (container.left and not reader.complete and not reader.silent)):
            dead_since = None
        elif dead_since is None:
            dead_since = time.monotonic()
        yield from reader.attempt({"follow": "true"} if live and not over else {}, over)
        if reader.gone:
            return
        if reader.complete and not reader.fresh and over:
            return
        empty = empty + 1 if container.left and live and reader.complete and not reader.fresh else 0
        if empty == ENDS_AT_ONCE:
            return
        if reader.complete and not live:
            live = True
            yield reader.word(caught_up=True)
        elif reader.fresh or reader.silent:
            pause.reset()  # it was alive (or may be: nothing was written); go on at once
        elif dead_since is not None and time.monotonic() - dead_since > min(patience, reader.patience):
            if not reader.ended_well:
                yield reader.word(f"the end of {source.container}'s log cannot be had: {reader.error}")
            return
        else:
            stop.wait(LOGIN_PAUSE if reader.login_refused else pause.next())


class _Reader:
    """One container's log, request by request."""

    def __init__(self, client: Client, source: Source, position: Position, stop: Stop, silence: float) -> None:
        self._client, self._source, self._stop, self._silence = client, source, stop, silence
        self._stamps = Stamps()
        self.position = position
        self.fresh = 0
        """Lines that the last request brought."""
        self.complete = False
        """Whether the last answer came to its own end, and was a log."""
        self.silent = False
        """Whether it was given up because nothing came."""
        self.gone = False
        """Whether there is no such pod any more."""
        self.login_refused = False
        self.ended_well = False
        """Whether the last answer that was a log was a stream to its end."""
        self.error = ""
        self._refused = False
        self._short = 0
        self._rotated = False
        """The log was rotated, and no new line was read since: another rotation would not show in where it begins."""

    @property
    def patience(self) -> float:
        """How long to go on with the last error, in seconds."""
        if not self._refused:
            return PATIENCE
        return PATIENCE_REMOVED if self.ended_well else PATIENCE_REFUSED

    def attempt(self, options: dict[str, str], to_the_end: bool = False) -> Iterator[Chunk]:
        """One request. `to_the_end`: the container has ended, so a last line without a newline is whole."""
        # Whoever wrote nothing for so long has most likely not begun to now: then the last line is that which was read last.
        tail = self.silent and "follow" in options and self.position.skip > LONG_REPLAY
        self.fresh, self.complete, self.silent, self.login_refused, self.error = 0, False, False, False, ""
        replay, lines = Replay(Position() if tail else self.position), LineReader(self._stamps)
        try:
            with self._open(options | {"tailLines": "1"} if tail else options) as pieces:
                for piece in pieces:
                    if replay.sure > LOOK_AT:
                        count, piece = lines.drop(piece, replay.sure - LOOK_AT)
                        replay.passed(count)
                    stamped = lines.feed(piece)
                    if tail and stamped:
                        if stamped[0].time != self.position.last:
                            return  # something was written meanwhile: the next request asks for all of it
                        tail, stamped = False, stamped[1:]
                    yield from self._accept(replay, stamped)
                if to_the_end:
                    yield from self._accept(replay, lines.finish())
            self.error = " ".join(lines.remarks)
            self._refused = bool(self.error)
            self._short = self._short + 1 if replay.replaying else 0
            self.complete = not self.error and self._short in (0, SHORT_ANSWERS)
            if self.complete:
                self.ended_well = "follow" in options
        except Stopped:
            pass
        except NotFound as e:
            self.gone, self.error = True, str(e)
        except ClusterError as e:
            # 400: the container is not running (yet), or its log is gone from the node.
            self.login_refused = isinstance(e, Unauthorized)
            if not e.passing and e.code != 400 and not self.login_refused:
                raise
            self.error = str(e)
            self._refused = e.code == 400
            self.ended_well = self.ended_well and self._refused
            self.silent = isinstance(e, Unreachable) and e.silent and bool(options.get("follow"))
            if not self.silent:
                _log.debug("log of %s goes on after: %s", self._source, e)

    def finish_previous(self, restart: int) -> Iterator[Chunk]:
        """What the instance before has left, when it is the one that was read; then begin the new instance's log."""
        if not self.position.last:
            self.position.restart = restart - 1  # older ones are out of reach
        if restart == self.position.restart + 1:
            pause = Pause()
            for _ in range(4):
                yield from self.attempt({"previous": "true"}, to_the_end=True)
                if self._stop.is_set():
                    return
                if self.complete and not self.fresh:
                    break
                if not self.complete:
                    self._stop.wait(pause.next())
        self.position.restarted(restart)
        self._rotated = False

    def _open(self, options: dict[str, str]) -> Any:
        query = {"container": self._source.container, "timestamps": "true", **options}
        if self.position.since and "tailLines" not in options:
            query["sinceTime"] = now_stamp(self.position.since)
        return self._client.log(
            self._source.pod, self._source.namespace, query, stop=self._stop, read_timeout=self._silence
        )

    def word(self, remark: str = "", caught_up: bool = False) -> Chunk:
        """A chunk without lines."""
        return Chunk([], str(self.position), caught_up, remark)

    def _accept(self, replay: Replay, stamped: list[Stamped]) -> Iterator[Chunk]:
        position, new = self.position, []
        for line in stamped:
            was_rotated, first = replay.rotated, replay.first is None
            seen = replay.seen(line.time)
            if replay.rotated and (not was_rotated or (self._rotated and first)):
                position.rotated()
                self._rotated = True
                if replay.gap:
                    yield self.word(f"{self._source.container}'s log was rotated: lines may be missing here")
            if not seen:
                self._rotated = False
                position.add(line.time, line.end)
                new.append(line)
        if new:
            self.fresh += len(new)
            yield Chunk(new, str(position))
