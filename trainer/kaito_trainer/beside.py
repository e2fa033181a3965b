"""The containers beside the trainer as commands: `download` before it, `push` after it. How each ends, and how it tells so."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any, Final

from .contract.events import Error, Phase
from .contract.names import ADAPTER_FILES, DATA_DIR, MOUNT_ROOT, NO_TRAINER, RESULTS_DIR
from .emit import Emitter
from .failures import Failure, explain

PATIENCE: Final = 1800.0
"""Seconds for which a push that fails is tried again: the adapter has no other copy, and a registry's outage passes."""
PAUSE: Final = 30.0
RESCUE: Final = 900.0
"""Seconds that the sidecar stays after a push that failed: the adapter is in the pod alone, and goes with it."""
CONTAINER: Final = "pusher"
"""This container's name, ours and KAITO's."""
NAMESPACE_FILE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def add_commands(commands: Any) -> None:
    """Add `download` and `push` to the command line."""
    download = commands.add_parser("download", help="fetch the data of a run")
    download.add_argument(
        "sources",
        nargs="*",
        metavar="SOURCE",
        help="an http(s) address, or image:REF; without any: those in $DATA_URLS",
    )
    download.add_argument(
        "--target", "--to", type=Path, default=Path(MOUNT_ROOT, DATA_DIR), help="folder for the files"
    )
    download.add_argument("--allow-private", action="store_true", help="fetch from private addresses, too")
    push = commands.add_parser("push", help="wait for the trainer, then push its adapter as an image")
    push.add_argument("image", metavar="IMAGE", help="the image's name, registry/name:tag")
    push.add_argument("--check", action="store_true", help="only find out whether it could be pushed")
    push.add_argument(
        "--rescue-seconds",
        type=float,
        default=RESCUE,
        metavar="SECONDS",
        help="how long to stay after a push that failed, so that the adapter can be fetched out of the pod",
    )
    push.add_argument("--model", default="", help="name of the preset, noted in the image")
    for parser in (download, push):
        parser.add_argument(
            "--results", type=Path, default=Path(MOUNT_ROOT, RESULTS_DIR), help="the trainer's output folder"
        )
        parser.add_argument(
            "--auth-file", type=Path, action="append", default=[], help="a Docker config file with a registry's login"
        )


def run(options: argparse.Namespace) -> int:
    """Do what the command line says. Returns the exit code: 0 done, 1 failed (an `error` event has said why), `NO_TRAINER`."""
    emit = Emitter(sys.stdout)
    try:
        if options.command == "download":
            _end_when_asked()
            _download(options, emit)
        elif options.check:
            _end_when_asked()
            _check(options)
        else:
            return _push(options, emit)
    except Exception as error:  # noqa: BLE001 (every end is told as an event)
        emit(explain(error, None))
        return 1
    return 0


def _download(options: argparse.Namespace, emit: Emitter) -> None:
    from .download import download

    options.results.mkdir(parents=True, exist_ok=True)
    emit.copy_to(options.results)  # one numbering for all events of the run
    # KAITO passes the addresses in this variable, with blanks between.
    sources = options.sources or os.environ.get("DATA_URLS", "").split()
    if not sources:
        raise Failure("download", "There is nothing to download.", "Give sources, or set DATA_URLS.")
    download(
        sources,
        options.target,
        emit=emit,
        allow_private=options.allow_private,
        auth_files=tuple(options.auth_file),
    )


def _check(options: argparse.Namespace) -> None:
    from .push import check_push

    check_push(
        options.image,
        auth_files=tuple(options.auth_file),
        on_retry=lambda text: print(f"{options.image}: {text}", file=sys.stderr, flush=True),  # noqa: T201 (for the log)
    )


def _push(options: argparse.Namespace, emit: Emitter) -> int:
    """Wait, then push. Asked to end it waits on: the trainer was asked as well, and what it saves is pushed."""
    from .push import adapter, push, told, wait_for_completion

    results = options.results
    asked = _note_when_asked()
    try:
        wait_for_completion(results, asked=asked)
    except Failure as failure:
        if not asked() or not all((results / name).is_file() for name in ADAPTER_FILES):
            if not told(results):  # else the trainer's own reason stands
                emit(explain(failure))
            return NO_TRAINER
    emit.copy_to(results)
    adapter(results)
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            push(results, options.image, model=options.model, emit=emit, auth_files=tuple(options.auth_file))
            return 0
        except Failure as failure:
            if asked():
                raise
            if failure.kind not in ("push", "registry-auth") or time.monotonic() > deadline:
                emit(_rescue(failure, results, options.rescue_seconds))
                _stay(options.rescue_seconds, asked)
                return 1
            # A password that was good before the training and is not now has run out: a new one arrives in the same file.
            new = " The login is read anew each time." if failure.kind == "registry-auth" else ""
            emit(Phase(phase="pushing", detail=f"{failure}{new} Tried again in {PAUSE:.0f} s."))
        _stay(PAUSE, asked)


def _rescue(failure: Failure, results: Path, seconds: float) -> Error:
    """The failure, with where the adapter is and, in a pod, the command that fetches it while this container stays."""
    where = f"The adapter is safe in {results}."
    if "KUBERNETES_SERVICE_HOST" in os.environ and seconds > 0:
        namespace = os.environ.get("POD_NAMESPACE", "")
        if not namespace and NAMESPACE_FILE.is_file():
            namespace = NAMESPACE_FILE.read_text(encoding="utf-8").strip()
        pod = os.environ.get("POD_NAME") or socket.gethostname()
        until = time.strftime("%H:%M", time.gmtime(time.time() + seconds))
        command = f"kubectl cp {f'-n {namespace} ' if namespace else ''}-c {CONTAINER} {pod}:{results} adapter"
        where = f"The adapter is in the pod until {until} UTC; fetch it with: {command}"
    told = explain(failure)
    return replace(told, remedy=f"{told.remedy or ''} {where}".strip())


def _stay(seconds: float, asked: Callable[[], bool]) -> None:
    """Wait. A signal ends it."""
    deadline = time.monotonic() + seconds
    while not asked() and (left := deadline - time.monotonic()) > 0:
        time.sleep(min(0.5, left))


def _end_when_asked() -> None:
    """Process 1 of a container gets no signal that it does not handle."""

    def end(number: int, frame: FrameType | None) -> None:
        os._exit(128 + number)  # nothing here is worth to be kept; threads that wait for a server would hold up an exit

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)


def _note_when_asked() -> Callable[[], bool]:
    """Whether SIGTERM or SIGINT has come."""
    seen: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: seen.append(number))
    return lambda: bool(seen)


__all__ = ["add_commands", "run"]
