"""Where the data comes from and where the adapter goes, in KAITO's words, and how a person writes both in one word."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

SOURCE_FORMS: Final = "image:REF, pvc:CLAIM[/FILE], https://…, s3://…, or a file of this machine"
STORES: Final = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "file", "memory")
"""Schemes of object stores: what lies there is signed for the pod, and data can be put there. The last two sign nothing."""


@dataclass(frozen=True, slots=True)
class DataSource:
    """`tuning.input`. Exactly one of `urls`, `image`, `volume_source` or `path`; none of them: the DataFrame, which we deliver.

    Source: KAITO v0.12, `api/v1beta1/workspace_types.go`, `DataSource`.
    """

    urls: tuple[str, ...] = ()
    """Public http or https addresses of data files; or one address in an object store (`s3://…`), which we sign."""
    image: str | None = None
    """An image with the data below `/data`."""
    image_pull_secrets: tuple[str, ...] = ()
    """Names of Secrets in the run's namespace."""
    volume_source: Mapping[str, Any] | None = None
    """Any core/v1 VolumeSource, in Kubernetes' own spelling; it is mounted at `/mnt/data`."""
    name: str | None = None
    """KAITO's name for the data; it cannot be changed later."""
    path: str | None = None
    """With `volume_source`: the data file's place in it. Alone: a file of this machine, read and delivered by us."""

    @property
    def delivered(self) -> bool:
        """Whether the data is here (a DataFrame, or `path`) and travels with the run."""
        return not self.urls and self.image is None and self.volume_source is None

    @property
    def store(self) -> str | None:
        """The address in an object store, when the data is there or goes there; None otherwise."""
        url = self.urls[0] if len(self.urls) == 1 else ""
        return url if isinstance(url, str) and url.partition("://")[0].lower() in STORES else None


@dataclass(frozen=True, slots=True)
class DataDestination:
    """`tuning.output`. Exactly one of `image`, `volume_source` or, on this machine, `path`.

    Source: KAITO v0.12, `api/v1beta1/workspace_types.go`, `DataDestination`.
    """

    image: str | None = None
    """The adapter is pushed there as an image."""
    image_push_secret: str | None = None
    """Name of the Secret to push with; KAITO asks for it with `image`."""
    volume_source: Mapping[str, Any] | None = None
    """Any core/v1 VolumeSource; it is mounted at the `output_dir`."""
    path: str | None = None
    """A folder of this machine, for the local backend."""


@dataclass(frozen=True, slots=True)
class ResourceSpec:
    """`resource`: on which GPU nodes.

    Source: KAITO v0.12, `api/v1beta1/workspace_types.go`, `ResourceSpec`.
    """

    instance_type: str | None = None
    """The node size, one of `presets.SKUS`."""
    label_selector: Mapping[str, Any] = field(default_factory=dict)
    """`matchLabels` and `matchExpressions`, as Kubernetes writes them. Empty: `matchLabels: {app: <name>}`."""
    count: int = 1
    """Nodes. KAITO tunes on one only."""


def parse_source(text: str) -> DataSource:
    """`image:REF`, `pvc:CLAIM[/FILE]`, an address, or a file of this machine. Takes anything: `problems` says what is wrong."""
    text = text.strip()
    kind, _, rest = text.partition(":")
    if kind == "image":
        return DataSource(image=rest)
    if kind == "pvc":
        claim, _, path = rest.partition("/")
        return DataSource(volume_source=pvc(claim), path=path or None)
    if "://" in text:
        return DataSource(urls=tuple(text.split()))
    return DataSource(path=text)


def parse_destination(text: str) -> DataDestination:
    """`image:REF`, `pvc:CLAIM`, or a folder of this machine. Takes anything: `problems` says what is wrong."""
    text = text.strip()
    kind, _, rest = text.partition(":")
    if kind == "image":
        return DataDestination(image=rest)
    if kind == "pvc":
        return DataDestination(volume_source=pvc(rest))
    return DataDestination(path=text)


def pvc(claim: str) -> dict[str, Any]:
    """The VolumeSource of a PersistentVolumeClaim."""
    return {"persistentVolumeClaim": {"claimName": claim}}
