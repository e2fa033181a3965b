"""Where the cluster is and who we are, and what is said when that is not to be found."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from api_server import ApiServer, kubeconfig

from kaito_jupyter.cluster import login
from kaito_jupyter.cluster.client import Client
from kaito_jupyter.cluster.login import log_in
from kaito_jupyter.cluster.refusals import NoCluster


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without any login."""
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setattr(login, "KUBECONFIG_DEFAULT", str(tmp_path / "home" / "config"))


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, certificate: Path) -> Path:
    """The service account of the pod that we run in."""
    import kubernetes.config.incluster_config as package

    folder = tmp_path / "account"
    folder.mkdir()
    (folder / "namespace").write_text("team-b\n")
    (folder / "token").write_text("sesame")
    shutil.copy(certificate / "server.crt", folder / "ca.crt")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.setattr(login, "SERVICE_ACCOUNT", folder)
    monkeypatch.setattr(package, "SERVICE_TOKEN_FILENAME", str(folder / "token"))
    monkeypatch.setattr(package, "SERVICE_CERT_FILENAME", str(folder / "ca.crt"))
    return folder


def test_a_kubeconfig_gives_context_namespace_and_server(tmp_path: Path) -> None:
    client = Client.connect(kubeconfig=kubeconfig(tmp_path / "c", "https://api.example:6443", "sesame"))
    assert (client.context, client.namespace, client.server) == ("test", "team-a", "https://api.example:6443")


def test_a_context_without_namespace_means_default(tmp_path: Path) -> None:
    assert log_in(kubeconfig=kubeconfig(tmp_path / "c", "https://x", namespace=None)).namespace == "default"


def test_a_namespace_that_is_named_counts(tmp_path: Path) -> None:
    assert Client.connect(None, "mine", kubeconfig=kubeconfig(tmp_path / "c", "https://x")).namespace == "mine"


def test_the_environments_kubeconfig_is_read_when_it_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", kubeconfig(tmp_path / "c", "https://late", context="late"))
    assert log_in().context == "late"


def test_several_kubeconfigs_are_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    a, b = kubeconfig(tmp_path / "a", "https://a", context="a"), kubeconfig(tmp_path / "b", "https://b", context="b")
    monkeypatch.setenv("KUBECONFIG", f"{a}:{b}:{tmp_path / 'none'}")
    assert log_in("b").context == "b"
    assert log_in().context == "a"


@pytest.mark.usefixtures("account")
def test_the_service_account_of_a_pod_is_a_login() -> None:
    found = log_in()
    assert (found.context, found.namespace) == ("in-cluster", "team-b")
    assert found.configuration.host == "https://10.0.0.1:443"


@pytest.mark.usefixtures("account")
def test_a_kubeconfig_goes_before_the_service_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", kubeconfig(tmp_path / "c", "https://x"))
    assert log_in().context == "test"


def test_a_pod_without_a_token_is_told_why(account: Path) -> None:
    (account / "token").unlink()
    with pytest.raises(NoCluster, match="automountServiceAccountToken"):
        log_in()


@pytest.mark.parametrize(
    ("context", "message"),
    [
        ("tset", "has no context 'tset'. Did you mean \"test\"?"),
        ("production", "has no context 'production'. It has \"test\"."),
    ],
)
def test_a_context_that_is_not_there(context: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(NoCluster) as refused:
        log_in(context, kubeconfig(tmp_path / "c", "https://x"))
    assert message in str(refused.value)


def test_nothing_at_all() -> None:
    with pytest.raises(NoCluster, match=r"there is no .*config, and this is no pod"):
        log_in()
    with pytest.raises(NoCluster, match="no kubeconfig that could hold the context 'x'"):
        log_in("x")


def test_a_kubeconfig_that_is_named_and_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nowhere/config")
    with pytest.raises(NoCluster, match="the kubeconfig /nowhere/config does not exist"):
        log_in()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "just words",
        "apiVersion: v1\nkind: Config\n",
        "contexts: [{name: a, context: {cluster: x, user: y}}]\ncurrent-context: a\nclusters: []\nusers: []\n",
        "contexts: []\ncurrent-context: a\nclusters: []\nusers: []\n",
        "contexts: [{name: a, context: {cluster: x, user: y}}]\nclusters: []\nusers: []\n",
    ],
)
def test_a_broken_kubeconfig_is_a_sentence(text: str, tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(NoCluster):
        log_in(kubeconfig=str(path))


def test_no_repr_holds_the_token(tmp_path: Path, server: ApiServer) -> None:
    path = kubeconfig(tmp_path / "c", server.address, "CANARY-token")
    assert "CANARY" not in repr(log_in(kubeconfig=path)) + repr(Client.connect(kubeconfig=path))
