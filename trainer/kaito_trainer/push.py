"""The sidecar's work: wait until training has truly completed, then push the adapter as the image that KAITO loads.

A dead trainer never leaves a Job hanging: the trainer holds a lock on a file in the shared folder while it lives, and
when the lock is free and the sentinel is missing, the sidecar ends with an error (KAITO's own waits for ever).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from . import oci
from .card import CARD_FILE
from .contract.events import Event, Payload, Phase, Push, decode
from .contract.names import ADAPTER_FILES, DATA_DIR, EVENTS_FILE, LOCK_FILE, SENTINEL_FILE
from .emit import TAIL
from .failures import Failure

START_WITHIN: Final = 300.0
"""Seconds in which the trainer must have taken its lock. Its image is this one, so it is on the node already."""
LOOK_EVERY: Final = 1.0
CHECK_TRIES: Final = 5
ALLOW_AFTER_LOCK: Final = 2.0
"""Seconds between seeing the lock free and believing it: the sentinel is written before the lock is let go."""

Emit = Callable[[Payload], None]


def wait_for_completion(
    results: Path,
    *,
    start_within: float = START_WITHIN,
    pause: Callable[[float], None] = time.sleep,
    asked: Callable[[], bool] = lambda: False,
) -> None:
    """Return when the sentinel is there. Raises `Failure` of kind `killed` when the trainer is gone without having written it.

    `results` belongs to this pod alone: a lock or a sentinel in it is that of the trainer beside us. `asked`: whether we
    shall end; a trainer that lives is waited for even then, as it saves what it has.
    """
    waited = 0.0
    while not (results / SENTINEL_FILE).exists():
        if (results / LOCK_FILE).exists():
            if lock_is_held(results):
                pause(LOOK_EVERY)
                continue
            pause(ALLOW_AFTER_LOCK)
            if not lock_is_held(results) and not (results / SENTINEL_FILE).exists():
                raise Failure(
                    "killed",
                    "The trainer has ended without completing, so there is no adapter to push.",
                    "See the trainer's log for the reason.",
                )
            continue
        if waited >= start_within or asked():
            raise Failure(
                "killed",
                f"No trainer has started within {waited:.0f} seconds.",
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


def told(results: Path) -> bool:
    """Whether the trainer has said itself how it ended: then nobody else need say so."""
    last: Event | None = None
    with contextlib.suppress(OSError), (results / EVENTS_FILE).open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
        found = (decode(line) for line in reversed(file.read().splitlines()))
        last = next((event for event in found if event is not None), None)
    return last is not None and (last.type == "error" or last.data.get("status") == "cancelled")


def check_push(
    reference: str, *, auth_files: tuple[Path, ...] = (), on_retry: Callable[[str], None] | None = None
) -> None:
    """Raise `Failure` when the image could not be pushed: asked before the first step, not after the last."""
    try:
        oci.Image(reference, auth_files=auth_files).check_push(tries=CHECK_TRIES, on_retry=on_retry)
    except oci.RegistryError as error:
        raise _failure(error) from None


def adapter(results: Path) -> dict[str, Path]:
    """Name in the image -> file, of the adapter and, where there is one, its card. Raises `Failure` when it is not whole."""
    missing = [name for name in ADAPTER_FILES if not (results / name).is_file()]
    if missing:
        raise Failure("push", f"There is no {' and no '.join(missing)} in {results}.", "See the trainer's log.")
    # KAITO passes over what is in the image besides the adapter (its adapter image specification).
    there = [*ADAPTER_FILES, *([CARD_FILE] if (results / CARD_FILE).is_file() else [])]
    for name in there:
        if not os.access(results / name, os.R_OK):
            raise Failure(
                "push",
                f"{results / name} may not be read by user {os.getuid()}.",
                "Run the pusher as the trainer's user, or as one of its group.",
            )
    return {f"{DATA_DIR}/{name}": results / name for name in there}


def push(results: Path, reference: str, *, model: str, emit: Emit, auth_files: tuple[Path, ...] = ()) -> str:
    """Push the adapter in `results`, and return the image's digest.

    `model` is the preset's name, for KAITO's annotation. Raises `Failure` of kind `push` or `registry-auth`; the
    adapter stays where it is.
    """
    files = adapter(results)
    emit(Phase(phase="pushing", detail=reference))
    annotations = {
        **({oci.MODEL_ANNOTATION: model} if model else {}),
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
            raise _failure(error) from None
    emit(Push(image=reference, digest=digest, bytes=layer.size))
    return digest


def _failure(error: oci.RegistryError) -> Failure:
    kind = error.kind if error.kind == "registry-auth" else "push"
    return Failure(kind, error.message, error.remedy)


__all__ = ["adapter", "check_push", "lock_is_held", "push", "told", "wait_for_completion"]
