"""The doctor at a real cluster: as its administrator, and from inside pods, where the login is a service account or none."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from own_jobs import until

import kaito_jupyter
from kaito_jupyter.checkup.capacity import requested
from kaito_jupyter.cluster.client import Client
from kaito_jupyter.cluster.connection import Stop
from kaito_jupyter.cluster.resources import PODS

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]


@pytest.fixture
def client(cluster: Any, namespace: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setenv("KUBECONFIG", cluster.kubeconfig)
    made = Client.connect(namespace=namespace)
    yield made
    made.close()


def test_all_is_well_for_who_may_all(
    cluster: Any, client: Client, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    login, image = Path(cluster.env["KAITO_CLUSTER_AUTH_FILE"]), cluster.env["KAITO_CLUSTER_HOST_IMAGE"]
    monkeypatch.setenv("DOCKER_CONFIG", str(login.parent))
    monkeypatch.setenv("KAITO_TRAINER_IMAGE", image)
    pushed = f"{cluster.env['KAITO_CLUSTER_AUTH_REGISTRY']}/{namespace}/adapter:1"
    report = kaito_jupyter.doctor(namespace=namespace, registry=f"image:{pushed}")
    told = {line.topic: line for line in report.lines}
    assert report.ok, report
    assert told["API server"].text.startswith(f"{client.version()} at {client.server}")
    assert "kaito.sh/v1beta1" in told["KAITO"].text
    assert told["KAITO's operator"].mark == ("ok" if cluster.has_webhook else "failed")
    assert "GPUs free" in told["GPUs"].text
    assert "(default)" in told["storage"].text
    assert told["registry"].text == f"This machine's login may push {pushed}."
    assert image in told["trainer image"].text
    assert report.role == ""


def test_a_push_that_nobody_may_is_known_before_a_run(cluster: Any, tmp_path: Path, client: Client) -> None:
    image = f"{cluster.env['KAITO_CLUSTER_AUTH_REGISTRY']}/x/adapter:1"
    report = kaito_jupyter.doctor(registry=image)
    (line,) = report.of("registry")
    assert line.mark == "failed"
    assert "docker login" in line.remedy


def test_gpus_that_a_pod_has_asked_for_are_taken(cluster: Any, client: Client) -> None:
    before = requested(client.list(PODS)[0])
    client.create(pod("taker", cluster, ["sleep", "600"], resources={"limits": {"nvidia.com/gpu": "2"}}))
    until(lambda: client.get(PODS, "taker")["spec"].get("nodeName"), 120)
    taken = requested(client.list(PODS)[0])
    assert (taken - before).total() == 2
    client.delete(PODS, "taker", grace_seconds=0)


@pytest.mark.parametrize("token", [True, False], ids=["with its token", "without a token, as in JupyterHub"])
def test_in_a_pod_the_login_is_the_service_account(cluster: Any, client: Client, namespace: str, token: bool) -> None:
    code = (
        "import json, kaito_jupyter; r = kaito_jupyter.doctor(); "
        "print('REPORT', json.dumps([[[x.topic, x.mark, str(x)] for x in r.lines], r.role]))"
    )
    command = [sys.executable, "-c", code]
    client.create(pod("notebook", cluster, command, automount=token))
    ended = until(
        lambda: (found := client.get(PODS, "notebook"))["status"]["phase"] in ("Succeeded", "Failed") and found, 240
    )
    with client.log("notebook", None, {}, stop=Stop(), read_timeout=30) as pieces:
        log = b"".join(pieces).decode()
    assert ended["status"]["phase"] == "Succeeded", log
    lines, role = json.loads(log.partition("REPORT ")[2].splitlines()[0])
    told = {topic: (mark, text) for topic, mark, text in lines}
    if token:
        assert "context in-cluster" in told["API server"][1]
        assert f"You are system:serviceaccount:{namespace}:default" in told["login"][1]
        assert told["rights"][0] == "failed"
        assert f"name: kaito-jupyter-{namespace}-default" in role
    else:
        assert told["login"][0] == "failed"
        assert "automountServiceAccountToken" in told["login"][1]
        assert "singleuser.serviceAccountName" in told["login"][1]


def pod(name: str, cluster: Any, command: list[str], *, automount: bool = False, **container: Any) -> dict[str, Any]:
    image = cluster.env["KAITO_CLUSTER_HOST_IMAGE"]
    env = [{"name": "PYTHONPATH", "value": f"{ROOT}:{ROOT / 'trainer'}"}, {"name": "HOME", "value": "/tmp"}]
    main = {"name": "main", "image": image, "command": command, "env": env, "workingDir": "/", **container}
    spec = {"restartPolicy": "Never", "automountServiceAccountToken": automount, "containers": [main]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
