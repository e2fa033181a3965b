"""Service accounts of a real cluster, as notebooks have them, and what their clients really ask."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
import yaml
from own_jobs import until

from kaito_jupyter.cluster.client import Client
from kaito_jupyter.cluster.transport import Transport

_PATH = re.compile(
    r"/api(?:s/(?P<group>[^/]+))?/v[^/]+"
    r"(?:/namespaces/(?P<namespace>[^/]+)(?=/))?/(?P<plural>[^/]+)(?:/(?P<name>[^/]+)(?:/(?P<sub>[^/]+))?)?"
)
_VERBS = {"POST": "create", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}


class Account(NamedTuple):
    """A service account without any right."""

    user: str
    """As the API server calls it."""
    kubeconfig: str
    token: str

    def __repr__(self) -> str:
        return f"Account({self.user!r})"


def account(cluster: Any, namespace: str, folder: Path, name: str = "nb") -> Account:
    """Make a service account in the namespace, and a kubeconfig that logs in with its token."""
    from kubernetes.client import CoreV1Api

    core = CoreV1Api(cluster.api)
    core.create_namespaced_service_account(namespace, {"metadata": {"name": name}})
    answer = core.create_namespaced_service_account_token(name, namespace, {"spec": {"expirationSeconds": 3600}})
    token = answer.status.token
    config = yaml.safe_load(Path(cluster.kubeconfig).read_text(encoding="utf-8"))
    current = next(c for c in config["contexts"] if c["name"] == config["current-context"])
    config["users"] = [{"name": name, "user": {"token": token}}]
    config["contexts"] = [{"name": name, "context": {**current["context"], "user": name, "namespace": namespace}}]
    config["current-context"] = name
    path = folder / f"{name}.kubeconfig"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return Account(f"system:serviceaccount:{namespace}:{name}", str(path), token)


def grant(admin: Client, account: Account, role: str) -> None:
    """Apply a printed Role with its binding, and wait until the server knows of it."""
    rules = []
    for document in yaml.safe_load_all(role):
        admin.apply(document)
        rules += document.get("rules", [])
    me = Client.connect(kubeconfig=account.kubeconfig)
    until(lambda: all(_may(me, rule, verb) for rule in rules for verb in rule["verbs"]))
    me.close()


def _may(client: Client, rule: dict[str, Any], verb: str) -> bool:
    from kaito_jupyter.cluster.resources import Resource

    plural, _, sub = rule["resources"][0].partition("/")
    return client.allowed(verb, Resource(rule["apiGroups"][0], "", plural, ""), subresource=sub)


class Asked(NamedTuple):
    """One kind of request, in RBAC's words."""

    verb: str
    what: str
    group: str
    scope: str
    """`namespace` or `cluster`."""


class Recorder:
    """All requests that clients of this process send, as the API server's authorizer sees them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: set[Asked] = set()
        send = Transport._request

        def record(
            transport: Transport, asked: Any, method: str, path: str, query: Any = None, *a: Any, **k: Any
        ) -> Any:
            self.take(method, path, dict(query or {}))
            return send(transport, asked, method, path, query, *a, **k)

        monkeypatch.setattr(Transport, "_request", record)
        from kubernetes.stream import ws_client

        open_socket = ws_client.create_websocket

        def record_exec(configuration: Any, url: str, *a: Any, **k: Any) -> Any:
            self.take("GET", url, {})
            return open_socket(configuration, url, *a, **k)

        monkeypatch.setattr(ws_client, "create_websocket", record_exec)

    def take(self, method: str, path: str, query: dict[str, Any]) -> None:
        found = _PATH.fullmatch(urlsplit(path).path)
        if found is None:
            return  # the version and discovery: everybody may
        verb = _VERBS.get(method) or ("watch" if "watch" in query else "get" if found["name"] else "list")
        what = "/".join(filter(None, (found["plural"], found["sub"])))
        self.asked.add(Asked(verb, what, found["group"] or "", "namespace" if found["namespace"] else "cluster"))
        if query.get("fieldManager") and method == "PATCH" and "fieldValidation" in query:
            # An apply may make the object: the server asks for that right too.
            self.asked.add(Asked("create", what, found["group"] or "", "namespace"))
