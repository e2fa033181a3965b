"""`%kaito_tune` against a cluster's server: rehearsed, compared with what runs, run again, and refused where nothing can change."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell
from own_jobs import push_secret
from traitlets.config import Config

import kaito_jupyter
from kaito_jupyter.backends.base import TuningJob
from kaito_jupyter.backends.job import JobBackend
from kaito_jupyter.cluster.client import Client
from kaito_jupyter.cluster.resources import CONFIG_MAPS, JOBS, WORKSPACES
from kaito_jupyter.dataset import Dataset
from kaito_jupyter.errors import SpecError
from kaito_jupyter.spec import build_spec

pytestmark = pytest.mark.cluster

FRAME = pd.DataFrame({"prompt": [f"What is {i}?" for i in range(40)], "completion": [f"It is {i}." for i in range(40)]})


@pytest.fixture
def client(cluster: Any, namespace: str) -> Iterator[Client]:
    made = Client.connect(kubeconfig=cluster.kubeconfig, namespace=namespace)
    yield made
    made.close()


@pytest.fixture
def shell(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("KUBECONFIG", cluster.kubeconfig)
    monkeypatch.setattr(kaito_jupyter, "show", lambda run: None, raising=False)
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(config=config)
    shell.run_line_magic("load_ext", "kaito_jupyter")
    shell.user_ns["df"] = FRAME
    yield shell
    shell.run_line_magic("unload_ext", "kaito_jupyter")
    InteractiveShell.clear_instance()


def line(namespace: str, name: str, *more: str) -> str:
    words = (
        "%kaito_tune df --preset phi-4-mini-instruct --backend kaito", f"-n {namespace} --name {name}",
        "--instance-type Standard_NC24ads_A100_v4 --push-secret push", *more,
    )  # fmt: skip
    return " ".join(words)


def left(client: Client) -> list[str]:
    found = [o["metadata"]["name"] for r in (WORKSPACES, JOBS, CONFIG_MAPS) for o in client.list(r)[0]]
    return sorted(name for name in found if name != "kube-root-ca.crt" and not name.endswith("-params-template"))


def test_a_dry_run_at_the_server_shows_who_accepted_it_and_keeps_nothing(
    cluster: Any, client: Client, namespace: str, shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    push_secret(client, cluster.env["KAITO_CLUSTER_AUTH_FILE"])
    good = line(namespace, "first", "--output image:registry.example.com/team/adapter:1", "--dry-run=server")
    plan = shell.run_cell(good).result
    assert plan.accepted_by == client.server
    assert f"# accepted by {client.server}" in repr(plan)
    assert "kind: Workspace" in repr(plan)
    assert f"accepted by {client.server}; nothing was started" in capsys.readouterr().out
    assert left(client) == []

    ran = shell.run_cell(good.replace("--push-secret push", "--push-secret nowhere"))
    assert not ran.success
    assert "there is no Secret nowhere" in str(ran.error_in_exec)
    assert left(client) == []
    ran = shell.run_cell("%kaito_tune df --preset a/b --backend local --dry-run=server")
    assert 'the backend "local" has no server' in str(ran.error_in_exec)


def test_what_only_the_server_knows_is_told_too(client: Client, namespace: str) -> None:
    spec = build_spec(
        preset="phi-4-mini-instruct", name="first", namespace=namespace, output="pvc:results", input="pvc:data",
        placement={"image": "registry.example.com/trainer:1", "node_selector": {"nowhere": "x"}}, target="job",
    )  # fmt: skip
    backend = JobBackend(client=client)
    bad = replace(spec, labels={"app": "x" * 70})
    (problem,) = [p for p in backend.rehearse(TuningJob(bad, None, None)) if "label" in p.message][:1]
    assert "must be no more than 63" in problem.message
    assert left(client) == []


def test_a_configuration_of_the_cluster_is_taken_by_its_name(
    cluster: Any, client: Client, namespace: str, shell: InteractiveShell
) -> None:
    push_secret(client, cluster.env["KAITO_CLUSTER_AUTH_FILE"])
    text = "training_config:\n  TrainingArguments: {max_steps: 7, learning_rate: 3e-4}\n"
    meta = {"name": "mine", "namespace": namespace}
    client.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"training_config.yaml": text}})
    tune = line(namespace, "first", "--output image:registry.example.com/team/adapter:1", "--dry-run")
    plan = shell.run_cell(f"{tune} --config configmap:mine --learning-rate 1e-4").result
    arguments = plan.spec.config.TrainingArguments
    assert (arguments.max_steps, arguments.learning_rate) == (7, 1e-4)
    ran = shell.run_cell(f"{tune} --config configmap:mime")
    assert "there is no ConfigMap mime" in str(ran.error_in_exec)
    assert 'Did you mean "mine"?' in str(ran.error_in_exec)
    ran = shell.run_cell("%kaito_tune df --preset a/b --backend local --config configmap:mine")
    assert "lies in a cluster, and this run goes to none" in str(ran.error_in_exec)


def test_the_same_name_again_shows_what_differs_and_becomes_the_next_revision(
    cluster: Any, client: Client, namespace: str, shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    push_secret(client, cluster.env["KAITO_CLUSTER_AUTH_FILE"])
    image = f"{cluster.env['KAITO_CLUSTER_AUTH_REGISTRY']}/adapters/{namespace}"
    assert shell.run_cell(line(namespace, "first", f"--output image:{image}:1 --set max_steps=2000")).success
    capsys.readouterr()

    ran = shell.run_cell(line(namespace, "first", f"--output image:{image}:1 --set max_steps=1500"))
    assert "KAITO does not look at that in a live Workspace" in str(ran.error_in_exec)
    assert "TrainingArguments.max_steps: 2000 → 1500" in capsys.readouterr().out

    run = shell.run_cell(line(namespace, "first", f"--output image:{image}:2 --set max_steps=12 --dry-run")).result
    told = capsys.readouterr().out
    assert f"tuning.output.image: {image}:1 → {image}:2" in told
    assert "It becomes revision 2 of the same run." in told

    run = shell.run_cell(line(namespace, "first", f"--output image:{image}:2 --set max_steps=12")).result
    run.wait(180)
    assert (run.revision, run.state.state, run.state.global_step) == (2, "Succeeded", 12)
    assert list(run.history.index) == list(range(1, 13))


def test_a_job_of_that_name_is_told_with_what_differs(client: Client, namespace: str) -> None:
    spec = build_spec(
        preset="phi-4-mini-instruct", name=f"j-{uuid.uuid4().hex[:6]}", namespace=namespace, output="pvc:results",
        placement={"image": "registry.example.com/trainer:1", "node_selector": {"nowhere": "x"}}, target="job",
    )  # fmt: skip
    backend, data = JobBackend(client=client), Dataset.read(FRAME)
    ref = backend.submit(TuningJob(spec, data, 40))
    with pytest.raises(SpecError, match=r"no Job can be changed\. It was started with the same spec and data"):
        backend.submit(TuningJob(spec, data, 40))
    other = TuningJob(replace(spec, method="qlora"), Dataset.read(FRAME[:20]), 20)
    with pytest.raises(SpecError) as caught:
        backend.submit(other)
    (problem,) = caught.value.problems
    assert "What differs: tuning.method: lora → qlora; data: 40 rows" in problem.message
    assert f"%kaito delete {spec.name}" in problem.remedy
    difference = backend.difference(other)
    assert difference is not None
    assert [path for path, _, _ in difference] == ["tuning.method", "data"]
    backend.delete(ref)


@pytest.mark.parametrize("number", range(6))
def test_nothing_is_left_of_a_job_that_breaks_off(
    number: int, client: Client, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = build_spec(
        preset="phi-4-mini-instruct", name="first", namespace=namespace, output="pvc:results",
        placement={"image": "registry.example.com/trainer:1", "node_selector": {"nowhere": "x"}}, target="job",
    )  # fmt: skip
    call, calls = client._transport.call, []

    def broken(asked: Any, method: str, *args: Any, **more: Any) -> Any:
        if method == "GET":
            return call(asked, method, *args, **more)
        calls.append(asked)
        if len(calls) != number // 2 + 4:
            return call(asked, method, *args, **more)
        if number % 2:
            call(asked, method, *args, **more)
        raise KeyboardInterrupt

    monkeypatch.setattr(client._transport, "call", broken)
    with pytest.raises(KeyboardInterrupt):
        JobBackend(client=client).submit(TuningJob(spec, Dataset.read(FRAME), 40))
    monkeypatch.undo()
    deadline = time.monotonic() + 120
    while found := left(client):
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
