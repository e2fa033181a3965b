"""Runs of KAITO's operator: a Workspace and its ConfigMap go in, the operator makes a Job, and its pods' logs tell how it goes.

The Workspace is the run: its name, its age, and (in annotations) the spec that it was submitted with. Everything else that
a run made is owned by it and goes with it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Literal

from kaito_trainer.contract import Problem
from kaito_trainer.contract.problems import close_match, shown

from ..cluster import pods as p
from ..cluster.client import Client
from ..cluster.follow import follow, snapshot
from ..cluster.logs import whole_log
from ..cluster.refusals import Denied, Forbidden, Invalid, NotFound
from ..cluster.resources import SECRETS, WORKSPACES, resource_of
from ..dataset import Dataset
from ..delivery import Delivered, again, deliver
from ..errors import RunNotFound, SpecError
from ..spec import DataSource, TuningSpec
from ..status import TERMINAL, Lines, RunRef, Status
from . import marks
from .base import Record, TuningJob
from .workspace_judge import WorkspaceJudge, of_workspace

LABEL: Final = "kaito.sh/workspace"
"""KAITO's label of the Job and the pods of a Workspace."""
FIXED: Final = ("tuning.preset.name", "tuning.method", "resource.instanceType")
"""What KAITO's webhook does not let change in a live Workspace."""
RERUN: Final = ("tuning.input", "tuning.output")
"""What makes the operator delete the Job and make a new one: the same run, its next revision."""


class KaitoBackend:
    """Workspaces of one cluster, as one login sees it. `namespace` is where runs are looked for when none is named."""

    name: Literal["kaito"] = "kaito"

    def __init__(
        self, context: str | None = None, namespace: str | None = None, *, client: Client | None = None
    ) -> None:
        self.client = client or Client.connect(context, namespace)

    def __repr__(self) -> str:
        return f"KaitoBackend({self.client.context!r}, namespace={self.client.namespace!r})"

    def problems(self, spec: TuningSpec) -> list[Problem]:
        found: list[Problem] = []
        if not self.client.serves(WORKSPACES):
            message = f"the cluster {self.client.context} has no Workspaces: KAITO is not installed there."
            return [Problem("backend", message, 'Use the backend "job", or have KAITO installed.')]
        found += self._secrets(spec)
        if spec.name and (live := self.client.find(WORKSPACES, spec.name, spec.namespace)):
            found += _against(live, spec)
        return found

    def _secrets(self, spec: TuningSpec) -> list[Problem]:
        """Secrets that are named and not there: KAITO looks for none, and a pod that lacks one waits for ever.

        Who may not read secrets is told nothing.
        """
        named = [(f"tuning.input.imagePullSecrets[{i}]", s) for i, s in enumerate(spec.input.image_pull_secrets)]
        if spec.output.image and spec.output.image_push_secret:
            named.append(("tuning.output.imagePushSecret", spec.output.image_push_secret))
        if spec.model_access_secret:
            named.append(("tuning.preset.presetOptions.modelAccessSecret", spec.model_access_secret))
        try:
            gone = [(path, name) for path, name in named if self.client.find(SECRETS, name, spec.namespace) is None]
        except Forbidden:
            return []
        return [
            Problem(
                path,
                f"there is no Secret {name} in namespace {spec.namespace}, and no pod starts without it.",
                f"Create it there (`kubectl create secret -n {spec.namespace} …`), or name another.",
            )
            for path, name in gone
        ]

    def submit(self, job: TuningJob) -> RunRef:
        if found := [x for x in self.problems(job.spec) if x.severity == "error"]:
            raise SpecError(found)
        spec = job.spec
        delivered = None
        if job.dataset is not None:
            delivered = deliver(job.dataset, spec, client=self.client, target=self.name, on_progress=job.on_progress)
        *others, workspace = self._documents(job, delivered)
        made = [o for o in others if self.client.find(resource_of(o), o["metadata"]["name"], spec.namespace) is None]
        try:
            # KAITO's webhook reads the ConfigMap when it gets the Workspace, so that one must be there before.
            for document in others:
                self.client.apply(document, force=True)
            self.client.apply(workspace, dry_run=True, force=True)
        except (Denied, Invalid) as error:
            for document in made:
                self.client.delete(resource_of(document), document["metadata"]["name"], spec.namespace)
            raise SpecError(_refused(error)) from error
        live = self.client.apply(workspace, force=True)
        owner = {
            "apiVersion": WORKSPACES.api_version,
            "kind": WORKSPACES.kind,
            "name": p.name(live),
            "uid": p.uid(live),
        }
        if delivered is not None:
            delivered.own(owner)
            others = others[len(delivered.documents) :]
        for document in others:
            self._own(owner, document)
        return self._ref(live)

    def _documents(self, job: TuningJob, delivered: Delivered | None) -> list[dict[str, Any]]:
        """What is applied: the data's objects first, the Workspace last."""
        spec = job.spec if delivered is None else replace(job.spec, input=delivered.source)
        documents = spec.to_documents("kaito", job.dataset.rows if job.dataset else None)
        labels = marks.labels()
        for document in documents:
            document["metadata"].setdefault("labels", {}).update(labels)
        workspace = documents[-1]
        workspace["metadata"].setdefault("annotations", {}).update(marks.facts(job, delivered.source if delivered else None))
        return [*(delivered.documents if delivered else ()), *documents]

    def _own(self, owner: Mapping[str, Any], document: Mapping[str, Any]) -> None:
        """Have an object go when its Workspace goes."""
        name, namespace = document["metadata"]["name"], document["metadata"]["namespace"]
        there = self.client.get(resource_of(document), name, namespace)
        owners = [o for o in there["metadata"].get("ownerReferences") or () if o["uid"] != owner["uid"]]
        change = {"metadata": {"ownerReferences": [*owners, owner]}}
        self.client.patch(resource_of(document), name, change, namespace)

    def find(self, name: str, namespace: str | None = None) -> RunRef:
        if document := self.client.find(WORKSPACES, name, namespace):
            return self._ref(document)
        where = namespace or self.client.namespace
        names = [ref.name for ref in self.runs()]
        hint = close_match(name, names) or (f"The latest are: {', '.join(names[:5])}." if names else "There is none.")
        raise RunNotFound(f"run {name}: there is no such Workspace in namespace {where}. {hint}")

    def runs(self) -> Sequence[RunRef]:
        return [self._ref(w) for w in self._list()]

    def records(self) -> Sequence[Record]:
        return [marks.record_of(w, self._ref(w), of_workspace(w)) for w in self._list()]

    def record(self, ref: RunRef) -> Record:
        return marks.record_of(self._get(ref), ref, self.status(ref))

    def status(self, ref: RunRef) -> Status:
        self._get(ref)
        judge = WorkspaceJudge(ref.name)
        return judge(snapshot(self.client, namespace=ref.namespace, labels=f"{LABEL}={ref.name}", judge=judge))

    def spec(self, ref: RunRef) -> TuningSpec:
        return marks.spec_of(self._get(ref))

    def sent(self, ref: RunRef) -> Dataset | DataSource:
        return again(self.client, marks.sent_of(self._get(ref)), ref.namespace)

    def follow(self, ref: RunRef, since: str | None, stop: threading.Event) -> Iterator[Lines | Status | None]:
        judge = WorkspaceJudge(ref.name, met=True)
        return follow(
            self.client,
            namespace=ref.namespace,
            labels=f"{LABEL}={ref.name}",
            judge=judge,
            since=since,
            stop=stop,
            belongs=judge.belongs,
        )

    def logs(self, ref: RunRef, tail: int | None = None) -> list[str]:
        self._get(ref)
        return whole_log(self.client, ref.namespace, f"{LABEL}={ref.name}", main=ref.name, tail=tail)

    def cancel(self, ref: RunRef) -> None:
        """KAITO knows no way to end a tuning but to delete its Workspace: nothing is left of it but a pushed adapter."""
        document = self.client.find(WORKSPACES, ref.name, ref.namespace)
        if document is not None and self.status(ref).state not in TERMINAL:
            self.client.delete(WORKSPACES, ref.name, ref.namespace, uid=p.uid(document))

    def delete(self, ref: RunRef) -> None:
        self.client.delete(WORKSPACES, ref.name, ref.namespace, propagation="Foreground")

    def adapter(self, ref: RunRef) -> str | None:
        document = self._get(ref)
        if of_workspace(document).state != "Succeeded":
            return None
        output = document["tuning"]["output"]
        if image := output.get("image"):
            return str(image)
        claim = (output.get("volumeSource") or {}).get("persistentVolumeClaim") or {}
        return f"pvc:{claim['claimName']}" if claim else "the output volume"

    def _list(self) -> list[dict[str, Any]]:
        items, _ = self.client.list(WORKSPACES)
        tuning = [w for w in items if w.get("tuning")]
        return sorted(tuning, key=p.created, reverse=True)

    def _get(self, ref: RunRef) -> dict[str, Any]:
        try:
            return self.client.get(WORKSPACES, ref.name, ref.namespace)
        except NotFound:
            raise RunNotFound(
                f"run {ref.name}: there is no such Workspace any more in namespace {ref.namespace}. It was deleted."
            ) from None

    def _ref(self, document: Mapping[str, Any]) -> RunRef:
        return RunRef(self.name, p.name(document), document["metadata"]["namespace"], self.client.context)


def _against(live: Mapping[str, Any], spec: TuningSpec) -> Iterator[Problem]:
    """What stands against a spec whose Workspace is there already: what cannot change, or that nothing would."""
    name = p.name(live)
    try:
        old = marks.spec_of(live)
    except (SpecError, RunNotFound):
        old = None
    wanted = spec.resolved("kaito").to_documents("kaito")[-1]
    fixed = [(path, mine, theirs) for path in FIXED if (mine := _at(live, path)) != (theirs := _at(wanted, path))]
    for path, mine, theirs in fixed:
        yield Problem(
            path,
            f"the Workspace {name} runs with {shown(mine)}, and KAITO lets no live Workspace change to {shown(theirs)}.",
            f"Choose another name, or remove that run first with `%kaito delete {name}`.",
        )
    if fixed:
        return
    changed = [path for path in RERUN if old is None or _at(live, path) != _at(wanted, path)]
    if not changed:
        yield Problem(
            "metadata.name",
            f'"{name}" is the name of a Workspace that is there already, with the same input and output.',
            f"Choose another name, watch that run with `%kaito watch {name}`, or remove it with `%kaito delete {name}`.",
        )
    for path in changed:
        yield Problem(
            path,
            f"differs from the Workspace {name} that is there: KAITO will run it again.",
            "It becomes the next revision of the same run.",
            "note",
        )


def _at(document: Mapping[str, Any], path: str) -> Any:
    value: Any = document
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _refused(error: Denied | Invalid) -> list[Problem]:
    """The server's refusal, a problem for each cause."""
    causes = list(error.causes) or [error.said]
    return [
        Problem("Workspace", cause.rstrip(".") + ".", error.REMEDY or "Change the spec accordingly.")
        for cause in causes
    ]


__all__ = ["KaitoBackend"]
