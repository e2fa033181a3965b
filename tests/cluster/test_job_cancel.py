"""A run of our own Job that is cancelled before, between and after its steps ends at once, and keeps nothing but its record."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from own_jobs import MODEL, left_of, mounting, pods_of, push_secret, until

from kaito_jupyter import tune
from kaito_jupyter.cluster.client import Client
from kaito_jupyter.cluster.pods import condition
from kaito_jupyter.cluster.resources import JOBS
from kaito_jupyter.run import Run

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

LONG = 300.0
PLAIN = {"OMP_NUM_THREADS": "1"}


@pytest.fixture
def endless(cluster: Any) -> Iterator[str]:
    """The address of a file whose bytes come slowly and never end."""
    over = threading.Event()

    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            while not over.wait(0.2):
                self.wfile.write(b"x" * 1000)
                self.wfile.flush()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer((cluster.env["KAITO_CLUSTER_SERVE_IP"], 0), Server)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # who reads may leave
    thread = threading.Thread(target=server.serve_forever, args=(0.1,))
    thread.start()
    yield f"http://{server.server_address[0]}:{server.server_port}/train.jsonl"
    over.set()
    server.shutdown()
    server.server_close()
    thread.join()


def cancelled(run: Run, client: Client) -> None:
    """Cancel it: it ends, its Job has an end too, and once it is deleted nothing is left."""
    run.cancel()
    until(lambda: run.done, LONG)
    assert run.state.state == "Cancelled", run.state.reason
    until(lambda: condition(client.get(JOBS, run.name), "Failed"), LONG)
    alive = [pod for pod in pods_of(client, run.name) if pod["status"]["phase"] in ("Pending", "Running")]
    assert not alive
    assert run.adapter is None
    run.delete()
    until(lambda: not left_of(client), LONG)


def test_while_no_node_takes_it(job_client: Client, frame: Any) -> None:
    run = tune(
        frame, preset=MODEL, backend="job", namespace=job_client.namespace, name="waits", output="pvc:results",
        placement={"gpus": 64, "pod_template": without_claim()},
    )  # fmt: skip
    until(lambda: "nvidia.com/gpu" in run.state.reason, LONG)
    assert run.state.state == "Pending"
    cancelled(run, job_client)


def test_while_its_data_comes(job_client: Client, endless: str) -> None:
    run = tune(
        preset=MODEL, backend="job", namespace=job_client.namespace, name="loads", input=endless, output="pvc:results",
        placement={"private_urls": True, "pod_template": without_claim()}, max_steps=5,
    )  # fmt: skip
    until(lambda: run.state.phase == "downloading" or run.done, LONG)
    cancelled(run, job_client)


@pytest.mark.train
def test_while_its_adapter_is_not_taken_by_the_registry(
    cluster: Any, job_client: Client, tiny: Path, frame: Any
) -> None:
    """The login that was good before the training is not good after it: the pusher waits for who fetches the adapter."""
    image = f"{cluster.env['KAITO_CLUSTER_AUTH_REGISTRY']}/{job_client.namespace}/adapter:1"
    template = mounting(tiny)
    template["spec"]["containers"].append(
        {"name": "pusher", "command": ["python", "-m", "kaito_trainer", "push", image]}
    )
    run = tune(
        frame, preset=MODEL, backend="job", namespace=job_client.namespace, name="pushes", output=f"image:{image}",
        push_secret=push_secret(job_client, cluster.env["KAITO_CLUSTER_AUTH_FILE"]),
        placement={"pod_template": template, "env": PLAIN}, max_steps=1, batch_size=2,
    )  # fmt: skip
    until(lambda: run.state.phase == "pushing" or run.done, LONG)
    assert not run.done, run.state.reason
    cancelled(run, job_client)


def without_claim() -> dict[str, Any]:
    """A pod template with the results on the pod's own disk."""
    return {"spec": {"volumes": [{"name": "results", "emptyDir": {}, "persistentVolumeClaim": None}]}}
