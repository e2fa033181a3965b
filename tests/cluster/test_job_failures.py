"""How our own Job's end is named when its pod dies, and that no dead trainer leaves the Job hanging."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from own_jobs import MODEL, mounting, pods_of, push_secret, until

from kaito_jupyter import tune
from kaito_jupyter.cluster.client import Client
from kaito_jupyter.cluster.pods import condition
from kaito_jupyter.cluster.resources import JOBS, NODES
from kaito_jupyter.run import Run

pytestmark = [pytest.mark.cluster, pytest.mark.train, pytest.mark.timeout(600)]

LONG = 300.0
SOON = 10.0
"""Seconds after a death within which it must have its name."""

CHAOS = Path(__file__).parents[3] / "shared" / "cluster" / "chaos"

Start = Callable[..., Run]


@pytest.fixture
def start(job_client: Client, tiny: Path, frame: Any) -> Start:
    """Starts a run of the tiny model that does not end by itself; options change its trainer's container."""

    def make(name: str, *, output: str = "pvc:results", push: str | None = None, **trainer: Any) -> Run:
        template = mounting(tiny, **{k: v for k, v in trainer.items() if k != "volumes"})
        template["spec"]["volumes"] += trainer.get("volumes", [])
        if output == "pvc:results":  # none is made: the results go to the pod's own disk
            template["spec"]["volumes"].append({"name": "results", "emptyDir": {}, "persistentVolumeClaim": None})
        return tune(
            frame, preset=MODEL, backend="job", namespace=job_client.namespace, name=name, output=output, push_secret=push,
            placement={"pod_template": template, "env": {"OMP_NUM_THREADS": "1"}, "gpus": 1}, max_steps=100_000, batch_size=2,
        )  # fmt: skip

    return make


def running(client: Client, name: str) -> dict[str, Any]:
    """The run's pod, as soon as its trainer runs."""

    def find() -> dict[str, Any] | None:
        for pod in pods_of(client, name):
            for status in pod["status"].get("containerStatuses") or ():
                if status["name"] == "trainer" and "running" in status["state"]:
                    return pod
        return None

    found: dict[str, Any] = until(find, LONG)
    return found


def test_a_trainer_that_is_killed_is_named_and_its_pusher_leaves(
    cluster: Any, job_client: Client, start: Start
) -> None:
    auth, registry = cluster.env["KAITO_CLUSTER_AUTH_FILE"], cluster.env["KAITO_CLUSTER_AUTH_REGISTRY"]
    image = f"image:{registry}/{job_client.namespace}/adapter:1"
    run = start("killed", output=image, push=push_secret(job_client, auth))
    until(lambda: run.state.global_step >= 2 or run.done, LONG)
    (pod,) = pods_of(job_client, "killed")
    name = f"{job_client.namespace}/{pod['metadata']['name']}"
    subprocess.run(["bash", str(CHAOS), "kill-pod", name, "trainer"], check=True, capture_output=True)
    died = time.monotonic()
    until(lambda: run.state.state == "Failed", LONG)
    assert time.monotonic() - died < SOON
    until(lambda: run.done, LONG)
    assert named(run) == "killed"
    assert "trainer was killed by SIGKILL" in run.state.reason
    # The sidecar sees the free lock, and the Job ends, though nobody looks after it.
    until(lambda: condition(job_client.get(JOBS, "killed"), "Failed"), LONG)
    assert run.history.index[0] == 1


def test_a_login_that_may_not_push_is_told_before_the_training(
    cluster: Any, job_client: Client, start: Start, tmp_path: Path
) -> None:
    registry = cluster.env["KAITO_CLUSTER_AUTH_REGISTRY"]
    (tmp_path / "config.json").write_text(json.dumps({"auths": {registry: {"username": "kaito", "password": "wrong"}}}))
    image = f"image:{registry}/{job_client.namespace}/adapter:1"
    run = start("refused", output=image, push=push_secret(job_client, str(tmp_path / "config.json")))
    until(lambda: run.done, LONG)
    assert named(run) == "registry-auth"
    assert "push-check" in run.state.reason
    assert not len(run.history)
    (pod,) = pods_of(job_client, "refused")
    assert "waiting" in pod["status"]["containerStatuses"][0]["state"]


def test_too_little_memory_is_named(job_client: Client, start: Start) -> None:
    run = start("oom", resources={"limits": {"memory": "96Mi"}})
    until(lambda: run.done, LONG)
    assert named(run) == "killed"
    assert "OOMKilled" in run.state.reason
    assert run.diagnose().cause == "oom-killed"
    assert run.state.ended is not None
    assert time.time() - run.state.ended < SOON  # the kubelet's time of its end


def test_an_eviction_by_the_node_is_named(job_client: Client, start: Start) -> None:
    """It writes more than its volume may hold: the kubelet evicts the pod, and never tells how its containers ended."""
    fill = {"exec": {"command": ["/bin/sh", "-c", "head -c 8000000 /dev/zero > /tmp/much"]}}
    run = start("full", lifecycle={"postStart": fill}, volumes=[{"name": "tmp", "emptyDir": {"sizeLimit": "1Mi"}}])
    until(lambda: run.done, LONG)
    assert named(run) == "killed"
    assert "the node evicted the pod" in run.state.reason
    assert run.diagnose().cause == "evicted"


def test_a_drained_node_is_named_and_the_run_is_tried_again(cluster: Any, job_client: Client, start: Start) -> None:
    run = start("drained")
    pod = running(job_client, "drained")
    node, name = pod["spec"]["nodeName"], pod["metadata"]["name"]
    began = time.monotonic()
    job_client.patch(NODES, node, {"spec": {"unschedulable": True}})
    try:
        evict(cluster, job_client.namespace, name)
        until(lambda: "drained" in run.state.reason, 2 * SOON)
    finally:
        job_client.patch(NODES, node, {"spec": {"unschedulable": None}})
    assert time.monotonic() - began < SOON
    assert node in run.state.reason
    # Its Job makes another pod, and the run goes on in that one; or the Job gives up. Either is told.
    until(lambda: run.done or run.state.reason.startswith("retrying"), LONG)
    assert "drained" in run.state.reason
    assert run.diagnose().cause == "drained"


def evict(cluster: Any, namespace: str, name: str) -> None:
    """As `kubectl drain` does it, by the version of the API that this server has."""
    from kubernetes.client import CoreV1Api

    body = {"apiVersion": "policy/v1beta1", "kind": "Eviction", "metadata": {"name": name, "namespace": namespace}}
    CoreV1Api(cluster.api).create_namespaced_pod_eviction(name, namespace, body)


def named(run: Run) -> str:
    """The kind of failure. Every one has a remedy."""
    assert run.state.state == "Failed", run.state.reason
    assert run.state.failure is not None
    assert run.state.failure.remedy
    return run.state.failure.kind
