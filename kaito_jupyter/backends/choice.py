"""Which places to train there are, and which one a run goes to."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from kaito_trainer.contract import Problem
from kaito_trainer.contract.problems import close_match, listing

from ..cluster.login import KUBECONFIG_DEFAULT, SERVICE_ACCOUNT
from ..errors import BackendError, SpecError
from ..spec import TARGETS, Target
from .base import Backend
from .local import LocalBackend

if TYPE_CHECKING:
    from ..cluster.client import Client

PATIENCE: Final = 3.0
"""Seconds that a cluster has to answer when nobody asked for it by name."""


def target_of(wanted: str | Backend) -> Target:
    """The place that a spec is checked and written for. Raises `SpecError` when there is no such word."""
    if not isinstance(wanted, str):
        return wanted.name
    if wanted == "auto":
        return choose_backend(wanted)[0].name
    for target in TARGETS:
        if wanted == target:
            return target
    words = ("auto", *TARGETS)
    raise SpecError(
        [Problem("backend", f'"{wanted}" is no backend.', close_match(wanted, words) or f"Use {listing(words)}.")]
    )


def choose_backend(
    wanted: str | Backend = "auto", *, context: str | None = None, namespace: str | None = None
) -> tuple[Backend, str]:
    """The backend, and why it is this one, as a sentence.

    `auto` is KAITO where the cluster has it, our own Job on any other cluster, and this machine where no cluster is named or
    the named one does not answer. One that is named by `context` must answer. Raises `SpecError` for a word that is none,
    `NoCluster` when there is no login for a backend that was asked for.
    """
    if not isinstance(wanted, str):
        return wanted, "This backend was given."
    if wanted == "auto":
        return _choose(context, namespace)
    target = target_of(wanted)
    if target == "local":
        return LocalBackend(), "It was asked for."
    return _of_a_cluster(target, connect(context, namespace)), "It was asked for."


def connect(context: str | None = None, namespace: str | None = None) -> Client:
    """A client for that context. Makes no request. Raises `NoCluster`."""
    from ..cluster.client import Client

    return Client.connect(context, namespace)


def all_backends(namespace: str | None = None) -> Sequence[Backend]:
    """Where runs may be, for lists and for finding one by its name. Those of a cluster look into that namespace."""
    local = LocalBackend()
    if not cluster_is_named():
        return (local,)
    try:
        client = connect(namespace=namespace)
    except BackendError:
        return (local,)
    try:
        reach(client)
        kaito = _has_kaito(client)
    except BackendError:
        return (local, _of_a_cluster("job", client))  # asked for its runs, it says why there are none
    return (local, *(_of_a_cluster(t, client) for t in ("kaito", "job") if kaito or t == "job"))


def cluster_is_named() -> bool:
    """Whether something here says where a cluster is. Looks at files and variables only."""
    files = os.environ.get("KUBECONFIG") or KUBECONFIG_DEFAULT
    if any(Path(name).expanduser().exists() for name in files.split(os.pathsep) if name):
        return True
    return bool(os.environ.get("KUBERNETES_SERVICE_HOST")) and (SERVICE_ACCOUNT / "token").exists()


def _choose(context: str | None, namespace: str | None) -> tuple[Backend, str]:
    if context is None and not cluster_is_named():
        return LocalBackend(), "No kubeconfig or service account here names a cluster."
    try:
        client = connect(context, namespace)
        if context is None:
            reach(client)
        kaito = _has_kaito(client)
    except BackendError as error:
        if context is not None:
            raise
        return LocalBackend(), f"The cluster cannot be used: {str(error).splitlines()[0]}"
    if kaito:
        return _of_a_cluster("kaito", client), f"The cluster {client.context} has KAITO."
    return _of_a_cluster("job", client), f"The cluster {client.context} has no KAITO: our own Job does the work."


def _of_a_cluster(target: Target, client: Client) -> Backend:
    if target == "kaito":
        from .kaito import KaitoBackend

        return KaitoBackend(client=client)
    from .job import JobBackend

    return JobBackend(client=client)


def _has_kaito(client: Client) -> bool:
    from ..cluster.resources import WORKSPACES

    return client.serves(WORKSPACES)


def reach(client: Client) -> None:
    """Raise `Unreachable` soon when nothing answers at the cluster's address: a VPN that is off must not cost a minute."""
    from ..cluster.refusals import Asked, Unreachable

    parts = urlsplit(client.server)
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return  # the address may be reached in another way
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection((parts.hostname or "", port), PATIENCE).close()
    except OSError as error:
        asked = Asked("reach", f"the cluster {client.context}")
        raise Unreachable(asked, f"no connection to {parts.netloc.rpartition('@')[2]} ({error})") from None
