"""Workspaces, driven by the cluster's operator (or its stand-in), through `KaitoBackend` and `Run`."""

from __future__ import annotations

import base64
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kaito_jupyter.backends.base import TuningJob
from kaito_jupyter.backends.kaito import KaitoBackend
from kaito_jupyter.cluster.client import Client
from kaito_jupyter.cluster.refusals import Forbidden
from kaito_jupyter.cluster.resources import CONFIG_MAPS, JOBS, PODS, SECRETS, WORKSPACES
from kaito_jupyter.dataset import Dataset
from kaito_jupyter.errors import RunNotFound, SpecError
from kaito_jupyter.run import Run
from kaito_jupyter.run.registry import Listed
from kaito_jupyter.spec import DataSource, TuningSpec, build_spec

pytestmark = pytest.mark.cluster

STEPS = 30
LONG = 120.0
"""Seconds until we call a run lost."""
DATA = [{"prompt": f"What is {i} and one?", "completion": f"{i + 1}."} for i in range(40)]


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
    """A spec with data of ours and an image as its output, and the secret to push it."""
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
        method="qlora",
        name=f"w-{uuid.uuid4().hex[:6]}",
        namespace=namespace,
        output=f"image:{image}",
        push_secret="push",
        instance_type="Standard_NC24ads_A100_v4",
        target="kaito",
        options={"logging_steps": 2},
    )
    return with_notes(made, steps=STEPS)


def with_notes(spec: TuningSpec, **notes: Any) -> TuningSpec:
    """The spec with annotations of the stand-in operator's."""
    told = {f"test.kaito.sh/{k.replace('_', '-')}": str(v) for k, v in notes.items()}
    return replace(spec, annotations={**spec.annotations, **told})


def start(backend: KaitoBackend, spec: TuningSpec, data: Any = DATA) -> Run:
    dataset = None if data is None else read(data)
    ref = backend.submit(TuningJob(spec, dataset, STEPS))
    return Run(backend, ref, spec=spec, dataset=dataset)


def read(rows: list[dict[str, str]]) -> Dataset:
    import pandas as pd

    return Dataset.read(pd.DataFrame(rows))


def curve(run: Run) -> list[tuple[int, float]]:
    series = run.state.series
    steps, losses = series["global_step"], series["loss"]
    return [(int(s), x) for s, x in zip(steps, losses, strict=True) if x == x]


def names(client: Client, *resources: Any) -> list[str]:
    return [f"{r.plural}/{o['metadata']['name']}" for r in resources for o in client.list(r)[0] if ours(o)]


def ours(item: Any) -> bool:
    return bool(item["metadata"]["name"] != "kube-root-ca.crt")


def test_a_workspace_goes_to_its_end_and_another_kernel_knows_all_of_it(
    cluster: Any, backend: KaitoBackend, client: Client, spec: TuningSpec
) -> None:
    run = start(backend, spec)
    run.wait(LONG)
    points = curve(run)
    assert [step for step, _ in points] == list(range(2, STEPS + 1, 2))
    assert points[0][1] > points[-1][1]
    assert run.state.max_steps == STEPS
    assert run.adapter == spec.output.image

    other = Client.connect(kubeconfig=cluster.kubeconfig, namespace=spec.namespace)
    fresh = KaitoBackend(client=other)
    ref = fresh.find(run.name)
    again = Run(fresh, ref).open(20)
    again.wait(LONG)
    assert again.state.state == "Succeeded"
    assert curve(again) == points
    assert again.spec == spec
    (record,) = fresh.records()
    assert (record.status.state, record.rows, record.total_steps) == ("Succeeded", len(DATA), STEPS)
    assert (record.preset, record.method) == (spec.preset, spec.method)
    again.close()

    deadline = time.monotonic() + LONG  # who saw the end leaves the last numbers: a list reads no log
    while not (told := Listed(fresh, fresh.records()[0]).state).global_step:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert (told.global_step, told.loss) == points[-1]

    assert len(names(client, WORKSPACES, CONFIG_MAPS, JOBS)) == 4
    again.delete()
    deadline = time.monotonic() + LONG
    while left := names(client, WORKSPACES, CONFIG_MAPS, JOBS, PODS):
        assert time.monotonic() < deadline, left
        time.sleep(0.2)
    with pytest.raises(RunNotFound):
        fresh.find(run.name)
    other.close()


def test_a_list_of_runs_is_one_call(
    backend: KaitoBackend, client: Client, spec: TuningSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two", "three"):
        start(backend, with_notes(replace(spec, name=name), provision_seconds=600)).close()
    calls = []
    call = client._transport.call
    monkeypatch.setattr(
        client._transport, "call", lambda *args, **more: (calls.append(args[:2]), call(*args, **more))[1]
    )
    assert {r.ref.name for r in backend.records()} == {"one", "two", "three"}
    assert len(calls) == 1


def test_a_name_that_is_taken_and_a_live_workspace_that_changes(backend: KaitoBackend, spec: TuningSpec) -> None:
    start(backend, with_notes(spec, provision_seconds=600)).close()
    assert [(p.path, p.severity) for p in backend.problems(spec)] == [("metadata.name", "note")]
    with pytest.raises(SpecError, match="is there already"):
        start(backend, spec)
    found = backend.problems(replace(spec, preset="phi-3.5-mini-instruct", method="lora"))
    assert [(p.path, p.severity) for p in found] == [("tuning.preset.name", "error"), ("tuning.method", "error")]
    other = replace(spec, output=replace(spec.output, image=f"{spec.output.image}2"))
    assert [(p.path, p.severity) for p in backend.problems(other)] == [("tuning.output", "note")]


def test_a_refusal_of_the_webhook_names_its_causes_and_leaves_nothing(
    cluster: Any, backend: KaitoBackend, client: Client, spec: TuningSpec
) -> None:
    if not cluster.has_webhook:
        pytest.skip("nobody checks Workspaces there")
    bad = replace(spec, preset="no-such-preset")
    with pytest.raises(SpecError) as caught:
        start(backend, bad)
    assert caught.value.problems
    assert "no-such-preset" in str(caught.value)
    assert names(client, WORKSPACES, CONFIG_MAPS) == []


def test_a_secret_that_is_not_there_is_told_before_anything_is_made(
    backend: KaitoBackend, client: Client, spec: TuningSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = replace(
        spec,
        input=DataSource(image="registry.example.com/data:1", image_pull_secrets=("push", "pull")),
        output=replace(spec.output, image_push_secret="other"),
        model_access_secret="token",
    )
    assert [p.path for p in backend.problems(bad)] == [
        "tuning.input.imagePullSecrets[1]",
        "tuning.output.imagePushSecret",
        "tuning.preset.presetOptions.modelAccessSecret",
    ]
    with pytest.raises(SpecError, match="there is no Secret pull"):
        start(backend, bad, None)
    assert names(client, WORKSPACES, CONFIG_MAPS) == []

    def forbidden(*_: Any, **__: Any) -> None:
        raise Forbidden("read secrets", "no right to")

    monkeypatch.setattr(client, "find", lambda kind, *a, **k: forbidden() if kind is SECRETS else None)
    assert backend.problems(bad) == []
