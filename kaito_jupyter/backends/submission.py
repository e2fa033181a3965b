"""One submission of a Workspace: all that it needs is there afterwards, or nothing is that was not there before.

The order is KAITO's: its webhook reads the ConfigMap when it gets the Workspace, so that one has to be there first. It also
reserves the name: of two kernels that want one, the first to make it has it. Whatever stops a submission (a refusal, a cluster out of
reach, an interrupt), what was made until then is taken away again.
"""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from kaito_trainer.contract import Problem

from ..cluster import pods as p
from ..cluster.client import Client
from ..cluster.refusals import ClusterError, Conflict, Denied, Invalid, NotFound
from ..cluster.resources import CONFIG_MAPS, JOBS, WORKSPACES, Resource, resource_of
from ..delivery import Delivered, deliver, rehearsed
from ..errors import SpecError
from ..spec import Difference
from ..spec.documents import MANAGED_BY
from . import live, marks, webhook
from .base import TuningJob
from .workspace_judge import run_revision

RESERVED: Final = 60.0
"""Seconds for which a name stays reserved by a ConfigMap that has no Workspace yet. A kernel that was killed amid a submission
leaves such a one."""
_TRIES: Final = 3

Json = dict[str, Any]


class Submission:
    """A job on its way to one cluster. Use `send` once; the rest asks, and changes nothing."""

    def __init__(self, client: Client, job: TuningJob, there: Mapping[str, Any] | None) -> None:
        """`there`: the Workspace of that name, when there is one: it gets its next revision."""
        self._client, self._job, self._there = client, job, there
        self._namespace = job.spec.namespace
        again = (there or {}).get("metadata", {}).get("labels") or {}
        self._labels = marks.labels(again.get(marks.RUN_ID))

    # Asking

    def documents(self, delivered: Delivered | None = None) -> list[Json]:
        """The ConfigMap and the Workspace, as they are sent."""
        job = self._job
        spec = rehearsed(job.spec) if delivered is None else delivered.told_to(job.spec)
        documents = spec.to_documents("kaito", job.dataset.rows if job.dataset else None)
        for document in documents:
            document["metadata"].setdefault("labels", {}).update(self._labels)
        facts = marks.facts(job, (delivered.kept or delivered.source) if delivered else None)
        documents[-1]["metadata"].setdefault("annotations", {}).update(facts)
        return documents

    def difference(self, wanted: Mapping[str, Any] | None = None) -> Difference | None:
        """What is different from the Workspace that is there; None when there is none."""
        if self._there is None:
            return None
        return live.difference(self._there, self._job, wanted or self.documents()[-1])

    def against(self, delivered: Delivered | None = None) -> list[Problem]:
        """What stands against the Workspace that is there. Until the data is delivered, it may come to another place."""
        if self._there is None:
            return []
        wanted = self.documents(delivered)[-1]
        difference = self.difference(wanted) or Difference([])
        delivers = delivered is None and self._job.spec.input.delivered
        return list(live.against(self._there, wanted, difference, delivers=delivers))

    def rehearse(self) -> list[Problem]:
        """All that the server says against these objects. It keeps none of them."""
        found: list[Problem] = []
        *others, workspace = self.documents()
        if self._there is None:
            # The webhook looks for the ConfigMap, which is not there yet, and would look into it for what we have checked.
            workspace["tuning"].pop("config", None)
        for document in (*others, workspace):
            try:
                self._client.apply(document, dry_run=True, force=True)
            except (Denied, Invalid, NotFound) as error:
                found += refused(error)
        return found

    # Doing

    def send(self) -> Json:
        """Make it, and give back the Workspace. Raises `SpecError` with all that is said against it, and `ClusterError`s."""
        with contextlib.ExitStack() as undo:
            delivered = self._delivered(undo)
            _raise(self.against(delivered))
            *others, workspace = self.documents(delivered)
            try:
                made = self._renew(undo, others, workspace, delivered) if self._there else None
                made = made or self._make(undo, others, workspace, delivered)
            except (Denied, Invalid) as error:
                raise SpecError(refused(error)) from error
            undo.pop_all()
        return made

    def _delivered(self, undo: contextlib.ExitStack) -> Delivered | None:
        job = self._job
        delivered = deliver(job.dataset, job.spec, client=self._client, target="kaito", on_progress=job.on_progress)
        for document in delivered.documents if delivered else ():
            name = document["metadata"]["name"]
            if self._client.find(resource_of(document), name, self._namespace) is None:
                undo.callback(self._drop_unowned, resource_of(document), name)
            self._client.apply(document, force=True)
        return delivered

    def _make(
        self, undo: contextlib.ExitStack, others: Sequence[Json], workspace: Json, delivered: Delivered | None
    ) -> Json:
        for document in others:
            undo.callback(self._drop, resource_of(document), document["metadata"]["name"])
            self._reserve(document)
        if self._client.find(WORKSPACES, workspace["metadata"]["name"], self._namespace):
            raise SpecError([_taken(workspace)])  # an apply would change what is there
        self._client.apply(workspace, dry_run=True, force=True)
        undo.callback(self._drop, WORKSPACES, workspace["metadata"]["name"])
        made = self._client.apply(workspace, force=True)
        self._own(made, others, delivered)
        return made

    def _renew(
        self, undo: contextlib.ExitStack, others: Sequence[Json], workspace: Json, delivered: Delivered | None
    ) -> Json:
        """The next revision of the Workspace that is there, and of no other one of its name."""
        assert self._there is not None
        number = run_revision(self._there) + 1
        workspace["metadata"]["uid"] = p.uid(self._there)
        notes = workspace["metadata"]["annotations"]
        notes |= {marks.REVISION: str(number), **self._replaced()}
        try:
            self._client.apply(workspace, dry_run=True, force=True)
            # The owner is there: it owns what is new before that is used.
            self._own(self._there, (), delivered)
            for document in others:
                name = document["metadata"]["name"]
                before = self._client.find(CONFIG_MAPS, name, self._namespace)
                undo.callback(self._restore, before, document, str(number))
                self._client.apply(document, force=True)
            self._own(self._there, others, None)
            return self._client.apply(workspace, force=True)
        except Conflict as error:
            raise SpecError([_taken(workspace)]) from error

    def _replaced(self) -> dict[str, str]:
        assert self._there is not None
        job = self._client.find(JOBS, p.name(self._there), self._namespace)
        return {marks.REPLACES: p.uid(job)} if job is not None else {}

    def _reserve(self, document: Json) -> None:
        """Make the object, as the only one who does."""
        name = document["metadata"]["name"]
        for _ in range(_TRIES):
            try:
                self._client.create(document)
                return
            except Conflict:
                there = self._client.find(CONFIG_MAPS, name, self._namespace)
                if there is None:
                    continue
                if (there["metadata"].get("labels") or {}).get(MANAGED_BY[0]) != MANAGED_BY[1]:
                    message = f"there is a ConfigMap {name} in namespace {self._namespace} that is not ours."
                    raise SpecError([Problem("metadata.name", message, "Choose another name.")]) from None
                fresh = time.time() - (p.created(there) or 0.0) < RESERVED
                if fresh and not there["metadata"].get("ownerReferences"):
                    raise SpecError([_taken(document)]) from None
                # Its Workspace is gone, or never came to be.
                with contextlib.suppress(Conflict):
                    self._client.delete(CONFIG_MAPS, name, self._namespace, uid=p.uid(there))
        raise SpecError([_taken(document)])

    def _own(self, owner: Mapping[str, Any], documents: Sequence[Json], delivered: Delivered | None) -> None:
        """Have all of it go when the Workspace goes."""
        reference = {
            "apiVersion": WORKSPACES.api_version,
            "kind": WORKSPACES.kind,
            "name": p.name(owner),
            "uid": p.uid(owner),
        }
        if delivered is not None:
            delivered.own(reference)
        for document in documents:
            name = document["metadata"]["name"]
            there = self._client.get(resource_of(document), name, self._namespace)
            owners = [o for o in there["metadata"].get("ownerReferences") or () if o["uid"] != reference["uid"]]
            change = {"metadata": {"ownerReferences": [*owners, reference]}}
            self._client.patch(resource_of(document), name, change, self._namespace)

    # Undoing: who calls these has an error to tell already

    def _drop(self, resource: Resource, name: str) -> None:
        """Take away what this very submission made."""
        with contextlib.suppress(ClusterError):
            there = self._client.find(resource, name, self._namespace)
            mark = self._labels[marks.RUN_ID]
            if there is not None and (there["metadata"].get("labels") or {}).get(marks.RUN_ID) == mark:
                self._client.delete(resource, name, self._namespace, uid=p.uid(there))

    def _drop_unowned(self, resource: Resource, name: str) -> None:
        """Take away data that no run uses."""
        with contextlib.suppress(ClusterError):
            there = self._client.find(resource, name, self._namespace)
            owners = [] if there is None else there["metadata"].get("ownerReferences") or []
            lives = [o for o in owners if self._client.find(WORKSPACES, o["name"], self._namespace)]
            if there is not None and not lives:
                self._client.delete(resource, name, self._namespace, uid=p.uid(there))

    def _restore(self, before: Mapping[str, Any] | None, document: Json, number: str) -> None:
        """Give an object back what it held, unless the Workspace that uses its new content was changed already."""
        with contextlib.suppress(ClusterError):
            workspace = self._client.find(WORKSPACES, p.name(self._there or {}), self._namespace) or {"metadata": {}}
            if (workspace["metadata"].get("annotations") or {}).get(marks.REVISION) == number:
                return
            name = document["metadata"]["name"]
            if before is None:
                self._client.delete(CONFIG_MAPS, name, self._namespace)
                return
            old = copy.deepcopy(document)
            old["data"] = before.get("data") or {}
            self._client.apply(old, force=True)


def refused(error: ClusterError) -> list[Problem]:
    """The server's refusal, a problem for each of its findings."""
    return webhook.problems(error)


def _raise(found: Sequence[Problem]) -> None:
    if errors := [x for x in found if x.severity == "error"]:
        raise SpecError(errors)


def _taken(document: Mapping[str, Any]) -> Problem:
    name = document["metadata"]["name"]
    return Problem(
        "metadata.name", f'the name was taken a moment ago ("{name}").', "Try again, or choose another name."
    )


__all__ = ["Submission", "refused"]
