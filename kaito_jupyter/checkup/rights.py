"""All that we ask of a cluster, in one table: the doctor asks for it, and the Role that `deploy/` ships is written from it.

A new request in a lower room is a new word here; `tests/cluster/test_rights.py` runs every feature with exactly this Role and
compares what was really asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import yaml

from ..cluster.resources import CLAIMS, CONFIG_MAPS, EVENTS, JOBS, NODES, PODS, STORAGE_CLASSES, WORKSPACES, Resource

ROLE: Final = "kaito-jupyter"
"""Name of the Role."""
LOOK: Final = "kaito-jupyter-look"
"""Name of the ClusterRole that lets one see what is not of one namespace. No run needs it."""
RBAC: Final = "rbac.authorization.k8s.io"
_ACCOUNT: Final = re.compile(r"system:serviceaccount:([^:]+):([^:]+)")


class Right(NamedTuple):
    """Verbs on a kind of object."""

    resource: Resource
    verbs: tuple[str, ...]
    why: str
    """What for, as the Role's comment says it."""
    subresource: str = ""

    @property
    def what(self) -> str:
        """RBAC's word."""
        return f"{self.resource.plural}/{self.subresource}" if self.subresource else self.resource.plural

    def __str__(self) -> str:
        """As kubectl writes it."""
        return f"{self.what}.{self.resource.group}" if self.resource.group else self.what


RIGHTS: Final = (
    Right(
        WORKSPACES,
        ("get", "list", "watch", "create", "patch", "delete"),
        "runs of KAITO's operator; create with patch is a server-side apply",
    ),
    Right(
        JOBS,
        ("get", "list", "watch", "create", "patch", "delete"),
        "our own Jobs as runs, and the Job that KAITO makes of a Workspace",
    ),
    Right(
        CONFIG_MAPS,
        ("get", "list", "create", "patch", "delete"),
        "a run's configuration and its small data; list finds data that is there already",
    ),
    Right(
        PODS,
        ("get", "list", "watch", "create", "patch", "delete"),
        "how a run's pods are; patch sets the deadline by which a cancelled one ends; create is for the pod that takes data "
        "into a claim",
    ),
    Right(PODS, ("get",), "the log, which is the curve", "log"),
    Right(
        PODS,
        ("get", "create"),
        "the way into that pod (an exec over a websocket is a get, for newer API servers a create)",
        "exec",
    ),
    Right(CLAIMS, ("get",), "whether a claim is there"),
    Right(EVENTS, ("list",), "why a pod does not start"),
)
"""In one namespace. Secrets are not in it: they are named, never read."""

CLUSTER_WIDE: Final = (
    Right(NODES, ("list",), "which nodes have GPUs"),
    Right(PODS, ("list",), "how many of those GPUs are free, and how the runs of all namespaces are"),
    Right(STORAGE_CLASSES, ("list",), "where a claim can be made"),
    Right(JOBS, ("list",), "the runs of all namespaces (%kaito runs -A)"),
    Right(WORKSPACES, ("list",), "those in KAITO"),
)
"""What is asked of the whole cluster: without it the doctor says less, and runs are listed in one namespace."""


def subject(user: str) -> dict[str, str]:
    """RBAC's subject for a user's name as the API server knows it."""
    if account := _ACCOUNT.fullmatch(user):
        return {"kind": "ServiceAccount", "name": account[2], "namespace": account[1]}
    return {"kind": "User", "name": user, "apiGroup": RBAC}


def role(rights: Iterable[Right] = RIGHTS, namespace: str | None = None) -> dict[str, Any]:
    """The Role with these rights."""
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "Role",
        "metadata": {"name": ROLE} | ({"namespace": namespace} if namespace else {}),
        "rules": [_rule(r) for r in rights],
    }


def binding(user: str, namespace: str | None = None) -> dict[str, Any]:
    """The RoleBinding that gives the Role to a user. One for each user, so that a second one takes nothing from the first."""
    who = subject(user)
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": f"{ROLE}-{_label(who)}"} | ({"namespace": namespace} if namespace else {}),
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": ROLE},
        "subjects": [who],
    }


def cluster_role(rights: Iterable[Right] = CLUSTER_WIDE) -> dict[str, Any]:
    """The ClusterRole to see what is not of one namespace."""
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": LOOK},
        "rules": [_rule(r) for r in rights],
    }


def grant(user: str, namespace: str, rights: Iterable[Right] = RIGHTS) -> str:
    """The YAML that gives a user all of these rights in a namespace."""
    return _documents(role(rights, namespace), binding(user, namespace))


def shipped() -> dict[str, str]:
    """The files of `deploy/`, by name: for `kubectl apply -n NAMESPACE -f deploy/`."""
    about = "# Written by `python -m kaito_jupyter.checkup deploy` from the table in kaito_jupyter/checkup/rights.py: change that.\n"
    return {
        "role.yaml": about + _explained(role()),
        "rolebinding.yaml": f"{about}# An example: `%kaito doctor` prints it with the name that the cluster knows you by.\n"
        + _documents(binding("system:serviceaccount:team-a:notebook")),
        "cluster-role.yaml": f"{about}# No run needs it: with it, %kaito doctor shows free GPUs and storage, and %kaito runs -A all runs.\n"
        + _explained(cluster_role(), CLUSTER_WIDE),
    }


def _rule(right: Right) -> dict[str, list[str]]:
    return {"apiGroups": [right.resource.group], "resources": [right.what], "verbs": list(right.verbs)}


def _documents(*documents: dict[str, Any]) -> str:
    return "---\n".join(_dump(d) for d in documents)


def _dump(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, default_flow_style=None, width=120)


def _explained(document: dict[str, Any], rights: Iterable[Right] = RIGHTS) -> str:
    """A role's YAML with what each rule is for above it."""
    head = _documents({**document, "rules": None}).replace("rules: null\n", "rules:\n")
    rules = (f"# {right.why}\n{_dump([_rule(right)])}" for right in rights)
    return head + "".join(rules)


def _label(who: dict[str, str]) -> str:
    """A piece of a valid object's name out of a user's name (which may be an e-mail address)."""
    name = f"{who['namespace']}-{who['name']}" if "namespace" in who else who["name"]
    return re.sub(r"[^a-z0-9.-]+", "-", name.lower()).strip("-.")[:200] or "user"
