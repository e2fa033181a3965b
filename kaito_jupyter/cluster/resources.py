"""Kinds of objects that we touch, and where the API server keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import quote


class Resource(NamedTuple):
    """A kind of object, as the API server addresses it."""

    group: str
    """Empty for the core group."""
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str = "", subresource: str = "") -> str:
        """The URL's path; without a namespace it means all namespaces. Names are quoted: they may come from a user."""
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        if self.namespaced and namespace is not None:
            parts += ["namespaces", quote(namespace, safe="")]
        parts += [self.plural, *(quote(p, safe="") for p in (name, subresource) if p)]
        return "/" + "/".join(parts)


PODS: Final = Resource("", "v1", "pods", "Pod")
CONFIG_MAPS: Final = Resource("", "v1", "configmaps", "ConfigMap")
SECRETS: Final = Resource("", "v1", "secrets", "Secret")
CLAIMS: Final = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
EVENTS: Final = Resource("", "v1", "events", "Event")
SERVICES: Final = Resource("", "v1", "services", "Service")
NODES: Final = Resource("", "v1", "nodes", "Node", namespaced=False)
NAMESPACES: Final = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
JOBS: Final = Resource("batch", "v1", "jobs", "Job")
WORKSPACES: Final = Resource("kaito.sh", "v1beta1", "workspaces", "Workspace")
ROLES: Final = Resource("rbac.authorization.k8s.io", "v1", "roles", "Role")
ROLE_BINDINGS: Final = Resource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")
STORAGE_CLASSES: Final = Resource("storage.k8s.io", "v1", "storageclasses", "StorageClass", namespaced=False)
ACCESS_REVIEWS: Final = Resource(
    "authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", namespaced=False
)
SELF_REVIEWS: Final = Resource(
    "authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", namespaced=False
)

ALL: Final = (
    PODS,
    CONFIG_MAPS,
    SECRETS,
    CLAIMS,
    EVENTS,
    SERVICES,
    NODES,
    NAMESPACES,
    JOBS,
    WORKSPACES,
    ROLES,
    ROLE_BINDINGS,
    STORAGE_CLASSES,
    ACCESS_REVIEWS,
)


def resource_of(document: Mapping[str, Any]) -> Resource:
    """The resource that a manifest is one of. Raises ValueError for a kind that is not in `ALL`."""
    for resource in ALL:
        if (resource.api_version, resource.kind) == (document.get("apiVersion"), document.get("kind")):
            return resource
    raise ValueError(f"{document.get('apiVersion')} {document.get('kind')} is not a kind that we send")
