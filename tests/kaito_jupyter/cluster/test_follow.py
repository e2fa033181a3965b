"""One run as one stream, from a server whose watches tell things in an unlucky order."""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from api_server import Answer, ApiServer, Request
from kube_objects import ENDED_AT, ended, job, pod, running

from kaito_jupyter.cluster import follow as follow_module
from kaito_jupyter.cluster.client import Client
from kaito_jupyter.cluster.follow import follow, snapshot
from kaito_jupyter.cluster.judge import JobJudge
from kaito_jupyter.status import Lines, Status

Json = dict[str, Any]
LABELS = "job-name=run-1"


class Cluster:
    """One Job and its pods. Lists tell how they are; the watch of pods is silent: it is behind all else."""

    def __init__(self, server: ApiServer) -> None:
        self.jobs: list[Json] = []
        self.lists_of_pods: list[list[Json]] = []
        """What one list after the other says; the last for ever."""
        self.logs: dict[str, list[str]] = {}
        self.behind = threading.Event()
        self.deleted: list[Json] = []
        """Pods whose end the watch tells at once, before any second list has come."""
        self._told = threading.Event()
        server.answer = self

    def __call__(self, request: Request) -> Answer:
        if request.path.endswith("/log"):
            which = f"{request.path.split('/')[-2]}{' before' if request.query.get('previous') else ''}"
            lines = self.logs.get(which, [])
            text = "".join(f"2026-11-24T13:44:{i:02d}.000000000Z {line}\n" for i, line in enumerate(lines, 10))
            return Answer(pieces=[text.encode()] if text else [])
        if request.query.get("watch"):
            pieces = []
            if request.path.endswith("/pods"):
                events = [{"type": "DELETED", "object": versioned(pod, 9)} for pod in self.deleted]
                pieces = [json.dumps(event).encode() + b"\n" for event in events]
                threading.Timer(0.5, self._told.set).start()
            return Answer(pieces=pieces, hold=self.behind)
        jobs = request.path.endswith("/jobs")
        if jobs:
            items = self.jobs
        else:
            first = len(self.lists_of_pods) > 1
            items = self.lists_of_pods.pop(0) if first else self.lists_of_pods[0]
            if not first and self.deleted:
                self._told.wait(30)
        return Answer(body={"items": copy.deepcopy(items), "metadata": {"resourceVersion": "7"}})


def versioned(item: Json, version: int) -> Json:
    return {**item, "metadata": {**item["metadata"], "resourceVersion": str(version)}}


@pytest.fixture
def cluster(server: ApiServer) -> Iterator[Cluster]:
    made = Cluster(server)
    yield made
    made.behind.set()


def followed(client: Client) -> tuple[list[str], list[Status]]:
    judge = JobJudge("run-1", "trainer")
    items = list(follow(client, namespace=None, labels=LABELS, judge=judge, stop=threading.Event(), silence=60))
    lines = [text for item in items if isinstance(item, Lines) for text in item.texts]
    return lines, [item for item in items if isinstance(item, Status)]


def test_a_job_whose_end_is_known_before_its_pods_does_not_cost_the_last_lines(
    cluster: Cluster, client: Client
) -> None:
    first, again = ended(1), ended()
    again |= {"restartCount": 1, "lastState": first["state"]}
    cluster.jobs = [versioned(job("Complete"), 6)]
    cluster.lists_of_pods = [[versioned(pod(main=first), 3)], [versioned(pod("Succeeded", main=again), 5)]]
    cluster.logs = {"run-1-abcde": ["instance 0", "instance 1"], "run-1-abcde before": ["instance 0"]}
    lines, statuses = followed(client)
    assert lines == ["instance 0", "instance 1"]
    assert [s.state for s in statuses] == ["Succeeded"]
    assert (statuses[-1].started, statuses[-1].ended) != (None, None)
    assert statuses[-1].ended == ENDED_AT


def test_a_pod_that_no_watch_told_of_is_read_before_the_end(cluster: Cluster, client: Client) -> None:
    cluster.jobs = [versioned(job("Complete"), 6)]
    cluster.lists_of_pods = [[], [versioned(pod("Succeeded", main=ended()), 5)]]
    cluster.logs = {"run-1-abcde": ["all that there is"]}
    lines, statuses = followed(client)
    assert lines == ["all that there is"]
    assert statuses[-1].started is not None


def test_a_list_that_is_behind_brings_no_pod_back(
    cluster: Cluster, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow_module, "DRAIN", 10_000.0)
    alive = versioned(pod(main=running()), 3)
    cluster.jobs = [versioned(job("Failed", reason="DeadlineExceeded"), 6)]
    cluster.lists_of_pods = [[alive], [alive]]
    cluster.deleted = [alive]
    _, statuses = followed(client)
    assert (statuses[-1].state, statuses[-1].reason) == ("Failed", "the Job took longer than its deadline")


def test_a_snapshot_asks_for_the_pods_last(cluster: Cluster, client: Client, server: ApiServer) -> None:
    cluster.jobs, cluster.lists_of_pods = [job()], [[pod(main=running())]]
    judge = JobJudge("run-1", "trainer")
    view = snapshot(client, namespace=None, labels=LABELS, judge=judge)
    assert judge(view).state == "Running"
    assert [r.path.rsplit("/", 1)[1] for r in server.requests] == ["jobs", "pods"]
