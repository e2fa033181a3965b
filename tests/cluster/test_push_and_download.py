"""Images in the cluster's registries, and a pod whose data comes over a bad line and whose registry goes away."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from file_server import file_server
from own_jobs import MODEL, mounting, peft_loads, pods_of, push_secret, until
from registries import Registry, login_file, serving, with_password

from kaito_jupyter import tune
from kaito_jupyter.cluster.client import Client
from kaito_jupyter.dataset import Dataset
from kaito_trainer.contract.events import Push
from kaito_trainer.oci import Image
from kaito_trainer.push import push

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

LONG = 300.0
PLAIN = {"OMP_NUM_THREADS": "1"}


def adapter_in(folder: Path) -> Path:
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    (folder / "adapter_model.safetensors").write_bytes(b"weights" * 10_000)
    (folder / "README.md").write_text("# A card")
    return folder


@pytest.mark.parametrize("which", ["KAITO_CLUSTER_REGISTRY", "KAITO_CLUSTER_AUTH_REGISTRY"])
def test_skopeo_and_our_own_pull_agree_on_a_pushed_adapter(
    cluster: Any, namespace: str, tmp_path: Path, which: str
) -> None:
    auth = Path(cluster.env["KAITO_CLUSTER_AUTH_FILE"])
    name = f"{cluster.env[which]}/{namespace}/adapter:1"
    told: list[Any] = []
    digest = push(adapter_in(tmp_path), name, model="phi-4", emit=told.append, auth_files=(auth,))
    assert told[-1] == Push(image=name, digest=digest, bytes=told[-1].bytes)
    assert Image(name, auth_files=(auth,)).pull(tmp_path / "pulled") == digest
    pulled = {str(p.relative_to(tmp_path / "pulled")): p for p in (tmp_path / "pulled").rglob("*") if p.is_file()}
    assert sorted(pulled) == ["data/README.md", "data/adapter_config.json", "data/adapter_model.safetensors"]
    assert all(path.read_bytes() == (tmp_path / path.name).read_bytes() for path in pulled.values())
    if shutil.which("skopeo") is None:
        pytest.skip("needs skopeo")
    inspect = ["skopeo", "inspect", "--tls-verify=false", "--authfile", str(auth), f"docker://{name}"]
    said = json.loads(subprocess.check_output(inspect))
    assert said["Digest"] == digest
    raw = json.loads(subprocess.check_output([*inspect, "--raw"]))
    assert [part["mediaType"] for part in raw["layers"]] == ["application/vnd.oci.image.layer.v1.tar+gzip"]
    assert [part["digest"] for part in raw["layers"]] == said["Layers"]
    assert raw["annotations"]["sh.kaito.model.name"] == "phi-4"


def test_the_nodes_runtime_takes_an_adapter_for_an_image(cluster: Any, namespace: str, tmp_path: Path) -> None:
    """It names no platform, and is unpacked all the same: so a cluster may mount it as a volume."""
    from kubernetes.client import CoreV1Api

    name = f"{cluster.env['KAITO_CLUSTER_REGISTRY']}/{namespace}/adapter:1"
    push(adapter_in(tmp_path), name, model="", emit=lambda event: None)
    core = CoreV1Api(cluster.api)
    container = {"name": "adapter", "image": name, "command": ["/data/adapter_config.json"]}
    spec = {"restartPolicy": "Never", "containers": [container]}
    core.create_namespaced_pod(namespace, {"metadata": {"name": "adapter"}, "spec": spec})

    def reasons() -> set[str]:
        return {event.reason for event in core.list_namespaced_event(namespace).items}

    until(lambda: {"Pulled", "Failed"} & reasons(), LONG)
    assert "Pulled" in reasons()
    (status,) = until(lambda: core.read_namespaced_pod(name="adapter", namespace=namespace).status.container_statuses)
    until(lambda: "Created" in reasons() or "Failed" in reasons(), LONG)
    assert "ErrImagePull" not in str(status)


def test_a_wrong_password_is_found_before_the_first_step(
    cluster: Any, job_client: Client, tiny: Path, frame: Any, tmp_path: Path
) -> None:
    registry = cluster.env["KAITO_CLUSTER_AUTH_REGISTRY"]
    secret = push_secret(job_client, str(login_file(tmp_path / "wrong.json", registry, "canary-wrong")))
    run = tune(
        frame, preset=MODEL, backend="job", namespace=job_client.namespace, name="refused", max_steps=2,
        output=f"image:{registry}/{job_client.namespace}/adapter:1", push_secret=secret,
        placement={"pod_template": mounting(tiny), "env": PLAIN},
    )  # fmt: skip
    until(lambda: run.done, LONG)
    failure = run.state.failure
    assert run.state.state == "Failed", run.state.reason
    assert failure is not None
    assert failure.kind == "registry-auth"
    assert "no or wrong credentials" in failure.message
    assert "docker login" in failure.remedy
    assert "canary" not in f"{failure}{run.state.reason}{run.logs(100)}"
    for pod in pods_of(job_client, "refused"):
        statuses = {s["name"]: s["state"] for s in pod["status"].get("containerStatuses", [])}
        assert "waiting" in statuses["trainer"], "it never began"
    run.delete()


@pytest.fixture
def going(cluster: Any, tmp_path: Path) -> Iterator[Registry]:
    """A registry of the test's own, where pods reach it."""
    folder = tmp_path / "registry"
    folder.mkdir()
    with serving(folder, with_password(folder), cluster.env["KAITO_CLUSTER_SERVE_IP"]) as found:
        yield found


@pytest.mark.train
def test_data_comes_over_a_bad_line_and_an_adapter_waits_for_its_registry(
    cluster: Any, job_client: Client, tiny: Path, frame: Any, tmp_path: Path, going: Registry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The registry is there when the push is tried before the training, and is away when the adapter is ready."""
    from kubernetes.client import CoreV1Api

    Dataset.read(frame).write(tmp_path / "train.parquet")
    core, stopped = CoreV1Api(cluster.api), threading.Event()
    with file_server(cluster.env["KAITO_CLUSTER_SERVE_IP"]) as server:
        server.content = (tmp_path / "train.parquet").read_bytes()

        def stops_the_registry_and_hangs_up(handler: Any) -> bool:
            going.stop()  # the data comes after the try
            stopped.set()
            handler.connection.shutdown(socket.SHUT_RDWR)
            return True

        server.plan[:] = [stops_the_registry_and_hangs_up]
        name = f"{going.host}/mine/adapter:1"
        auth = login_file(tmp_path / "login.json", going.host)
        run = tune(
            preset=MODEL, backend="job", namespace=job_client.namespace, name="waits", max_steps=2, batch_size=2,
            learning_rate=1e-2, input=server.url("/train.parquet?sig=canary"), output=f"image:{name}",
            push_secret=push_secret(job_client, str(auth)), placement={
                "pod_template": mounting(tiny), "private_urls": True,
                "env": {**PLAIN, "KAITO_INSECURE_REGISTRIES": going.host},
            },
        )  # fmt: skip

        def pusher() -> str:
            (pod,) = pods_of(job_client, "waits")
            return str(core.read_namespaced_pod_log(pod["metadata"]["name"], job_client.namespace, container="pusher"))

        until(lambda: stopped.is_set() or run.done, LONG)
        until(lambda: run.state.global_step >= 2 or run.done, LONG)
        until(lambda: "try 1 of 5 failed (ConnectionError)" in pusher() or run.done, LONG)
        assert not run.done, run.state.reason
        going.start()
        until(lambda: run.done, LONG)
    assert run.state.state == "Succeeded", run.state.reason
    monkeypatch.setenv("KAITO_INSECURE_REGISTRIES", going.host)
    image = Image(name, auth_files=(auth,))
    assert run.adapter == f"{name}@{image.digest()}"
    image.pull(tmp_path / "pulled")
    assert peft_loads(tmp_path / "pulled" / "data", tiny)
    assert "## Losses" in (tmp_path / "pulled" / "data" / "README.md").read_text()
    (pod,) = pods_of(job_client, "waits")
    log = core.read_namespaced_pod_log(pod["metadata"]["name"], job_client.namespace, container="data-downloader")
    assert "train.parquet: no connection, next try in 1 s" in log or "broke off, next try" in log
    assert "canary" not in f"{log}{pusher()}{run.state}"
    run.delete()
