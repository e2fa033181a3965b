"""Where the cluster is and who we are: a kubeconfig's context, or the service account of the pod we run in."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from kaito_trainer.contract.problems import close_match, listing

from .refusals import NoCluster, plain

KUBECONFIG_DEFAULT: Final = "~/.kube/config"
SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
IN_CLUSTER: Final = "in-cluster"
"""The context's name when a pod's service account is the login."""

_ASKED: Final = "log in to a cluster"


@dataclass(frozen=True, slots=True)
class Login:
    """How to reach one cluster. Holds credentials: its repr does not."""

    context: str
    namespace: str
    """Of the context, or of the pod that we run in."""
    configuration: Any
    """`kubernetes.client.Configuration`."""

    def __repr__(self) -> str:
        return f"Login({self.context!r}, {self.namespace!r}, {self.configuration.host!r})"


def log_in(context: str | None = None, kubeconfig: str | None = None) -> Login:
    """Read the login afresh, from the files that hold it (tokens rotate).

    A context or a kubeconfig that is named counts; else `$KUBECONFIG`, else `~/.kube/config`, else the service account
    of this pod. Raises `NoCluster`.
    """
    files = kubeconfig or os.environ.get("KUBECONFIG") or KUBECONFIG_DEFAULT
    paths = [Path(p).expanduser() for p in files.split(os.pathsep) if p]
    named = kubeconfig is not None or bool(os.environ.get("KUBECONFIG"))
    if any(p.exists() for p in paths):
        return _from_kubeconfig(os.pathsep.join(str(p) for p in paths if p.exists()), context)
    if context is not None and context != IN_CLUSTER:
        raise NoCluster(_ASKED, f"there is no kubeconfig that could hold the context {context!r} ({files})")
    if os.environ.get("KUBERNETES_SERVICE_HOST"):
        return _from_service_account()
    said = (
        f"the kubeconfig {files} does not exist" if named else f"there is no {KUBECONFIG_DEFAULT}, and this is no pod"
    )
    raise NoCluster(_ASKED, said, "Point KUBECONFIG at a kubeconfig, or train on this machine (backend `local`).")


def _package() -> Any:
    try:
        import kubernetes.client
        import kubernetes.config
    except ModuleNotFoundError as e:
        if e.name and e.name.partition(".")[0] != "kubernetes":
            raise
        raise NoCluster(
            _ASKED, "the Python package `kubernetes` is not installed", "Install it: pip install kubernetes"
        ) from None
    return kubernetes


def _from_kubeconfig(files: str, context: str | None) -> Login:
    kubernetes = _package()
    refused = (
        kubernetes.config.ConfigException,
        yaml.YAMLError,
        OSError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
    )
    try:
        context = context or _current(files)
        contexts, active = kubernetes.config.list_kube_config_contexts(files)
    except refused as e:
        raise NoCluster(_ASKED, f"the kubeconfig {files} cannot be read: {_why(e)}") from None
    names = [c["name"] for c in contexts or []]
    if context is not None and context not in names:
        hint = close_match(context, names) or f"It has {listing(names, 'and') if names else 'none'}."
        raise NoCluster(_ASKED, f"the kubeconfig {files} has no context {context!r}", hint)
    chosen = next(c for c in contexts if c["name"] == context) if context is not None else active
    configuration = kubernetes.client.Configuration()
    try:
        kubernetes.config.load_kube_config(files, context=chosen["name"], client_configuration=configuration)
    except refused as e:
        raise NoCluster(_ASKED, f"the context {chosen['name']!r} of {files} is broken: {_why(e)}") from None
    return Login(chosen["name"], (chosen.get("context") or {}).get("namespace") or "default", configuration)


def context_names() -> tuple[str, ...]:
    """Names of all contexts that a login can choose from; none where no kubeconfig can be read."""
    files = os.environ.get("KUBECONFIG") or KUBECONFIG_DEFAULT
    names: dict[str, None] = {}
    for path in (Path(p).expanduser() for p in files.split(os.pathsep) if p):
        try:
            found = yaml.safe_load(path.read_text(encoding="utf-8"))["contexts"]
            names |= {str(context["name"]): None for context in found}
        except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError, KeyError):
            continue
    return tuple(names)


def _current(files: str) -> str | None:
    """Of several files the first that names a current context counts, as for kubectl; the package takes the last."""
    for path in files.split(os.pathsep):
        value = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        if isinstance(value, dict) and value.get("current-context"):
            return str(value["current-context"])
    return None


def _why(error: Exception) -> str:
    """What is wrong with a kubeconfig, without a piece of it: that could be a token."""
    mark = getattr(error, "problem_mark", None)
    return f"no YAML from line {mark.line + 1} on" if mark else plain(str(error)) or type(error).__name__


def _from_service_account() -> Login:
    kubernetes = _package()
    if not (SERVICE_ACCOUNT / "token").exists():
        raise NoCluster(
            _ASKED,
            "this pod has no service account token",
            "Its pod spec says automountServiceAccountToken: false (JupyterHub's default). In JupyterHub set "
            "singleuser.serviceAccountName (and extraPodConfig.automountServiceAccountToken: true), or give a kubeconfig.",
        )
    configuration = kubernetes.client.Configuration()
    try:
        kubernetes.config.load_incluster_config(client_configuration=configuration)
    except (kubernetes.config.ConfigException, OSError) as e:
        raise NoCluster(_ASKED, f"this pod's service account cannot be used: {plain(str(e))}") from None
    file = SERVICE_ACCOUNT / "namespace"
    return Login(IN_CLUSTER, file.read_text().strip() if file.exists() else "default", configuration)
