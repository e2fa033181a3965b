"""Chaos: while a run prints numbered lines, everything between it and us is broken at random. Every line arrives once.

`KAITO_CHAOS_FAULTS` says how many faults (CI: a few; `make chaos`: hundreds), `KAITO_CHAOS_SEED` which. Faults of the
whole cluster (API server paused or restarted, history forgotten) need the test cluster's `chaos` program.
"""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster_runs import Following, job, python
from wire import Wire

from kaito_jupyter.cluster.client import Client
from kaito_jupyter.status import TERMINAL

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]

FAULTS = int(os.environ.get("KAITO_CHAOS_FAULTS", "30"))
SEED = int(os.environ.get("KAITO_CHAOS_SEED", "1"))
PROGRAM = Path(__file__).parents[3] / "shared" / "cluster" / "chaos"
PAUSE = (0.05, 0.8)
"""Seconds between two faults."""
PRINTER = """
import random, sys, time
rng, end = random.Random({seed}), time.time() + {seconds}
n = 0
while time.time() < end:
    for _ in range(rng.choice([1, 1, 1, 5, 200])):
        print('line', n, 'x' * (rng.random() < 0.003) * rng.choice([20000, 40000]), flush=rng.random() < 0.9)
        n += 1
    time.sleep(rng.choice([0.001, 0.01, 0.05, 0.4]))
print('all', n)
"""


class Account:
    """A service account whose token is replaced, with a kubeconfig through the wire."""

    RULES = (
        ("", "pods", "list,watch,get"),
        ("", "pods/log", "get"),
        ("", "events", "list"),
        ("batch", "jobs", "list,watch"),
    )

    def __init__(self, cluster: Any, namespace: str, wire: Wire, path: Path) -> None:
        from kubernetes.client import CoreV1Api, RbacAuthorizationV1Api

        self._core, self._namespace, self.path = CoreV1Api(cluster.api), namespace, path
        self._core.create_namespaced_service_account(namespace, {"metadata": {"name": "watcher"}})
        rules = [{"apiGroups": [g], "resources": [r], "verbs": v.split(",")} for g, r, v in self.RULES]
        rbac = RbacAuthorizationV1Api(cluster.api)
        rbac.create_namespaced_role(namespace, {"metadata": {"name": "watcher"}, "rules": rules})
        subject = {"kind": "ServiceAccount", "name": "watcher", "namespace": namespace}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "watcher"}
        binding = {"metadata": {"name": "watcher"}, "roleRef": role, "subjects": [subject]}
        rbac.create_namespaced_role_binding(namespace, binding)
        config = yaml.safe_load(Path(cluster.kubeconfig).read_text())
        name = config["current-context"]
        context = next(c["context"] for c in config["contexts"] if c["name"] == name)
        place = next(c["cluster"] for c in config["clusters"] if c["name"] == context["cluster"])
        self._place = place | {"server": f"https://127.0.0.1:{wire.port}", "tls-server-name": "localhost"}
        self._tokens = 0
        self.replace()

    def replace(self) -> None:
        """The old token dies (within seconds: servers cache their yes), the file holds a new one."""
        name = f"token-{self._tokens}"
        secret = self._core.create_namespaced_secret(self._namespace, {"metadata": {"name": name}})
        bound = {"kind": "Secret", "apiVersion": "v1", "name": name, "uid": secret.metadata.uid}
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
        if self._tokens:
            self._core.delete_namespaced_secret(f"token-{self._tokens - 1}", self._namespace)
        self._tokens += 1


@pytest.fixture
def wire(cluster: Any) -> Iterator[Wire]:
    made = Wire(cluster.api.configuration.host)
    yield made
    made.close()


def program(*words: str) -> None:
    subprocess.run(["bash", str(PROGRAM), *words], check=True, capture_output=True, timeout=120)


def patiently(action: Callable[[], object]) -> None:
    """The cluster may be away just now, because of an earlier fault."""
    deadline = time.monotonic() + 60
    while True:
        try:
            action()
        except Exception:  # whatever it is: the next try tells
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
        else:
            return


def test_every_line_arrives_once_whatever_breaks(cluster: Any, namespace: str, wire: Wire, tmp_path: Path) -> None:
    rng = random.Random(SEED)
    account = Account(cluster, namespace, wire, tmp_path / "kubeconfig")
    client = Client.connect(kubeconfig=str(account.path), read_timeout=4)
    admin = Client.connect(namespace=namespace, kubeconfig=cluster.kubeconfig)
    seconds = 8 + FAULTS * (sum(PAUSE) / 2 + 0.25)
    code = PRINTER.format(seed=SEED, seconds=seconds)
    admin.apply(job("chaos", cluster.env["KAITO_CLUSTER_HOST_IMAGE"], python(code)))
    parts: list[Following] = []

    def attach() -> None:
        since = next((b.cursor for part in reversed(parts) for b in reversed(part.batches)), None)
        parts.append(Following(client, "chaos", since, silence=3.0))

    def reattach() -> None:
        parts[-1].close()
        attach()

    faults: list[tuple[float, str, Callable[[], object]]] = [
        (30, "all connections are reset", wire.cut),
        (30, "all are reset in the middle of an answer", lambda: wire.cut_after(rng.randrange(1, 60_000))),
        (10, "no byte passes", lambda: wire.silence(rng.choice([0.2, 1.0, 4.0]))),
        (8, "connections are refused", lambda: wire.refuse(rng.uniform(0.2, 2.0))),
        (12, "the kernel is gone, another takes over", reattach),
        (6, "the token is replaced", lambda: patiently(account.replace)),
    ]
    if PROGRAM.is_file() and cluster.env.get("KAITO_CLUSTER_DIR"):
        faults += [
            (6, "the API server's connections are dropped", lambda: program("drop-connections")),
            (2, "the API server hangs", lambda: program("pause-apiserver", "2")),
            (1, "the server forgets its history", lambda: program("forget-history")),
            (1, "the API server is restarted", lambda: program("restart-apiserver")),
        ]
    done: list[str] = []
    attach()
    try:
        for _ in range(FAULTS):
            time.sleep(rng.uniform(*PAUSE))
            _, what, inject = rng.choices(faults, [f[0] for f in faults])[0]
            done.append(what)
            inject()
        status = parts[-1].end(seconds + 300)
    finally:
        for part in parts:
            part.close()
    print(f"{len(done)} faults, {len(parts)} readers, {wire.cuts} connections cut:")
    print("\n".join(f"  {done.count(what):3} {what}" for what in sorted(set(done))))

    lines = [text for part in parts for text in part.lines()]
    numbers = [int(line.split()[1]) for line in lines[:-1]]
    assert lines[-1] == f"all {len(numbers)}", "nothing is missing at the end"
    assert numbers == list(range(len(numbers)))
    assert all(
        set(line.split()[2]) == {"x"} and len(line.split()[2]) in (20000, 40000) for line in lines if "x" in line
    )
    assert (status.state, status.exit_code) == ("Succeeded", 0)
    ends = [s.state for part in parts for s in part.statuses if s.state in TERMINAL]
    assert ends == ["Succeeded"], "no false end was told on the way"
    assert len(numbers) > 10 * FAULTS
