"""The sidecar's work: wait until training has truly completed, then push the adapter as the image that KAITO loads.

A dead trainer never leaves a Job hanging: the trainer holds a lock on a file in the shared folder while it lives, and
when the lock is free and the sentinel is missing, the sidecar ends with an error (KAITO's own waits for ever).
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from . import oci
from .contract.events import Payload, Phase, Push
from .contract.names import ADAPTER_FILES, DATA_DIR, LOCK_FILE, SENTINEL_FILE
from .failures import Failure

START_WITHIN: Final = 300.0
"""Seconds in which the trainer must have taken its lock. Its image is this one, so it is on the node already."""
LOOK_EVERY: Final = 1.0
ALLOW_AFTER_LOCK: Final = 2.0
"""Seconds between seeing the lock free and believing it: the sentinel is written before the lock is let go."""

Emit = Callable[[Payload], None]


def wait_for_completion(
    results: Path, *, start_within: float = START_WITHIN, pause: Callable[[float], None] = time.sleep
) -> None:
    """Return when the sentinel is there. Raises `Failure` of kind `killed` when the trainer is gone without having written it."""
    waited = 0.0
    while not (results / SENTINEL_FILE).exists():
        if (results / LOCK_FILE).exists():
            if not lock_is_held(results):
                pause(ALLOW_AFTER_LOCK)
                if not lock_is_held(results) and not (results / SENTINEL_FILE).exists():
                    raise Failure(
                        "killed",
                        "The trainer has ended without completing, so there is no adapter to push.",
                        "See the trainer's log for the reason.",
                    )
                continue
        elif waited >= start_within:
            raise Failure(
                "killed",
                f"No trainer has started within {start_within:.0f} seconds.",
                "See the trainer's container for the reason.",
            )
        pause(LOOK_EVERY)
        waited += LOOK_EVERY


def lock_is_held(results: Path) -> bool:
    """Whether a trainer lives."""
    try:
        handle = os.open(results / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def check_push(reference: str, *, auth_files: tuple[Path, ...] = ()) -> None:
    """Raise `Failure` when the image could not be pushed: asked before the first step, not after the last."""
    try:
        oci.Image(reference, auth_files=auth_files).check_push()
    except oci.RegistryError as error:
        kind = error.kind if error.kind == "registry-auth" else "push"
        raise Failure(kind, error.message, error.remedy) from None


def push(results: Path, reference: str, *, model: str, emit: Emit, auth_files: tuple[Path, ...] = ()) -> str:
    """Push the adapter in `results`, and return the image's digest.

    `model` is the preset's name, for KAITO's annotation. Raises `Failure` of kind `push` or `registry-auth`; the
    adapter stays where it is.
    """
    missing = [name for name in ADAPTER_FILES if not (results / name).is_file()]
    if missing:
        raise Failure("push", f"There is no {' and no '.join(missing)} in {results}.", "See the trainer's log.")
    emit(Phase(phase="pushing", detail=reference))
    card = {f"{DATA_DIR}/README.md": results / "README.md"} if (results / "README.md").is_file() else {}
    files = {f"{DATA_DIR}/{name}": results / name for name in ADAPTER_FILES} | card
    annotations = {
        oci.MODEL_ANNOTATION: model,
        "org.opencontainers.image.created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    with tempfile.TemporaryDirectory(prefix="kaito-push-") as work:
        layer = oci.write_layer(files, Path(work) / "layer.tar.gz")
        try:
            digest = oci.Image(reference, auth_files=auth_files).push(
                layer,
                annotations=annotations,
                on_retry=lambda text: emit(Phase(phase="pushing", detail=f"{reference}: {text}")),
            )
        except oci.RegistryError as error:
            kind = error.kind if error.kind == "registry-auth" else "push"
            raise Failure(kind, f"{error.message} The adapter is safe in {results}.", error.remedy) from None
    emit(Push(image=reference, digest=digest, bytes=layer.size))
    return digest


__all__ = ["check_push", "lock_is_held", "push", "wait_for_completion"]
