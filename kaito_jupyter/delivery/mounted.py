"""Whether this notebook has a claim mounted itself: then a file is put there without asking anybody."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final
from urllib.parse import urlsplit

from ..cluster.client import Client
from ..cluster.login import IN_CLUSTER, SERVICE_ACCOUNT
from ..cluster.refusals import ClusterError
from ..cluster.resources import PODS

VARIABLE: Final = "KAITO_CLAIM_MOUNTS"
"""Environment variable: `CLAIM=/FOLDER,CLAIM=/FOLDER`, for notebooks that may not look at their own pod."""
_MOUNTS: Final = Path("/proc/self/mountinfo")

Json = Mapping[str, Any]


def place(client: Client, claim: str, namespace: str, path: str) -> Path | None:
    """Where a path in the claim is in this notebook's file system, and may be written; None when it is not here."""
    for folder, inside in (*_named(claim), *_own(client, claim, namespace)):
        target = PurePosixPath("/", path)
        if target.is_relative_to(inside) and os.access(folder, os.W_OK):
            return folder / target.relative_to(inside)
    return None


def _named(claim: str) -> Iterator[tuple[Path, PurePosixPath]]:
    for pair in os.environ.get(VARIABLE, "").split(","):
        name, equals, folder = pair.partition("=")
        if equals and name.strip() == claim:
            yield Path(folder.strip()), PurePosixPath("/")


def _own(client: Client, claim: str, namespace: str) -> Iterator[tuple[Path, PurePosixPath]]:
    """Mounts of the claim in the pod that we run in, each with the folder of the claim that it shows."""
    here = SERVICE_ACCOUNT / "namespace"
    if not _is_this_cluster(client) or not here.is_file() or here.read_text().strip() != namespace:
        return
    try:
        pod = client.get(PODS, socket.gethostname(), namespace)
    except ClusterError:
        return  # no right to look, or another host name: the helper does it
    yield from mounts(pod, claim, _mount_points())


def mounts(pod: Json, claim: str, points: set[str]) -> Iterator[tuple[Path, PurePosixPath]]:
    """The writable mounts of a claim in a pod that are mount points here (of its containers, we are one)."""
    spec = pod["spec"]
    volumes = {
        v["name"]
        for v in spec.get("volumes") or ()
        if (c := v.get("persistentVolumeClaim")) and c["claimName"] == claim and not c.get("readOnly")
    }
    for container in spec["containers"]:
        for mount in container.get("volumeMounts") or ():
            folder = mount["mountPath"].rstrip("/") or "/"
            # What `subPathExpr` came to, only the kubelet knows.
            usable = mount["name"] in volumes and not mount.get("readOnly") and not mount.get("subPathExpr")
            if usable and folder in points:
                yield Path(folder), PurePosixPath("/", mount.get("subPath") or "")


def _is_this_cluster(client: Client) -> bool:
    host = os.environ.get("KUBERNETES_SERVICE_HOST")
    return client.context == IN_CLUSTER or (bool(host) and urlsplit(client.server).hostname == host)


def _mount_points() -> set[str]:
    try:
        lines = _MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    return {fields[4].replace("\\040", " ") for line in lines if len(fields := line.split(" ")) > 4}


__all__ = ["VARIABLE", "mounts", "place"]
