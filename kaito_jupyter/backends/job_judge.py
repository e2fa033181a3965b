"""What our own Job and its pods mean for the run. Pure.

Beyond any Job's meaning: a run that its user ended is no failed one, and what a container said last (our programs end with
an `error` event, which the kubelet keeps in the container's status) is why it failed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from kaito_trainer.contract.events import ERROR_KINDS, MARK, decode

from ..cluster import pods as p
from ..cluster.judge import JobJudge, View, Watched
from ..cluster.resources import JOBS
from ..manifests import pod as names
from ..status import TERMINAL, Status

Json = Mapping[str, Any]

CANCELLED: Final = "kaito-jupyter/cancelled"
"""Annotation: when its user asked the run to end."""
GONE: Final = "it was evicted or deleted from outside, or its node went away"
_KINDS: Final = {names.DOWNLOADER: "download", names.CHECK: "push", names.PUSHER: "push"}
"""What it means that a container failed, when it did not say more."""
_RUNTIME: Final = ("", "Error", "Completed", "OOMKilled")
"""Reasons with which a container's message is the end of its own log, not the runtime's word."""


@dataclass(slots=True)
class RunJudge:
    """A run that is one Job of ours."""

    name: str
    met: bool = False
    """Whether the Job was seen: one that is gone after that was deleted."""

    main: str = names.MAIN
    node: Callable[[str], Json | None] | None = None
    """Gives a node by its name, or None when it may not be seen. Asked once for a pod that is taken away: an eviction leaves no
    trace on the pod before Kubernetes 1.26, a drained node does."""
    _seen: dict[str, Json] = field(default_factory=dict)
    """The newest of each pod by its uid: one that was evicted leaves nothing behind, and its end has to be told."""
    _drained: dict[str, str] = field(default_factory=dict)
    """Pods that were taken away -> their node, when it was drained; empty when it was not."""

    @property
    def watched(self) -> Sequence[Watched]:
        return (Watched(JOBS, fields=f"metadata.name={self.name}"),)

    def __call__(self, view: View) -> Status:
        job = view.only(JOBS)
        live = job is not None and not cancelled(job) and not job["metadata"].get("deletionTimestamp")
        pods = self._with_lost(view.pods) if live else view.pods
        if job is not None and p.is_true(job, "Failed"):
            pods = _to_blame(pods)
        told = View([readable(pod) for pod in pods], view.objects, view.events)
        plain = JobJudge(self.name, self.main, self.met)
        status = plain(told)
        self.met = plain.met
        if job is None:
            return status
        if cancelled(job):
            return _cancelled(status, told.pods, self.main)
        if status.state == "Failed":
            if not pods:
                return replace(status, reason=f"{status.reason}; its pod is gone: {GONE}", kind="killed")
            return replace(status, kind=_kind(pods, self.main) or status.kind)
        last = p.newest(told.pods)
        if (
            live
            and last is not None
            and status.state == "Running"
            and not status.reason
            and (away := p.taken_away(last))
        ):
            return replace(status, reason=f"{away}; it saves what there is", kind="killed")
        return status

    def _with_lost(self, pods: Sequence[Json]) -> list[Json]:
        """The pods, and those that were seen before and are gone: they were taken away, as no Job removes its own."""
        here = {p.uid(pod) for pod in pods}
        for pod in pods:
            self._seen[p.uid(pod)] = self._explained(pod)
        for uid, pod in self._seen.items():
            status = pod.get("status") or {}
            if uid not in here and status.get("phase") not in ("Succeeded", "Failed"):
                gone = {
                    "metadata": {"deletionTimestamp": p.now_stamp(), **pod["metadata"]},
                    "status": {**status, "phase": "Failed"},
                }
                self._seen[uid] = p.settled({**pod, **gone})
        return sorted(self._seen.values(), key=p.created)

    def _explained(self, pod: Json) -> Json:
        """The pod; with a condition of ours when it is taken from a node that is being drained and no server says so."""
        if not p.taken_away(pod) or p.condition(pod, "DisruptionTarget") or self.node is None:
            return pod
        uid, where = p.uid(pod), str((pod.get("spec") or {}).get("nodeName") or "")
        if uid not in self._drained:
            found = self.node(where) if where else None
            self._drained[uid] = where if found and (found.get("spec") or {}).get("unschedulable") else ""
        if not self._drained[uid]:
            return pod
        words = {"reason": "the node was drained", "message": f"{where} takes no new pods"}
        status = pod.get("status") or {}
        conditions = [*(status.get("conditions") or ()), {"type": "DisruptionTarget", "status": "True", **words}]
        return {**pod, "status": {**status, "conditions": conditions}}


def _to_blame(pods: Sequence[Json]) -> list[Json]:
    """Of a Job that failed: the pods that failed by themselves, else the first that was taken away. It takes later ones away itself."""
    away = [pod for pod in pods if p.taken_away(pod)]
    failed = [pod for pod in pods if pod not in away and p.why_ended(pod)[1]]
    return (failed or away[:1]) if away else [*pods]


def of_job_alone(job: Json) -> Status:
    """How a run stands by its Job alone: enough for a list."""
    status = RunJudge(p.name(job))(View([], {JOBS: [job]}))
    told = job.get("status") or {}
    if status.state == "Cancelled" and told.get("active") and not p.is_true(job, "Failed"):
        return replace(status, state="Running", reason="asked to end", started=p.seconds(told.get("startTime")))
    if status.state == "Pending" and told.get("active") and not (job.get("spec") or {}).get("suspend"):
        status = replace(status, state="Running", reason="", started=p.seconds(told.get("startTime")))
    if status.state == "Running" and told.get("failed"):
        return replace(status, reason=f"retrying (attempt {told['failed'] + 1})")
    return status


def cancelled(job: Json) -> bool:
    """Whether its user asked the run to end."""
    return CANCELLED in (job["metadata"].get("annotations") or {})


def readable(pod: Json) -> Json:
    """The pod, with containers' last words as people read them: an event's message instead of its line, no bare log lines."""
    status = pod.get("status")
    if not status:
        return pod
    parts = ("initContainerStatuses", "containerStatuses")
    return {
        **pod,
        "status": {**status, **{part: [_readable(s) for s in status[part]] for part in parts if status.get(part)}},
    }


def _readable(container: Json) -> Json:
    changed = {}
    for where in ("state", "lastState"):
        ended = (container.get(where) or {}).get("terminated")
        if ended and ended.get("message") and ended.get("reason", "") in _RUNTIME:
            changed[where] = {"terminated": {**ended, "message": _last_words(ended["message"])[1]}}
    return {**container, **changed}


def _last_words(message: str) -> tuple[str, str]:
    """(kind, text) of the last error that a container's last lines tell; else its last line, when that is no event."""
    lines = message.strip().splitlines()
    for line in reversed(lines):
        event = decode(line)
        if event is not None and event.type == "error":
            return str(event.data.get("kind") or ""), str(event.data.get("message") or "")
    last = lines[-1] if lines else ""
    return "", "" if MARK in last or '"seq":' in last else last


def _kind(pods: Sequence[Json], main: str) -> str:
    """The kind of error of the newest pod that failed, as its container told it, or as the container's work has it."""
    for pod in sorted(pods, key=p.created, reverse=True):
        who, why = p.why_ended(pod, main)
        if who is None or who.ending is None:
            if why:
                return ""
            continue
        kind, _ = _last_words(who.ending.message)
        if kind in ERROR_KINDS:
            return kind
        killed = who.ending.exit_code < 0 or who.ending.reason == "OOMKilled"
        return "" if killed else _KINDS.get(who.name, "")
    return ""


def _cancelled(status: Status, pods: Sequence[Json], main: str) -> Status:
    """A run that was asked to end: it has when nothing of it runs any more. One that was faster has succeeded."""
    if status.state == "Succeeded":
        return status
    alive = [c.name for pod in pods for c in p.containers(pod, main) if c.phase == "running"]
    if alive:
        return replace(
            status,
            state="Running",
            reason=f"asked to end; {' and '.join(alive)} {'saves' if len(alive) == 1 else 'save'} what there is",
            kind="",
        )
    waits = status.state not in TERMINAL and any((pod.get("status") or {}).get("phase") == "Running" for pod in pods)
    if waits:
        return replace(status, state="Running", reason="asked to end", kind="")
    ended = [c.ending.ended for pod in pods for c in p.containers(pod, main) if c.ending and c.ending.ended]
    return replace(status, state="Cancelled", reason="", kind="", ended=max(ended, default=status.ended))
