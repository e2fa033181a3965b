"""Data on its way into a real cluster: each kind of place, what is sent, and what is not sent twice."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from own_jobs import claim, push_secret, until

from kaito_jupyter.cluster.client import Client
from kaito_jupyter.cluster.connection import Stop
from kaito_jupyter.cluster.execute import execute
from kaito_jupyter.cluster.refusals import Forbidden, Invalid, NotFound
from kaito_jupyter.cluster.resources import CONFIG_MAPS, JOBS, PODS, ROLES
from kaito_jupyter.dataset import Dataset
from kaito_jupyter.delivery import Delivered, deliver
from kaito_jupyter.delivery.helper import helper
from kaito_jupyter.errors import BackendError, SpecError
from kaito_jupyter.spec import TuningSpec, build_spec

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]
ROWS = 40


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


def test_a_secret_that_cannot_be_read_from_here_is_told(
    cluster: Any,
    client: Client,
    spec: Callable[..., TuningSpec],
    data: Dataset,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def forbidden(*_: Any, **__: Any) -> None:
        raise Forbidden("read secrets", "no right to")

    monkeypatch.setattr(client, "get", forbidden)
    registry = cluster.env["KAITO_CLUSTER_AUTH_REGISTRY"]
    with pytest.raises(
        SpecError, match=r"The Secret push is for the pods.* Log in to 127\.0\.0\.1:\d+ on this machine"
    ):
        delivered(data, spec(input=f"image:{registry}/{client.namespace}/data"), client)


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

    # The last run takes it along.
    for name in ("first", "second"):
        assert client.find(CONFIG_MAPS, "first-data")
        client.delete(JOBS, name)
    until(lambda: client.find(CONFIG_MAPS, "first-data") is None)

    # Gone between the look and the use: made anew.
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
    folder = claim(client, "data")
    folder.chmod(0o755)
    large = Dataset.read(pd.DataFrame({"text": [uuid.uuid4().hex * 1000 for _ in range(300)]}))
    for frame in (data, large):
        with pytest.raises(SpecError, match="Permission denied"):
            delivered(frame, spec(input="pvc:data"), client)
    assert not list(folder.iterdir())
    until(lambda: not client.list(PODS)[0])


def test_an_interrupt_takes_the_helper_away(
    client: Client, spec: Callable[..., TuningSpec], data: Dataset, helped: None
) -> None:
    folder = claim(client, "data")

    def interrupt(text: str) -> None:
        if text.endswith("%"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        deliver(data, spec(input="pvc:data"), client=client, target="kaito", on_progress=interrupt)
    until(lambda: not client.list(PODS)[0])
    assert not list(folder.rglob("*.parquet"))


def test_a_command_in_a_pod_gives_its_output_its_errors_and_its_code(
    client: Client, spec: Callable[..., TuningSpec], helped: None
) -> None:
    claim(client, "data")
    with helper(client, spec(), "data", lambda text: None) as pod:
        done = pod.run('printf "%s" "$1"; head -c 5; echo bad >&2; exit 7', "a b", stdin=[b"12", b"345"])
        assert (done.code, done.out, done.err) == (7, b"a b12345", "bad")
        large = b"x" * 3_000_000
        done = pod.run("head -c 3000000 | wc -c", stdin=[large])
        assert (done.code, done.out.strip()) == (0, b"3000000")
        done = pod.run("exit 3", stdin=[b"which nobody reads"])
        assert done.code == 3
        (name,) = (p["metadata"]["name"] for p in client.list(PODS)[0])
        with pytest.raises(Invalid, match="none"):
            execute(client, name, client.namespace, ["true"], container="none")
    with pytest.raises(NotFound):
        execute(client, "nobody", client.namespace, ["true"], container="helper")


IN_THE_CLUSTER = """
import pandas as pd
from kaito_jupyter.cluster.client import Client
from kaito_jupyter.dataset import Dataset
from kaito_jupyter.delivery import deliver
from kaito_jupyter.spec import DataSource, TuningSpec
from kaito_jupyter.spec.sources import pvc

client = Client.connect()
spec = TuningSpec(preset="phi-4", namespace=client.namespace, input=DataSource(volume_source=pvc("data"), path="jovyan/sets"))
for _ in range(2):
    found = deliver(Dataset.read(pd.DataFrame({"text": ["one", "two"]})), spec, client=client, target="kaito", on_progress=print)
print("end", found.reused, found.source.path)
"""


def test_a_notebook_in_the_cluster_writes_to_the_claim_that_it_has_mounted(cluster: Any, client: Client) -> None:
    folder = claim(client, "data")
    (folder / "jovyan").mkdir()
    (folder / "jovyan").chmod(0o777)
    rights = {"apiVersion": f"{ROLES.group}/v1", "metadata": {"name": "notebook", "namespace": client.namespace}}
    client.create({**rights, "kind": "Role", "rules": [{"apiGroups": [""], "resources": ["*"], "verbs": ["get"]}]})
    account = {"kind": "ServiceAccount", "name": "default", "namespace": client.namespace}
    role = {"apiGroup": ROLES.group, "kind": "Role", "name": "notebook"}
    client.create({**rights, "kind": "RoleBinding", "roleRef": role, "subjects": [account]})
    mount = {"name": "home", "mountPath": "/workspace/home", "subPath": "jovyan"}
    container = {
        "name": "notebook",
        "image": cluster.env["KAITO_CLUSTER_HOST_IMAGE"],
        "command": [sys.executable, "-c", IN_THE_CLUSTER],
        "workingDir": str(ROOT),
        "env": [{"name": "HOME", "value": "/tmp"}],
        "volumeMounts": [mount],
    }
    volume = {"name": "home", "persistentVolumeClaim": {"claimName": "data"}}
    pod = {"restartPolicy": "Never", "containers": [container], "volumes": [volume]}
    client.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "notebook"}, "spec": pod})
    until(lambda: client.get(PODS, "notebook")["status"]["phase"] in ("Succeeded", "Failed"))
    with client.log("notebook", None, {}, stop=Stop(), read_timeout=30) as pieces:
        log = b"".join(pieces).decode()
    # It may do nothing but read: had it asked for a helper pod, it would have been refused.
    last = log.splitlines()[-1]
    assert last.startswith("end True jovyan/sets/"), log
    (file,) = folder.rglob("*.parquet")
    assert str(file.relative_to(folder)) == last.split()[-1]


def test_a_helper_that_cannot_start_says_why_and_is_deleted(
    cluster: Any, client: Client, spec: Callable[..., TuningSpec], data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAITO_HELPER_IMAGE", f"{cluster.env['KAITO_CLUSTER_REGISTRY']}/none:1")
    claim(client, "data")
    with pytest.raises(BackendError, match=r"does not start: .*none:1.* KAITO_HELPER_IMAGE"):
        delivered(data, spec(input="pvc:data"), client)
    until(lambda: not client.list(PODS)[0])
