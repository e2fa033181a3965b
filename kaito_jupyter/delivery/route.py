"""Which way a DataFrame takes to the pod: where the user says, else the lightest that fits. Pure, but for the file's size.

A DataFrame and an `input` together mean: put it there. An `input` alone names what is there already.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from kaito_trainer.contract import Problem
from kaito_trainer.contract.names import TRAIN_FILE

from ..dataset import Dataset
from ..errors import SpecError
from ..spec import DataSource, TuningSpec
from .parcel import amount, packed, short

Way = Literal["configmap", "image", "volume", "url"]

LARGEST: Final = 900_000
"""Bytes of parquet that a ConfigMap takes: the API server's limit of 1 MiB counts base64's third and the rest of the object."""
SURELY_TOO_LARGE: Final = 32_000_000
"""Characters of text that no packing brings below `LARGEST`, so that it need not be tried."""
FOLDER: Final = "kaito-data"
"""The folder in a claim, when the user names none."""
FILES: Final = (".parquet",)
"""Endings by which a place in a claim is the file itself, not a folder for it."""


@dataclass(frozen=True, slots=True)
class Route:
    """A way, and the place at its end."""

    way: Way
    source: DataSource
    """What the pod will be told. A ConfigMap may turn out to be there under another name, and an address is signed last."""
    note: str
    """What is said to the user, in a sentence."""


def route(dataset: Dataset, spec: TuningSpec) -> Route:
    """The way of this data. Raises `SpecError` when none is known, with the choices."""
    source = spec.input
    if source.image is not None:
        source = _pulled(replace(source, image=tagged(source.image, dataset)), spec)
        return Route("image", source, f"The data goes into the image {source.image}.")
    if source.volume_source is not None:
        if (claim := claim_of(source)) is None:
            what = "data can be put into a persistentVolumeClaim only."
            remedy = "Name one (pvc:CLAIM), or leave out the DataFrame if the data is in that volume already."
            raise SpecError([Problem("tuning.input.volumeSource", what, remedy)])
        if ".." in (source.path or "").split("/"):
            what = f"{source.path} leads out of the claim."
            raise SpecError([Problem("tuning.input", what, "Write pvc:CLAIM/FOLDER, without `..`.")])
        source = replace(source, path=_file(source.path, dataset))
        return Route("volume", source, f"The data goes into the claim {claim}, as {source.path}.")
    if source.urls:
        if source.store is None:
            what = "nothing can be put at an http address."
            remedy = "Name a folder in a store (s3://, gs://, az://), or leave out the DataFrame if the data is there already."
            raise SpecError([Problem("tuning.input.urls", what, remedy)])
        url = object_of(source.store, dataset)
        return Route("url", replace(source, urls=(url,)), f"The data goes to {url}, and the pod gets a signed address.")
    return _lightest(dataset, spec)


def _lightest(dataset: Dataset, spec: TuningSpec) -> Route:
    size = None
    if dataset.lengths.total <= SURELY_TOO_LARGE:
        with packed(dataset) as parcel:
            size = parcel.size
        if size <= LARGEST:
            source = DataSource(name=spec.input.name)
            return Route("configmap", source, f"The data ({amount(size)}) travels in a ConfigMap.")
    large = f"The data ({amount(size)}) is" if size else "The data is"
    why = f"{large} too large for a ConfigMap: it goes into"
    output = spec.output
    if output.image is not None:
        source = _pulled(DataSource(image=tagged(beside(output.image), dataset), name=spec.input.name), spec)
        return Route("image", source, f"{why} the image {source.image}, beside the adapter's.")
    if output.volume_source is not None and (claim := claim_of(output)) is not None:
        source = DataSource(volume_source=output.volume_source, path=_file(None, dataset), name=spec.input.name)
        return Route("volume", source, f"{why} the claim {claim}, as {source.path}, beside the adapter.")
    what = f"the data is {amount(size) if size else 'tens of megabytes'} of parquet, and a ConfigMap takes {amount(LARGEST)}."
    remedy = (
        "Say with `input` where it shall go: image:REGISTRY/NAME, pvc:CLAIM, or s3://, gs:// or az:// BUCKET/FOLDER."
    )
    raise SpecError([Problem("tuning.input", what, remedy)])


def tagged(reference: str, dataset: Dataset) -> str:
    """The image with a tag: the user's, else the data's own, under which other data never stands."""
    name = reference.rpartition("/")[2]
    return reference if ":" in name or "@" in name else f"{reference}:{short(dataset)}"


def beside(reference: str) -> str:
    """The name of the data image that goes with an adapter's image: `REGISTRY/NAME-data`, without a tag."""
    folder, slash, name = reference.partition("@")[0].rpartition("/")
    return f"{folder}{slash}{name.partition(':')[0]}-data"


def object_of(url: str, dataset: Dataset) -> str:
    """The file's own address in a store: a folder for each content, unless the user names the file."""
    url = url.rstrip("/")
    return url if url.endswith(FILES) else f"{url}/{short(dataset)}/{TRAIN_FILE}"


def claim_of(place: Any) -> str | None:
    """The claim's name of a source or a destination; None when it is no claim."""
    claim = (place.volume_source or {}).get("persistentVolumeClaim") or {}
    return claim.get("claimName") if isinstance(claim, dict) else None


def host_of(reference: str) -> str:
    """The registry's part of an image's name, as written; empty for Docker Hub's short names."""
    first, slash, _ = reference.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else ""


def _pulled(source: DataSource, spec: TuningSpec) -> DataSource:
    """With the secret to pull it: the one that pushes to the same registry, when none is named."""
    output = spec.output
    if source.image_pull_secrets or output.image is None or output.image_push_secret is None or source.image is None:
        return source
    if host_of(source.image) != host_of(output.image):
        return source
    return replace(source, image_pull_secrets=(output.image_push_secret,))


def _file(place: str | None, dataset: Dataset) -> str:
    """The file's path in a claim: a folder for each content, so that one never takes another's place under a run."""
    place = (place or FOLDER).strip("/")
    return place if place.endswith(FILES) else f"{place}/{short(dataset)}/{TRAIN_FILE}"


__all__ = ["LARGEST", "Route", "Way", "beside", "claim_of", "host_of", "object_of", "route", "tagged"]
