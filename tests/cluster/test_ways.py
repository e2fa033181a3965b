"""Each kind of input and of output: through the operator to its end, and into the pods of our own Job."""

from __future__ import annotations

import hashlib
import math
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell
from own_jobs import claim, pods_of, push_secret, until
from shelf import shelf, signed
from traitlets.config import Config

from kaito_jupyter import tune
from kaito_jupyter.cluster.client import Client
from kaito_jupyter.cluster.resources import WORKSPACES
from kaito_jupyter.dataset import Dataset
from kaito_jupyter.run import Run

pytestmark = pytest.mark.cluster

STEPS = 20
LONG = 240.0
"""Seconds until we call a run lost."""
KAITO: dict[str, Any] = {
    "preset": "phi-4-mini-instruct",
    "method": "qlora",
    "backend": "kaito",
    "instance_type": "Standard_NC24ads_A100_v4",
    "max_steps": STEPS,
    "logging_steps": 2,
}


@pytest.fixture
def client(cluster: Any, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """The cluster, for a user without a Docker config, with a Secret `push` and two claims."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / ".docker"))
    monkeypatch.setenv("KUBECONFIG", cluster.kubeconfig)
    monkeypatch.setenv("KAITO_TRAINER_IMAGE", cluster.env["KAITO_CLUSTER_HOST_IMAGE"])
    made = Client.connect(kubeconfig=cluster.kubeconfig, namespace=namespace)
    push_secret(made, cluster.env["KAITO_CLUSTER_AUTH_FILE"])
    claim(made, "data")
    claim(made, "adapters")
    yield made
    made.close()


@pytest.fixture
def frame() -> pd.DataFrame:
    """Content that no other test has sent anywhere."""
    salt = uuid.uuid4().hex
    return pd.DataFrame([{"prompt": f"What is {i} and one?", "completion": f"{i + 1}. {salt}"} for i in range(40)])


@pytest.fixture
def store(cluster: Any, tmp_path: Path) -> Iterator[Path]:
    """A folder that is the store `s3://`, at an address that pods reach and KAITO's webhook allows."""
    folder = tmp_path / "store"
    folder.mkdir()
    with shelf(folder, cluster.env["KAITO_CLUSTER_SERVE_IP"]):
        yield folder


def named(place: str, cluster: Any, client: Client) -> str:
    """A place, with what is only known here."""
    registry = f"{cluster.env['KAITO_CLUSTER_AUTH_REGISTRY']}/{client.namespace}"
    return place.format(registry=registry)


def shows(run: Run) -> None:
    """The run has come to its end, and its panel has every step of the stock trainer's log."""
    run.wait(LONG)
    series = run.state.series
    points = [(int(s), x) for s, x in zip(series["global_step"], series["loss"], strict=True) if math.isfinite(x)]
    assert [step for step, _ in points] == list(range(2, STEPS + 1, 2))
    assert points[0][1] > points[-1][1] > 0
    assert (run.state.global_step, run.state.max_steps) == (STEPS, STEPS)


def fed(client: Client, run: Run) -> dict[str, Any]:
    """What the operator was told about the data."""
    return client.get(WORKSPACES, run.name)["tuning"]["input"]  # type: ignore[no-any-return]


INPUTS = {
    "configmap": (None, "image:{registry}/adapter:1"),
    "image": ("image:{registry}/data", "pvc:adapters"),
    "pvc": ("pvc:data/sets", "image:{registry}/adapter:1"),
    "url": ("s3://bucket/sets", "pvc:adapters"),
}
"""Kind of input -> where the DataFrame goes, and where the adapter."""


@pytest.mark.parametrize("kind", INPUTS)
def test_kaito_trains_on_a_dataframe_by_each_kind_of_input(
    kind: str, cluster: Any, client: Client, frame: pd.DataFrame, store: Path
) -> None:
    place, output = ((p and named(p, cluster, client)) for p in INPUTS[kind])
    secret = {"push_secret": "push"} if output.startswith("image:") else {}
    login = {"pull_secret": "push"} if kind == "image" else {}
    open_ = {"placement": {"private_urls": True}} if kind == "url" else {}
    run = tune(
        frame,
        name=f"by-{kind}",
        namespace=client.namespace,
        input=place,
        output=output,
        **KAITO,
        **secret,
        **login,
        **open_,
    )
    shows(run)
    until(lambda: run.adapter, LONG)  # the Workspace is told a moment after the pod's end
    assert run.adapter == output.removeprefix("image:")
    source = fed(client, run)
    mark = Dataset.read(frame).fingerprint[:16]
    if kind == "configmap":
        assert source == {"volumeSource": {"configMap": {"name": "by-configmap-data"}}}
    elif kind == "image":
        assert source == {"image": f"{place.removeprefix('image:')}:{mark}", "imagePullSecrets": ["push"]}
    elif kind == "pvc":
        assert source == {"volumeSource": {"persistentVolumeClaim": {"claimName": "data"}}}
        assert any(f"/mnt/data/sets/{mark}/train.parquet" in line for line in run.logs())
    else:
        assert f"/bucket/sets/{mark}/train.parquet?signature=" in source["urls"][0]


def test_kaito_trains_on_what_is_there_already(cluster: Any, client: Client, frame: pd.DataFrame, store: Path) -> None:
    Dataset.read(frame).write(store / "train.parquet")
    url = signed("s3://train.parquet")
    run = tune(
        input=url,
        output="pvc:adapters",
        name="there",
        namespace=client.namespace,
        placement={"private_urls": True},
        **KAITO,
    )
    shows(run)
    assert fed(client, run) == {"urls": [url]}


def test_the_magic_sends_large_data_beside_the_adapter_and_says_so(
    cluster: Any, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import kaito_jupyter

    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setattr(kaito_jupyter, "show", lambda run: None, raising=False)
    config = Config()
    config.HistoryManager.enabled = False
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(config=config)
    shell.run_line_magic("load_ext", "kaito_jupyter")
    # Digits of hashes: more than a ConfigMap takes, however they are packed.
    texts = ["".join(hashlib.sha512(f"{i} {j}".encode()).hexdigest() for j in range(60)) for i in range(400)]
    shell.user_ns["df"] = pd.DataFrame({"text": texts})
    output = named("image:{registry}/adapter:1", cluster, client)
    line = (
        f"%kaito_tune df --backend kaito --preset phi-4-mini-instruct -n {client.namespace} --output {output} "
        f"--push-secret push --instance-type Standard_NC24ads_A100_v4 --max-steps {STEPS} --set logging_steps=2"
    )
    result = shell.run_cell(line)
    result.raise_error()
    shell.run_line_magic("unload_ext", "kaito_jupyter")
    InteractiveShell.clear_instance()
    shows(result.result)
    image = fed(client, result.result)["image"]
    assert image.startswith(f"{output.removeprefix('image:').removesuffix(':1')}-data:")
    said = capsys.readouterr().out
    assert f"too large for a ConfigMap: it goes into the image {image}, beside the adapter's." in said
    assert f"kaito: The data is in the image {image}." in said


LOOK = "import hashlib, sys; print('sha256', hashlib.sha256(open(sys.argv[1], 'rb').read()).hexdigest())"


@pytest.mark.parametrize("kind", INPUTS)
def test_the_pod_of_our_own_job_finds_a_dataframe_by_each_kind_of_input(
    kind: str, cluster: Any, client: Client, frame: pd.DataFrame, store: Path, tmp_path: Path
) -> None:
    place = INPUTS[kind][0]
    place = place and named(place, cluster, client)
    data = Dataset.read(frame)
    data.write(tmp_path / "train.parquet")
    path = f"/mnt/data/sets/{data.fingerprint[:16]}/train.parquet" if kind == "pvc" else "/mnt/data/train.parquet"
    looks = {"name": "trainer", "command": ["python", "-c", LOOK, path]}
    run = tune(
        frame, preset="phi-4-mini-instruct", backend="job", name=f"by-{kind}", namespace=client.namespace, input=place,
        output="pvc:adapters", placement={"pod_template": {"spec": {"containers": [looks]}}},
        **({"pull_secret": "push"} if kind == "image" else {}),
    )  # fmt: skip
    expected = hashlib.sha256((tmp_path / "train.parquet").read_bytes()).hexdigest()
    until(lambda: any(f"sha256 {expected}" in line for line in run.logs()) if started(client, run) else None, LONG)
    (pod,) = pods_of(client, run.name)
    init = [c["state"]["terminated"]["exitCode"] for c in pod["status"].get("initContainerStatuses") or ()]
    assert init == ([0] if kind in ("image", "url") else [])
    run.delete()


def started(client: Client, run: Run) -> bool:
    """Whether the trainer's container has ended."""
    (status,) = [
        c
        for pod in pods_of(client, run.name)
        for c in pod["status"].get("containerStatuses") or ()
        if c["name"] == "trainer"
    ] or [{"state": {}}]
    return "terminated" in status["state"]
