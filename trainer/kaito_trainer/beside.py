"""The containers beside the trainer as commands: `download` before it, `push` after it. How each ends, and how it tells so."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Final

from .contract.events import Phase
from .contract.names import ADAPTER_FILES, DATA_DIR, MOUNT_ROOT, RESULTS_DIR
from .emit import Emitter
from .failures import Failure, explain

PATIENCE: Final = 1800.0
"""Seconds for which a push that fails is tried again: the adapter has no other copy, and a registry's outage passes."""
PAUSE: Final = 30.0


def add_commands(commands: Any) -> None:
    """Add `download` and `push` to the command line."""
    download = commands.add_parser("download", help="fetch the data of a run")
    download.add_argument("sources", nargs="+", metavar="SOURCE", help="an http(s) address, or image:REF")
    download.add_argument("--target", type=Path, default=Path(MOUNT_ROOT, DATA_DIR), help="folder for the files")
    download.add_argument("--allow-private", action="store_true", help="fetch from private addresses, too")
    push = commands.add_parser("push", help="wait for the trainer, then push its adapter as an image")
    push.add_argument("image", metavar="IMAGE", help="the image's name, registry/name:tag")
    push.add_argument("--check", action="store_true", help="only find out whether it could be pushed")
    push.add_argument("--model", default="", help="name of the preset, noted in the image")
    for parser in (download, push):
        parser.add_argument(
            "--results", type=Path, default=Path(MOUNT_ROOT, RESULTS_DIR), help="the trainer's output folder"
        )
        parser.add_argument(
            "--auth-file", type=Path, action="append", default=[], help="a Docker config file with a registry's login"
        )


def run(options: argparse.Namespace) -> int:
    """Do what the command line says. Returns the exit code: 0 done, 1 failed (an `error` event has said why)."""
    emit = Emitter(sys.stdout)
    try:
        if options.command == "download":
            _end_when_asked()
            _download(options, emit)
        elif options.check:
            _end_when_asked()
            _check(options)
        else:
            _push(options, emit)
    except Exception as error:  # noqa: BLE001 (every end is told as an event)
        emit(explain(error, None))
        return 1
    return 0


def _download(options: argparse.Namespace, emit: Emitter) -> None:
    from .download import download

    options.results.mkdir(parents=True, exist_ok=True)
    emit.copy_to(options.results)  # one numbering for all events of the run
    download(
        options.sources,
        options.target,
        emit=emit,
        allow_private=options.allow_private,
        auth_files=tuple(options.auth_file),
    )


def _check(options: argparse.Namespace) -> None:
    from .push import check_push

    check_push(options.image, auth_files=tuple(options.auth_file))


def _push(options: argparse.Namespace, emit: Emitter) -> None:
    """Wait, then push. Asked to end it waits on: the trainer was asked as well, and what it saves is pushed."""
    from .push import push, wait_for_completion

    asked = _note_when_asked()
    try:
        wait_for_completion(options.results)
    except Failure:
        if not asked() or not all((options.results / name).is_file() for name in ADAPTER_FILES):
            raise
    emit.copy_to(options.results)
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            push(
                options.results,
                options.image,
                model=options.model,
                emit=emit,
                auth_files=tuple(options.auth_file),
            )
            return
        except Failure as failure:
            if asked() or failure.kind != "push" or time.monotonic() > deadline:
                raise
            emit(Phase(phase="pushing", detail=f"{failure} Tried again in {PAUSE:.0f} s."))
        time.sleep(PAUSE)


def _end_when_asked() -> None:
    """Process 1 of a container gets no signal that it does not handle."""

    def end(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)


def _note_when_asked() -> Callable[[], bool]:
    """Whether SIGTERM or SIGINT has come."""
    seen: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: seen.append(number))
    return lambda: bool(seen)


__all__ = ["add_commands", "run"]
