"""The init container's work: the data files of a run, from https addresses or out of a data image, into `/mnt/data`.

What arrives is checked for its size (and its sha256, where the address ends in `#sha256=…`). Private addresses are refused
unless allowed: the container runs inside the cluster's network, and the address may come from someone outside of it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import unquote, urlsplit

from . import oci
from .contract.names import DATA_DIR
from .failures import Failure
from .fetch import Emit, Fetch, Progress

PARALLEL: Final = 4
LONGEST_NAME: Final = 100
"""Letters of a file's name: file systems take 255 bytes."""


def download(
    sources: Sequence[str],
    target: Path,
    *,
    emit: Emit,
    allow_private: bool = False,
    auth_files: tuple[Path, ...] = (),
    pause: Callable[[float], object] | None = None,
) -> list[Path]:
    """Fetch all sources (`https://…`, `http://…` or `image:REF`) into the folder `target`, and return the files.

    Raises `Failure` of kind `download` (or `registry-auth`) for the first source that cannot be had; the others are let go.
    """
    target.mkdir(parents=True, exist_ok=True)
    progress = Progress(emit)
    progress.tell(f"{len(sources)} source{'s' if len(sources) != 1 else ''}")
    names = file_names([s for s in sources if not s.startswith("image:")])
    fetch = Fetch(target, progress, allow_private, pause)
    files: list[Path] = []
    for reference in (s.removeprefix("image:") for s in sources if s.startswith("image:")):
        files += unpack_image(reference, target, auth_files=auth_files, progress=progress)
    pool = ThreadPoolExecutor(PARALLEL, "kaito-download")
    try:
        running = [pool.submit(fetch, *pair) for pair in names.items()]
        wait(running, return_when=FIRST_EXCEPTION)
        for each in running:
            if each.done() and (error := each.exception()):
                raise error
    finally:
        fetch.stop.set()  # also when a signal ends this
        pool.shutdown(wait=False, cancel_futures=True)
    files += [each.result() for each in running]
    progress.tell("complete")
    return files


def unpack_image(
    reference: str, target: Path, *, auth_files: tuple[Path, ...] = (), progress: Progress | None = None
) -> list[Path]:
    """The files in the `/data` folder of a data image, laid into `target`. Raises `Failure`."""
    work = target / ".image"
    try:
        oci.Image(reference, auth_files=auth_files).pull(
            work,
            below=DATA_DIR,
            expect=progress.expect if progress else None,
            on_bytes=(lambda size: progress.add(size, reference)) if progress else None,
            on_retry=(lambda text: progress.tell(f"{reference}: {text}")) if progress else None,
        )
        inside = work / DATA_DIR
        if not inside.is_dir():
            raise Failure(
                "download",
                f"The image {reference} has no folder /{DATA_DIR}.",
                f"Build it with the dataset copied to /{DATA_DIR}.",
            )
        names = [p.relative_to(inside) for p in sorted(inside.rglob("*")) if p.is_file()]
        if not names:
            raise Failure(
                "download",
                f"The image {reference} has no file in /{DATA_DIR}.",
                "Copy the dataset there, not a link to it.",
            )
        for name in names:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.move(inside / name, target / name)
        return [target / name for name in names]
    except oci.RegistryError as error:
        kind = error.kind if error.kind == "registry-auth" else "download"
        raise Failure(kind, error.message, error.remedy) from None
    finally:
        shutil.rmtree(work, ignore_errors=True)


def file_names(urls: Sequence[str]) -> dict[str, str]:
    """URL -> the name of its file: the last part of its path, made unique by a number in front where two are equal."""
    names: dict[str, str] = {}
    for url in urls:
        name = _file_name(url)
        if name in names.values():
            name = next(n for i in range(1, len(urls) + 1) if (n := f"{i}-{name}") not in names.values())
        names[url] = name
    return names


def _file_name(url: str) -> str:
    try:
        last = PurePosixPath(unquote(urlsplit(url).path)).name
    except ValueError:
        last = ""
    # The end of the name tells the format. No hidden file: those are ours, while something is on its way.
    return "".join(c for c in last if c.isprintable())[-LONGEST_NAME:].lstrip(".") or "data"


__all__ = ["download", "file_names", "unpack_image"]
