"""What a Job and its pods mean for the run."""

from __future__ import annotations

import pytest
from kube_objects import ENDED_AT, Json, ended, event, job, pod, running, unscheduled, waiting

from kaito_jupyter.cluster.judge import JobJudge, View
from kaito_jupyter.cluster.resources import JOBS
from kaito_jupyter.status import Status

SIDECARS: dict[str, Json | None] = {"pusher": running(), "pause": running()}
DEAD = pod("Failed", name="run-1-first", main=ended(137, "OOMKilled"), created="2026-11-24T13:41:30Z")


def judged(job_now: Json | None, *pods: Json, events: list[Json] | None = None) -> Status:
    view = View(list(pods), {JOBS: [job_now] if job_now else []}, events or [])
    return JobJudge("run-1", "trainer", met=True)(view)


TABLE: list[tuple[str, Json, list[Json], str, str]] = [
    ("no pod yet", job(), [], "Pending", "waiting for the Job's pod"),
    ("a queue", job(suspend=True), [], "Pending", "the Job is suspended: it waits for its turn in the queue"),
    ("no node", job(), [unscheduled("0/1 nodes")], "Pending", "no node takes the pod: 0/1 nodes"),
    ("downloading", job(), [pod("Pending", init={"download": running()}, main=None)], "Running", "download runs"),
    (
        "between download and training",
        job(),
        [pod("Pending", init={"download": ended()}, main=waiting("PodInitializing"))],
        "Running",
        "trainer: it is being started",
    ),
    ("training", job(), [pod(main=running(), sidecars=SIDECARS)], "Running", ""),
    (
        "pushing",
        job(),
        [pod(main=ended(), sidecars=SIDECARS)],
        "Running",
        "the trainer has ended, pusher and pause work on",
    ),
    ("done, but the Job has not said so", job(), [pod("Succeeded", main=ended())], "Succeeded", ""),
    ("done", job("Complete"), [pod("Succeeded", main=ended())], "Succeeded", ""),
    (
        "dead behind its sidecars",
        job(),
        [pod(main=ended(1), sidecars=SIDECARS)],
        "Failed",
        "trainer ended with exit code 1, and pusher and pause still run beside it",
    ),
    (
        "trained, and not pushed",
        job(),
        [pod(main=ended(), sidecars={"pusher": ended(1), "pause": running()})],
        "Failed",
        "pusher ended with exit code 1, and pause still runs beside it",
    ),
    (
        "failed, and another attempt follows",
        job(),
        [DEAD],
        "Running",
        "retrying (attempt 2 of 7 follows): trainer needed more memory than its limit allows (OOMKilled)",
    ),
    (
        "failed, and the Job has not decided",
        job(backoffLimit=0),
        [DEAD],
        "Running",
        "trainer needed more memory than its limit allows (OOMKilled); the Job decides whether to try again",
    ),
    (
        "retrying",
        job(backoffLimit=3),
        [DEAD, pod(main=running())],
        "Running",
        "retrying (attempt 2 of 4): trainer needed more memory than its limit allows (OOMKilled)",
    ),
    (
        "retrying, and waiting for a node",
        job(),
        [pod("Failed", name="first", main=ended(1), created="2026-11-24T13:41:30Z"), unscheduled("0/1 nodes")],
        "Running",
        "retrying (attempt 2 of 7): trainer ended with exit code 1; no node takes the pod: 0/1 nodes",
    ),
    (
        "given up",
        job("Failed", reason="BackoffLimitExceeded", message="Job has reached the specified backoff limit"),
        [DEAD, pod("Failed", main=ended(1))],
        "Failed",
        "trainer ended with exit code 1, 2 times",
    ),
    (
        "out of time",
        job("Failed", reason="DeadlineExceeded", message="Job was active longer than specified deadline"),
        [],
        "Failed",
        "the Job took longer than its deadline",
    ),
    (
        "failed, and the pods are gone",
        job("Failed", reason="BackoffLimitExceeded", message="Job has reached the specified backoff limit"),
        [],
        "Failed",
        "the Job failed: Job has reached the specified backoff limit",
    ),
]


@pytest.mark.parametrize(("job_now", "pods", "state", "reason"), [r[1:] for r in TABLE], ids=[r[0] for r in TABLE])
def test_how_a_run_stands(job_now: Json, pods: list[Json], state: str, reason: str) -> None:
    status = judged(job_now, *pods)
    assert (status.state, status.reason) == (state, reason)


def test_a_failure_tells_kind_code_and_time() -> None:
    status = judged(job("Failed", reason="BackoffLimitExceeded"), DEAD)
    assert (status.kind, status.exit_code, status.ended) == ("killed", -9, ENDED_AT)


@pytest.mark.parametrize(
    ("pods", "kind"),
    [
        (pod(main=ended(), sidecars={"pusher": ended(1), "pause": running()}), "push"),
        (pod("Failed", init={"puller": ended(1)}, main=waiting("PodInitializing")), "download"),
        (pod("Failed", init={"model-weights-downloader": ended(1)}, main=waiting("PodInitializing")), "model"),
        (pod(main=ended(1), sidecars=SIDECARS), ""),
    ],
)
def test_the_container_that_failed_tells_what_failed(pods: Json, kind: str) -> None:
    assert judged(job(), pods).kind == kind


def test_what_failed_is_known_while_it_is_tried_again() -> None:
    puller = pod("Failed", init={"puller": ended(1)}, main=waiting("PodInitializing"), created="2026-11-24T13:41:30Z")
    assert judged(job(), DEAD).kind == "killed"
    assert judged(job(), puller).kind == "download"
    assert judged(job(), puller, pod("Pending", name="next", main=None)).kind == "download"
    assert judged(job(), pod("Failed", main=ended(1))).kind == "crash"


def test_a_retry_that_succeeds_is_a_success_without_a_trace_of_failure() -> None:
    status = judged(job("Complete"), DEAD, pod("Succeeded", main=ended()))
    assert (status.state, status.reason, status.kind, status.exit_code) == ("Succeeded", "", "", 0)


def test_a_run_ends_when_its_pod_does_whatever_the_job_says_later() -> None:
    good = pod("Succeeded", main=ended(at="2026-11-24T13:44:58Z"))
    before, after = judged(job(), good), judged(job("Complete"), good)
    assert before == after
    assert after.ended == ENDED_AT - 2


def test_a_job_whose_good_pod_is_gone_tells_its_own_end() -> None:
    failed = pod("Failed", name="run-1-first", main=ended(1, at="2026-11-24T13:42:00Z"))
    assert judged(job("Complete"), failed).ended == ENDED_AT
    assert judged(job("Complete")).ended == ENDED_AT


def test_a_quota_that_lets_no_pod_be_made_is_told() -> None:
    told = event("FailedCreate", 'pods "run-1" is forbidden: exceeded quota: gpu', about="run-1")
    assert judged(job(), events=[told]).reason == (
        'the Job\'s pod cannot be created: pods "run-1" is forbidden: exceeded quota: gpu'
    )


def test_a_job_that_is_gone_was_deleted_and_one_never_seen_is_awaited() -> None:
    judge = JobJudge("run-1")
    assert judge(View()).state == "Pending"
    assert judge(View(objects={JOBS: [job()]})).state == "Pending"
    assert judge(View()) == Status("Cancelled", "the Job was deleted")


def test_another_jobs_pods_of_the_same_name_do_not_count() -> None:
    old = pod("Failed", name="run-1-old", main=ended(1), owner="an-older-job")
    assert judged(job(), old, pod(main=running())).reason == ""
