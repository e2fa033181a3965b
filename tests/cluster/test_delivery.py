"""Data on its way into a real cluster: each kind of place, what is sent, and what is not sent twice."""

from __future__ import annotations

import base64
import subprocess
import tarfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from kaito_jupyter.cluster.client import Client
from kaito_jupyter.cluster.resources import CLAIMS, CONFIG_MAPS, JOBS, PODS, Resource
from kaito_jupyter.dataset import Dataset
from kaito_jupyter.delivery import Delivered, deliver
from kaito_jupyter.errors import BackendError, SpecError
from kaito_jupyter.spec import TuningSpec, build_spec

pytestmark = pytest.mark.cluster

ROWS = 40
VOLUMES = Resource("", "v1", "persistentvolumes", "PersistentVolume", namespaced=False)


@pytest.fixture
def client(cluster: Any, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """The cluster, and a user without a Docker config."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / ".docker"))
    made = Client.connect(kubeconfig=cluster.kubeconfig, namespace=namespace)
    yield made
    made.close()


@pytest.fixture
def data() -> Dataset:
    """Content that no other test has sent anywhere."""
    salt = uuid.uuid4().hex
    rows = [{"prompt": f"What is {i} and one?", "completion": f"{i + 1}. {salt}"} for i in range(ROWS)]
    return Dataset.read(pd.DataFrame(rows))


@pytest.fixture
def spec(cluster: Any, client: Client, namespace: str) -> Callable[..., TuningSpec]:
    """`spec(input=…)`: a spec whose adapter goes to the registry with logins."""
    push_secret(client, cluster.env["KAITO_CLUSTER_AUTH_FILE"])

    def make(**options: Any) -> TuningSpec:
        image = f"{cluster.env['KAITO_CLUSTER_AUTH_REGISTRY']}/{namespace}/adapter:1"
        given: dict[str, Any] = {
            "preset": "phi-4-mini-instruct",
            "name": f"d-{uuid.uuid4().hex[:6]}",
            "namespace": namespace,
            "output": f"image:{image}",
            "push_secret": "push",
            "instance_type": "Standard_NC24ads_A100_v4",
            "target": "kaito",
        }
        return build_spec(**given | options)

    return make


def push_secret(client: Client, auth_file: str) -> None:
    client.create(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/dockerconfigjson",
            "metadata": {"name": "push"},
            "data": {".dockerconfigjson": base64.b64encode(Path(auth_file).read_bytes()).decode()},
        }
    )


def claim(client: Client, name: str) -> Path:
    """A bound claim, and where its volume is on this machine. Everybody may write into it: the class knows no fsGroup."""
    client.create(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name},
            "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
        }
    )
    volume = until(lambda: client.get(CLAIMS, name)["spec"].get("volumeName"))
    folder = Path(client.get(VOLUMES, volume)["spec"]["hostPath"]["path"])
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o777)
    return folder


def until(ask: Callable[[], Any], seconds: float = 120.0) -> Any:
    """What it gives as soon as that is true; a test that waits in vain fails."""
    deadline = time.monotonic() + seconds
    while not (found := ask()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)
    return found


def delivered(data: Dataset, spec: TuningSpec, client: Client, told: list[str] | None = None) -> Delivered:
    return deliver(data, spec, client=client, target="kaito", on_progress=(told or []).append)


def file_of(data: Dataset, folder: Path) -> bytes:
    data.write(folder / "expected.parquet")
    return (folder / "expected.parquet").read_bytes()


def pulled(reference: str, auth_file: str, folder: Path) -> Path:
    """The image's root, as skopeo and tar lay it out."""
    layout, root = folder / "image", folder / "root"
    command = ["skopeo", "copy", "--authfile", auth_file, "--src-tls-verify=false"]
    subprocess.run([*command, f"docker://{reference}", f"dir:{layout}"], check=True, capture_output=True)
    (layer,) = (p for p in layout.iterdir() if p.read_bytes()[:2] == b"\x1f\x8b")
    with tarfile.open(layer) as tar:
        tar.extractall(root, filter="data")
    return root


def test_a_data_image_unpacks_to_the_file_byte_for_byte(
    cluster: Any, client: Client, spec: Callable[..., TuningSpec], data: Dataset, tmp_path: Path
) -> None:
    registry, login = cluster.env["KAITO_CLUSTER_AUTH_REGISTRY"], cluster.env["KAITO_CLUSTER_AUTH_FILE"]
    wanted = spec(input=f"image:{registry}/{client.namespace}/data")
    first = delivered(data, wanted, client)
    assert first.source.image == f"{registry}/{client.namespace}/data:{data.fingerprint[:16]}"
    assert first.source.image_pull_secrets == ("push",)
    assert not first.reused
    root = pulled(str(first.source.image), login, tmp_path)
    assert [p.relative_to(root) for p in sorted(root.rglob("*")) if p.is_file()] == [Path("data/train.parquet")]
    assert (root / "data" / "train.parquet").read_bytes() == file_of(data, tmp_path)

    again = delivered(data, wanted, client)
    assert again.source == first.source
    assert again.reused
    assert again.note == f"The data was there already, in the image {first.source.image}."


def test_an_image_under_the_users_own_tag_is_pushed_once(
    cluster: Any, client: Client, spec: Callable[..., TuningSpec], data: Dataset
) -> None:
    wanted = spec(input=f"image:{cluster.env['KAITO_CLUSTER_REGISTRY']}/{client.namespace}/data:mine")
    assert [delivered(data, wanted, client).reused for _ in range(2)] == [False, True]
    other = Dataset.read(pd.DataFrame({"text": ["other", "data"]}))
    assert not delivered(other, wanted, client).reused


def test_a_registry_that_knows_nobody_is_named_with_a_remedy(
    cluster: Any, client: Client, spec: Callable[..., TuningSpec], data: Dataset
) -> None:
    wanted = spec(
        input=f"image:{cluster.env['KAITO_CLUSTER_AUTH_REGISTRY']}/{client.namespace}/data",
        output="pvc:results",
        push_secret=None,
    )
    with pytest.raises(SpecError, match=r"no or wrong credentials.*docker login") as caught:
        delivered(data, wanted, client)
    assert caught.value.problems[0].path == "tuning.input.image"


def test_runs_share_the_config_map_of_their_data_and_the_last_takes_it_along(
    client: Client, spec: Callable[..., TuningSpec], data: Dataset
) -> None:
    first = delivered(data, spec(name="first"), client)
    assert first.source.volume_source == {"configMap": {"name": "first-data"}}
    first.own(owner(client, "first"))
    second = delivered(data, spec(name="second"), client)
    assert second.source == first.source
    assert (second.reused, second.documents) == (True, ())
    second.own(owner(client, "second"))
    there = client.get(CONFIG_MAPS, "first-data")
    assert [o["name"] for o in there["metadata"]["ownerReferences"]] == ["first", "second"]

    # Other data under a name that is taken: a run that reads the first is not disturbed.
    other = Dataset.read(pd.DataFrame({"text": ["other", "data"]}))
    third = delivered(other, spec(name="first"), client)
    assert third.source.volume_source == {"configMap": {"name": f"first-data-{other.fingerprint[:16]}"}}

    # Gone between the look and the use: made anew.
    client.delete(CONFIG_MAPS, "first-data")
    second.own(owner(client, "second"))
    assert client.get(CONFIG_MAPS, "first-data")["binaryData"] == there["binaryData"]


def owner(client: Client, name: str) -> dict[str, Any]:
    """A Job that never starts, as an owner."""
    pod = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "none"}], "nodeSelector": {"no": "where"}}
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"template": {"spec": pod}},
    }
    live = client.find(JOBS, name) or client.create(job)
    return {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": live["metadata"]["uid"]}


@pytest.fixture
def helped(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The helper's image: no node of the test cluster can pull a public one."""
    monkeypatch.setenv("KAITO_HELPER_IMAGE", cluster.env["KAITO_CLUSTER_HOST_IMAGE"])


def test_a_claim_is_filled_through_a_helper_pod_that_goes_again(
    client: Client, spec: Callable[..., TuningSpec], data: Dataset, tmp_path: Path, helped: None
) -> None:
    folder = claim(client, "data")
    told: list[str] = []
    first = deliver(data, spec(input="pvc:data/sets"), client=client, target="kaito", on_progress=told.append)
    place = f"sets/{data.fingerprint[:16]}/train.parquet"
    assert first.source.volume_source == {"persistentVolumeClaim": {"claimName": "data"}}
    assert (first.source.path, first.reused) == (place, False)
    assert (folder / place).read_bytes() == file_of(data, tmp_path)
    assert (folder / place).stat().st_mode & 0o777 == 0o644
    assert [p.name for p in (folder / place).parent.iterdir()] == ["train.parquet"]
    assert told[0] == "A pod is started that takes the data into the claim data"
    assert told[-1] == f"The data is in the claim data, as {place}."
    assert delivered(data, spec(input="pvc:data/sets"), client).reused

    # Under a name of the user's own, only the same bytes are the same data.
    mine = spec(input="pvc:data/mine.parquet")
    assert [delivered(data, mine, client).reused for _ in range(2)] == [False, True]
    other = Dataset.read(pd.DataFrame({"text": ["other", "data"]}))
    assert not delivered(other, mine, client).reused
    until(lambda: not client.list(PODS)[0])


def test_a_claim_that_cannot_be_written_is_told_and_no_pod_stays(
    client: Client, spec: Callable[..., TuningSpec], data: Dataset, helped: None
) -> None:
    with pytest.raises(SpecError, match="there is no claim nowhere"):
        delivered(data, spec(input="pvc:nowhere"), client)
    claim(client, "data").chmod(0o755)
    with pytest.raises(SpecError, match="Permission denied"):
        delivered(data, spec(input="pvc:data"), client)
    until(lambda: not client.list(PODS)[0])


def test_a_helper_that_cannot_start_says_why_and_is_deleted(
    cluster: Any, client: Client, spec: Callable[..., TuningSpec], data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAITO_HELPER_IMAGE", f"{cluster.env['KAITO_CLUSTER_REGISTRY']}/none:1")
    claim(client, "data")
    with pytest.raises(BackendError, match=r"does not start: .*none:1.* KAITO_HELPER_IMAGE"):
        delivered(data, spec(input="pvc:data"), client)
    until(lambda: not client.list(PODS)[0])
