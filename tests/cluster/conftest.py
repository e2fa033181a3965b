"""A Kubernetes cluster with KAITO's CRD, for the tests that need one.

They run with `--cluster` and in CI (`CI=true`), against the cluster of `KUBECONFIG`, else against a test cluster that is
started from a folder beside the checkout. It is left up: the next run finds it. Each test works in a namespace of its own.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from own_jobs import until

ROOT = Path(__file__).parents[2]
UP = ROOT.parent / "shared" / "cluster" / "up"
"""Starts the test cluster, or finds it up, and prints what to export."""
SHAPE = {
    "KAITO_CLUSTER_HOST_PATHS": str(ROOT),
    "KAITO_CLUSTER_HOST_PATH_ENV": f"{ROOT}/.venv/bin:/usr/bin:/bin",
}
"""Its pods see this checkout and run its virtual environment. `.ci/run` says the same: another shape is a restart."""


@dataclass(frozen=True)
class Cluster:
    """A cluster to test against."""

    kubeconfig: str
    env: dict[str, str]
    """What the test cluster exports (`KAITO_CLUSTER_REGISTRY`, …); with a cluster of the user's, what the environment holds."""
    api: Any
    """A `kubernetes.client.ApiClient` of its administrator."""

    @property
    def has_webhook(self) -> bool:
        """Whether KAITO's webhook stands there: without the operator nobody checks a Workspace but the CRD's schema."""
        from kubernetes.client import AdmissionregistrationV1Api

        hooks = AdmissionregistrationV1Api(self.api).list_validating_webhook_configuration().items
        return any("workspace.kaito.sh" in (w.name or "") for hook in hooks for w in hook.webhooks or ())


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """The cluster. Skips, saying how to get one, where nobody asked for these tests; never in CI."""
    in_ci = os.environ.get("CI") == "true"
    if not (in_ci or request.config.getoption("--cluster")):
        pytest.skip("run these with: pytest --cluster (KUBECONFIG names the cluster)")
    env = {k: v for k, v in os.environ.items() if k.startswith("KAITO_CLUSTER_")}
    if named := os.environ.get("KAITO_TEST_KUBECONFIG"):
        env["KUBECONFIG"] = named
    if not env.get("KUBECONFIG"):
        if not UP.is_file():
            pytest.fail("no cluster: set KUBECONFIG to one that carries KAITO's CRD")
        up = subprocess.run(
            ["bash", str(UP)], stdout=subprocess.PIPE, text=True, check=True, env={**SHAPE, **os.environ}
        )
        words = (word for word in shlex.split(up.stdout) if "=" in word)
        env = dict(word.split("=", 1) for word in words)
    from kubernetes import config

    return Cluster(env["KUBECONFIG"], env, config.new_client_from_config(env["KUBECONFIG"]))


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace of the test's own, gone after it."""
    from kubernetes.client import CoreV1Api

    name = f"kaito-jupyter-test-{uuid.uuid4().hex[:8]}"
    core = CoreV1Api(cluster.api)
    core.create_namespace({"metadata": {"name": name}})
    until(lambda: _takes_pods(core, name), 120)
    yield name
    core.delete_namespace(name)


def _takes_pods(core: Any, namespace: str) -> bool:
    """Whether the controllers have furnished a new namespace: before its service account is there, pods are refused."""
    from kubernetes.client import ApiException

    pod = {"metadata": {"name": "first"}, "spec": {"containers": [{"name": "main", "image": "none"}]}}
    try:
        core.create_namespaced_pod(namespace, pod, dry_run="All")
    except ApiException as e:
        if e.status not in (403, 500):
            raise
        return False
    return True


@pytest.fixture
def job_client(cluster: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A `Client` in the test's namespace, for our own Jobs: they run the trainer of this checkout."""
    from kaito_jupyter.cluster.client import Client

    monkeypatch.setenv("KAITO_TRAINER_IMAGE", cluster.env["KAITO_CLUSTER_HOST_IMAGE"])
    monkeypatch.setenv("KUBECONFIG", cluster.kubeconfig)
    client = Client.connect(namespace=namespace, kubeconfig=cluster.kubeconfig)
    yield client
    client.close()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny model, for pods to mount."""
    from own_jobs import tiny_model

    return tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="session")
def frame() -> Any:
    """A DataFrame that the tiny model can be trained on."""
    import pandas as pd
    from tiny import conversations

    return pd.DataFrame(conversations(24))
