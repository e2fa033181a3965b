"""Each way in which a run of KAITO's fails is named right, soon after the death, and what a spec can mend goes green.

The stand-in operator fails on demand. For what a spec can mend the trainer's command decides by the configuration that it
is given, as a real one would: a spec that is not mended fails again.
"""

from __future__ import annotations

import base64
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from own_jobs import push_secret, until

from kaito_jupyter import tune
from kaito_jupyter.backends.base import TuningJob
from kaito_jupyter.backends.job import JobBackend
from kaito_jupyter.backends.kaito import KaitoBackend
from kaito_jupyter.backends.marks import RESUMED_FROM
from kaito_jupyter.cluster import pods as p
from kaito_jupyter.cluster.client import Client
from kaito_jupyter.cluster.resources import CONFIG_MAPS, PODS, WORKSPACES
from kaito_jupyter.dataset import Dataset
from kaito_jupyter.diagnose import Diagnosis, stalled
from kaito_jupyter.errors import RunFailed, SpecError
from kaito_jupyter.run import Run
from kaito_jupyter.spec import DataSource, TuningSpec, build_spec

pytestmark = pytest.mark.cluster

STEPS = 30
LONG = 120.0
"""Seconds until we call a run lost."""
SOON = 10.0
"""Seconds from the death to its name."""
WINDOW = 15.0
"""Seconds of silence that are a stall here; outside of tests it is more."""
NOT_YET = {"well", "no-node", "no-label", "unschedulable", "no-gpu", "kaito"}
"""What may be said before the trainer is placed: the cluster is shared, and its one node is given labels in turn."""


@pytest.fixture
def client(cluster: Any, namespace: str) -> Iterator[Client]:
    made = Client.connect(kubeconfig=cluster.kubeconfig, namespace=namespace)
    yield made
    made.close()


@pytest.fixture
def backend(client: Client) -> KaitoBackend:
    return KaitoBackend(client=client)


@pytest.fixture
def spec(cluster: Any, client: Client, namespace: str) -> TuningSpec:
    """A spec with data of ours, an image as its output, and the secret to push it."""
    login = Path(cluster.env["KAITO_CLUSTER_AUTH_FILE"]).read_bytes()
    client.create(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/dockerconfigjson",
            "metadata": {"name": "push", "namespace": namespace},
            "data": {".dockerconfigjson": base64.b64encode(login).decode()},
        }
    )
    image = f"{cluster.env['KAITO_CLUSTER_AUTH_REGISTRY']}/adapters/{namespace}:1"
    made = build_spec(
        preset="phi-4-mini-instruct",
        name=f"d-{uuid.uuid4().hex[:6]}",
        namespace=namespace,
        output=f"image:{image}",
        push_secret="push",
        instance_type="Standard_NC24ads_A100_v4",
        target="kaito",
        options={"logging_steps": 2},
    )
    return noted(made, steps=STEPS)


def noted(spec: TuningSpec, **notes: Any) -> TuningSpec:
    """The spec with annotations of the stand-in operator's."""
    told = {f"test.kaito.sh/{k.replace('_', '-')}": str(v) for k, v in notes.items()}
    return replace(spec, annotations={**spec.annotations, **told})


def start(backend: KaitoBackend, spec: TuningSpec, *, data: bool = True) -> Run:
    import pandas as pd

    rows = [{"prompt": f"What is {i} and one?", "completion": f"{i + 1}."} for i in range(40)]
    dataset = Dataset.read(pd.DataFrame(rows)) if data else None
    return Run(backend, backend.submit(TuningJob(spec, dataset, STEPS)), spec=spec, dataset=dataset)


def named(run: Run, cause: str, also: set[str] | None = None) -> tuple[Diagnosis, float]:
    """The diagnosis as soon as it is that cause, and when. No other may be made of a failure, but what is less exact."""
    deadline = time.monotonic() + LONG
    while (found := run.diagnose()).cause != cause:
        assert found.cause in NOT_YET | (also or set()), found
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    return found, time.time()


def died(client: Client, container: str) -> float:
    """When the container ended, by the kubelet's clock, in the first of the run's pods that failed."""
    pods = sorted(client.list(PODS)[0], key=p.created)
    ends = [c.ending.ended for pod in pods for c in p.containers(pod) if c.name == container and c.ending]
    return min(end for end in ends if end is not None)


FAILURES = {
    "oom": ("cuda-oom", "CUDA out of memory"),
    "target-modules": ("target-modules", "Target modules"),
    "crash": ("killed", "SIGKILL"),
    "push": ("push-refused", "authentication required"),
}


@pytest.mark.parametrize("fail", FAILURES)
def test_a_death_is_named_soon_with_its_remedy_though_the_pod_lives_on(
    fail: str, backend: KaitoBackend, client: Client, spec: TuningSpec
) -> None:
    cause, words = FAILURES[fail]
    run = start(backend, noted(spec, fail=fail))
    found, when = named(run, cause)
    assert found.state == "Failed"
    assert found.remedy
    assert any(words in line for line in found.evidence)
    assert when - died(client, "pusher" if fail == "push" else run.name) < SOON
    (pod,) = client.list(PODS)[0]
    assert pod["status"]["phase"] == "Running"
    with pytest.raises(RunFailed):
        run.wait(LONG)


@pytest.mark.parametrize("way", ["puller", "data-downloader"])
def test_a_download_that_fails_is_named_while_it_is_tried_again(
    way: str, cluster: Any, backend: KaitoBackend, client: Client, spec: TuningSpec
) -> None:
    image = DataSource(image=f"{cluster.env['KAITO_CLUSTER_REGISTRY']}/data:1")
    url = DataSource(urls=(f"http://{cluster.env['KAITO_CLUSTER_SERVE_IP']}:9/train.parquet",))
    given = replace(spec, input=image if way == "puller" else url)
    run = start(backend, noted(given, fail="download"), data=False)
    cause = "download-missing" if way == "puller" else "download-unreachable"
    found, when = named(run, cause, {"download"})
    assert (found.state, found.retrying) == ("Running", True)
    assert found.sentence.startswith("Retrying, after this: ")
    assert any("retrying (attempt 2 of 7" in line for line in found.evidence)
    assert "retrying" in run.state.describe(time.time())
    assert found.remedy
    assert when - died(client, way) < SOON
    with pytest.raises(SpecError, match="Retrying, after this"):
        run.fix()
    run.close()
    # The Workspace itself says Failed; so would a list, if it did not look for the next attempt's pod.
    until(lambda: client.get(WORKSPACES, run.name)["status"].get("state") == "Failed", LONG)
    until(lambda: backend.records()[0].status.reason.startswith("retrying"), LONG)


def test_a_hang_is_named_once_the_silence_is_long(
    backend: KaitoBackend, spec: TuningSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[stalled.__module__], "FLOOR", WINDOW)
    monkeypatch.setattr(
        sys.modules[stalled.__module__], "TIMES", 1.0
    )  # steps that a busy machine slows down count less
    run = start(backend, noted(spec, fail="hang"))
    found, when = named(run, "stall")
    assert found.state == "Running"
    assert "the trainer hangs after step" in found.sentence
    assert found.remedy
    last = run.state.series["time"][-1]
    assert when - last < WINDOW + SOON
    run.delete()


def test_what_a_spec_can_mend_goes_green_from_another_kernel(
    cluster: Any, backend: KaitoBackend, client: Client, spec: TuningSpec
) -> None:
    run = start(backend, fails_if(cluster, spec, "oom", "load_in_4bit: false"))
    named(run, "cuda-oom")
    run.close()
    other = Client.connect(kubeconfig=cluster.kubeconfig, namespace=spec.namespace)
    there = KaitoBackend(client=other)
    green = Run(there, there.find(run.name)).open(20).resume(fix=True)
    assert (green.name, green.spec.method) == (f"{run.name}-2", "qlora")
    green.wait(LONG)
    assert green.adapter == spec.output.image
    document = client.get(WORKSPACES, green.name)
    assert document["metadata"]["annotations"][RESUMED_FROM] == run.name
    # Its data is the one that was sent before, and it outlives the run that was sent it.
    deadline = time.monotonic() + LONG
    while client.find(WORKSPACES, run.name) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    maps = [o for o in client.list(CONFIG_MAPS)[0] if o.get("binaryData")]
    assert [o["name"] for m in maps for o in m["metadata"]["ownerReferences"]] == [green.name]
    assert document["tuning"]["input"]["volumeSource"]["configMap"]["name"] == maps[0]["metadata"]["name"]
    other.close()


def test_modules_that_are_not_there_become_the_presets_own_and_it_goes_green(
    cluster: Any, backend: KaitoBackend, spec: TuningSpec
) -> None:
    wrong = replace(spec, config=spec.config.merged({"LoraConfig": {"target_modules": ["query_key_value"]}}))
    run = start(backend, fails_if(cluster, wrong, "target-modules", "query_key_value"))
    found, _ = named(run, "target-modules")
    assert "query_key_value" in found.sentence
    assert found.fix is not None
    assert [c.path for c in found.fix.changes] == ["LoraConfig.target_modules"]
    green = run.resume(fix=True).wait(LONG)
    assert green.spec.config.LoraConfig.target_modules == ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]


def fails_if(cluster: Any, spec: TuningSpec, fail: str, words: str) -> TuningSpec:
    """A trainer that fails so if its configuration holds these words."""
    folder = cluster.env["KAITO_CLUSTER_DIR"]
    trainer = f"exec {folder}/venv/bin/python {folder}/pod/trainer.py --preset {spec.preset} --gpus 1 --steps {STEPS}"
    command = f'grep -q "{words}" /mnt/config/training_config.yaml && fail={fail} || fail=; {trainer} --fail "$fail"'
    return noted(spec, command=command)


def test_a_job_of_ours_that_no_node_takes_is_named_and_resumed_with_the_data_that_was_sent(
    cluster: Any, job_client: Client, frame: Any
) -> None:
    registry = cluster.env["KAITO_CLUSTER_AUTH_REGISTRY"]
    secret = push_secret(job_client, cluster.env["KAITO_CLUSTER_AUTH_FILE"])
    run = tune(
        frame, preset="HuggingFaceTB/SmolLM2-135M-Instruct", backend="job", namespace=job_client.namespace, name="mine",
        output=f"image:{registry}/{job_client.namespace}/adapter:1", push_secret=secret, placement={"gpus": 64},
    )  # fmt: skip
    found, _ = named(run, "no-gpu")
    assert (found.state, found.command) == ("Pending", "%kaito delete mine --yes")
    assert found.sentence == "No node has 64 free GPU(s) for the pod."
    assert any("Insufficient nvidia.com/gpu" in line for line in found.evidence)
    run.close()

    there = JobBackend(client=job_client)
    old = Run(there, there.find("mine")).open(20)
    with pytest.raises(SpecError, match="mine is alive"):
        old.resume()
    again = old.resume(end=True)
    assert again.spec.annotations == {RESUMED_FROM: "mine"}
    assert (again.name, again.rows) == ("mine-2", run.rows)
    (data,) = [o for o in job_client.list(CONFIG_MAPS)[0] if o.get("binaryData")]
    assert {o["name"] for o in data["metadata"]["ownerReferences"]} == {"mine", "mine-2"}
    with pytest.raises(RunFailed, match="cancelled"):
        old.wait(LONG)
    again.delete()
    old.delete()
