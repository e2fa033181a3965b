"""The notebook of the cluster, run on one: with KAITO, a registry that asks for a login, and a namespace of its own."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
from own_jobs import push_secret

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
FILE = Path(__file__).parents[2] / "notebooks" / "execute.py"


def test_the_notebook_of_the_cluster_runs_from_the_first_cell_to_the_last(
    cluster: Any, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kaito_jupyter.cluster.client import Client

    if not cluster.has_webhook or "KAITO_CLUSTER_AUTH_FILE" not in cluster.env:
        pytest.skip("it needs KAITO's operator and a registry: run it on the test cluster")
    client = Client.connect(namespace=namespace, kubeconfig=cluster.kubeconfig)
    push_secret(client, cluster.env["KAITO_CLUSTER_AUTH_FILE"])
    client.close()
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("PYTHONPATH", ":".join(p for p in sys.path if p))
    spec = importlib.util.spec_from_file_location("notebooks_execute", FILE)
    assert spec is not None
    assert spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    notebook = program.execute(
        "cluster",
        environment={
            "KUBECONFIG": cluster.kubeconfig,
            "NAMESPACE": namespace,
            "REGISTRY": f"{cluster.env['KAITO_CLUSTER_AUTH_REGISTRY']}/{namespace}",
            "XDG_STATE_HOME": str(tmp_path / "state"),
        },
    )
    said = {
        c.source: "".join(str(o.get("text") or o.get("data")) for o in c.outputs)
        for c in notebook.cells
        if "outputs" in c
    }
    assert f"{namespace}/docstrings:1" in said["run.adapter"]
    assert "docstrings is deleted" in said["%kaito delete docstrings -n {namespace}"]
