"""A run whose truth is known, and a kernel that reads it: for tests that break everything between the two.

As a program this is that kernel: `python chaos_run.py KUBECONFIG NAMESPACE NAME FILE` reads the run from its beginning with
nothing but the cluster, and writes what it found into FILE when the run has ended.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from kaito_jupyter.backends import marks
from kaito_jupyter.backends.job import JobBackend
from kaito_jupyter.backends.job_judge import RunJudge
from kaito_jupyter.cluster.client import Client
from kaito_jupyter.cluster.follow import follow
from kaito_jupyter.errors import BackendError
from kaito_jupyter.manifests.pod import MAIN
from kaito_jupyter.run.reader import Reader
from kaito_jupyter.state import RunState
from kaito_jupyter.status import TERMINAL, Lines, RunRef, Status

SILENCE = 3.0
"""Seconds without a byte after which a reader gives a connection up: short, so that it happens."""
MOST = 480
"""Steps at most: what one `history` event carries."""
LEAST = 40
PRINTER = """
import random, sys, time, urllib.request
from kaito_trainer.contract import events as ev
from kaito_trainer.emit import Emitter

rng, emit, began = random.Random({seed}), Emitter(sys.stdout), time.monotonic()
asked, word, n, logs = 0.0, '', 0, []

def history():
    columns = {{'global_step': [s for s, _ in logs], 'loss': [x for _, x in logs]}}
    emit(ev.History(columns=columns, max_steps={most}))

emit(ev.Phase(phase='loading'))
emit(ev.TrainBegin(max_steps={most}))
while not (word == 'end' and len(logs) >= {least}) and time.monotonic() - began < 1500:
    if time.monotonic() - asked > 0.5:
        asked = time.monotonic()
        try:
            word = urllib.request.urlopen('{address}', timeout=5).read().decode()
        except OSError:
            pass
    if word == 'burst':
        for _ in range(12_000):
            print(f'line {{n}} {{950 * "y"}}\\n', end='')
            n += 1
    for _ in range(rng.choice([1, 1, 1, 5, 200])):
        long = (rng.random() < 0.003) * rng.choice([20000, 40000])
        print(f'line {{n}} {{long * "x"}}\\n', end='', flush=rng.random() < 0.9)
        n += 1
    if len(logs) < {most} and time.monotonic() - began > {pace} * len(logs):
        step = len(logs) + 1
        logs.append((step, 2 + 1 / step))
        emit(ev.Log(global_step=step, loss=2 + 1 / step, learning_rate=1e-4))
        step % 20 or history()
    time.sleep(rng.choice([0.001, 0.01, 0.05, 0.3]))
history()
emit(ev.TrainEnd(status='completed', global_step=len(logs)))
print('all', n, flush=True)
"""


class Control:
    """What the printer asks now and then: whether to go on, to write very much (`burst`), or to end."""

    def __init__(self, address: str) -> None:
        self.word = "go on"
        control = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                word = control.word
                control.word = "go on" if word == "burst" else word
                self.send_response(200)
                self.end_headers()
                self.wfile.write(word.encode())

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A pod that went while it asked."""

        self._server = Server((address, 0), Handler)
        self.address = f"http://{address}:{self._server.server_address[1]}/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def printer(name: str, image: str, control: Control, *, seed: int, pace: float) -> dict[str, Any]:
    """A Job of ours, as far as a reader can tell."""
    code = PRINTER.format(seed=seed, most=MOST, least=LEAST, pace=pace, address=control.address)
    container = {"name": MAIN, "image": image, "command": [sys.executable, "-c", code]}
    pod = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 2, "containers": [container]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": marks.labels()},
        "spec": {"backoffLimit": 0, "template": {"spec": pod}},
    }


class Account:
    """A service account with the least rights of a reader, whose token is replaced; `path` is its kubeconfig."""

    RULES = (
        ("", "pods", "list,watch,get"),
        ("", "pods/log", "get"),
        ("", "events", "list"),
        ("batch", "jobs", "list,watch,get"),
    )

    def __init__(self, api: Any, namespace: str, place: dict[str, Any], path: Path) -> None:
        from kubernetes.client import CoreV1Api, RbacAuthorizationV1Api

        self._core, self._namespace, self._place, self.path = CoreV1Api(api), namespace, place, path
        self._core.create_namespaced_service_account(namespace, {"metadata": {"name": "watcher"}})
        rules = [{"apiGroups": [g], "resources": [r], "verbs": v.split(",")} for g, r, v in self.RULES]
        rbac = RbacAuthorizationV1Api(api)
        rbac.create_namespaced_role(namespace, {"metadata": {"name": "watcher"}, "rules": rules})
        subject = {"kind": "ServiceAccount", "name": "watcher", "namespace": namespace}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "watcher"}
        binding = {"metadata": {"name": "watcher"}, "roleRef": role, "subjects": [subject]}
        rbac.create_namespaced_role_binding(namespace, binding)
        self._tokens = 0
        self.replace()

    def replace(self) -> None:
        """The file holds a new token; the old one dies (within seconds: servers cache their yes)."""
        number = self._tokens = self._tokens + 1
        secret = self._core.create_namespaced_secret(self._namespace, {"metadata": {"name": f"token-{number}"}})
        bound = {"kind": "Secret", "apiVersion": "v1", "name": secret.metadata.name, "uid": secret.metadata.uid}
        request = {"spec": {"audiences": [], "boundObjectRef": bound}}
        answer = self._core.create_namespaced_service_account_token("watcher", self._namespace, request)
        config = {
            "clusters": [{"name": "c", "cluster": self._place}],
            "users": [{"name": "u", "user": {"token": answer.status.token}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": self._namespace}}],
            "current-context": "x",
        }
        new = self.path.with_suffix(".new")
        new.write_text(yaml.safe_dump(config))
        new.replace(self.path)
        for old in self._core.list_namespaced_secret(self._namespace).items:
            # One whose replacement was cut short is left over, too.
            name = old.metadata.name
            if name.startswith("token-") and name != secret.metadata.name:
                self._core.delete_namespaced_secret(name, self._namespace)


class Recorded(RunState):
    """A state that remembers all that it was fed."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.remarks: list[str] = []
        self.ends: list[str] = []
        """Terminal states that were told."""

    def feed_many(self, lines: Iterable[str]) -> None:
        lines = list(lines)
        self.lines += lines
        super().feed_many(lines)

    def feed_beside(self, lines: Iterable[str], phase: str = "", time: float | None = None) -> None:
        lines = list(lines)
        self.remarks += lines
        super().feed_beside(lines, phase, time)

    def apply(self, item: Any) -> None:
        if isinstance(item, Status) and item.state in TERMINAL:
            self.ends.append(item.state)
        super().apply(item)

    def curve(self) -> list[tuple[int, float]]:
        return [(int(s), x) for s, x in zip(self.series["global_step"], self.series["loss"], strict=True)]

    def found(self) -> dict[str, Any]:
        """What a test compares."""
        return {"state": self.state, "reason": self.reason, "curve": self.curve(), "ends": self.ends}


class ShortPatience(JobBackend):
    """The backend, that gives silent connections up soon."""

    def follow(self, ref: RunRef, since: str | None, stop: threading.Event) -> Iterator[Lines | Status | None]:
        judge = RunJudge(ref.name, met=True)
        labels = f"job-name={ref.name}"
        return follow(
            self.client, namespace=ref.namespace, labels=labels, judge=judge, since=since, stop=stop, silence=SILENCE
        )


def reader(kubeconfig: Path, namespace: str, name: str) -> tuple[Reader, Recorded]:
    """A reader that has begun. Waits out a cluster that is away just now."""
    client = Client.connect(namespace=namespace, kubeconfig=str(kubeconfig), read_timeout=4)
    backend, state = ShortPatience(client=client), Recorded()
    made = Reader(backend, patiently(lambda: backend.find(name)), state)
    made.open()
    return made, state


def patiently(action: Callable[[], Any], seconds: float = 300.0) -> Any:
    """Its result, however often the cluster is away first."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return action()
        except (BackendError, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def main(kubeconfig: str, namespace: str, name: str, file: str) -> None:
    made, state = reader(Path(kubeconfig), namespace, name)
    made.over.wait(1500)
    made.close()
    Path(file).write_text(json.dumps(state.found()))


if __name__ == "__main__":
    main(*sys.argv[1:])
