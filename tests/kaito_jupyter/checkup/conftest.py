"""An API server that knows as much of Kubernetes as the doctor asks, and a kubeconfig that leads there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_server import Answer, ApiServer, Request, api_server, kubeconfig

from kaito_jupyter.cluster import transport


class Cluster:
    """What it says is in its attributes: change them."""

    def __init__(self, server: ApiServer) -> None:
        self.server = server
        self.answers: dict[tuple[str, str], Answer] = {
            ("GET", "/version"): Answer(body={"gitVersion": "v1.30.2"}),
            ("GET", "/api/v1/namespaces/team-a"): Answer(body={}),
            ("GET", "/apis/kaito.sh"): group("v1beta1", "v1alpha1"),
            ("GET", "/apis/kaito.sh/v1beta1"): Answer(body={"resources": [{"name": "workspaces"}]}),
            ("POST", "/apis/kaito.sh/v1beta1/namespaces/team-a/workspaces"): refused(
                400, 'admission webhook "validation.workspace.kaito.sh" denied the request: nothing to do'
            ),
            ("GET", "/api/v1/nodes"): Answer(body={"items": []}),
            ("GET", "/api/v1/pods"): Answer(body={"items": []}),
            ("GET", "/apis/storage.k8s.io/v1/storageclasses"): Answer(body={"items": []}),
            ("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews"): Answer(
                body={"status": {"userInfo": {"username": "ann@example.com"}}}
            ),
        }
        self.denied: set[tuple[str, str]] = set()
        """(verb, resource) that nobody may."""
        server.answer = self.answer

    def answer(self, request: Request) -> Answer:
        if request.path.endswith("/selfsubjectaccessreviews"):
            asked = request.body["spec"]["resourceAttributes"]
            what = "/".join(filter(None, (asked["resource"], asked.get("subresource"))))
            return Answer(body={"status": {"allowed": (asked["verb"], what) not in self.denied}})
        return self.answers.get((request.method, request.path), refused(404, "not found"))


def group(*versions: str) -> Answer:
    named = [{"version": v} for v in versions]
    return Answer(body={"versions": named, "preferredVersion": named[0]})


def refused(code: int, message: str, **details: Any) -> Answer:
    return Answer(code, {"kind": "Status", "message": message, "details": details})


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that knows of no cluster. Gives the path where a kubeconfig would be."""
    for name in (
        "KUBERNETES_SERVICE_HOST",
        "KAITO_TRAINER_IMAGE",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    monkeypatch.setattr(transport.random, "uniform", lambda *_: 0.01)
    return tmp_path / "config"


@pytest.fixture
def cluster(elsewhere: Path) -> Iterator[Cluster]:
    with api_server() as server:
        kubeconfig(elsewhere, server.address, "sesame-12345")
        yield Cluster(server)
