"""Our own Job trains a real model in a real pod: through three containers, and with volumes through one."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from own_jobs import MODEL, claim, mounting, pods_of, push_secret, until

from kaito_jupyter import tune, watch
from kaito_jupyter.backends.cluster.client import Client
from kaito_jupyter.backends.cluster.resources import CONFIG_MAPS, JOBS
from kaito_jupyter.backends.job import JobBackend
from kaito_jupyter.dataset import Dataset
from kaito_jupyter.demo import docstring_pairs, smollm2

pytestmark = [pytest.mark.cluster, pytest.mark.train]

SMALL = {"max_steps": 4, "batch_size": 2, "max_length": 64, "learning_rate": 1e-3}
PLAIN = {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return docstring_pairs().head(40)


@pytest.fixture
def client(cluster: Any, namespace: str) -> Client:
    return Client.connect(namespace=namespace, kubeconfig=cluster.kubeconfig)


@pytest.fixture(autouse=True)
def _image(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAITO_TRAINER_IMAGE", cluster.env["KAITO_CLUSTER_HOST_IMAGE"])
    monkeypatch.setenv("KUBECONFIG", cluster.kubeconfig)


def test_a_data_image_becomes_an_adapter_image_through_three_containers(
    cluster: Any, client: Client, rows: pd.DataFrame, tmp_path: Path
) -> None:
    from kaito_trainer import oci

    registry, pushed_to = (cluster.env[f"KAITO_CLUSTER_{n}"] for n in ("REGISTRY", "AUTH_REGISTRY"))
    file = tmp_path / "train.parquet"
    Dataset.read(rows).write(file)
    layer = oci.write_layer({"data/train.parquet": file}, tmp_path / "layer.tar.gz")
    oci.Image(f"{registry}/{client.namespace}/data:1").push(layer, annotations={})
    auth = cluster.env["KAITO_CLUSTER_AUTH_FILE"]
    image = f"{pushed_to}/{client.namespace}/adapter:1"
    run = tune(
        preset=MODEL, backend="job", namespace=client.namespace, name="first",
        input=f"image:{registry}/{client.namespace}/data:1", output=f"image:{image}",
        push_secret=push_secret(client, auth),
        placement={"pod_template": mounting(smollm2()), "env": PLAIN}, **SMALL,
    )  # fmt: skip
    # Live: the first step is here while the trainer still runs.
    until(lambda: run.state.global_step >= 1 or run.done, 120)
    (pod,) = pods_of(client, "first")
    assert "running" in {s["name"]: s for s in pod["status"]["containerStatuses"]}["trainer"]["state"]
    run.wait(120)
    assert [c["name"] for c in pod["spec"]["initContainers"]] == ["push-check", "data-downloader"]
    assert [c["name"] for c in pod["spec"]["containers"]] == ["trainer", "pusher"]
    assert list(run.history.index) == [1, 2, 3, 4]
    assert [p.name for p in run.state.phases if p.name in ("downloading", "training", "pushing")] == [
        "downloading", "training", "pushing",
    ]  # fmt: skip
    assert run.samples
    address = str(run.adapter)
    assert address.startswith(f"{image}@sha256:")
    assert address.endswith(str(oci.Image(image, auth_files=(Path(auth),)).digest()))
    oci.Image(image, auth_files=(Path(auth),)).pull(tmp_path / "pulled")
    assert _loads_with_peft(tmp_path / "pulled" / "data")
    # Another kernel, with nothing but the cluster.
    again = watch("first", client.namespace, "job")
    assert again.spec == run.spec
    assert again.history.equals(run.history)
    assert again.state.state == "Succeeded"
    run.delete()
    until(lambda: not client.list(JOBS)[0] and not client.find(CONFIG_MAPS, "first-config"))


def test_a_volume_becomes_a_volume_through_the_trainer_alone(client: Client, rows: pd.DataFrame) -> None:
    data, results = claim(client, "data"), claim(client, "results")
    Dataset.read(rows).write(data / "mine.parquet")
    (data / "mine.parquet").chmod(0o644)
    run = tune(
        preset=MODEL, backend="job", namespace=client.namespace, name="volumes",
        input="pvc:data/mine.parquet", output="pvc:results",
        placement={"pod_template": mounting(smollm2()), "env": PLAIN}, **SMALL,
    )  # fmt: skip
    run.wait(150)
    (pod,) = pods_of(client, "volumes")
    assert not pod["spec"].get("initContainers")
    assert [c["name"] for c in pod["spec"]["containers"]] == ["trainer"]
    assert run.adapter == "pvc:results"
    assert list(run.history.index) == [1, 2, 3, 4]
    assert _loads_with_peft(results)


def test_a_dataframe_travels_in_a_configmap(client: Client, rows: pd.DataFrame) -> None:
    claim(client, "results")
    run = tune(
        rows, preset=MODEL, backend="job", namespace=client.namespace, name="frame", output="pvc:results",
        placement={"pod_template": mounting(smollm2()), "env": PLAIN}, **SMALL | {"max_steps": 1000},
    )  # fmt: skip
    until(lambda: run.state.global_step >= 2 or run.done, 120)
    owners = [
        client.get(CONFIG_MAPS, n)["metadata"]["ownerReferences"][0]["name"] for n in ("frame-data", "frame-config")
    ]
    assert owners == ["frame", "frame"]
    record = JobBackend(client=client).record(run.ref)
    assert (record.rows, record.total_steps, record.preset) == (40, 1000, MODEL)
    # Cancelled while it trains: the trainer saves, the log stays, the adapter is there.
    began = time.monotonic()
    run.cancel()
    until(lambda: run.done, 60)
    assert run.state.state == "Cancelled", run.state.reason
    assert run.adapter == "pvc:results"
    assert len(run.logs(5)) == 5
    assert time.monotonic() - began < 60


def _loads_with_peft(folder: Path) -> bool:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    assert json.loads((folder / "adapter_config.json").read_text())["r"] == 8
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(smollm2()), folder)
    return any("lora_B" in name and bool(p.abs().sum() > 0) for name, p in model.named_parameters())
