"""The init container's work: the data files of a run, from https addresses or out of a data image, into `/mnt/data`.

A cut transfer goes on where it was cut, a server's passing fault is tried again, and what arrives is checked for its
size (and its sha256, where the address ends in `#sha256=…`). Private addresses are refused unless allowed: the
container runs inside the cluster's network, and the address may come from someone outside of it.
"""

from __future__ import annotations

import hashlib
import ipaddress
import shutil
import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

import requests

from . import oci
from .contract.events import Payload, Phase
from .contract.names import DATA_DIR
from .failures import Failure

TRIES: Final = 6
TIMEOUT: Final = (10, 60)
"""Seconds to connect, and between two blocks."""
BLOCK: Final = 1 << 18
PARALLEL: Final = 4
REDIRECTS: Final = 5

Emit = Callable[[Payload], None]


@dataclass
class Progress:
    """Bytes of all files together, told once a second."""

    emit: Emit
    done: int = 0
    total: int | None = 0
    """None once a server has not said how long its file is."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _told: float = 0.0

    def expect(self, size: int | None) -> None:
        with self._lock:
            self.total = None if size is None or self.total is None else self.total + size

    def add(self, size: int, name: str) -> None:
        with self._lock:
            self.done += size
            now = time.monotonic()
            if now - self._told >= 1:
                self._told = now
                self.tell(name)

    def tell(self, detail: str) -> None:
        self.emit(Phase(phase="downloading", detail=detail, done=self.done, total=self.total, unit="bytes"))


def download(
    sources: Sequence[str],
    target: Path,
    *,
    emit: Emit,
    allow_private: bool = False,
    auth_files: tuple[Path, ...] = (),
    pause: Callable[[float], None] = time.sleep,
) -> list[Path]:
    """Fetch all sources (`https://…`, `http://…` or `image:REF`) into the folder `target`, and return the files.

    Raises `Failure` of kind `download` (or `registry-auth`) for the first source that cannot be had.
    """
    target.mkdir(parents=True, exist_ok=True)
    progress = Progress(emit)
    progress.tell(f"{len(sources)} source{'s' if len(sources) != 1 else ''}")
    names = file_names([s for s in sources if not s.startswith("image:")])
    fetch = _Fetch(target, progress, allow_private, pause)
    files: list[Path] = []
    for reference in (s.removeprefix("image:") for s in sources if s.startswith("image:")):
        files += unpack_image(reference, target, auth_files=auth_files)
    with ThreadPoolExecutor(PARALLEL) as pool:
        files += pool.map(lambda pair: fetch(*pair), names.items())
    progress.tell("complete")
    return files


def unpack_image(reference: str, target: Path, *, auth_files: tuple[Path, ...] = ()) -> list[Path]:
    """The files in the `/data` folder of a data image, laid into `target`."""
    work = target / ".image"
    try:
        oci.Image(reference, auth_files=auth_files).pull(work)
        inside = work / DATA_DIR
        if not inside.is_dir():
            raise Failure(
                "download",
                f"The image {reference} has no folder /{DATA_DIR}.",
                f"Build it with the dataset copied to /{DATA_DIR}.",
            )
        names = [p.relative_to(inside) for p in sorted(inside.rglob("*")) if p.is_file()]
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
        name = PurePosixPath(unquote(urlsplit(url).path)).name or "data"
        names[url] = name if name not in names.values() else f"{len(names)}-{name}"
    return names


class _Fetch:
    """One URL into one file."""

    def __init__(self, target: Path, progress: Progress, allow_private: bool, pause: Callable[[float], None]) -> None:
        self.target, self.progress, self.allow_private, self.pause = target, progress, allow_private, pause

    def __call__(self, url: str, name: str) -> Path:
        parts = urlsplit(url)
        wanted = dict(p.split("=", 1) for p in parts.fragment.split("&") if "=" in p).get("sha256", "").lower()
        where = urlunsplit(parts._replace(fragment=""))
        part, final = self.target / f".{name}.part", self.target / name
        for attempt in range(1, TRIES + 1):
            try:
                self._once(where, name, part)
                break
            except (requests.exceptions.ConnectionError, requests.exceptions.Timeout, _Passing) as error:
                if attempt == TRIES or isinstance(error, requests.exceptions.SSLError):
                    raise Failure(
                        "download",
                        f"{shown(where)} could not be fetched in {attempt} tries ({_reason(error)}).",
                        "Check that the address can be reached from inside the cluster, and that its server is up.",
                    ) from None
                self.pause(min(30, 2.0 ** (attempt - 1)))
            except requests.exceptions.ChunkedEncodingError:
                self.pause(1)  # cut in the middle: go on from there
        if wanted:
            self._check(part, wanted, where)
        part.replace(final)
        return final

    def _once(self, url: str, name: str, part: Path) -> None:
        have = part.stat().st_size if part.exists() else 0
        answer = self._ask(url, {"Range": f"bytes={have}-"} if have else {})
        with answer:
            if have and answer.status_code == 416:  # all of it is here
                return
            resumed = answer.status_code == 206
            rest = int(answer.headers["Content-Length"]) if "Content-Length" in answer.headers else None
            if "Content-Encoding" in answer.headers:
                rest = None  # the length is that of the packed bytes
            if not have:
                self.progress.expect(rest)
            got = 0
            with part.open("ab" if resumed else "wb") as file:
                for block in answer.iter_content(BLOCK):
                    file.write(block)
                    got += len(block)
                    self.progress.add(len(block), name)
            if rest is not None and got < rest:
                raise _Passing(f"{got} of {rest} bytes came")
        if not part.stat().st_size:
            raise Failure("download", f"{shown(url)} is empty.", "Check the address.")

    def _ask(self, url: str, headers: dict[str, str]) -> requests.Response:
        for _ in range(REDIRECTS):
            self._refuse_private(url)
            answer = requests.get(url, headers=headers, stream=True, timeout=TIMEOUT, allow_redirects=False)
            if not answer.is_redirect:
                break
            url = urljoin(url, answer.headers["Location"])
            answer.close()
        else:
            raise Failure("download", f"{shown(url)} leads in circles.", "Give the address that it should lead to.")
        if answer.status_code == 429 or answer.status_code >= 500:
            raise _Passing(f"its server answered {answer.status_code}")
        if answer.status_code in (401, 403):
            raise Failure(
                "download",
                f"{shown(url)} may not be read: its server answered {answer.status_code}.",
                "Give an address that needs no login, such as a signed one, or one that has not expired.",
            )
        if answer.status_code not in (200, 206, 416):
            raise Failure("download", f"{shown(url)}: its server answered {answer.status_code}.", "Check the address.")
        return answer

    def _refuse_private(self, url: str) -> None:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme not in ("http", "https") or not host:
            raise Failure("download", f"{shown(url)} is no http or https address.", "Give one.")
        try:
            found = {info[4][0] for info in socket.getaddrinfo(host, parts.port or 443, type=socket.SOCK_STREAM)}
        except (socket.gaierror, UnicodeError):
            raise _Passing(f"the name {host} is not known") from None
        inner = [a for a in found if not ipaddress.ip_address(str(a).split("%")[0]).is_global]
        if inner and not self.allow_private:
            raise Failure(
                "download",
                f"{shown(url)} leads to the private address {inner[0]}.",
                "Give a public address, or allow private ones if this one is meant.",
            )

    def _check(self, part: Path, wanted: str, url: str) -> None:
        with part.open("rb") as file:
            seen = hashlib.file_digest(file, "sha256").hexdigest()
        if seen != wanted:
            part.unlink()
            raise Failure(
                "download",
                f"{shown(url)} has another content than expected: sha256 {seen}, not {wanted}.",
                "Check the address, and the sha256 that stands at its end.",
            )


class _Passing(Exception):
    """A fault that may be gone a moment later."""


def shown(url: str) -> str:
    """The address without what may be secret in it: user, password and query (where signed addresses keep their key)."""
    parts = urlsplit(url)
    host = (parts.hostname or "") + (f":{parts.port}" if parts.port else "")
    return urlunsplit((parts.scheme, host, parts.path, "…" if parts.query else "", ""))


def _reason(error: Exception) -> str:
    if isinstance(error, _Passing):
        return str(error)
    if isinstance(error, requests.exceptions.Timeout):
        return "no answer in time"
    return "no connection" if not isinstance(error, requests.exceptions.SSLError) else "its certificate is not trusted"


__all__ = ["Progress", "download", "file_names", "shown", "unpack_image"]
