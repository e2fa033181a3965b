"""Runs of KAITO's operator: a Workspace and its ConfigMap go in, the operator makes a Job, and its pods' logs tell how it goes.

The Workspace is the run: its name, its age, and (in annotations) the spec that it was submitted with. Everything else that
a run made is owned by it and goes with it.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Literal

from kaito_trainer.contract import Problem
from kaito_trainer.contract.problems import close_match

from ..cluster import pods as p
from ..cluster.client import Client
from ..cluster.follow import follow, snapshot
from ..cluster.logs import whole_log
from ..cluster.refusals import Forbidden, NotFound
from ..cluster.resources import SECRETS, WORKSPACES
from ..dataset import Dataset
from ..delivery import again
from ..errors import BackendError, RunNotFound, SpecError
from ..spec import DataSource, Difference, TuningSpec
from ..status import TERMINAL, Lines, RunRef, Status
from . import marks
from .base import Record, TuningJob
from .glance import Glance, alive
from .submission import Submission
from .workspace_judge import WorkspaceJudge, of_workspace

LABEL: Final = "kaito.sh/workspace"
"""KAITO's label of the Job and the pods of a Workspace."""


RETRIES_WITHIN: Final = 2 * 3600.0
"""Seconds after a Workspace's first word of failure in which a list looks whether its Job tries again."""


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
        return found + self._submission(TuningJob(spec, None, None)).against()

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
        """As `Backend.submit` says. A Workspace of that name that is there gets its next revision, where KAITO allows it."""
        if found := [x for x in self.problems(job.spec) if x.severity == "error"]:
            raise SpecError(found)
        return self._ref(self._submission(job).send())

    @property
    def server(self) -> str:
        return self.client.server

    def rehearse(self, job: TuningJob) -> list[Problem]:
        found = self.problems(job.spec)
        if any(x.path == "backend" for x in found):
            return found
        told = [x.path for x in found if x.severity == "error"]
        said = self._submission(job).rehearse()
        # What was found here is said better here.
        return [*found, *(x for x in said if not any(x.path.startswith(t) or t.startswith(x.path) for t in told))]

    def difference(self, job: TuningJob) -> Difference | None:
        return self._submission(job).difference()

    def _submission(self, job: TuningJob) -> Submission:
        there = self.client.find(WORKSPACES, job.spec.name, job.spec.namespace) if job.spec.name else None
        return Submission(self.client, job, there)

    def find(self, name: str, namespace: str | None = None) -> RunRef:
        if document := self.client.find(WORKSPACES, name, namespace):
            return self._ref(document)
        where = namespace or self.client.namespace
        names = [ref.name for ref in self.runs()]
        hint = close_match(name, names) or (f"The latest are: {', '.join(names[:5])}." if names else "There is none.")
        raise RunNotFound(f"run {name}: there is no such Workspace in namespace {where}. {hint}")

    def runs(self) -> Sequence[RunRef]:
        return [self._ref(w) for w in self._list()]

    def records(self, *, everywhere: bool = False) -> Sequence[Record]:
        """By one list of Workspaces; where some run, by one of pods too, and a look at the end of their logs."""
        found = [(w, self._ref(w), of_workspace(w)) for w in self._list(everywhere=everywhere)]
        if not alive(status for _, _, status in found) and not any(_may_retry(status) for _, _, status in found):
            return [marks.record_of(*each) for each in found]
        glance, records = Glance(self.client, LABEL, everywhere=everywhere), []
        for workspace, ref, status in found:
            record = marks.record_of(workspace, ref, status)
            place = (ref.namespace, ref.name)
            if _may_retry(status) and glance.pods(place):
                # KAITO says so at the first pod that fails, and goes on saying so while its Job tries again.
                status = replace(status, state="Running", reason=f"retrying: {status.reason}", kind="crash", ended=None)
            if status.state == "Running":
                status, tail = glance.status(place, status, ref.name), glance.tail(place, ref.name)
                record = replace(record, status=status, tail=tail)
            records.append(record)
        return records

    def record(self, ref: RunRef) -> Record:
        return marks.record_of(self._get(ref), ref, self.status(ref))

    def status(self, ref: RunRef) -> Status:
        self._get(ref)
        judge = WorkspaceJudge(ref.name)
        return judge(snapshot(self.client, namespace=ref.namespace, labels=f"{LABEL}={ref.name}", judge=judge))

    def keep(self, ref: RunRef, words: Sequence[str], revision: int) -> None:
        with contextlib.suppress(BackendError):
            self.client.patch(WORKSPACES, ref.name, marks.last(words, revision), ref.namespace)

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
        if self.status(ref).state != "Succeeded":  # not by the Workspace alone: it is told later than the Job
            return None
        output = document["tuning"]["output"]
        if image := output.get("image"):
            return str(image)
        claim = (output.get("volumeSource") or {}).get("persistentVolumeClaim") or {}
        return f"pvc:{claim['claimName']}" if claim else "the output volume"

    def _list(self, *, everywhere: bool = False) -> list[dict[str, Any]]:
        items, _ = self.client.list(WORKSPACES, everywhere=everywhere)
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


def _may_retry(status: Status) -> bool:
    """Whether a Workspace that says it has failed may have a Job that still tries again: its pauses grow to minutes."""
    return status.state == "Failed" and status.ended is not None and time.time() - status.ended < RETRIES_WITHIN


__all__ = ["KaitoBackend"]
