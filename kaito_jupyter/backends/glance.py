"""A glance at the runs of a cluster that are alive, for a list of runs: one list of pods, and the end of each trainer's log.

What has ended is told by its one object; what lives is not. A trainer that is dead behind its sidecars shows in its pod alone,
and step and loss stand in its log alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from ..cluster import pods as p
from ..cluster.client import Client
from ..cluster.connection import Stop
from ..cluster.judge import attempt
from ..cluster.refusals import ClusterError
from ..cluster.resources import PODS
from ..status import State, Status

LOGS: Final = 20
"""The most logs of live runs that are looked into for one list."""
TAIL: Final = 60
"""Lines of each."""
BYTES: Final = 1 << 20
PATIENCE: Final = 5.0
"""Seconds that one log's end may take."""
ALIVE: Final = "status.phase!=Succeeded,status.phase!=Failed"

Json = Mapping[str, Any]
Place = tuple[str, str]
"""Namespace, and the value of the label that pods of a run share."""


class Glance:
    """The pods of live runs: those with a label, by its value. Without the right to list pods there are none."""

    def __init__(self, client: Client, label: str, *, everywhere: bool = False) -> None:
        self._client, self._left = client, LOGS
        self._pods: dict[Place, list[Json]] = defaultdict(list)
        try:
            pods, _ = client.list(PODS, labels=label, fields=ALIVE, everywhere=everywhere)
        except ClusterError:
            return
        for pod in sorted(pods, key=p.created):
            meta = pod["metadata"]
            self._pods[meta["namespace"], meta["labels"][label]].append(pod)

    def pods(self, place: Place) -> list[Json]:
        """Oldest first."""
        return self._pods.get(place, [])

    def status(self, place: Place, told: Status, main: str | None) -> Status:
        """How a run stands that its object says is alive, by its newest pod."""
        pod = p.newest(self.pods(place))
        if pod is None:
            return told
        seen = attempt(pod, (), main)
        if seen.state == "Failed":  # the pod lives: what it waits for will not come
            return replace(told, state="Failed", reason=seen.reason, kind=seen.kind, ended=seen.ended)
        now: State = "Pending" if seen.state == "Pending" else "Running"
        return replace(told, state=now, reason=told.reason or seen.reason, started=seen.started or told.started)

    def tail(self, place: Place, main: str | None) -> tuple[str, ...]:
        """The last lines of the trainer's log; none when nothing is written, or when enough logs were looked into."""
        pod = p.newest(self.pods(place))
        trainer = next((c for c in p.containers(pod, main) if c.role == "main"), None) if pod else None
        if pod is None or trainer is None or trainer.phase == "waiting" or self._left <= 0:
            return ()
        self._left -= 1
        query = {"container": trainer.name, "tailLines": TAIL, "limitBytes": BYTES}
        try:
            with self._client.log(p.name(pod), place[0], query, stop=Stop(), read_timeout=PATIENCE) as pieces:
                return tuple(b"".join(pieces).decode("utf-8", "replace").splitlines())
        except ClusterError:
            return ()


def alive(statuses: Iterable[Status]) -> bool:
    """Whether any of them runs: only then pods are asked for."""
    return any(s.state == "Running" for s in statuses)
