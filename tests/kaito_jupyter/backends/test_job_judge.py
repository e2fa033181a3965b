"""What our own Job and its pods mean: deaths by their names, cancels until all is saved, pods that others took away."""

from __future__ import annotations

from typing import Any

import pytest
from kube_objects import CREATED, ENDED_AT, Json, ended, job, pod, running, waiting

from kaito_jupyter.backends.job_judge import CANCELLED, RunJudge, of_job_alone
from kaito_jupyter.cluster.judge import View
from kaito_jupyter.cluster.resources import JOBS
from kaito_jupyter.status import Status
from kaito_trainer.contract.events import Error, encode

BESIDE: dict[str, Json | None] = {"pusher": running()}
FAILED: dict[str, Any] = {"condition": "Failed", "reason": "BackoffLimitExceeded"}


def judged(now: Json | None, *pods: Json, judge: RunJudge | None = None) -> Status:
    return (judge or RunJudge("run-1", met=True))(View(list(pods), {JOBS: [now] if now else []}, []))


def cancel(now: Json) -> Json:
    return {**now, "metadata": {**now["metadata"], "annotations": {CANCELLED: CREATED}}}


def taken(value: Json, **condition: str) -> Json:
    """The pod, being deleted."""
    told = {"type": "DisruptionTarget", "status": "True", **condition}
    conditions = [*value["status"]["conditions"], *([told] if condition else [])]
    deleted = {"metadata": {**value["metadata"], "deletionTimestamp": CREATED}}
    return {**value, **deleted, "status": {**value["status"], "conditions": conditions}}


def said(kind: str, message: str = "It says so.") -> str:
    """The end of a log, as the kubelet keeps it."""
    return "some line\n" + encode(Error(kind=kind, message=message), seq=7)


@pytest.mark.parametrize(
    ("dead", "kind", "words"),
    [
        ({"phase": "Running", "main": ended(137), "sidecars": BESIDE}, "killed", "trainer was killed by SIGKILL, and pusher still runs"),
        ({"main": ended(137, "OOMKilled")}, "killed", "needed more memory than its limit allows (OOMKilled)"),
        ({"main": ended(1, message=said("out-of-memory"))}, "out-of-memory", "ended with exit code 1 (It says so.)"),
        ({"main": ended(1, message=said("dataset")), "sidecars": {"pusher": ended(1)}}, "dataset", "It says so."),
        ({"main": ended(1, message="Traceback\nKeyError: 'x'")}, "", "KeyError: 'x'"),
        ({"init": {"push-check": ended(1, message=said("registry-auth"))}, "main": waiting("PodInitializing")},
         "registry-auth", "push-check ended with exit code 1"),
        ({"init": {"data-downloader": ended(1)}, "main": waiting("PodInitializing")}, "download", "data-downloader"),
        ({"main": ended(), "sidecars": {"pusher": ended(1)}}, "push", "pusher ended with exit code 1"),
    ],
)  # fmt: skip
def test_a_death_has_a_name(dead: dict[str, Any], kind: str, words: str) -> None:
    behind = dead.get("phase") == "Running"  # its pusher lives: the pod fails when that has left
    status = judged(job() if behind else job(**FAILED), pod(**{"phase": "Failed"} | dead))
    assert (status.state, status.kind) == ("Failed", kind)
    assert words in status.reason
    assert "kaito_event" not in status.reason


def test_the_nodes_own_eviction_is_named_though_its_containers_seem_to_run() -> None:
    told = "The node was low on resource: memory. "
    status = judged(job(**FAILED), pod("Failed", main=running(), reason="Evicted", message=told))
    assert (status.state, status.kind) == ("Failed", "killed")
    assert status.reason == "the node evicted the pod: The node was low on resource: memory"


@pytest.mark.parametrize(
    ("condition", "node", "words"),
    [
        ({}, None, "the pod was evicted or deleted from outside"),
        ({}, {"spec": {}}, "the pod was evicted or deleted from outside"),
        ({}, {"spec": {"unschedulable": True}}, "the pod was ended from outside (the node was drained: node-1 takes no new pods)"),
        ({"reason": "PreemptionByScheduler", "message": "for a better one."}, {"spec": {"unschedulable": True}},
         "the pod was ended from outside (PreemptionByScheduler: for a better one)"),
    ],
)  # fmt: skip
def test_a_pod_that_is_taken_away_is_told_while_it_saves_when_it_is_gone_and_in_its_successor(
    condition: dict[str, str], node: Json | None, words: str
) -> None:
    judge = RunJudge("run-1", node=lambda name: node if name == "node-1" else None)
    first = pod(main=running())
    assert judged(job(), first, judge=judge) == Status("Running", created=ENDED_AT - 200, started=ENDED_AT - 199)
    status = judged(job(), taken(first, **condition), judge=judge)
    assert (status.state, status.kind) == ("Running", "killed")
    assert status.reason == f"{words}; it saves what there is"
    status = judged(job(backoffLimit=0), judge=judge)
    assert (status.state, status.reason) == ("Running", f"{words}; the Job decides whether to try again")
    second = pod(name="run-1-second", created="2026-11-24T13:41:50Z", main=waiting("ContainerCreating"))
    status = judged(job(backoffLimit=0), second, judge=judge)
    assert (status.state, status.kind) == ("Running", "killed")
    assert status.reason == f"retrying (attempt 2): {words}; trainer: it is being started"
    status = judged(job(**FAILED), judge=judge)
    assert (status.state, status.kind, status.reason.startswith(words)) == ("Failed", "killed", True)


def test_a_late_reader_is_told_that_the_pod_is_gone() -> None:
    status = judged(job(**FAILED, message="Job has reached the specified backoff limit"))
    assert (status.state, status.kind) == ("Failed", "killed")
    assert status.reason == (
        "the Job failed: Job has reached the specified backoff limit; its pod is gone: "
        "it was evicted or deleted from outside, or its node went away"
    )


def test_a_cancelled_run_has_ended_when_all_of_it_has() -> None:
    live = cancel(job())
    both = pod(main=running(), sidecars=BESIDE)
    assert judged(live, both).reason == "asked to end; trainer and pusher save what there is"
    saved = pod(main=ended(143), sidecars=BESIDE)
    assert judged(live, saved).reason == "asked to end; pusher saves what there is"
    over = pod("Failed", main=ended(143), sidecars={"pusher": ended()}, reason="DeadlineExceeded")
    for now in (live, cancel(job(**FAILED))):
        status = judged(now, over)
        assert (status.state, status.reason, status.kind, status.ended) == ("Cancelled", "", "", ENDED_AT)


def test_who_cancels_a_run_that_has_done_well_is_too_late() -> None:
    assert judged(cancel(job("Complete")), pod("Succeeded", main=ended())).state == "Succeeded"


def test_pods_of_a_cancelled_or_deleted_run_are_not_taken_away() -> None:
    judge = RunJudge("run-1")
    judged(job(), pod(main=running()), judge=judge)
    assert judged(cancel(job()), taken(pod(main=running())), judge=judge).reason.startswith("asked to end")
    assert judged(cancel(job()), judge=judge).state == "Cancelled"
    assert judged(None, judge=judge) == Status("Cancelled", "the Job was deleted")


@pytest.mark.parametrize(
    ("now", "state"),
    [
        (job(), "Pending"),
        (job() | {"status": {"active": 1}}, "Running"),
        (job(suspend=True) | {"status": {"active": 1}}, "Pending"),
        (job("Complete"), "Succeeded"),
        (job(**FAILED), "Failed"),
        (cancel(job(**FAILED)), "Cancelled"),
        (cancel(job("Complete")), "Succeeded"),
        (cancel(job()), "Cancelled"),
        (cancel(job()) | {"status": {"active": 1}}, "Running"),
        (cancel(job(**FAILED)) | {"status": {"active": 1, **job(**FAILED)["status"]}}, "Cancelled"),
    ],
)
def test_a_list_knows_a_run_by_its_job_alone(now: Json, state: str) -> None:
    assert of_job_alone(now).state == state
