"""The doctor's lines, each way that a cluster can be: what is there, what is not, and the remedy."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from api_server import Answer, ApiServer, kubeconfig

import kaito_jupyter
from kaito_jupyter.checkup import Report, machine
from kaito_jupyter.checkup.rights import RIGHTS, role

from .conftest import Cluster, group, refused

MANY = sum(len(right.verbs) for right in RIGHTS)


def marks(report: Report) -> dict[str, str]:
    return {line.topic: line.mark for line in report.lines}


def text(report: Report, topic: str) -> str:
    return " ".join(map(str, report.of(topic)))


def test_a_cluster_that_has_all(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "missing_packages", lambda _: [])
    report = kaito_jupyter.doctor()
    assert report.ok
    assert report.verdict == "Nothing is wrong."
    assert marks(report) == {
        "API server": "ok",
        "login": "ok",
        "KAITO": "ok",
        "KAITO's operator": "ok",
        "rights": "ok",
        "GPUs": "note",
        "storage": "note",
        "registry": "note",
        "trainer image": "note",
        "this machine": "ok",
    }
    assert "v1.30.2" in text(report, "API server")
    assert text(report, "login") == "You are ann@example.com, and work in namespace team-a."
    assert text(report, "KAITO") == "Workspaces of kaito.sh/v1beta1 (and v1alpha1) are served."
    assert text(report, "rights") == f"You may do all that a run needs in namespace team-a ({MANY} rights)."
    assert report.role == ""
    assert "sesame" not in repr(report) + report._repr_html_()


def test_a_missing_right_is_named_and_the_whole_role_is_given(cluster: Cluster) -> None:
    cluster.denied = {("create", "jobs"), ("delete", "jobs"), ("get", "pods/log")}
    report = kaito_jupyter.doctor()
    (line,) = report.failed
    assert line.text == (
        "ann@example.com may not do this in namespace team-a: create, delete jobs.batch; get pods/log."
    )
    given, bound = yaml.safe_load_all(report.role)
    assert given == role(namespace="team-a")
    assert bound["subjects"] == [{"kind": "User", "name": "ann@example.com", "apiGroup": "rbac.authorization.k8s.io"}]
    assert bound["metadata"] == {"name": "kaito-jupyter-ann-example.com", "namespace": "team-a"}
    assert report.role.strip() in repr(report)


def test_each_right_is_asked_for_in_the_namespace_that_was_named(cluster: Cluster) -> None:
    kaito_jupyter.doctor(namespace="team-b")
    asked = [r.body["spec"]["resourceAttributes"] for r in cluster.server.requests if r.path.endswith("accessreviews")]
    assert len(asked) == MANY
    assert {a["namespace"] for a in asked} == {"team-b"}
    assert {(v, r.resource.plural, r.subresource) for r in RIGHTS for v in r.verbs} == {
        (a["verb"], a["resource"], a["subresource"]) for a in asked
    }


@pytest.mark.parametrize("code", [403, 404])
def test_a_server_without_self_reviews_is_not_needed_for_a_service_accounts_name(
    cluster: Cluster, elsewhere: Path, code: int
) -> None:
    claims = base64.urlsafe_b64encode(json.dumps({"sub": "system:serviceaccount:team-a:nb"}).encode()).decode()
    kubeconfig(elsewhere, cluster.server.address, f"eyJhbGciOiJub25lIn0.{claims.rstrip('=')}.c2lnbmF0dXJl")
    cluster.answers["POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews"] = refused(code, "no")
    cluster.denied = {("list", "events")}
    report = kaito_jupyter.doctor()
    _, bound = yaml.safe_load_all(report.role)
    assert bound["subjects"] == [{"kind": "ServiceAccount", "name": "nb", "namespace": "team-a"}]
    assert claims[:20] not in repr(report)


@pytest.mark.parametrize(
    ("verb", "what", "method", "path"),
    [
        ("list", "events", "GET", "/api/v1/namespaces/team-a/events"),
        ("get", "configmaps", "GET", "/api/v1/namespaces/team-a/configmaps/kaito-doctor"),
        ("delete", "pods", "DELETE", "/api/v1/namespaces/team-a/pods/kaito-doctor"),
        ("create", "jobs", "PATCH", "/apis/batch/v1/namespaces/team-a/jobs/kaito-doctor"),
    ],
)
def test_a_refusal_tells_our_name_when_nothing_else_does(
    cluster: Cluster, verb: str, what: str, method: str, path: str
) -> None:
    del cluster.answers["POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews"]
    cluster.answers[method, path] = refused(403, f'x is forbidden: User "bob" cannot {verb} resource "{what}"')
    cluster.denied = {(verb, what), ("get", "pods/log")}
    report = kaito_jupyter.doctor()
    assert list(yaml.safe_load_all(report.role))[1]["subjects"][0]["name"] == "bob"
    cluster.answers[method, path] = refused(404, "there is none")
    report = kaito_jupyter.doctor()
    assert "Put your user's name for YOUR-USER-NAME in." in text(report, "rights")
    assert "name: YOUR-USER-NAME" in report.role


def test_a_cluster_without_kaito_needs_no_rights_on_workspaces(cluster: Cluster) -> None:
    del cluster.answers["GET", "/apis/kaito.sh"]
    cluster.denied = {(verb, "workspaces") for verb in RIGHTS[0].verbs}
    report = kaito_jupyter.doctor()
    assert marks(report)["KAITO"] == "note"
    assert marks(report)["rights"] == "ok"
    assert "KAITO's operator" not in marks(report)


def test_a_kaito_that_is_too_old(cluster: Cluster) -> None:
    cluster.answers["GET", "/apis/kaito.sh"] = group("v1alpha1")
    del cluster.answers["GET", "/apis/kaito.sh/v1beta1"]
    report = kaito_jupyter.doctor()
    assert marks(report)["KAITO"] == "failed"
    assert "v1alpha1" in text(report, "KAITO")


@pytest.mark.parametrize(
    ("answer", "mark", "said"),
    [
        (Answer(201, {}), "failed", "the operator's webhook is missing"),
        (refused(500, "failed calling webhook: connection refused"), "failed", "does not answer"),
        (refused(403, 'User "a" cannot create resource "workspaces"'), "note", "once you may create Workspaces"),
        (refused(422, "the schema wants more"), "note", "cannot be told"),
    ],
    ids=["no webhook", "a dead webhook", "no right", "refused by the schema"],
)
def test_how_the_operator_is(cluster: Cluster, answer: Answer, mark: str, said: str) -> None:
    cluster.answers["POST", "/apis/kaito.sh/v1beta1/namespaces/team-a/workspaces"] = answer
    report = kaito_jupyter.doctor()
    assert marks(report)["KAITO's operator"] == mark
    assert said in text(report, "KAITO's operator")
    (probe,) = (r for r in cluster.server.requests if r.path.endswith("/workspaces"))
    assert probe.query["dryRun"] == "All"


def test_a_namespace_that_is_not_there(cluster: Cluster) -> None:
    cluster.answers["GET", "/api/v1/namespaces/team-a"] = refused(404, "no", name="team-a", kind="namespaces")
    report = kaito_jupyter.doctor()
    assert "kubectl create namespace team-a" in text(report, "namespace")
    cluster.answers["GET", "/api/v1/namespaces/team-a"] = refused(403, 'User "a" cannot get resource "namespaces"')
    assert "namespace" not in marks(kaito_jupyter.doctor())


def node(name: str, gpus: int, **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {"node.kubernetes.io/instance-type": "Standard_NC24"}},
        "spec": spec,
        "status": {
            "allocatable": {"nvidia.com/gpu": str(gpus)} if gpus else {},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def pod(on: str, *gpus: int, init: int = 0) -> dict[str, Any]:
    def container(n: int) -> dict[str, Any]:
        return {"resources": {"limits": {"nvidia.com/gpu": str(n)}} if n else {}}

    spec = {"nodeName": on, "containers": [container(n) for n in gpus], "initContainers": [container(init)]}
    return {"metadata": {"name": "p"}, "spec": spec}


def test_free_gpus_are_those_that_no_live_pod_has_asked_for(cluster: Cluster) -> None:
    taint = {"key": "sku", "value": "gpu", "effect": "NoSchedule"}
    nodes = [node("a", 8), node("b", 4, unschedulable=True), node("c", 1, taints=[taint]), node("plain", 0)]
    cluster.answers["GET", "/api/v1/nodes"] = Answer(body={"items": nodes})
    pods = [pod("a", 1, 2), pod("a", 1, init=4), pod("b", 4), {"metadata": {"name": "p"}, "spec": {}}]
    cluster.answers["GET", "/api/v1/pods"] = Answer(body={"items": pods})
    report = kaito_jupyter.doctor()
    assert [line.text for line in report.of("GPUs")] == [
        "a (Standard_NC24): 1 of 8 GPUs free.",
        "b (Standard_NC24): 0 of 4 GPUs free, cordoned.",
        "c (Standard_NC24): 1 of 1 GPU free, needs a toleration of sku=gpu:NoSchedule.",
    ]
    (asked,) = (r for r in cluster.server.requests if r.path == "/api/v1/pods")
    assert asked.query["fieldSelector"] == "status.phase!=Succeeded,status.phase!=Failed"
    cluster.answers["GET", "/api/v1/nodes"] = Answer(body={"items": [node(f"n{i:02}", 2) for i in range(20)]})
    assert kaito_jupyter.doctor().of("GPUs")[-1].text == "And 12 nodes more with 24 GPUs, 24 free."


def test_nodes_and_storage_that_may_not_be_seen_are_no_fault(cluster: Cluster) -> None:
    no = refused(403, 'x is forbidden: User "a" cannot list resource "nodes" at the cluster scope')
    cluster.answers["GET", "/api/v1/nodes"] = no
    cluster.answers["GET", "/apis/storage.k8s.io/v1/storageclasses"] = no
    report = kaito_jupyter.doctor()
    assert marks(report)["GPUs"] == marks(report)["storage"] == "note"
    assert "deploy/cluster-role.yaml" in text(report, "GPUs")
    cluster.answers["GET", "/api/v1/nodes"] = Answer(body={"items": [node("a", 8)]})
    cluster.answers["GET", "/api/v1/pods"] = no
    (line,) = kaito_jupyter.doctor().of("GPUs")
    assert (line.mark, line.text) == ("ok", "a (Standard_NC24): 8 GPUs.")
    assert "How many are free cannot be told" in line.remedy


def test_storage_classes_and_which_is_the_default(cluster: Cluster) -> None:
    note = {"storageclass.kubernetes.io/is-default-class": "true"}
    classes = [{"metadata": {"name": "slow", "annotations": note}}, {"metadata": {"name": "fast"}}]
    cluster.answers["GET", "/apis/storage.k8s.io/v1/storageclasses"] = Answer(body={"items": classes})
    assert text(kaito_jupyter.doctor(), "storage") == "Storage classes: fast, slow (default)."


def test_a_login_that_has_expired(cluster: Cluster) -> None:
    cluster.answers["GET", "/version"] = refused(401, "Unauthorized")
    report = kaito_jupyter.doctor()
    (line,) = report.of("API server")
    assert line.mark == "failed"
    assert "log in again" in line.remedy
    assert "rights" not in marks(report)


def test_an_api_server_that_is_not_there(elsewhere: Path) -> None:
    gone = ApiServer()
    gone.close()
    kubeconfig(elsewhere, gone.address, "sesame-12345")
    (line,) = kaito_jupyter.doctor().of("API server")
    assert line.mark == "failed"
    assert "VPN" in line.remedy


def test_no_cluster_is_no_fault_where_this_machine_can_train(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "missing_packages", lambda _: [])
    report = kaito_jupyter.doctor()
    assert report.ok
    assert marks(report) == {"cluster": "note", "registry": "note", "this machine": "ok"}
    monkeypatch.setattr(machine, "missing_packages", lambda _: ["torch"])
    (line,) = kaito_jupyter.doctor().failed
    assert line.text == "It cannot train with lora: `torch` is not installed."
    assert "kaito-jupyter[local]" in line.remedy


def test_a_pod_without_a_token_is_explained(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    (line,) = kaito_jupyter.doctor().of("login")
    assert line.mark == "failed"
    assert "automountServiceAccountToken: false" in line.text
    assert "singleuser.serviceAccountName" in line.remedy


def test_a_context_that_does_not_exist(cluster: Cluster) -> None:
    (line,) = kaito_jupyter.doctor(context="tset").of("login")
    assert line.mark == "failed"
    assert 'Did you mean "test"?' in line.remedy
