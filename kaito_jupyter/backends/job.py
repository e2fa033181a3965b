"""Runs as our own Jobs, on any cluster with GPUs.

The Job is the run: its name, its age, and (in annotations) all that another kernel has to know of it. Everything else that
a run made is owned by the Job and goes with it; so do its pods, whose logs are the curve.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Literal

from kaito_trainer.contract import Event, Problem, decode
from kaito_trainer.contract.problems import close_match

from .. import manifests
from ..cluster import pods as p
from ..cluster.client import Client
from ..cluster.connection import Stop
from ..cluster.follow import follow, snapshot
from ..cluster.logs import whole_log
from ..cluster.refusals import ClusterError, Conflict, Denied, Forbidden, Invalid, NotFound
from ..cluster.resources import JOBS, NODES, PODS
from ..dataset import Dataset
from ..delivery import again, deliver, rehearsed
from ..errors import BackendError, RunNotFound, SpecError
from ..manifests import pod as names
from ..spec import DataSource, Difference, TuningSpec
from ..status import TERMINAL, Lines, RunRef, Status
from . import marks
from .base import Record, TuningJob
from .glance import Glance, alive
from .job_judge import CANCELLED, RunJudge, of_job_alone

IMAGE_VARIABLE: Final = "KAITO_TRAINER_IMAGE"
"""The trainer's image, when a spec names none."""
FAILURE_RULES: Final = (1, 26)
"""The Kubernetes version from which on a Job takes `podFailurePolicy`."""
DELETED_WITHIN: Final = 1
"""Seconds that the containers of a deleted run have: what they could save, nobody wants."""
_TAIL: Final = 50
_SLACK: Final = 30
"""Seconds after a cancel's grace from which on nothing of it can run, whatever an old kubelet tells."""

Json = dict[str, Any]


class JobBackend:
    """Jobs of one cluster, as one login sees it. `namespace` is where runs are looked for when none is named."""

    name: Literal["job"] = "job"

    def __init__(
        self, context: str | None = None, namespace: str | None = None, *, client: Client | None = None
    ) -> None:
        self.client = client or Client.connect(context, namespace)
        self._version: tuple[int, int] | None = None

    def __repr__(self) -> str:
        return f"JobBackend({self.client.context!r}, namespace={self.client.namespace!r})"

    # Starting

    def problems(self, spec: TuningSpec) -> list[Problem]:
        """The image missing, the name taken, and all that the server says against the objects in a strict dry run."""
        spec = spec.named()
        found = [*_image_problems(spec), *self._taken(spec)]
        if found:
            return found
        return self._refused(self._documents(rehearsed(spec), marks.labels(), {}, None))

    def submit(self, job: TuningJob) -> RunRef:
        spec, rows = job.spec, job.dataset.rows if job.dataset else None
        if found := [*_image_problems(spec), *self._taken(spec, job)]:
            raise SpecError(found)
        labels = marks.labels()
        delivered = deliver(job.dataset, spec, client=self.client, target=self.name, on_progress=job.on_progress)
        sent = (delivered.kept or delivered.source) if delivered else None
        spec = delivered.told_to(spec) if delivered else spec
        config, document = self._documents(spec, labels, marks.facts(job, sent), rows)
        if found := self._refused([*(delivered.documents if delivered else ()), config, document]):
            raise SpecError(found)
        try:
            # Created, not applied: of two kernels that want one name, one gets it. What it needs comes right after it,
            # long before its pod has a node.
            live = self.client.create(document)
        except Conflict:
            raise SpecError(self._taken(spec, job) or [_gone_again(spec)]) from None
        except BaseException:  # interrupted or cut off, it may have been made all the same
            self._drop(spec, labels)
            raise
        try:
            if delivered is not None:
                delivered.own(_owner(live))
            config["metadata"]["ownerReferences"] = [_owner(live)]
            self.client.apply(config)
        except BaseException:
            self._drop(spec, labels)
            raise
        return self._ref(live)

    def _drop(self, spec: TuningSpec, labels: Mapping[str, str]) -> None:
        """Take away the Job that this very submission made. Who calls it has an error to tell already."""
        with contextlib.suppress(ClusterError):
            there = self.client.find(JOBS, spec.name or "", spec.namespace)
            if there and (there["metadata"].get("labels") or {}).get(marks.RUN_ID) == labels[marks.RUN_ID]:
                self.client.delete(JOBS, p.name(there), spec.namespace, uid=p.uid(there))

    @property
    def server(self) -> str:
        return self.client.server

    def rehearse(self, job: TuningJob) -> list[Problem]:
        if found := [*_image_problems(job.spec), *self._taken(job.spec, job)]:
            return found
        return self.problems(job.spec)

    def difference(self, job: TuningJob) -> Difference | None:
        there = self.client.find(JOBS, job.spec.name, job.spec.namespace) if job.spec.name else None
        return marks.difference(there, job) if there is not None and _is_ours(there) else None

    def _documents(self, spec: TuningSpec, labels: Json, facts: Mapping[str, str], rows: int | None) -> list[Json]:
        options = manifests.Options(
            image=image_of(spec) or "",
            labels=labels,
            annotations=facts,
            failure_rules=self._server_version() >= FAILURE_RULES,
        )
        return manifests.job(spec, options, rows=rows)

    def _server_version(self) -> tuple[int, int]:
        if self._version is None:
            numbers = re.findall(r"\d+", self.client.version())[:2]
            self._version = (int(numbers[0]), int(numbers[1])) if len(numbers) == 2 else (1, 0)
        return self._version

    def _refused(self, documents: Sequence[Json]) -> list[Problem]:
        """All that the server says against these objects, without making any."""
        found: list[Problem] = []
        for document in documents:
            try:
                self.client.apply(document, dry_run=True)
            except (Conflict, Denied, Invalid, NotFound) as error:
                remedy = error.REMEDY or "Change the spec accordingly."
                said = [f"{c.rstrip('.')}." for c in error.causes] or [" ".join(str(error).splitlines())]
                found += [Problem(document["kind"], text, remedy if error.causes else "") for text in said]
        return found

    def _taken(self, spec: TuningSpec, wanted: TuningJob | None = None) -> list[Problem]:
        if spec.name is None:
            return []
        job = self.client.find(JOBS, spec.name, spec.namespace)
        if job is None:
            return []
        path = "metadata.name"
        if marks.RUN_ID not in (job["metadata"].get("labels") or {}):
            what = f'"{spec.name}" is the name of a Job in namespace {spec.namespace} that is not ours.'
            return [Problem(path, what, "Choose another name.")]
        state = of_job_alone(job).state
        what = f'"{spec.name}" is the name of a run in namespace {spec.namespace} ({state}), and no Job can be changed.'
        with contextlib.suppress(BackendError, SpecError):
            difference = marks.difference(job, wanted or TuningJob(spec, None, None))
            same = "It was started with the same spec" + (" and data." if wanted else ".")
            what += f" What differs: {'; '.join(difference.lines())}." if difference else f" {same}"
        verb = "remove that one" if state in TERMINAL else "end and remove that one"
        return [Problem(path, what, f"Choose another name, or {verb} with `%kaito delete {spec.name}`.")]

    # Finding

    def find(self, name: str, namespace: str | None = None) -> RunRef:
        job = self.client.find(JOBS, name, namespace)
        if job is not None and _is_ours(job):
            return self._ref(job)
        where = namespace or self.client.namespace
        known = [ref.name for ref in map(self._ref, self._list(namespace))]
        hint = close_match(name, known) or (f"The latest are: {', '.join(known[:5])}." if known else "There is none.")
        raise RunNotFound(f"run {name}: there is no such Job of ours in namespace {where}. {hint}")

    def runs(self) -> Sequence[RunRef]:
        return [self._ref(job) for job in self._list()]

    def records(self, *, everywhere: bool = False) -> Sequence[Record]:
        """By one list of Jobs; where some run, by one of pods too, and a look at the end of their logs."""
        found = [(job, self._ref(job), of_job_alone(job)) for job in self._list(everywhere=everywhere)]
        if not alive(status for _, _, status in found):
            return [marks.record_of(*each) for each in found]
        glance, records = Glance(self.client, marks.RUN_ID, everywhere=everywhere), []
        for job, ref, status in found:
            record = marks.record_of(job, ref, status)
            if status.state == "Running":
                place = (ref.namespace, job["metadata"]["labels"][marks.RUN_ID])
                status, tail = glance.status(place, status, names.MAIN), glance.tail(place, names.MAIN)
                record = replace(record, status=status, tail=tail)
            records.append(record)
        return records

    def record(self, ref: RunRef) -> Record:
        return marks.record_of(self._get(ref), ref, self.status(ref))

    def status(self, ref: RunRef) -> Status:
        job = self._get(ref)
        judge = RunJudge(ref.name, node=self._node)
        view = snapshot(self.client, namespace=ref.namespace, labels=_pods_of(ref), judge=judge)
        asked = p.seconds((job["metadata"].get("annotations") or {}).get(CANCELLED))
        if asked is not None and time.time() > asked + names.GRACE + _SLACK:
            view.pods = [*map(p.settled, view.pods)]
        return judge(view)

    def keep(self, ref: RunRef, words: Sequence[str], revision: int) -> None:
        with contextlib.suppress(BackendError):
            self.client.patch(JOBS, ref.name, marks.last(words, revision), ref.namespace)

    def spec(self, ref: RunRef) -> TuningSpec:
        return marks.spec_of(self._get(ref))

    def sent(self, ref: RunRef) -> Dataset | DataSource:
        return again(self.client, marks.sent_of(self._get(ref)), ref.namespace)

    # Watching

    def follow(self, ref: RunRef, since: str | None, stop: threading.Event) -> Iterator[Lines | Status | None]:
        judge = RunJudge(ref.name, met=True, node=self._node)
        return follow(self.client, namespace=ref.namespace, labels=_pods_of(ref), judge=judge, since=since, stop=stop)

    def _node(self, name: str) -> Json | None:
        """A node, where we may see nodes."""
        with contextlib.suppress(ClusterError):
            return self.client.find(NODES, name)
        return None

    def logs(self, ref: RunRef, tail: int | None = None) -> list[str]:
        self._get(ref)
        return whole_log(self.client, ref.namespace, _pods_of(ref), main=names.MAIN, tail=tail)

    # Ending

    def cancel(self, ref: RunRef) -> None:
        """Have the containers ended as by SIGTERM, with time to save and to push; the pod stays, and with it the log.

        That is what a pod's deadline does. A pod that was not started yet has nothing to keep: it is deleted.
        """
        job = self._get(ref)
        if of_job_alone(job).state in TERMINAL:
            return
        pods, _ = self.client.list(PODS, ref.namespace, labels=_pods_of(ref))
        live = [x for x in pods if (x.get("status") or {}).get("phase") in ("Pending", "Running")]
        started = [x for x in live if (x.get("status") or {}).get("startTime")]
        # No pod after this one: what failed before still counts, so that the pod is not taken away for being one too many.
        change: Json = {"backoffLimit": int((job.get("status") or {}).get("failed") or 0)}
        if not started:
            # The deadline gives the Job an end, without which its TTL would never begin.
            change = {"parallelism": 0, "activeDeadlineSeconds": 1}
        notes = {CANCELLED: p.now_stamp(time.time())}
        try:
            self.client.patch(JOBS, ref.name, {"metadata": {"annotations": notes}, "spec": change}, ref.namespace)
            for pod in started:
                self._end(pod)
            for pod in (x for x in live if x not in started):
                self.client.delete(PODS, p.name(pod), ref.namespace, uid=p.uid(pod), grace_seconds=0)
        except NotFound:
            return  # it was deleted meanwhile

    def _end(self, pod: Json) -> None:
        name, namespace = p.name(pod), pod["metadata"]["namespace"]
        try:
            self.client.patch(PODS, name, {"spec": {"activeDeadlineSeconds": 1}}, namespace)
        except (Forbidden, Invalid):  # deleting it ends it as gently, but its log goes with it
            self.client.delete(PODS, name, namespace, uid=p.uid(pod))

    def delete(self, ref: RunRef) -> None:
        pods, _ = self.client.list(PODS, ref.namespace, labels=_pods_of(ref))
        self.client.delete(JOBS, ref.name, ref.namespace)
        for pod in pods:
            with contextlib.suppress(Conflict):
                self.client.delete(PODS, p.name(pod), ref.namespace, uid=p.uid(pod), grace_seconds=DELETED_WITHIN)

    def adapter(self, ref: RunRef) -> str | None:
        """The image with its digest, or the claim. After a cancel too, when there was something to save."""
        job = self._get(ref)
        state = of_job_alone(job).state
        if state not in ("Succeeded", "Cancelled"):
            return None
        output = marks.spec_of(job).output
        if output.image is not None:
            pushed = self._last_event(ref, names.PUSHER, "push")
            if pushed is not None:
                return f"{output.image}@{pushed.data['digest']}"
            return output.image if state == "Succeeded" else None
        if state == "Cancelled":
            ending = self._last_event(ref, names.MAIN, "train_end")
            if ending is None or not ending.data.get("adapter"):
                return None
        claim = (output.volume_source or {}).get("persistentVolumeClaim") or {}
        return f"pvc:{claim['claimName']}" if claim else "the output volume"

    def _last_event(self, ref: RunRef, container: str, type: str) -> Event | None:
        """The last event of that type in the end of a container's log; None when the log is gone."""
        pods, _ = self.client.list(PODS, ref.namespace, labels=_pods_of(ref))
        query = {"container": container, "tailLines": _TAIL}
        for pod in sorted(pods, key=p.created, reverse=True):
            try:
                with self.client.log(p.name(pod), ref.namespace, query, stop=Stop(), read_timeout=30.0) as pieces:
                    lines = b"".join(pieces).splitlines()
            except (Invalid, NotFound):
                continue
            for line in reversed(lines):
                event = decode(line)
                if event is not None and event.type == type:
                    return event
        return None

    def _list(self, namespace: str | None = None, *, everywhere: bool = False) -> list[Json]:
        labels = f"{marks.MANAGED},{marks.RUN_ID}"
        jobs, _ = self.client.list(JOBS, namespace, labels=labels, everywhere=everywhere)
        return sorted(jobs, key=p.created, reverse=True)

    def _get(self, ref: RunRef) -> Json:
        try:
            return self.client.get(JOBS, ref.name, ref.namespace)
        except NotFound:
            raise RunNotFound(
                f"run {ref.name}: there is no such Job any more in namespace {ref.namespace}. It was deleted."
            ) from None

    def _ref(self, job: Mapping[str, Any]) -> RunRef:
        return RunRef(self.name, p.name(job), job["metadata"]["namespace"], self.client.context)


def image_of(spec: TuningSpec) -> str | None:
    """The trainer's image: the spec's, else the environment's."""
    return spec.placement.image or os.environ.get(IMAGE_VARIABLE) or None


def _image_problems(spec: TuningSpec) -> list[Problem]:
    if image_of(spec) is None:
        message = "it is not said which image the trainer runs in."
        remedy = f"Give one (--image, or {IMAGE_VARIABLE} in the environment): `make image` or `docker build trainer` makes one."
        return [Problem("placement.image", message, remedy)]
    return []


def _owner(job: Mapping[str, Any]) -> Json:
    return {"apiVersion": JOBS.api_version, "kind": JOBS.kind, "name": p.name(job), "uid": p.uid(job)}


def _is_ours(job: Mapping[str, Any]) -> bool:
    return marks.RUN_ID in (job["metadata"].get("labels") or {})


def _pods_of(ref: RunRef) -> str:
    """The label that Kubernetes itself puts on a Job's pods."""
    return f"job-name={ref.name}"


def _gone_again(spec: TuningSpec) -> Problem:
    return Problem("metadata.name", f'"{spec.name}" was taken a moment ago.', "Try again.")


__all__ = ["JobBackend"]
