"""What a cluster offers to choose from: contexts, namespaces, secrets, node sizes. What may not be listed is typed instead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ..cluster.refusals import ClusterError
from ..cluster.resources import NAMESPACES, NODES, SECRETS

if TYPE_CHECKING:
    from ..cluster.client import Client

LOGINS: Final = ("kubernetes.io/dockerconfigjson", "kubernetes.io/dockercfg")
"""Types of Secrets that log in to a registry."""
TOKEN_KEY: Final = "HF_TOKEN"
"""The key under which KAITO wants the Hugging Face token."""
_SIZE_LABEL: Final = "node.kubernetes.io/instance-type"


@dataclass(frozen=True, slots=True)
class Offer:
    """Names to choose from, never a value of a secret. Empty where there is nothing, or nothing may be seen."""

    namespaces: tuple[str, ...] = ()
    logins: tuple[str, ...] = ()
    """Secrets that log in to a registry."""
    tokens: tuple[str, ...] = ()
    """Secrets with a Hugging Face token."""
    sizes: tuple[str, ...] = ()
    """Sizes of the nodes that are there."""
    untold: tuple[tuple[str, str], ...] = ()
    """(`secrets`, why they cannot be listed)."""

    def why(self, what: str) -> str:
        """Why there is nothing to choose from; empty when it was listed."""
        return dict(self.untold).get(what, "")


def offer(client: Client, namespace: str) -> Offer:
    """Ask the cluster. Never raises for what it does not tell."""
    untold: list[tuple[str, str]] = []

    def listed(what: str, resource: Any, namespace: str | None = None) -> list[dict[str, Any]]:
        try:
            return client.list(resource, namespace)[0]
        except ClusterError as error:
            untold.append((what, str(error).splitlines()[0].rstrip(".")))
            return []

    secrets = listed("secrets", SECRETS, namespace)
    nodes = listed("nodes", NODES)
    return Offer(
        namespaces=_names(listed("namespaces", NAMESPACES)),
        logins=_names(s for s in secrets if s.get("type") in LOGINS),
        tokens=_names(s for s in secrets if TOKEN_KEY in (s.get("data") or {})),
        sizes=tuple(sorted({size for n in nodes if (size := (n["metadata"].get("labels") or {}).get(_SIZE_LABEL))})),
        untold=tuple(untold),
    )


def _names(found: Any) -> tuple[str, ...]:
    return tuple(sorted(item["metadata"]["name"] for item in found))


def contexts() -> tuple[str, ...]:
    """Names of the kubeconfig's contexts; none when there is no kubeconfig, or it cannot be read."""
    from ..backends.choice import cluster_is_named
    from ..cluster.login import context_names

    return context_names() if cluster_is_named() else ()
