"""What a pod's object means, in words."""

from __future__ import annotations

import pytest
from kube_objects import ENDED_AT, Json, ended, event, pod, running, unscheduled, waiting

from kaito_jupyter.cluster import pods as p


def test_containers_come_in_the_order_in_which_they_run() -> None:
    value = pod(init={"download": ended()}, main=running(), sidecars={"pusher": running(), "pause": None})
    found = p.containers(value, "trainer")
    assert [(c.name, c.role, c.phase) for c in found] == [
        ("download", "init", "ended"),
        ("trainer", "main", "running"),
        ("pusher", "sidecar", "running"),
        ("pause", "sidecar", "waiting"),
    ]


def test_the_first_container_is_the_trainer_when_nobody_says_which() -> None:
    value = pod(main=running(), sidecars={"pusher": running()})
    assert [c.name for c in p.containers(value) if c.role == "main"] == ["pusher"]
    assert [c.name for c in p.containers(value, "no-such") if c.role == "main"] == ["pusher"]


def test_an_init_container_that_keeps_running_is_a_sidecar() -> None:
    value = pod(init={"download": ended(), "pusher": running()}, main=running())
    value["spec"]["initContainers"][1]["restartPolicy"] = "Always"
    assert [(c.name, c.role) for c in p.containers(value, "trainer")][:2] == [
        ("download", "init"),
        ("pusher", "sidecar"),
    ]


def test_a_pod_without_any_status_waits() -> None:
    value = pod(main=None)
    del value["status"]
    assert [c.phase for c in p.containers(value)] == ["waiting"]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (ended(0), "ended with exit code 0"),
        (ended(1), "ended with exit code 1"),
        (ended(137), "was killed by SIGKILL"),
        (ended(143), "was killed by SIGTERM"),
        (ended(137, "OOMKilled"), "needed more memory than its limit allows (OOMKilled)"),
        (ended(255, "Unknown"), "ended with exit code 255 (Unknown)"),
        (ended(128, "StartError", "exec: no such file"), "ended with exit code 128 (StartError: exec: no such file)"),
        (ended(1, "Error", "a\n b"), "ended with exit code 1 (a b)"),
    ],
)
def test_how_a_container_ended(status: Json, words: str) -> None:
    (container,) = p.containers(pod(main=status))
    assert str(container.ending) == words
    assert container.ending is not None
    assert container.ending.ended == ENDED_AT


PENDING: list[tuple[str, Json, list[Json], str]] = [
    (
        "no node fits",
        unscheduled("0/3 nodes are available: 3 Insufficient nvidia.com/gpu."),
        [],
        "no node takes the pod: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu",
    ),
    ("being started", pod("Pending", main=waiting("ContainerCreating")), [], "trainer: it is being started"),
    (
        "a volume that is not there",
        pod("Pending", main=waiting("ContainerCreating")),
        [event("Scheduled", "ok"), event("FailedMount", 'MountVolume.SetUp failed: configmap "x" not found')],
        'trainer: it is being started, but: MountVolume.SetUp failed: configmap "x" not found',
    ),
    (
        "an image that is not there",
        pod("Pending", main=waiting("ErrImagePull", "manifest unknown")),
        [],
        "trainer: the image registry/trainer:1 cannot be pulled: manifest unknown",
    ),
    (
        "the same, a moment later",
        pod("Pending", main=waiting("ImagePullBackOff", 'Back-off pulling image "x"')),
        [event("Failed", 'Failed to pull image "x": manifest unknown'), event("Failed", "Error: ErrImagePull")],
        'trainer: the image registry/trainer:1 cannot be pulled: Failed to pull image "x": manifest unknown',
    ),
    (
        "a secret that is not there",
        pod("Pending", main=waiting("CreateContainerConfigError", 'secret "hf" not found')),
        [],
        'trainer: its container cannot be configured: secret "hf" not found',
    ),
    (
        "an init container that runs",
        pod("Pending", init={"download": running()}, main=waiting("PodInitializing")),
        [],
        "",
    ),
    (
        "an init container that keeps failing",
        pod("Pending", init={"download": waiting("CrashLoopBackOff", "back-off 10s", ended(6), 2)}, main=None),
        [],
        "download: it keeps failing: it ended with exit code 6",
    ),
    ("all runs", pod(main=running()), [], ""),
]


@pytest.mark.parametrize(("value", "events", "words"), [row[1:] for row in PENDING], ids=[row[0] for row in PENDING])
def test_why_nothing_runs_yet(value: Json, events: list[Json], words: str) -> None:
    assert p.why_pending(value, "trainer", events) == words


ENDINGS: list[tuple[str, Json, str | None, str]] = [
    ("a trainer's error", pod("Failed", main=ended(1)), "trainer", "trainer ended with exit code 1"),
    (
        "the trainer is to blame, though a sidecar followed it",
        pod("Failed", main=ended(1, at="2026-11-24T13:45:09Z"), sidecars={"pusher": ended(2)}),
        "trainer",
        "trainer ended with exit code 1",
    ),
    (
        "a download",
        pod("Failed", init={"download": ended(22)}, main=waiting("PodInitializing")),
        "download",
        "download ended with exit code 22",
    ),
    (
        "an eviction",
        pod("Failed", main=ended(137), reason="Evicted", message="The node was low on resource: memory."),
        "trainer",
        "the node evicted the pod: The node was low on resource: memory",
    ),
    ("an eviction without traces", pod("Failed", reason="Evicted"), None, "the node evicted the pod"),
    (
        "a pod that was preempted",
        pod(
            "Failed",
            main=ended(143),
            conditions=[
                {
                    "type": "DisruptionTarget",
                    "status": "True",
                    "reason": "PreemptionByScheduler",
                    "message": "Preempted.",
                }
            ],
        ),
        "trainer",
        "trainer was ended from outside (PreemptionByScheduler: Preempted)",
    ),
    ("nothing", pod(main=running()), None, ""),
    ("success", pod("Succeeded", main=ended(0)), None, ""),
]


@pytest.mark.parametrize(("value", "who", "words"), [row[1:] for row in ENDINGS], ids=[row[0] for row in ENDINGS])
def test_why_a_pod_failed(value: Json, who: str | None, words: str) -> None:
    container, text = p.why_ended(value, "trainer")
    assert (container and container.name, text) == (who, words)


def test_a_trainer_that_is_dead_behind_its_sidecars_is_found_though_the_pod_runs() -> None:
    value = pod("Running", main=ended(137), sidecars={"pusher": running(), "pause": running()})
    found = p.dead_behind_sidecars(value, "trainer")
    assert found is not None
    assert (found[0].name, found[1]) == ("trainer", ["pusher", "pause"])


@pytest.mark.parametrize(
    "value",
    [
        pod(main=ended(0), sidecars={"pusher": running()}),
        pod(main=running(), sidecars={"pusher": ended(1)}),
        pod("Failed", main=ended(1), sidecars={"pusher": ended(1)}),
    ],
    ids=["it is done and is being pushed", "it lives", "all are dead"],
)
def test_any_other_pod_is_none_of_those(value: Json) -> None:
    assert p.dead_behind_sidecars(value, "trainer") is None


def test_times_are_seconds_since_the_epoch() -> None:
    assert p.seconds("2026-11-24T13:45:00Z") == ENDED_AT
    assert p.seconds("2026-11-24T13:45:00.500000Z") == ENDED_AT + 0.5
    assert p.seconds(None) is None
    assert p.now_stamp(ENDED_AT) == "2026-11-24T13:45:00Z"


def test_containers_of_a_pod_that_is_over_can_be_taken_for_ended_though_they_are_told_to_run() -> None:
    over = pod(
        "Failed", init={"fetch": ended()}, main=running(), sidecars={"pusher": running()}, reason="DeadlineExceeded"
    )
    assert [(c.name, c.phase, c.left) for c in p.containers(over, "trainer")] == [
        ("fetch", "ended", False), ("trainer", "running", True), ("pusher", "running", True),
    ]  # fmt: skip
    half, whole = p.settled(over, ["trainer"]), p.settled(over)
    assert [(c.name, c.phase, c.left) for c in p.containers(half, "trainer")][1:] == [
        ("trainer", "ended", False), ("pusher", "running", True),
    ]  # fmt: skip
    assert {c.phase for c in p.containers(whole)} == {"ended"}
    assert p.containers(whole)[1].ending is None  # nobody knows how
    assert p.settled(pod(main=running())) == pod(main=running())


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        ([], "the pod was evicted or deleted from outside"),
        (
            [
                {
                    "type": "DisruptionTarget",
                    "status": "True",
                    "reason": "PreemptionByScheduler",
                    "message": "for a better.",
                }
            ],
            "the pod was ended from outside (PreemptionByScheduler: for a better)",
        ),
    ],
)
def test_a_pod_that_is_being_deleted_is_taken_away(conditions: list[Json], words: str) -> None:
    value = pod(main=running(), conditions=conditions)
    assert not p.taken_away(value)
    value["metadata"]["deletionTimestamp"] = "2026-11-24T13:45:00Z"
    assert p.taken_away(value) == words
    assert p.why_ended(value) == (None, words)
