"""What this machine brings: its login to a registry, the trainer's image, and a trainer of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Final

from kaito_trainer.contract import METHODS
from kaito_trainer.contract.problems import listing

from ..backends.folder import supported
from ..backends.job import IMAGE_VARIABLE
from ..backends.launch import missing_packages
from .report import Line, Mark

_SCHEME: Final = "image:"


def registry(image: str | None) -> Line:
    """Begin an upload to that image's repository, and give it up again."""
    if not image:
        return Line(
            "registry", "note", "A push was not tried.", "Name an image to try one: --registry REGISTRY/NAME:TAG."
        )
    from kaito_trainer import oci

    reference = image.removeprefix(_SCHEME)
    try:
        oci.Image(reference).check_push()
    except oci.RegistryError as error:
        return Line("registry", "failed", error.message, error.remedy)
    return Line("registry", "ok", f"This machine's login may push {reference}.")


def trainer_image() -> Line:
    """The image that our own Job runs in, and whether its registry has it."""
    topic, image = "trainer image", os.environ.get(IMAGE_VARIABLE)
    if not image:
        how = f"The backend job needs one: --image, or {IMAGE_VARIABLE} in the environment (`make image` or `docker build trainer` makes one)."
        return Line(topic, "note", f"{IMAGE_VARIABLE} names none.", how)
    from kaito_trainer import oci

    try:
        digest = oci.Image(image).digest()
    except oci.RegistryError as error:  # the nodes may well reach it with a login of theirs
        return Line(topic, "note", f"{image}: this machine cannot see whether it is there. {error.message}")
    if digest is None:
        return Line(
            topic, "failed", f"There is no image {image}.", f"Push it, or set {IMAGE_VARIABLE} to one that is there."
        )
    return Line(topic, "ok", f"{image} is there ({digest[:19]}…).")


def local_trainer(*, needed: bool) -> Iterator[Line]:
    """Whether this machine itself can train. `needed`: there is no cluster that could."""
    topic = "this machine"
    if not supported():
        yield Line(topic, "note", "Training here needs Linux or macOS.")
        return
    for method in METHODS:
        if missing := missing_packages(method):
            names = listing(missing, "and").replace('"', "`")
            text = f"It cannot train with {method}: {names} {'is' if len(missing) == 1 else 'are'} not installed."
            mark: Mark = "failed" if needed and method == METHODS[0] else "note"
            yield Line(topic, mark, text, f"Run `{sys.executable} -m pip install 'kaito-jupyter[local]'`.")
            return
    yield Line(topic, "ok", f"It can train ({' and '.join(METHODS)}).")
