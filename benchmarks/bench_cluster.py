"""A run in a real cluster: reading its log against a bare download, lines as they are written, and idle CPU.

A pod prints the event lines of a long run. Reading it late (all of it, folded into a RunState) is compared with a bare
download of the same log over the same connection; the server, which stamps and sends each line, is the larger part of
both. Needs a cluster with an image that holds Python: KUBECONFIG and KAITO_CLUSTER_HOST_IMAGE.

    python benchmarks/bench_cluster.py [--quick]
"""

from __future__ import annotations

import os
import sys
import threading
import time
import uuid
from typing import Any

from kaito_jupyter.cluster.client import Client
from kaito_jupyter.cluster.connection import Stop
from kaito_jupyter.cluster.follow import follow
from kaito_jupyter.cluster.judge import JobJudge
from kaito_jupyter.cluster.resources import JOBS, PODS
from kaito_jupyter.state import RunState
from kaito_jupyter.status import Lines

STEPS = 100_000
QUICK_STEPS = 8_000
EVERY = 4
"""Steps a line: 100,000 lines of this length are more than a kubelet keeps (10 MiB), and what it rotated is out of reach."""
IDLE = 60.0
QUICK_IDLE = 5.0
"""Seconds of looking at an idle run."""
LONGEST = 120.0
GOAL_IDLE = 0.5
"""Percent of a core."""
PRINTER = """
import sys, time
def say(n):
    sys.stdout.write('{"kaito_event":1,"type":"log","seq":%d,"time":1764000000.1,"global_step":%d,"loss":1.93125,'
                     '"learning_rate":0.0001875,"grad_norm":0.73125,"num_tokens":%d}\\n' % (n, n, 512 * n))
time.sleep(3)
for n in range(EVERY, STEPS + 1, EVERY):
    say(n)
    n % 80 or sys.stdout.flush()
sys.stdout.flush()
time.sleep(3600)
"""


class Followed:
    """A run that is read in a thread into a RunState."""

    def __init__(self, client: Client, name: str) -> None:
        self.state = RunState()
        self.began = time.perf_counter()
        self.first: float | None = None
        """Seconds until the first line."""
        self.current = threading.Event()
        self.stop = threading.Event()
        self._args = (client, name)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        client, name = self._args
        judge = JobJudge(name, "main")
        for item in follow(client, namespace=None, labels=f"job-name={name}", judge=judge, stop=self.stop):
            if isinstance(item, Lines):
                if self.first is None:
                    self.first = time.perf_counter() - self.began
                self.state.feed_many(item.texts)
            elif item is None and self.first is not None:
                self.current.set()

    def until(self, step: int) -> float:
        """Seconds until that step was folded."""
        while self.state.global_step < step:
            assert time.perf_counter() - self.began < LONGEST, (
                f"step {self.state.global_step} of {step} after {LONGEST} s"
            )
            time.sleep(0.01)
        return time.perf_counter() - self.began

    def close(self) -> None:
        self.stop.set()
        self._thread.join()


def job(name: str, image: str, steps: int) -> dict[str, Any]:
    container = {
        "name": "main",
        "image": image,
        "command": ["python3", "-c", PRINTER.replace("STEPS", str(steps)).replace("EVERY", str(EVERY))],
    }
    sidecars = [{"name": n, "image": image, "command": ["sleep", "3600"]} for n in ("pusher", "pause")]
    pod = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [container, *sidecars]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": {"spec": pod}},
    }


def download(client: Client, pod: str) -> tuple[float, int]:
    """Seconds and bytes of the log as it is, thrown away."""
    began = time.perf_counter()
    size = 0
    query = {"container": "main", "timestamps": "true"}
    with client.log(pod, None, query, stop=Stop(), read_timeout=30.0) as pieces:
        for piece in pieces:
            size += len(piece)
    return time.perf_counter() - began, size


def main(quick: bool = False) -> None:
    image = os.environ.get("KAITO_CLUSTER_HOST_IMAGE")
    if not (os.environ.get("KUBECONFIG") and image):
        print("   left out: needs KUBECONFIG and KAITO_CLUSTER_HOST_IMAGE")
        return
    steps, idle = (QUICK_STEPS, QUICK_IDLE) if quick else (STEPS, IDLE)
    lines = steps // EVERY
    client = Client.connect()
    name = f"bench-{uuid.uuid4().hex[:6]}"
    client.apply(job(name, image, steps))
    try:
        live = Followed(client, name)
        while live.state.global_step < 1:
            time.sleep(0.001)
        began, cpu = time.perf_counter(), time.process_time()
        live.until(steps)
        took, spent = time.perf_counter() - began, time.process_time() - cpu
        print(
            f"   {'live, from the pod to RunState':44} {lines / took:9,.0f} lines/s   {1e6 * spent / lines:5.1f} us CPU a line"
        )
        live.current.wait(30)
        time.sleep(2)
        began, cpu = time.perf_counter(), time.process_time()
        time.sleep(idle)
        share = 100 * (time.process_time() - cpu) / (time.perf_counter() - began)
        print(f"   {'idle: CPU of a run with three containers':44} {share:9.2f} % of a core   (goal: {GOAL_IDLE} %)")
        began = time.perf_counter()
        live.close()
        print(f"   {'stop: until all threads have ended':44} {1000 * (time.perf_counter() - began):9.0f} ms")
        pod = client.list(PODS, labels=f"job-name={name}")[0][0]["metadata"]["name"]
        rounds = []
        for _ in range(3):
            bare, size = download(client, pod)
            late = Followed(client, name)
            whole = late.until(steps)
            late.close()
            rounds.append((whole, bare))
        whole, bare = (min(r[i] for r in rounds) for i in (0, 1))
        print(
            f"   {f'reattach to {steps:,} steps':44} {whole:9.2f} s   (bare download of {size / 1e6:.1f} MB: {bare:.2f} s)"
        )
        print(f"   {'as a ratio':44} {whole / bare:9.2f}")
    finally:
        client.delete(JOBS, name)
        client.close()


if __name__ == "__main__":
    main(quick="--quick" in sys.argv)
