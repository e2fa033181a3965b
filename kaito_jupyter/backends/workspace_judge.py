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

Json = Mapping[str, Any]

REVISION: Final = "workspace.kaito.io/revision"
"""KAITO's annotation of a Workspace and its Job: grows with each change of the spec."""


@dataclass(slots=True)
class WorkspaceJudge:
    """A run that is one Workspace. One that is gone after it was seen was deleted, and so its run was cancelled."""

    name: str
    met: bool = False

    @property
    def main(self) -> str:
        """KAITO names the trainer's container after the Workspace."""
        return self.name

    @property
    def watched(self) -> Sequence[Watched]:
        field = f"metadata.name={self.name}"
        return (Watched(WORKSPACES, fields=field), Watched(JOBS, fields=field))

    def __call__(self, view: View) -> Status:
        workspace, job = view.only(WORKSPACES), view.only(JOBS)
        if workspace is None:
            if self.met:
                return Status("Cancelled", "the Workspace was deleted")
            return Status("Pending", "waiting for the Workspace")
        self.met = True
        created = p.created(workspace)
        if workspace["metadata"].get("deletionTimestamp"):
            return Status("Running", "the Workspace is being deleted", created=created)
        if job is None or job["metadata"].get("deletionTimestamp"):
            return before_job(workspace)
        status = of_job(job, view, self.main)
        revision = revision_of(job)
        if status.state in ("Pending", "Running") and revision > 1:
            status = replace(status, reason="; ".join(filter(None, (f"revision {revision}", status.reason))))
        return replace(status, created=created)


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
    known = Status("Pending", created=p.created(workspace))
    done = p.condition(workspace, "WorkspaceSucceeded") or {}
    when = p.seconds(done.get("lastTransitionTime"))
    if state == "Succeeded":
        return replace(known, state="Succeeded", ended=when)
    if state == "Failed":
        return replace(known, state="Failed", reason=str(done.get("message") or "the tuning Job failed"), ended=when)
    started = p.condition(workspace, "JobStarted") or {}
    if state == "Running":
        return replace(known, state="Running", started=p.seconds(started.get("lastTransitionTime")))
    return replace(known, reason=why_waiting(workspace))


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


def revision_of(document: Json) -> int:
    """KAITO's revision of a Workspace or its Job; 1 when there is none yet."""
    text = (document["metadata"].get("annotations") or {}).get(REVISION, "1")
    return int(text) if text.isdigit() else 1
