"""Our own Job trains in a real pod: through three containers, with volumes through one, and with two processes to its cancel."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from own_jobs import MODEL, claim, left_of, mounting, peft_loads, pods_of, push_secret, until
from traitlets.config import Config

from kaito_jupyter import tune, watch
from kaito_jupyter.cluster.client import Client
from kaito_jupyter.cluster.resources import CONFIG_MAPS, JOBS
from kaito_jupyter.dataset import Dataset
from kaito_jupyter.demo import docstring_pairs, smollm2

pytestmark = [pytest.mark.cluster, pytest.mark.train, pytest.mark.timeout(600)]

LONG = 300.0
"""Seconds until we call a run lost."""
PLAIN = {"OMP_NUM_THREADS": "1"}


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    """A real IPython shell with the extension."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.chdir(tmp_path)
    config = Config()
    config.HistoryManager.enabled = False
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(config=config)
    shell.run_line_magic("load_ext", "kaito_jupyter")
    yield shell
    shell.run_line_magic("unload_ext", "kaito_jupyter")
    InteractiveShell.clear_instance()


def test_a_magic_makes_an_adapter_image_of_a_dataframe_through_three_containers(
    cluster: Any, job_client: Client, shell: InteractiveShell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import yaml

    from kaito_trainer import oci

    client, auth = job_client, Path(cluster.env["KAITO_CLUSTER_AUTH_FILE"])
    monkeypatch.setenv("DOCKER_CONFIG", str(auth.parent))
    where = f"{cluster.env['KAITO_CLUSTER_AUTH_REGISTRY']}/{client.namespace}"
    push_secret(client, str(auth))
    template = mounting(smollm2())
    template["spec"]["containers"][0]["env"] = [{"name": "OMP_NUM_THREADS", "value": "1"}]
    (tmp_path / "pod.yaml").write_text(yaml.safe_dump(template))
    shell.user_ns["df"] = docstring_pairs().head(30)
    run = shell.run_line_magic(
        "kaito_tune",
        f"df --backend job --preset {MODEL} --name first -n {client.namespace} --input image:{where}/data "
        f"--pull-secret push --output image:{where}/adapter:1 --push-secret push --pod-template pod.yaml "
        "--max-steps 4 --batch-size 2 --set TrainingArguments.max_length=64 --learning-rate 1e-3",
    )
    # Live: the first step is here while the trainer still runs.
    until(lambda: run.state.global_step >= 1 or run.done, LONG)
    (pod,) = pods_of(client, "first")
    assert "running" in {s["name"]: s for s in pod["status"]["containerStatuses"]}["trainer"]["state"]
    run.wait(LONG)
    assert [c["name"] for c in pod["spec"]["initContainers"]] == ["push-check", "data-downloader"]
    assert [c["name"] for c in pod["spec"]["containers"]] == ["trainer", "pusher"]
    assert list(run.history.index) == [1, 2, 3, 4]
    told = [p.name for p in run.state.phases if p.name in ("downloading", "training", "pushing")]
    assert told == ["downloading", "training", "pushing"]
    assert run.samples
    image = oci.Image(f"{where}/adapter:1", auth_files=(auth,))
    assert run.adapter == f"{where}/adapter:1@{image.digest()}"
    image.pull(tmp_path / "pulled")
    assert peft_loads(tmp_path / "pulled" / "data", smollm2())
    # Another kernel, with nothing but the cluster.
    again = watch("first", client.namespace, "job")
    assert again.spec == run.spec
    assert again.history.equals(run.history)
    assert again.state.state == "Succeeded"
    run.delete()
    until(lambda: not left_of(client), LONG)


def test_a_volume_becomes_a_volume_through_the_trainer_alone(job_client: Client, tiny: Path, frame: Any) -> None:
    client = job_client
    data, results = claim(client, "data"), claim(client, "results")
    (data / "in").mkdir()
    Dataset.read(frame).write(data / "in" / "mine.parquet")
    (data / "in" / "mine.parquet").chmod(0o644)
    hub = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hub"}, "stringData": {"HF_TOKEN": "hf_canary"}}
    client.create(hub)
    run = tune(
        preset=MODEL, backend="job", namespace=client.namespace, name="volumes", model_access_secret="hub",
        input="pvc:data/in/mine.parquet", output="pvc:results", max_steps=3, batch_size=2, learning_rate=1e-2,
        placement={"pod_template": mounting(tiny), "env": PLAIN, "env_from": ["hub"], "queue": "research"},
    )  # fmt: skip
    run.wait(LONG)
    (pod,) = pods_of(client, "volumes")
    assert not pod["spec"].get("initContainers")
    assert [c["name"] for c in pod["spec"]["containers"]] == ["trainer"]
    assert "hf_canary" not in json.dumps([pod, client.get(JOBS, "volumes")])
    assert run.adapter == "pvc:results"
    assert list(run.history.index) == [1, 2, 3]
    assert peft_loads(results, tiny)
    run.delete()
    until(lambda: not left_of(client), LONG)
    assert (results / "adapter_model.safetensors").is_file()  # what the user named stays


def test_two_processes_that_are_cancelled_in_training_save_and_push(
    cluster: Any, job_client: Client, tiny: Path, frame: Any, tmp_path: Path
) -> None:
    """Both GPUs' processes get SIGTERM through torchrun, which is process 1; their adapter is pushed."""
    from kaito_trainer import oci

    client, auth = job_client, cluster.env["KAITO_CLUSTER_AUTH_FILE"]
    image = f"{cluster.env['KAITO_CLUSTER_AUTH_REGISTRY']}/{client.namespace}/adapter:1"
    run = tune(
        frame, preset=MODEL, backend="job", namespace=client.namespace, name="two", output=f"image:{image}",
        push_secret=push_secret(client, auth),
        placement={"gpus": 2, "pod_template": mounting(tiny), "env": PLAIN}, max_steps=100_000, batch_size=2,
    )  # fmt: skip
    until(lambda: run.state.global_step >= 3 or run.done, LONG)
    owners = [client.get(CONFIG_MAPS, n)["metadata"]["ownerReferences"][0]["name"] for n in ("two-data", "two-config")]
    assert owners == ["two", "two"]
    run.cancel()
    until(lambda: run.done, LONG)
    assert run.state.state == "Cancelled", run.state.reason
    assert len(run.logs(5)) == 5  # the log stays
    found = oci.Image(image, auth_files=(Path(auth),))
    assert run.adapter == f"{image}@{found.digest()}"
    found.pull(tmp_path / "pulled")
    names = {file.name for file in (tmp_path / "pulled" / "data").iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors"} <= names
    (pod,) = pods_of(client, "two")
    trainer = pod["spec"]["containers"][0]
    assert trainer["command"][:3] == ["python", "-m", "torch.distributed.run"]
    assert trainer["resources"]["limits"] == {"nvidia.com/gpu": "2"}
    run.delete()
    until(lambda: not left_of(client), LONG)
