"""A data image: one layer with `/data/train.parquet`, which KAITO's puller and our own unpack.

Pushed straight from here, with the login of the user's Docker config, else with that of the Secrets that the spec names.
"""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kaito_trainer.contract import Problem
from kaito_trainer.contract.names import DATA_DIR, TRAIN_FILE

from ..cluster.client import Client
from ..cluster.refusals import Forbidden, NotFound
from ..cluster.resources import SECRETS
from ..dataset import Dataset
from ..errors import SpecError
from ..spec import DataSource, TuningSpec
from .parcel import packed, short
from .progress import Say, Transfer
from .route import host_of

if TYPE_CHECKING:
    from kaito_trainer.oci import Image

FINGERPRINT: Final = "kaito-jupyter.dataset"
"""Annotation of the image: the data's fingerprint."""
PATH: Final = "tuning.input.image"
_KEY: Final = ".dockerconfigjson"


def push(dataset: Dataset, source: DataSource, spec: TuningSpec, client: Client, say: Say) -> bool:
    """Have the image there; whether it was there already. Raises `SpecError` when the registry says no."""
    from kaito_trainer.oci import RegistryError, write_layer

    reference = str(source.image)
    try:
        own = reference.endswith(f":{short(dataset)}")
        image, before = _logged_in(reference, source, spec, client, to_push=not own)
        if own and before is not None:
            return True  # nothing else is ever pushed under that tag
        with packed(dataset) as parcel, tempfile.TemporaryDirectory(prefix="kaito-layer-") as folder:
            layer = write_layer({f"{DATA_DIR}/{TRAIN_FILE}": parcel.path}, Path(folder) / "layer.tar.gz")
            digest = image.push(
                layer,
                annotations={FINGERPRINT: dataset.fingerprint},
                on_retry=lambda text: say(f"{reference}: {text}"),
                on_bytes=Transfer(say, layer.size, reference),
            )
            return digest == before
    except RegistryError as error:
        raise SpecError([Problem(PATH, error.message, error.remedy)]) from error


def _logged_in(
    reference: str, source: DataSource, spec: TuningSpec, client: Client, *, to_push: bool
) -> tuple[Image, str | None]:
    """The image and the digest of what is there now, by the first login that is good enough.

    That is the user's own, else that of a Secret that the spec names. What is there need only be read, unless it is
    `to_push` in any case.
    """
    from kaito_trainer.oci import Image, RegistryError

    first: RegistryError | None = None
    unread: list[str] = []
    for logins in chain([{}], _secrets(source, spec, client, unread)):
        image = Image(reference, logins=logins)
        try:
            there = image.digest()
            if there is None or to_push:
                image.check_push()  # before the work of packing
        except RegistryError as error:
            if error.kind != "registry-auth":
                raise
            first = first or error
        else:
            return image, there
    assert first is not None
    if unread:
        what = f"{first.message} The Secret {' and '.join(unread)} is for the pods: it cannot be read from here."
        raise RegistryError(first.kind, what, f"Log in to {image.host} on this machine (docker login).")
    raise first


def _secrets(source: DataSource, spec: TuningSpec, client: Client, unread: list[str]) -> Iterator[dict[str, Any]]:
    """Logins out of the cluster: the adapter's push secret when it is for the same registry, then the pull secrets.

    `unread` gets the names of those that we have no right to read.
    """
    from kaito_trainer.logins import logins_of

    output = spec.output
    names = list(source.image_pull_secrets)
    if output.image and output.image_push_secret and host_of(output.image) == host_of(str(source.image)):
        names = list(dict.fromkeys([output.image_push_secret, *names]))
    for name in names:
        try:
            data = client.get(SECRETS, name, spec.namespace).get("data") or {}
        except Forbidden:
            unread.append(name)
            continue
        except NotFound:
            continue  # told elsewhere
        try:
            yield logins_of(base64.b64decode(data.get(_KEY, "")).decode())
        except ValueError:
            continue


__all__ = ["FINGERPRINT", "push"]
