"""What the cluster has room for: GPUs that are free, and where a volume can be made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from ..cluster import pods as p
from ..cluster.client import Client
from ..cluster.refusals import ClusterError, Forbidden
from ..cluster.resources import NODES, PODS, STORAGE_CLASSES
from ..manifests.pod import GPU
from .report import Line
from .rights import LOOK

SHOWN: Final = 8
"""Nodes that are named; the rest is counted."""
DEFAULT_CLASS: Final = "storageclass.kubernetes.io/is-default-class"
_SIZE: Final = "node.kubernetes.io/instance-type"
_LIVE: Final = "status.phase!=Succeeded,status.phase!=Failed"
_OPTIONAL: Final = f"No run needs it; the ClusterRole {LOOK} (deploy/cluster-role.yaml) gives it."

Json = Mapping[str, Any]


def gpus(client: Client) -> Iterator[Line]:
    """Nodes with GPUs and how many of those no pod has asked for."""
    try:
        nodes, _ = client.list(NODES)
    except Forbidden:
        yield Line("GPUs", "note", "Which nodes there are cannot be told: you may not list nodes.", _OPTIONAL)
        return
    except ClusterError as error:
        yield Line("GPUs", "note", f"Which nodes there are cannot be told: {error.brief}.")
        return
    having = sorted((n for n in nodes if _allocatable(n)), key=p.name)
    if not having:
        yield Line(
            "GPUs",
            "note",
            f"None of the {len(nodes)} nodes has any now. KAITO or an autoscaler may bring one when a run asks for it.",
        )
        return
    taken, remedy = None, ""
    try:
        taken = requested(client.list(PODS, everywhere=True, fields=_LIVE)[0])
    except Forbidden:
        remedy = f"How many are free cannot be told: you may not list the pods of all namespaces. {_OPTIONAL}"
    except ClusterError as error:
        remedy = f"How many are free cannot be told: {error.brief}."
    for node in having[:SHOWN]:
        yield Line("GPUs", "ok", _of_node(node, taken), remedy)
        remedy = ""
    if len(having) > SHOWN:
        total = sum(map(_allocatable, having[SHOWN:]))
        free = "" if taken is None else f", {total - sum(taken[p.name(n)] for n in having[SHOWN:])} free"
        yield Line("GPUs", "ok", f"And {len(having) - SHOWN} nodes more with {total} GPUs{free}.")


def requested(pods: Iterable[Json]) -> Counter[str]:
    """GPUs that pods have asked for, by node. An init container's are the trainer's, later."""
    found: Counter[str] = Counter()
    for pod in pods:
        spec = pod.get("spec") or {}
        if node := spec.get("nodeName"):
            beside = sum(map(_asked, spec.get("containers") or ()))
            found[node] += max([beside, *map(_asked, spec.get("initContainers") or ())])
    return found


def _of_node(node: Json, taken: Counter[str] | None) -> str:
    size = (node["metadata"].get("labels") or {}).get(_SIZE)
    total = _allocatable(node)
    many = f"{total} GPUs" if total != 1 else "1 GPU"
    free = many if taken is None else f"{max(0, total - taken[p.name(node)])} of {many} free"
    return f"{p.name(node)}{f' ({size})' if size else ''}: {free}{''.join(f', {b}' for b in _bars(node))}."


def _bars(node: Json) -> Iterator[str]:
    """What keeps pods from a node."""
    spec = node.get("spec") or {}
    if not p.is_true(node, "Ready"):
        yield "not ready"
    if spec.get("unschedulable"):
        yield "cordoned"
    for taint in spec.get("taints") or ():
        key = str(taint.get("key", ""))
        if taint.get("effect") in ("NoSchedule", "NoExecute") and not key.startswith("node.kubernetes.io/"):
            value = f"={taint['value']}" if taint.get("value") else ""
            yield f"needs a toleration of {key}{value}:{taint['effect']}"


def _allocatable(node: Json) -> int:
    return _count(((node.get("status") or {}).get("allocatable") or {}).get(GPU))


def _asked(container: Json) -> int:
    resources = container.get("resources") or {}
    return _count((resources.get("requests") or {}).get(GPU) or (resources.get("limits") or {}).get(GPU))


def _count(value: Any) -> int:
    text = str(value or 0)
    return int(text) if text.isdecimal() else 0


def storage(client: Client) -> Line:
    """Storage classes, the default one first."""
    try:
        classes, _ = client.list(STORAGE_CLASSES)
    except Forbidden:
        return Line(
            "storage", "note", "Which storage classes there are cannot be told: you may not list them.", _OPTIONAL
        )
    except ClusterError as error:
        return Line("storage", "note", f"Which storage classes there are cannot be told: {error.brief}.")
    if not classes:
        return Line("storage", "note", "There is no storage class: claims (pvc:…) need a volume made by hand.")
    names = sorted(map(p.name, classes))
    default = sorted(
        p.name(c) for c in classes if (c["metadata"].get("annotations") or {}).get(DEFAULT_CLASS) == "true"
    )
    told = f"Storage classes: {', '.join(n + ' (default)' if n in default else n for n in names)}."
    missing = "" if default else " None is the default, so a claim must name one."
    return Line("storage", "ok", told + missing)
