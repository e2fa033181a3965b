"""What the objects of a run mean for the run. Pure: objects in, a `Status` out.

A judge knows one way to run: which objects to watch besides the pods, which container is the trainer, and when the run
has ended. `JobJudge` is the one for a plain Job; other ways build on `attempt` and `of_job`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from ..status import Status
from . import pods as p
from .resources import JOBS, Resource

Json = Mapping[str, Any]

BACKOFF_DEFAULT = 6
"""Kubernetes' `backoffLimit`, when a Job names none."""


@dataclass(frozen=True, slots=True)
class Watched:
    """Objects that a judge wants to see besides the run's pods."""

    resource: Resource
    labels: str = ""
    """A label selector."""
    fields: str = ""
    """A field selector, as `metadata.name=x`."""


@dataclass(slots=True)
class View:
    """All that is known of a run's objects."""

    pods: list[Json] = field(default_factory=list)
    """Oldest first."""
    objects: dict[Resource, list[Json]] = field(default_factory=dict)
    """What was asked for by `Judge.watched`."""
    events: list[Json] = field(default_factory=list)
    """Kubernetes' events about them, oldest first; gathered only while nothing runs."""

    def only(self, resource: Resource) -> Json | None:
        """The object of that kind, or None when there is none. The newest, should there be several."""
        return p.newest(self.objects.get(resource) or ())

    def about(self, name: str) -> list[Json]:
        """The events about the object of that name."""
        return [e for e in self.events if (e.get("involvedObject") or {}).get("name") == name]


class Judge(Protocol):
    """Turns objects into a `Status`. Called often, from one thread, always with all that is known."""

    @property
    def main(self) -> str | None:
        """Name of the trainer's container; None: the pod's first."""
        ...

    @property
    def watched(self) -> Sequence[Watched]: ...

    def __call__(self, view: View) -> Status: ...


@dataclass(slots=True)
class JobJudge:
    """A run that is one Job. A Job that is gone after it was seen was deleted, and so its run was cancelled."""

    name: str
    main: str | None = None
    met: bool = False
    """Whether the Job was seen."""

    @property
    def watched(self) -> Sequence[Watched]:
        return (Watched(JOBS, fields=f"metadata.name={self.name}"),)

    def __call__(self, view: View) -> Status:
        job = view.only(JOBS)
        if job is None:
            return Status("Cancelled", "the Job was deleted") if self.met else Status("Pending", "waiting for the Job")
        self.met = True
        return of_job(job, view, self.main)


def of_job(job: Json, view: View, main: str | None = None) -> Status:
    """How a run stands that is this Job. `Failed` only when nothing will be tried again."""
    limit = (job.get("spec") or {}).get("backoffLimit", BACKOFF_DEFAULT)
    mine = [pod for pod in view.pods if _owned(pod, job)]
    known = Status("Pending", created=p.created(job), started=_first_start(mine, main))
    done = p.condition(job, "Complete")
    if done is not None and done.get("status") == "True":
        told = p.seconds((job.get("status") or {}).get("completionTime") or done.get("lastTransitionTime"))
        # The pod's own time: it was told first, and a run that has ended does not end once more when its Job notices.
        # Not that of an attempt that failed before, and perhaps is all that is left.
        good = [status.ended for pod in mine if (status := attempt(pod, (), main)).state == "Succeeded"]
        ended = max((when for when in good if when is not None), default=told)
        return replace(known, state="Succeeded", ended=ended, exit_code=0)
    failed = p.condition(job, "Failed") or p.condition(job, "FailureTarget")
    if failed is not None and failed.get("status") == "True":
        return _failed(known, failed, mine, main)
    if (job.get("spec") or {}).get("suspend") or p.is_true(job, "Suspended"):
        return replace(known, reason="the Job is suspended: it waits for its turn in the queue")
    pod = p.newest(mine)
    if pod is None:
        return replace(known, reason=_why_no_pod(job, view))
    status = attempt(pod, view.about(p.name(pod)), main)
    lost = [x for x in mine if x is not pod and p.why_ended(x, main)[1]]
    status = replace(status, created=known.created, started=known.started)
    if status.state == "Failed" and not p.dead_behind_sidecars(pod, main):
        # The pod has failed, and the Job has not given up. Its kind stays: what failed is known while it is tried again.
        more = len(lost) < limit and "podFailurePolicy" not in (job.get("spec") or {})
        text = f"{status.reason}; the Job decides whether to try again"
        if more:
            text = f"retrying (attempt {len(lost) + 2} of {limit + 1} follows): {status.reason}"
        return replace(status, state="Running", reason=text, kind=status.kind or "crash", ended=None)
    if lost and status.state in ("Pending", "Running"):
        who, why = p.why_ended(lost[-1], main)
        now = f"; {status.reason}" if status.reason else ""
        count = len(lost) + 1  # a pod that was taken away need not count
        text = f"retrying (attempt {count}{f' of {limit + 1}' if count <= limit + 1 else ''}): {why}{now}"
        kind = kind_of(lost[-1], who) or "crash"
        return replace(status, state="Running", reason=text, kind=kind, ended=None, exit_code=None)
    return status


def attempt(pod: Json, events: Sequence[Json] = (), main: str | None = None) -> Status:
    """How one pod stands, as if it were the whole run."""
    each = p.containers(pod, main)
    trainer = next((c for c in each if c.role == "main"), None)
    ended = trainer is not None and trainer.phase == "ended"
    status = Status("Pending", created=p.created(pod), started=p.started(pod, main))
    if trainer is not None and ended and trainer.ending is not None:
        status = replace(status, exit_code=trainer.ending.exit_code)
    phase = (pod.get("status") or {}).get("phase")
    if dead := p.dead_behind_sidecars(pod, main):
        who, alive = dead
        text = f"{who.name} {who.ending}, and {_and(alive)} still {'runs' if len(alive) == 1 else 'run'} beside it"
        return replace(
            status, state="Failed", reason=text, kind=kind_of(pod, who), ended=who.ending and who.ending.ended
        )
    if phase == "Failed":
        who_ended, text = p.why_ended(pod, main)
        when = who_ended.ending.ended if who_ended and who_ended.ending else None
        return replace(status, state="Failed", reason=text, kind=kind_of(pod, who_ended), ended=when)
    if phase == "Succeeded":
        when = max((c.ending.ended or 0.0 for c in each if c.ending), default=0.0)
        return replace(status, state="Succeeded", ended=when or None)
    if ended:
        left = [c.name for c in each if c.phase == "running"]
        text = f"the trainer has ended, {_and(left)} {'works' if len(left) == 1 else 'work'} on" if left else ""
        return replace(status, state="Running", reason=text)
    if trainer is not None and trainer.phase == "running":
        again = f"{trainer.name} was started anew: it {trainer.ending}" if trainer.ending else ""
        return replace(status, state="Running", reason=again)
    if running := [c.name for c in each if c.phase == "running"]:
        return replace(status, state="Running", reason=f"{_and(running)} {'runs' if len(running) == 1 else 'run'}")
    # Started once, and between two containers: it does not go back to Pending.
    text = p.why_pending(pod, main, events)
    return replace(status, state="Pending" if status.started is None else "Running", reason=text)


def kind_of(pod: Json, who: p.Container | None) -> str:
    """One of the contract's error kinds, when the objects tell it; else empty (the log may tell)."""
    if (pod.get("status") or {}).get("reason") in ("Evicted", "Shutdown", "Terminated", "NodeShutdown", "NodeLost"):
        return "killed"
    if p.is_true(pod, "DisruptionTarget") or p.taken_away(pod):
        return "killed"
    if who is not None and who.ending is not None and (who.ending.exit_code < 0 or who.ending.reason == "OOMKilled"):
        return "killed"
    if who is not None and who.failed and who.role != "main":
        # What stands before a trainer fetches, what stands beside it pushes.
        pushes = who.role == "sidecar" or who.name.startswith("push")  # our Job tries the push before it trains
        return "push" if pushes else "model" if who.name.startswith("model") else "download"
    return ""


def _failed(known: Status, condition: Json, pods: Sequence[Json], main: str | None) -> Status:
    ended = p.seconds(condition.get("lastTransitionTime"))
    told = " ".join(str(condition.get("message") or "").split()).rstrip(".")
    why = str(condition.get("reason") or "")
    for pod in sorted(pods, key=p.created, reverse=True):
        last = attempt(pod, (), main)
        if last.reason and last.state == "Failed":
            extra = f", {len(pods)} times" if len(pods) > 1 and why == "BackoffLimitExceeded" else ""
            if why == "DeadlineExceeded":
                return replace(
                    known, state="Failed", reason="the Job took longer than its deadline", kind="killed", ended=ended
                )
            return replace(
                known,
                state="Failed",
                reason=f"{last.reason}{extra}",
                kind=last.kind,
                ended=last.ended or ended,
                exit_code=last.exit_code,
            )
    if why == "DeadlineExceeded":
        return replace(
            known, state="Failed", reason="the Job took longer than its deadline", kind="killed", ended=ended
        )
    return replace(known, state="Failed", reason=f"the Job failed{f': {told}' if told else ''}", ended=ended)


def _why_no_pod(job: Json, view: View) -> str:
    told = p.warning(view.about(p.name(job)), ("FailedCreate",))
    return f"the Job's pod cannot be created: {told}" if told else "waiting for the Job's pod"


def _first_start(pods: Sequence[Json], main: str | None) -> float | None:
    return min((s for pod in pods if (s := p.started(pod, main)) is not None), default=None)


def _owned(pod: Json, job: Json) -> bool:
    return any(o.get("uid") == p.uid(job) for o in pod["metadata"].get("ownerReferences") or ())


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
