"""Runs in a real cluster: from the magic to the Job, against `kubectl apply` of the same objects, and a list of many runs.

What counts is when somebody who watches the API server sees the Job. The magic reads and checks the data before, and has the
server try all objects; kubectl gets finished YAML. The Job's pods fit on no node, so that nothing but API objects is made.
Needs a cluster (KUBECONFIG) and kubectl.

    python benchmarks/bench_submit.py [--quick]
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from kaito_jupyter.backends import marks
from kaito_jupyter.cluster.client import Client
from kaito_jupyter.cluster.connection import Stop
from kaito_jupyter.cluster.resources import CONFIG_MAPS, JOBS, NAMESPACES
from kaito_jupyter.cluster.watch import watch

ROUNDS, QUICK_ROUNDS = 9, 3
FINISHED, QUICK_FINISHED = 200, 40
ROWS = 400
GOAL = 1.5
LONG = 120.0
NOWHERE = {"spec": {"nodeSelector": {"kaito-jupyter/bench": "nowhere"}}}
DONE = {"type": "Complete", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}


class Seen:
    """When a watch of Jobs first told of each."""

    def __init__(self, client: Client) -> None:
        self._at: dict[str, float] = {}
        self._stop = Stop()
        self._ready = threading.Event()
        self._client = client
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self._ready.wait(LONG)

    def _run(self) -> None:
        for change in watch(self._client, JOBS, stop=self._stop):
            if change.kind == "SYNCED":
                self._ready.set()
            else:
                self._at.setdefault(change.object["metadata"]["name"], time.perf_counter())

    def at(self, name: str) -> float:
        deadline = time.perf_counter() + LONG
        while name not in self._at:
            assert time.perf_counter() < deadline, f"the Job {name} was never seen"
            time.sleep(0.001)
        return self._at[name]

    def close(self) -> None:
        self._stop.set()
        self._thread.join()


@contextlib.contextmanager
def namespace() -> Iterator[Client]:
    """A client in a namespace of its own, gone afterwards."""
    name = f"kaito-jupyter-bench-{uuid.uuid4().hex[:6]}"
    client = Client.connect(namespace=name)
    client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    try:
        yield client
    finally:
        client.delete(NAMESPACES, name)
        client.close()


def bare(item: dict[str, Any], name: str) -> dict[str, Any]:
    """The object as a user's YAML would have it, under another name."""
    value: dict[str, Any] = yaml.safe_load(yaml.safe_dump({k: v for k, v in item.items() if k != "status"}))
    kept = ("name", "labels", "annotations")
    value["metadata"] = {k: v for k, v in value["metadata"].items() if k in kept}
    value["metadata"]["name"] = value["metadata"]["name"].replace("magic-0", name)
    spec = value.get("spec") or {}
    spec.pop("selector", None)
    if template := spec.get("template"):
        for made in ("controller-uid", "job-name"):
            template["metadata"]["labels"].pop(made, None)
        template["metadata"].pop("creationTimestamp", None)
        for volume in template["spec"].get("volumes") or ():
            if source := volume.get("configMap"):
                source["name"] = source["name"].replace("magic-0", name)
    return value


def submit(client: Client, rounds: int) -> None:
    import pandas as pd
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    config = Config()
    config.HistoryManager.enabled = False
    shell = InteractiveShell.instance(config=config)
    shell.run_line_magic("load_ext", "kaito_jupyter")
    text = [f"This is the sentence number {i}, and it is not too short." for i in range(ROWS)]
    shell.user_ns["df"] = pd.DataFrame({"prompt": text, "completion": text[::-1]})
    seen, folder = Seen(client), Path(tempfile.mkdtemp())
    (folder / "pod.yaml").write_text(yaml.safe_dump(NOWHERE))
    os.environ.setdefault("KAITO_TRAINER_IMAGE", "registry.example/kaito-trainer:1")
    options = (
        f"--backend job -n {client.namespace} --preset some/model --output pvc:results --pod-template {folder}/pod.yaml"
    )

    def magic(name: str) -> float:
        began = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            run = shell.run_line_magic("kaito_tune", f"df {options} --name {name}")
        took = seen.at(name) - began
        run.close()
        return took

    def kubectl(name: str) -> float:
        documents = [bare(item, name) for item in objects]
        file = folder / f"{name}.yaml"
        file.write_text(yaml.safe_dump_all(documents))
        began = time.perf_counter()
        command = ["kubectl", "apply", "-n", client.namespace, "-f", str(file)]
        subprocess.run(command, check=True, capture_output=True)
        return seen.at(name) - began

    first = magic("magic-0")
    owned = [m for m in client.list(CONFIG_MAPS)[0] if m["metadata"]["name"] != "kube-root-ca.crt"]
    objects = [*owned, *client.list(JOBS)[0]]
    pairs = [(magic(f"magic-{i}"), kubectl(f"kubectl-{i}")) for i in range(1, rounds + 1)]
    ours, theirs = (statistics.median(p[i] for p in pairs) for i in (0, 1))
    row("magic to Job, the first in a kernel", f"{1000 * first:9.0f} ms")
    row("magic to Job, median", f"{1000 * ours:9.0f} ms   ({len(objects)} objects, {ROWS} rows)")
    row("kubectl apply to Job, median", f"{1000 * theirs:9.0f} ms   (the same objects, as YAML)")
    row("as a ratio", f"{ours / theirs:9.2f}   (goal: {GOAL})")
    seen.close()
    shutil.rmtree(folder)


def listing(client: Client, count: int) -> None:
    from kaito_jupyter.run import runs

    def finished(i: int) -> None:
        labels = marks.labels()
        container = {"name": "trainer", "image": "none"}
        pod = {"restartPolicy": "Never", "containers": [container], **NOWHERE["spec"]}
        document = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": f"done-{i}", "labels": labels, "annotations": {marks.SPEC: "x" * 2000}},
            "spec": {"parallelism": 0, "template": {"spec": pod}},
        }
        client.create(document)
        client.patch(JOBS, f"done-{i}", {"status": {"conditions": [DONE]}}, subresource="status")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(finished, range(count)))
    whole = timed(lambda: repr(runs(client.namespace)))
    one = timed(lambda: client.list(JOBS))
    row(f"a list of {len(runs(client.namespace))} runs, all backends", f"{1000 * whole:9.0f} ms")
    row("one bare list of the same Jobs", f"{1000 * one:9.0f} ms")


def timed(action: Callable[[], Any]) -> float:
    """Seconds, the median of a few times."""
    times = []
    for _ in range(7):
        began = time.perf_counter()
        action()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def row(name: str, value: str) -> None:
    print(f"   {name:44} {value}")


def main(quick: bool = False) -> None:
    if not (os.environ.get("KUBECONFIG") and shutil.which("kubectl")):
        print("   left out: needs KUBECONFIG and kubectl")
        return
    with namespace() as client, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        submit(client, QUICK_ROUNDS if quick else ROUNDS)
        for job in client.list(JOBS)[0]:
            client.delete(JOBS, job["metadata"]["name"])
        listing(client, QUICK_FINISHED if quick else FINISHED)


if __name__ == "__main__":
    import sys

    main(quick="--quick" in sys.argv)
