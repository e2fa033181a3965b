"""The one call: afterwards the data is where the pod will look for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import urlsplit

from kaito_trainer.contract import Problem

from ..cluster.client import Client
from ..cluster.refusals import Forbidden
from ..dataset import Dataset
from ..errors import SpecError
from ..spec import DataSource, Target, TuningSpec, rules
from ..spec.documents import data_name
from . import configmap
from .parcel import packed
from .progress import Say, silent
from .route import Route, Way, claim_of, route

UNSIGNED: Final = "https://signed.invalid/train.parquet"
"""Stands for an address that is not signed yet."""

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
    kept: DataSource | None = None
    """What is written down for another run, where that is not `source`: an address that is signed does not last."""
    documents: tuple[Json, ...] = ()
    """Objects that are still to be made in the cluster, before the run's pod starts."""
    own: Callable[[Mapping[str, Any]], None] = field(default=_nothing)
    """Called with the owner reference of the run's object: what this made in the cluster goes with it, and with the last
    of several that use it."""

    def told_to(self, spec: TuningSpec) -> TuningSpec:
        """The spec as the cluster is told it: with the data's place, from which it may come."""
        placement = spec.placement
        if self.way == "url":  # the user named the store: it may well be one inside the cluster's network
            placement = replace(placement, private_urls=True)
        return replace(spec, input=self.source, placement=placement)


def deliver(
    dataset: Dataset | None, spec: TuningSpec, *, client: Client, target: Target, on_progress: Say | None = None
) -> Delivered | None:
    """Bring the data to the place that the spec names, or to the lightest that fits.

    Without a dataset it is there already; in a store it is signed for the pod, anywhere else there is nothing to do (None).

    Takes as long as the data needs, and says so by `on_progress`, in this thread. Interrupted or failed it leaves nothing
    that a later call cannot go on from. Raises `SpecError` for a place that cannot be used, `ClusterError`s, and
    `DatasetError` when the data has changed since it was read.
    """
    say = on_progress or silent
    if dataset is None:
        return _existing(spec, target)
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
    from . import url

    place = way.source.urls[0]
    reused = url.put(dataset, place, say)
    return replace(_told(way, _signed(way.source, spec, target), reused, place, say), kept=way.source)


def _existing(spec: TuningSpec, target: Target) -> Delivered | None:
    """Data that was there before we came."""
    store = spec.input.store
    if store is None:
        return None
    source = _signed(spec.input, spec, target)
    return Delivered(source, "url", True, f"The data is at {store}.", kept=spec.input)


def _signed(source: DataSource, spec: TuningSpec, target: Target) -> DataSource:
    from . import url

    address = url.signed(source.urls[0])
    if target == "kaito" and (wrong := rules.url(address, public=not spec.placement.private_urls)):
        host = urlsplit(address).hostname
        what = f"{source.urls[0]} is signed for {host}, from where KAITO's webhook lets no data come."
        raise SpecError([Problem("tuning.input.urls[0]", what, wrong[1])])
    return replace(source, urls=(address,))


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
    return Delivered(configmap.source(name, way.source), way.way, reused, note, documents=documents, own=own)


def _told(way: Route, source: DataSource, reused: bool, place: str, say: Say) -> Delivered:
    note = f"The data was there already, in {place}." if reused else f"The data is in {place}."
    say(note)
    return Delivered(source, way.way, reused, note)


def rehearsed(spec: TuningSpec) -> TuningSpec:
    """The spec for a server's dry run, before the data is delivered: with something that stands for its place."""
    source = spec.input
    if source.delivered:
        return replace(spec, input=DataSource(volume_source={"configMap": {"name": data_name(spec)}}, name=source.name))
    return spec if source.store is None else replace(spec, input=replace(source, urls=(UNSIGNED,)))


__all__ = ["Delivered", "deliver", "rehearsed"]
