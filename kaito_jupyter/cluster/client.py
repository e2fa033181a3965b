"""A cluster as one login sees it: plain dicts in and out, and errors that say what to do.

The login comes from the official `kubernetes` package (contexts, exec plugins, service accounts). Requests are made on
urllib3 directly: the package's typed models are slow to import and to fill, and know nothing of Workspaces.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, Literal

from .connection import Stop
from .identity import user_in, user_of
from .login import Login, log_in
from .refusals import Asked, ClusterError, NotFound
from .resources import ACCESS_REVIEWS, PODS, SELF_REVIEWS, Resource, resource_of
from .transport import READ_TIMEOUT, Json, Transport

FIELD_MANAGER: Final = "kaito-jupyter"
PAGE: Final = 500
"""Objects asked for at a time in a list."""


class Client:
    """An API server and a namespace to use. All methods may be called from any thread and raise `ClusterError`s."""

    def __init__(self, transport: Transport, namespace: str | None = None) -> None:
        self._transport = transport
        self.namespace = namespace or transport.login.namespace
        """Used where a call names none."""

    @classmethod
    def connect(
        cls,
        context: str | None = None,
        namespace: str | None = None,
        *,
        kubeconfig: str | None = None,
        read_timeout: float = READ_TIMEOUT,
    ) -> Client:
        """A client for a kubeconfig's context (the current one), or for the service account of this pod.

        Makes no request. Raises `NoCluster` when nothing here says where a cluster is.
        """

        def login() -> Login:
            return log_in(context, kubeconfig)

        return cls(Transport(login, read_timeout), namespace)

    @property
    def context(self) -> str:
        """The kubeconfig's context, or `in-cluster`."""
        return self._transport.login.context

    @property
    def server(self) -> str:
        """The API server's address."""
        return self._transport.server

    @property
    def read_timeout(self) -> float:
        """Seconds without a byte after which a call is given up."""
        return self._transport.read_timeout

    def __repr__(self) -> str:
        return f"Client({self.context!r}, namespace={self.namespace!r}, server={self.server!r})"

    def close(self) -> None:
        """Close idle connections. Using the client afterwards opens new ones."""
        self._transport.close()

    # Objects

    def get(self, resource: Resource, name: str, namespace: str | None = None, *, stop: Stop | None = None) -> Json:
        """One object. Raises `NotFound`."""
        ns = self._in(namespace)
        return self._transport.call(Asked.of("get", resource, ns, name), "GET", resource.path(ns, name), stop=stop)

    def find(
        self, resource: Resource, name: str, namespace: str | None = None, *, stop: Stop | None = None
    ) -> Json | None:
        """One object, or None when there is none."""
        try:
            return self.get(resource, name, namespace, stop=stop)
        except NotFound:
            return None

    def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
        everywhere: bool = False,
        stop: Stop | None = None,
    ) -> tuple[list[Json], str]:
        """All objects of a kind, by label and field selectors, and the resourceVersion to watch from."""
        ns = None if everywhere else self._in(namespace)
        asked = Asked.of("list", resource, ns)
        query = {"labelSelector": labels, "fieldSelector": fields, "limit": PAGE}
        # Items of a list bear neither kind nor apiVersion, unlike those of a watch: add them.
        kind = {"apiVersion": resource.api_version, "kind": resource.kind}
        items: list[Json] = []
        while True:
            page = self._transport.call(asked, "GET", resource.path(ns), query, stop=stop)
            items += [kind | item for item in page.get("items") or ()]
            meta = page.get("metadata") or {}
            if not meta.get("continue"):
                return items, str(meta.get("resourceVersion", ""))
            query["continue"] = meta["continue"]

    def apply(self, document: Mapping[str, Any], *, dry_run: bool = False, force: bool = False) -> Json:
        """Server-side apply: create the object, or change the fields that are ours. Unknown fields are refused.

        `force` takes over fields that another writer holds; without it they are a `Conflict` that lists them. Raises
        `Invalid` with all causes, `Denied` when an admission rule refuses it.
        """
        resource = resource_of(document)
        meta = document["metadata"]
        ns = self._in(meta.get("namespace"))
        query = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict", "force": json.dumps(force)}
        if dry_run:
            query["dryRun"] = "All"
        asked = Asked.of("apply", resource, ns, meta["name"])
        # JSON is YAML, and YAML's is the one content type of an apply that all servers know.
        kind = "application/apply-patch+yaml"
        return self._transport.call(asked, "PATCH", resource.path(ns, meta["name"]), query, document, kind)

    def create(self, document: Mapping[str, Any], *, dry_run: bool = False) -> Json:
        """Create an object. Raises `Conflict` when there is one of that name."""
        resource = resource_of(document)
        meta = document.get("metadata") or {}
        ns = self._in(meta.get("namespace"))
        asked = Asked.of("create", resource, ns, meta.get("name", ""))
        query = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict", "dryRun": "All" if dry_run else ""}
        return self._transport.call(asked, "POST", resource.path(ns), query, document, again=False)

    def patch(
        self,
        resource: Resource,
        name: str,
        change: Mapping[str, Any],
        namespace: str | None = None,
        *,
        subresource: str = "",
    ) -> Json:
        """JSON merge patch: fields given are set, fields given as None are removed."""
        ns = self._in(namespace)
        asked = Asked.of("patch", resource, ns, name, subresource)
        path, query = resource.path(ns, name, subresource), {"fieldManager": FIELD_MANAGER}
        return self._transport.call(asked, "PATCH", path, query, change, "application/merge-patch+json")

    def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        propagation: Literal["Background", "Foreground", "Orphan"] = "Background",
        uid: str | None = None,
        grace_seconds: int | None = None,
    ) -> bool:
        """Delete an object and what it owns. With a uid, only that very one: another raises `Conflict`.

        False when there was none.
        """
        ns = self._in(namespace)
        options: Json = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation}
        if uid:
            options["preconditions"] = {"uid": uid}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        asked = Asked.of("delete", resource, ns, name)
        try:
            self._transport.call(asked, "DELETE", resource.path(ns, name), None, options)
        except NotFound:
            return False
        return True

    # The cluster

    def version(self) -> str:
        """The API server's version, as `v1.30.2`."""
        return str(self._transport.call(Asked("reach", "the API server"), "GET", "/version")["gitVersion"])

    def serves(self, resource: Resource) -> bool:
        """Whether the cluster has that kind of object, by discovery (which needs no right)."""
        path = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
        try:
            found = self._transport.call(Asked("ask for", f"the kinds of {resource.api_version}"), "GET", path)
        except NotFound:
            return False
        return any(r.get("name") == resource.plural for r in found.get("resources") or ())

    def versions(self, group: str) -> Sequence[str]:
        """The versions of an API group that are served, the preferred one first; none when there is no such group."""
        try:
            found = self._transport.call(Asked("ask for", f"the versions of {group}"), "GET", f"/apis/{group}")
        except NotFound:
            return []
        first = (found.get("preferredVersion") or {}).get("version")
        names = [str(v["version"]) for v in found.get("versions") or ()]
        return sorted(names, key=lambda name: name != first)

    def user(self) -> str | None:
        """The name that the API server knows us by, as a RoleBinding must have it; None when that cannot be told."""
        review = {"apiVersion": SELF_REVIEWS.api_version, "kind": SELF_REVIEWS.kind}
        asked = Asked.of("create", SELF_REVIEWS, None)
        try:
            answer = self._transport.call(asked, "POST", SELF_REVIEWS.path(), None, review)
        except ClusterError:  # a server before 1.28 knows no such review
            return user_in(self._transport.credentials().values())
        return user_of(answer)

    def allowed(self, verb: str, resource: Resource, namespace: str | None = None, subresource: str = "") -> bool:
        """Whether we may do that, by the server's own judgement (SelfSubjectAccessReview)."""
        attributes = {"verb": verb, "group": resource.group, "resource": resource.plural, "subresource": subresource}
        if resource.namespaced:
            attributes["namespace"] = self._in(namespace)
        review = {
            "apiVersion": ACCESS_REVIEWS.api_version,
            "kind": ACCESS_REVIEWS.kind,
            "spec": {"resourceAttributes": attributes},
        }
        asked = Asked.of("create", ACCESS_REVIEWS, None)
        answer = self._transport.call(asked, "POST", ACCESS_REVIEWS.path(), None, review)
        return bool(answer["status"].get("allowed"))

    # Streams

    def watch(
        self, resource: Resource, namespace: str | None, query: Mapping[str, Any], *, stop: Stop, read_timeout: float
    ) -> AbstractContextManager[Iterator[bytes]]:
        """One watch request (see the module `watch`, which goes on for ever)."""
        asked = Asked.of("watch", resource, namespace)
        path = resource.path(namespace)
        return self._transport.open(asked, path, {"watch": "true", **query}, stop=stop, read_timeout=read_timeout)

    def log(
        self, pod: str, namespace: str | None, query: Mapping[str, Any], *, stop: Stop, read_timeout: float
    ) -> AbstractContextManager[Iterator[bytes]]:
        """One request for a container's log (see the module `podlogs`, which follows it to its end)."""
        ns = self._in(namespace)
        asked = Asked.of("get", PODS, ns, pod, "log")
        return self._transport.open(asked, PODS.path(ns, pod, "log"), query, stop=stop, read_timeout=read_timeout)

    def _in(self, namespace: str | None) -> str:
        return namespace or self.namespace
