"""What a Workspace, its Job and its pods mean for the run. Pure.

Two traps of KAITO's are seen through here: with an image output a dead trainer leaves the pod, the Job and the Workspace
"running" for ever (only the container's status tells), and with a volume output the Workspace says "Failed" while the Job
still tries again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from ..cluster import pods as p
from ..cluster.judge import View, Watched, of_job
from ..cluster.resources import JOBS, WORKSPACES
from ..status import Status
from . import marks

Json = Mapping[str, Any]

UNSEEN: Final = "waiting for KAITO to take up a change"
REVISION: Final = "workspace.kaito.io/revision"
"""KAITO's annotation of a Workspace and its Job: grows with each change of the spec."""


@dataclass(slots=True)
class WorkspaceJudge:
    """A run that is one Workspace. One that is gone after it was seen was deleted, and so its run was cancelled."""

    name: str
    met: bool = False
    job: str = ""
    """The uid of the Job of the present revision, as soon as it is there."""

    @property
    def main(self) -> str:
        """KAITO names the trainer's container after the Workspace."""
        return self.name

    @property
    def watched(self) -> Sequence[Watched]:
        field = f"metadata.name={self.name}"
        return (Watched(WORKSPACES, fields=field), Watched(JOBS, fields=field))

    def __call__(self, view: View) -> Status:
        workspace, job = view.only(WORKSPACES), self._present(view)
        if workspace is None:
            if self.met:
                return Status("Cancelled", "the Workspace was deleted")
            return Status("Pending", "waiting for the Workspace")
        self.met = True
        created = p.created(workspace)
        number = run_revision(workspace)
        if workspace["metadata"].get("deletionTimestamp"):
            return Status("Running", "the Workspace is being deleted", created=created, revision=number)
        if job is None or job["metadata"].get("deletionTimestamp"):
            return before_job(workspace)
        status = replace(of_job(job, view, self.main), created=created, revision=number)
        if status.state == "Succeeded" and is_unseen(workspace):
            # Somebody has changed the Workspace: this Job is the last revision's, and KAITO will delete it.
            return replace(status, state="Running", ended=None, reason=UNSEEN)
        return status

    def belongs(self, pod: Json, view: View) -> bool:
        """Whether a pod is one of the present revision's: another one's lines are no part of this curve."""
        self._present(view)
        return any(o.get("uid") == self.job for o in pod["metadata"].get("ownerReferences") or ())

    def _present(self, view: View) -> Json | None:
        """The Job of the present revision. That of an earlier one stays for a while after the change."""
        workspace, job = view.only(WORKSPACES), view.only(JOBS)
        if workspace is not None and self.job and self.job in replaced(workspace):
            self.job = ""
        if job is None or (workspace is not None and not is_present(workspace, job)):
            if job is not None and p.uid(job) == self.job:
                self.job = ""
            return None
        self.job = p.uid(job)
        return job


def before_job(workspace: Json) -> Status:
    """How a Workspace stands that has no Job (any more): it waits for its node, or cannot be carried out."""
    status = of_workspace(workspace)
    if status.state != "Failed":
        return replace(status, state="Pending", reason=status.reason or "waiting for KAITO to make the Job")
    return replace(status, state="Pending")


def of_workspace(workspace: Json) -> Status:
    """How a run stands by its Workspace alone: enough for a list, and blind to a trainer dead behind its sidecars."""
    told = workspace.get("status") or {}
    state = told.get("state")
    known = Status("Pending", created=p.created(workspace), revision=run_revision(workspace))
    done = p.condition(workspace, "WorkspaceSucceeded") or {}
    if state in ("Succeeded", "Failed") and is_unseen(workspace):
        return replace(known, reason=UNSEEN)  # the state is the last revision's
    when = p.seconds(done.get("lastTransitionTime"))
    if state == "Succeeded":
        return replace(known, state="Succeeded", ended=when)
    if state == "Failed":
        return replace(known, state="Failed", reason=str(done.get("message") or "the tuning Job failed"), ended=when)
    started = p.condition(workspace, "JobStarted") or {}
    if state == "Running":
        return replace(known, state="Running", started=p.seconds(started.get("lastTransitionTime")))
    return replace(known, reason=why_waiting(workspace))


def is_unseen(workspace: Json) -> bool:
    """Whether what the Workspace says of its success is older than what it asks for."""
    seen = (p.condition(workspace, "WorkspaceSucceeded") or {}).get("observedGeneration")
    return seen is not None and seen < workspace["metadata"].get("generation", 0)


def why_waiting(workspace: Json) -> str:
    """What a Workspace without a running Job waits for, in a sentence."""
    problem = next((e for c in conditions(workspace) if (e := _reconcile_error(c))), "")
    if problem:
        return f"KAITO cannot carry it out: {problem}"
    ready = p.condition(workspace, "ResourceReady")
    if ready is None:
        return "waiting for KAITO to take it up"
    if ready.get("status") != "True":
        size = (workspace.get("resource") or {}).get("instanceType")
        told = str(ready.get("message") or "").rstrip(".")
        return f"waiting for a GPU node{f' ({size})' if size else ''}{f': {told}' if told else ''}"
    return ""


def conditions(workspace: Json) -> Sequence[Json]:
    return (workspace.get("status") or {}).get("conditions") or ()


def _reconcile_error(condition: Json) -> str:
    _, mark, text = str(condition.get("message") or "").partition("(last reconcile error: ")
    return text.removesuffix(")") if mark else ""


def is_present(workspace: Json, job: Json) -> bool:
    """Whether a Job is the one for what the Workspace says now.

    KAITO writes a new number on the Workspace, then deletes the Job. Until it has seen our change, our own word counts.
    """
    return p.uid(job) not in replaced(workspace) and revision_of(job) == revision_of(workspace)


def replaced(workspace: Json) -> Sequence[str]:
    """The uids of Jobs that were there when we changed the Workspace: they are earlier revisions'."""
    return str((workspace["metadata"].get("annotations") or {}).get(marks.REPLACES, "")).split()


def run_revision(workspace: Json) -> int:
    """Which revision of the run it is: ours, or KAITO's own number where somebody else changed it.

    KAITO gives a spec that was there before its old number again, so that ours may be the larger one.
    """
    ours = str((workspace["metadata"].get("annotations") or {}).get(marks.REVISION, "1"))
    return max(int(ours) if ours.isdecimal() else 1, revision_of(workspace))


def revision_of(document: Json) -> int:
    """KAITO's revision of a Workspace or its Job; 1 when there is none yet."""
    text = (document["metadata"].get("annotations") or {}).get(REVISION, "1")
    return int(text) if text.isdigit() else 1
