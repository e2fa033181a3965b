"""The cluster as we reach it: its API server, who we are there, KAITO, and what we may do."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

from ..backends.choice import cluster_is_named, connect, reach
from ..cluster.client import Client
from ..cluster.refusals import ClusterError, Denied, Forbidden, NoCluster, NotFound, ServerFailed
from ..cluster.resources import NAMESPACES, WORKSPACES
from . import rights
from .report import Line
from .rights import RIGHTS, Right

NOBODY: Final = "YOUR-USER-NAME"
"""Stands in the RoleBinding when the server does not say who we are."""
PROBE: Final = "kaito-doctor"
"""Name of objects that are asked for and never made."""
AT_ONCE: Final = 8
"""Questions to the API server at a time."""


class Found(NamedTuple):
    """A cluster that was looked for."""

    client: Client | None
    """None when it cannot be used."""
    lines: tuple[Line, ...]


def find(context: str | None, namespace: str | None) -> Found:
    """The cluster, or why there is none."""
    try:
        client = connect(context, namespace)
    except NoCluster as error:
        return Found(None, (_no_login(error, context),))
    try:
        reach(client)
        version = client.version()
    except ClusterError as error:
        return Found(None, (failed("API server", error),))
    told = f"{version} at {client.server} (context {client.context})"
    return Found(client, (Line("API server", "ok", f"{told}."), *_login(client)))


def failed(topic: str, error: ClusterError, remedy: str = "") -> Line:
    """A line for what the cluster refused."""
    remedy = error.remedy or remedy or "See whether `kubectl get pods` works with this login."
    return Line(topic, "failed", f"{error.brief}.", remedy)


def _no_login(error: NoCluster, context: str | None) -> Line:
    if context is None and not cluster_is_named() and not _in_pod():
        return Line(
            "cluster", "note", "No kubeconfig and no service account here names one: runs train on this machine."
        )
    if _in_pod() and not cluster_is_named():
        return Line(
            "login",
            "failed",
            "This notebook runs in a pod that was given no service account token (automountServiceAccountToken: false), so the "
            "cluster does not know it. That is JupyterHub's default.",
            "In JupyterHub's Helm values set `singleuser.serviceAccountName` to a service account of this namespace "
            "(`kubectl create serviceaccount notebook`), bind it to the Role of deploy/role.yaml, and start the server anew; "
            "elsewhere set `serviceAccountName` and `automountServiceAccountToken: true` in the pod's spec. A kubeconfig does, too.",
        )
    return failed("login", error, "Point KUBECONFIG at a kubeconfig that works with kubectl.")


def _in_pod() -> bool:
    return bool(os.environ.get("KUBERNETES_SERVICE_HOST"))


def _login(client: Client) -> Iterator[Line]:
    user = client.user()
    yield Line(
        "login", "ok", f"{f'You are {user}' if user else 'You are known'}, and work in namespace {client.namespace}."
    )
    try:
        client.get(NAMESPACES, client.namespace)
    except NotFound:
        name = client.namespace
        yield Line(
            "namespace",
            "failed",
            f"There is no namespace {name}.",
            f"Create it (`kubectl create namespace {name}`), or name another one with -n.",
        )
    except ClusterError:  # few may read namespaces, and nothing needs it
        pass


def kaito(client: Client) -> Iterator[Line]:
    """KAITO's CRD by discovery, and whether its operator answers."""
    try:
        versions = client.versions(WORKSPACES.group)
        serves = client.serves(WORKSPACES)
    except ClusterError as error:
        yield failed("KAITO", error)
        return
    if not versions:
        yield Line("KAITO", "note", "It is not installed there: our own Job does the work (backend job).")
        return
    told = f"Workspaces of {WORKSPACES.group}/{WORKSPACES.version}"
    if not serves:
        yield Line(
            "KAITO",
            "failed",
            f"It serves {WORKSPACES.group}/{', '.join(versions)}, and we write {told}.",
            "Have KAITO upgraded (0.12 is what we are tested with), or use `--backend job`.",
        )
        return
    others = ", ".join(v for v in versions if v != WORKSPACES.version)
    yield Line("KAITO", "ok", f"{told}{f' (and {others})' if others else ''} are served.")
    yield _operator(client)


def _operator(client: Client) -> Line:
    """Whether KAITO's webhook answers: an empty Workspace, in a dry run, is what it refuses."""
    empty = {"apiVersion": WORKSPACES.api_version, "kind": WORKSPACES.kind, "metadata": {"name": PROBE}}
    broken = "Have the operator looked after (`kubectl get pods -n kaito-workspace`), or use `--backend job`."
    try:
        client.create(empty, dry_run=True)
    except Denied:
        return Line("KAITO's operator", "ok", "Its webhook answers.")
    except ServerFailed as error:
        return Line("KAITO's operator", "failed", f"Its webhook does not answer: {error.said}.", broken)
    except Forbidden:
        return Line("KAITO's operator", "note", "Whether it is alive can be told once you may create Workspaces.")
    except ClusterError as error:
        return Line("KAITO's operator", "note", f"Whether it is alive cannot be told: {error.brief}.")
    return Line(
        "KAITO's operator",
        "failed",
        "Its CRD is there, and nobody checks Workspaces: the operator's webhook is missing, so nobody may act on them either.",
        broken,
    )


class Rights(NamedTuple):
    """What we may do in a namespace."""

    line: Line
    role: str = ""
    """The YAML that gives what is missing."""


def look_at_rights(client: Client, *, with_kaito: bool) -> Rights:
    """Ask for each verb of `RIGHTS` (SelfSubjectAccessReview). The Role that is given has all, not only what is missing."""
    wanted = [right for right in RIGHTS if with_kaito or right.resource is not WORKSPACES]
    try:
        missing = _missing(client, wanted)
    except ClusterError as error:
        return Rights(Line("rights", "note", f"What you may do cannot be asked: {error.brief}."))
    where = f"in namespace {client.namespace}"
    if not missing:
        count = sum(len(right.verbs) for right in wanted)
        return Rights(Line("rights", "ok", f"You may do all that a run needs {where} ({count} rights)."))
    user = client.user() or _user_by_refusal(client, missing)
    told = "; ".join(f"{', '.join(right.verbs)} {right}" for right in missing)
    remedy = "Have somebody who may grant rights apply the Role and the RoleBinding below (`kubectl apply -f`)."
    if user is None:
        remedy += f" Put your user's name for {NOBODY} in."
    role = rights.grant(user or NOBODY, client.namespace, wanted)
    return Rights(Line("rights", "failed", f"{user or 'You'} may not do this {where}: {told}.", remedy), role)


def _missing(client: Client, wanted: Sequence[Right]) -> list[Right]:
    asked = [(right, verb) for right in wanted for verb in right.verbs]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        may = list(pool.map(lambda a: client.allowed(a[1], a[0].resource, subresource=a[0].subresource), asked))
    lacking = {(right, verb) for (right, verb), allowed in zip(asked, may, strict=True) if not allowed}
    left = [right._replace(verbs=tuple(v for v in right.verbs if (right, v) in lacking)) for right in wanted]
    return [right for right in left if right.verbs]


def _user_by_refusal(client: Client, missing: Sequence[Right]) -> str | None:
    """Our name out of a refusal: an old server says it nowhere else to who has come with a certificate.

    What is asked for is an object that does not exist, so that nothing happens should it be allowed after all.
    """
    for right in (r for r in missing if not r.subresource):
        try:
            if "list" in right.verbs:
                client.list(right.resource, fields=f"metadata.name={PROBE}")
            elif "get" in right.verbs:
                client.get(right.resource, PROBE)
            else:
                client.delete(right.resource, PROBE) if "delete" in right.verbs else client.patch(
                    right.resource, PROBE, {}
                )
        except Forbidden as error:
            return error.user
        except ClusterError:
            continue
    return None
