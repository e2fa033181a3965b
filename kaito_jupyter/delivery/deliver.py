"""The one call: afterwards the data is where the pod will look for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..cluster.client import Client
from ..cluster.refusals import Forbidden
from ..dataset import Dataset
from ..spec import DataSource, Target, TuningSpec
from ..spec.documents import data_name
from . import configmap
from .parcel import packed
from .progress import Say, silent
from .route import Route, Way, claim_of, route

Json = dict[str, Any]


def _nothing(owner: Mapping[str, Any]) -> None:
    """What is not the cluster's has no owner there."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """Data at its place."""

    source: DataSource
    """What the pod is told."""
    way: Way
    reused: bool
    """Whether it was there already."""
    note: str
    """What is said to the user, in a sentence."""
    documents: tuple[Json, ...] = ()
    """Objects that are still to be made in the cluster, before the run's pod starts."""
    own: Callable[[Mapping[str, Any]], None] = field(default=_nothing)
    """Called with the owner reference of the run's object: what this made in the cluster goes with it, and with the last
    of several that use it."""


def deliver(
    dataset: Dataset, spec: TuningSpec, *, client: Client, target: Target, on_progress: Say | None = None
) -> Delivered:
    """Bring the data to the place that the spec names, or to the lightest that fits.

    Takes as long as the data needs, and says so by `on_progress`, in this thread. Interrupted or failed it leaves nothing
    that a later call cannot go on from. Raises `SpecError` for a place that cannot be used, `ClusterError`s, and
    `DatasetError` when the data has changed since it was read.
    """
    say = on_progress or silent
    way = route(dataset, spec)
    if way.way == "configmap":
        return _by_configmap(dataset, spec, way, client)
    if way.way == "image":
        from .image import push

        reused = push(dataset, way.source, spec, client, say)
        return _told(way, way.source, reused, f"the image {way.source.image}", say)
    if way.way == "volume":
        from .volume import put

        reused = put(dataset, way.source, spec, client, say)
        return _told(way, way.source, reused, f"the claim {claim_of(way.source)}, as {way.source.path}", say)
    raise AssertionError(way)


def _by_configmap(dataset: Dataset, spec: TuningSpec, way: Route, client: Client) -> Delivered:
    namespace = spec.namespace
    try:
        name = configmap.find(client, dataset, namespace)
    except Forbidden:
        name = None  # then each run has its own
    reused = name is not None
    if name is None:
        name = configmap.free_name(client, dataset, data_name(spec), namespace)

    def document() -> Json:
        with packed(dataset) as parcel:
            return configmap.document(parcel, dataset, name, namespace)

    def own(owner: Mapping[str, Any]) -> None:
        configmap.own(client, document, name, namespace, dict(owner))

    note = f"The data was there already, in the ConfigMap {name}." if reused else way.note
    documents = () if reused else (document(),)
    return Delivered(configmap.source(name, way.source), way.way, reused, note, documents, own)


def _told(way: Route, source: DataSource, reused: bool, place: str, say: Say) -> Delivered:
    note = f"The data was there already, in {place}." if reused else f"The data is in {place}."
    say(note)
    return Delivered(source, way.way, reused, note)


__all__ = ["Delivered", "deliver"]
