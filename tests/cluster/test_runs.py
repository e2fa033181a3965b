"""Many runs at once: what a list of them costs, and that an end or a removal leaves nothing behind but what was asked for."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from own_jobs import claim, push_secret, until

from kaito_jupyter.backends import marks
from kaito_jupyter.backends.base import TuningJob
from kaito_jupyter.backends.job import JobBackend
from kaito_jupyter.backends.kaito import KaitoBackend
from kaito_jupyter.cluster.client import Client
from kaito_jupyter.cluster.resources import CLAIMS, CONFIG_MAPS, JOBS, PODS, SECRETS, WORKSPACES
from kaito_jupyter.cluster.transport import Transport
from kaito_jupyter.dataset import Dataset
from kaito_jupyter.manifests.pod import MAIN
from kaito_jupyter.run import Run, runs
from kaito_jupyter.spec import DataSource, TuningSpec, build_spec

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

LONG = 300.0
FINISHED = 200
QUIET = """
import sys, time
from kaito_trainer.contract import events as ev
from kaito_trainer.emit import Emitter
emit = Emitter(sys.stdout)
emit(ev.TrainBegin(max_steps=40000))
for step in range(1, 40001):
    emit(ev.Log(global_step=step, loss=2 + 1 / step))
    time.sleep(0.1)
"""
ROWS = [{"prompt": f"What is {i} and one?", "completion": f"{i + 1}."} for i in range(40)]
DONE = {"type": "Complete", "status": "True", "lastTransitionTime": "2026-11-24T13:45:00Z"}


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Method and kind of each request that we make from now on; a watch has the method WATCH, a log the kind `log`."""
    made: list[tuple[str, str]] = []
    real = Transport._request

    def request(self: Any, asked: Any, method: str, path: str, query: Any = None, *args: Any, **more: Any) -> Any:
        made.append(("WATCH" if (query or {}).get("watch") else method, path.rsplit("/", 1)[1]))
        return real(self, asked, method, path, query, *args, **more)

    monkeypatch.setattr(Transport, "_request", request)
    return made


@pytest.fixture
def nothing_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No runs on this machine."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


@pytest.fixture
def spec(cluster: Any, job_client: Client) -> TuningSpec:
    push_secret(job_client, cluster.env["KAITO_CLUSTER_AUTH_FILE"])
    image = f"{cluster.env['KAITO_CLUSTER_AUTH_REGISTRY']}/adapters/{job_client.namespace}:1"
    return build_spec(
        preset="phi-4-mini-instruct", method="qlora", name="mine", namespace=job_client.namespace, target="kaito",
        output=f"image:{image}", push_secret="push", instance_type="Standard_NC24ads_A100_v4", options={"logging_steps": 2},
    )  # fmt: skip


def start(client: Client, spec: TuningSpec, rows: Any = ROWS, **notes: Any) -> Run:
    """A Workspace of ours; `notes` for the stand-in operator."""
    import pandas as pd

    told = {f"test.kaito.sh/{k.replace('_', '-')}": str(v) for k, v in notes.items()}
    spec = replace(spec, annotations={**spec.annotations, **told})
    dataset = None if rows is None else Dataset.read(pd.DataFrame(rows))
    backend = KaitoBackend(client=client)
    return Run(backend, backend.submit(TuningJob(spec, dataset, 40)), spec=spec, dataset=dataset)


def talker(name: str, image: str, code: str = QUIET, **spec: Any) -> dict[str, Any]:
    """A Job of ours, as far as a list can tell."""
    container = {"name": MAIN, "image": image, "command": [sys.executable, "-c", code]}
    pod = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container]}
    labels = marks.labels()
    return {
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "labels": labels, "annotations": {}},
        "spec": {"backoffLimit": 0, "template": {"metadata": {"labels": labels}, "spec": pod}, **spec},
    }  # fmt: skip


def left(client: Client) -> list[str]:
    """What is in the namespace besides what every namespace has, and what the test itself has put there."""
    kinds = (WORKSPACES, JOBS, PODS, CONFIG_MAPS, SECRETS, CLAIMS)
    names = [f"{r.plural}/{o['metadata']['name']}" for r in kinds for o in client.list(r)[0]]
    return sorted(n for n in names if n not in ("configmaps/kube-root-ca.crt", "secrets/push") and "-token-" not in n)


def test_two_hundred_finished_runs_and_three_live_ones_are_one_list_a_kind(
    job_client: Client,
    spec: TuningSpec,
    nothing_here: None,
    requests: list[tuple[str, str]],
    cluster: Any,
) -> None:
    client = job_client
    image = cluster.env["KAITO_CLUSTER_HOST_IMAGE"]

    def finished(i: int) -> None:
        # API objects only: with a parallelism of 0 no pod is ever made.
        document = talker(f"done-{i:03d}", image, parallelism=0)
        document["metadata"]["annotations"] = {marks.PRESET: "some/model", marks.TOTAL_STEPS: "40"}
        client.create(document)
        client.patch(JOBS, f"done-{i:03d}", {"status": {"conditions": [DONE]}}, subresource="status")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(finished, range(FINISHED)))
    client.apply(talker("live-job", image))
    start(client, replace(spec, name="live-workspace"), steps=4000, step_seconds=0.1).close()
    # The stand-in operator provides one Workspace with a node at a time.
    until(lambda: client.list(PODS, labels="kaito.sh/workspace=live-workspace")[0], LONG)
    start(client, replace(spec, name="live-pending"), provision_seconds=3000).close()

    def listed() -> dict[str, Any]:
        return {run.name: run for run in runs(client.namespace) if run.name.startswith("live")}

    until(lambda: all(listed()[n].state.loss is not None for n in ("live-job", "live-workspace")), LONG)
    requests.clear()
    began = time.perf_counter()
    found = runs(client.namespace)
    took = time.perf_counter() - began
    asked = Counter(requests)
    assert len(found) == FINISHED + 3
    assert found.troubles == ()
    # Whether there is KAITO; one list a kind; pods once for each kind of run that has live ones, and those runs' last lines.
    assert asked == {
        ("GET", "v1beta1"): 1, ("GET", "workspaces"): 1, ("GET", "jobs"): 1, ("GET", "pods"): 2, ("GET", "log"): 2,
    }  # fmt: skip
    states = Counter(run.state.state for run in found)
    assert states == {"Succeeded": FINISHED, "Running": 2, "Pending": 1}
    live = {run.name: run for run in found if run.name.startswith("live")}
    for name in ("live-job", "live-workspace"):
        state = live[name].state
        assert state.global_step > 0
        assert state.loss is not None
    assert live["live-workspace"].state.max_steps == 40  # as the submission has it
    assert len(repr(found).splitlines()) == 52
    print(f"\n{len(found)} runs listed in {1000 * took:.0f} ms, {len(requests)} requests")
    # No run is alive any more: not even pods are asked for.
    client.delete(JOBS, "live-job")
    for name in ("live-workspace", "live-pending"):
        client.delete(WORKSPACES, name)
    until(lambda: not any(run.state.state == "Running" for run in runs(client.namespace)), LONG)
    requests.clear()
    runs(client.namespace)
    assert Counter(requests) == {("GET", "v1beta1"): 1, ("GET", "workspaces"): 1, ("GET", "jobs"): 1}
    assert not any(method == "WATCH" for method, _ in requests)


def test_runs_of_all_namespaces_are_listed_where_that_is_asked(
    job_client: Client, nothing_here: None, cluster: Any
) -> None:
    job_client.apply(talker("mine", cluster.env["KAITO_CLUSTER_HOST_IMAGE"]))
    place = f"{job_client.namespace}/mine"
    assert place in repr(runs(job_client.namespace, "job"))
    assert place not in repr(runs("default", "job"))
    everywhere = runs(backend="job", everywhere=True)
    assert any((run.namespace, run.name) == (job_client.namespace, "mine") for run in everywhere)


def test_one_watched_run_is_one_watch_a_kind(job_client: Client, cluster: Any, requests: list[tuple[str, str]]) -> None:
    """And nothing else is asked for while it says nothing: an idle run costs a watch's renewal now and then."""
    job_client.apply(talker("mine", cluster.env["KAITO_CLUSTER_HOST_IMAGE"]))
    backend = JobBackend(client=job_client)
    run = Run(backend, backend.find("mine"))
    until(lambda: run.state.loss is not None, LONG)
    requests.clear()
    time.sleep(3)
    asked = Counter(requests)
    assert set(asked) <= {("WATCH", "jobs"), ("WATCH", "pods"), ("GET", "log")}, asked
    assert sum(asked.values()) <= 6
    run.close()
    until(lambda: not [t for t in threading.enumerate() if t.name.startswith("kaito ")], LONG)


def test_an_interpreter_that_ends_while_it_reads_ends_cleanly(
    job_client: Client, cluster: Any, nothing_here: None
) -> None:
    job_client.apply(talker("mine", cluster.env["KAITO_CLUSTER_HOST_IMAGE"]))
    until(lambda: any(r.state.loss is not None for r in runs(job_client.namespace, "job")), LONG)
    code = (
        f"import kaito_jupyter; run = kaito_jupyter.watch('mine', {job_client.namespace!r}, 'job'); print(run.reading)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


MOMENTS: dict[str, tuple[dict[str, Any], Callable[[Run, Client], bool]]] = {
    "pending": ({"provision_seconds": 3000}, lambda run, _: "waiting for a GPU node" in run.state.reason),
    "download": ({"fail": "download"}, lambda _, client: bool(client.list(PODS)[0])),
    "training": ({"steps": 4000, "step_seconds": 0.1}, lambda run, _: run.state.global_step >= 4),
    "push": ({"steps": 4}, lambda run, _: "pusher" in run.state.reason or run.done),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_workspace_that_is_cancelled_leaves_nothing_behind(
    moment: str, job_client: Client, spec: TuningSpec, cluster: Any
) -> None:
    notes, reached = MOMENTS[moment]
    rows: Any = ROWS
    if moment == "download":
        spec, rows = replace(spec, input=DataSource(image=f"{cluster.env['KAITO_CLUSTER_REGISTRY']}/data:1")), None
    run = start(job_client, spec, rows, **notes)
    until(lambda: reached(run, job_client), LONG)
    run.cancel()
    until(lambda: run.done, LONG)
    if run.state.state == "Succeeded" and moment == "push":  # it was faster
        run.delete()
    else:
        assert run.state.state == "Cancelled"
    until(lambda: not left(job_client), LONG)


def test_a_deleted_workspace_takes_all_with_it_but_what_the_user_has_made(job_client: Client, spec: TuningSpec) -> None:
    claim(job_client, "results")
    kept = build_spec(
        preset="phi-4-mini-instruct", method="lora", name="mine", namespace=job_client.namespace, target="kaito",
        output="pvc:results", instance_type="Standard_NC24ads_A100_v4", options={"logging_steps": 2},
    )  # fmt: skip
    run = start(job_client, kept, steps=4)
    until(lambda: run.done, LONG)
    assert run.state.state == "Succeeded"
    assert [n.partition("/")[0] for n in left(job_client)].count("configmaps") == 2
    run.delete()
    until(lambda: left(job_client) == ["persistentvolumeclaims/results"], LONG)
