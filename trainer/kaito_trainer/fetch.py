"""One address into one file, by as many requests as it takes, and how far that is.

What was cut goes on where it was cut, as long as the server still has the same file.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urljoin, urlsplit, urlunsplit

import requests

from . import public
from .contract.events import Payload, Phase
from .failures import Failure

TRIES: Final = 6
"""Tries in a row that bring not one byte more."""
TIMEOUT: Final = (10, 60)
"""Seconds to connect, and between two blocks."""
LONGEST_PAUSE: Final = 60.0
BLOCK: Final = 1 << 18
EVERY: Final = 1.0
"""Seconds between two words on how far it is."""
REDIRECTS: Final = 5

Emit = Callable[[Payload], None]


@dataclass
class Progress:
    """Bytes of all files together, told once a second. Several threads may call it."""

    emit: Emit
    done: int = 0
    total: int | None = 0
    """None once a server has not said how long its file is."""
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _told: float = 0.0

    def expect(self, size: int | None) -> None:
        """So many bytes more will come."""
        with self._lock:
            self.total = None if size is None or self.total is None else self.total + size

    def add(self, size: int, name: str) -> None:
        """So many bytes of a file came."""
        with self._lock:
            self.done += size
            now = time.monotonic()
            if now - self._told >= EVERY:
                self._told = now
                self.tell(name)

    def tell(self, detail: str) -> None:
        with self._lock:  # events are numbered: one after the other
            self.emit(Phase(phase="downloading", detail=detail, done=self.done, total=self.total, unit="bytes"))


class Stopped(Exception):
    """Another source has failed: there is no use in this one any more."""


class Fetch:
    """URLs into files. `pause` waits between tries, and returns early when `stop` is set."""

    def __init__(
        self, target: Path, progress: Progress, allow_private: bool, pause: Callable[[float], object] | None = None
    ) -> None:
        self.target, self.progress, self.allow_private = target, progress, allow_private
        self.stop = threading.Event()
        self.pause = pause or self.stop.wait

    def __call__(self, url: str, name: str) -> Path:
        """The file that the address leads to. Raises `Failure`, or `Stopped`."""
        where, _, fragment = url.partition("#")
        _check_address(where)
        wanted = dict(p.split("=", 1) for p in fragment.split("&") if "=" in p).get("sha256", "").lower()
        with public.session(allow_private=self.allow_private) as session:
            part = self._whole(_Transfer(session, where, self.target / f".{name}.part", name, self))
        if wanted:
            self._check(part, wanted, where)
        return part.replace(self.target / name)

    def _whole(self, transfer: _Transfer) -> Path:
        tries = most = 0
        while True:
            try:
                transfer.go_on()
                return transfer.part
            except public.Private as error:
                raise Failure(
                    "download",
                    f"{shown(transfer.url)} leads to the private address {error.address}.",
                    "Give a public address, or allow private ones if this one is meant.",
                ) from None
            except (requests.exceptions.RequestException, _Passing, ValueError) as error:
                tries = 1 if transfer.have > most else tries + 1
                most = max(most, transfer.have)
                if tries == TRIES or isinstance(error, (requests.exceptions.SSLError, ValueError)):
                    raise Failure(
                        "download",
                        f"{shown(transfer.url)} could not be fetched in {tries} {'tries' if tries > 1 else 'try'} "
                        f"({_reason(error)}).",
                        "Check that the address can be reached from inside the cluster, and that its server is up.",
                    ) from None
                after = error.after if isinstance(error, _Passing) else 0
                wait = min(LONGEST_PAUSE, max(2.0 ** (tries - 1), after))
                self.progress.tell(f"{transfer.name}: {_reason(error)}, next try in {wait:.0f} s")
                self.pause(wait)

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


class _Transfer:
    """One file on its way, by as many requests as it takes."""

    def __init__(self, session: requests.Session, url: str, part: Path, name: str, fetch: Fetch) -> None:
        self.session, self.url, self.part, self.name, self.fetch = session, url, part, name, fetch
        self.have = 0
        """Bytes that are here."""
        self._version: str | None = None
        """The server's mark of the file's version: what is gone on with must be the same file."""
        self._told = False
        part.unlink(missing_ok=True)  # of an earlier container: nobody knows of which version

    def go_on(self) -> None:
        """One request, for what is missing. Raises `_Passing` or one of requests' errors when it was cut."""
        headers = {"Accept-Encoding": "identity"}
        if self.have and self._version:
            headers |= {"Range": f"bytes={self.have}-", "If-Range": self._version}
        with self._ask(headers) as answer:
            if answer.status_code == 206 and not _begins_at(answer, self.have):
                self._version = None
                raise _Passing("its server sent another part than it was asked for")
            if answer.status_code != 206:
                self._from_the_start()
            packed = "Content-Encoding" in answer.headers  # though we asked for none: what comes is unpacked on the way
            length = answer.headers.get("Content-Length", "")
            rest = int(length) if length.isdigit() and not packed else None
            self._version = None if packed else _version(answer)
            if not self._told:
                self._told = True
                self.fetch.progress.expect(rest)
            got = 0
            with self.part.open("ab") as file:
                for block in answer.iter_content(BLOCK):
                    file.write(block)
                    got += len(block)
                    self.have += len(block)
                    self.fetch.progress.add(len(block), self.name)
                    if self.fetch.stop.is_set():
                        raise Stopped
            if rest is not None and got < rest:
                raise _Passing(f"{got} of {rest} bytes came")
        if not self.have:
            raise Failure("download", f"{shown(self.url)} is empty.", "Check the address.")

    def _from_the_start(self) -> None:
        self.fetch.progress.add(-self.have, self.name)
        self.have = 0
        self.part.write_bytes(b"")

    def _ask(self, headers: dict[str, str]) -> requests.Response:
        if self.fetch.stop.is_set():
            raise Stopped
        url = self.url
        for _ in range(REDIRECTS + 1):
            public.check_proxied(url, allow_private=self.fetch.allow_private)
            answer = self.session.get(url, headers=headers, stream=True, timeout=TIMEOUT, allow_redirects=False)
            if not answer.is_redirect:
                break
            url = urljoin(url, answer.headers["Location"])
            answer.close()
            _check_address(url)
        else:
            raise Failure(
                "download", f"{shown(self.url)} leads in circles.", "Give the address that it should lead to."
            )
        self._check(answer)
        return answer

    def _check(self, answer: requests.Response) -> None:
        status, url = answer.status_code, shown(self.url)
        kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        page = kind == "text/html" and not self.name.endswith((".html", ".htm"))
        if status in (200, 206) and not page:
            return
        answer.close()
        if status == 416 and self.have:  # the file has shrunk: it is another one
            self._version = None
            raise _Passing("the file changed while it was fetched")
        if status in (408, 425, 429) or status >= 500:
            after = answer.headers.get("Retry-After", "")
            raise _Passing(f"its server answered {status}", int(after) if after.isdigit() else 0)
        if status in (401, 403):
            raise Failure(
                "download",
                f"{url} may not be read: its server answered {status}.",
                "Give an address that needs no login, such as a signed one, or one that has not expired.",
            )
        if status in (404, 410):
            raise Failure("download", f"{url} does not exist: its server answered {status}.", "Check the address.")
        if page:
            raise Failure("download", f"{url} is a web page, not a data file.", "Give the address of the file itself.")
        raise Failure("download", f"{url}: its server answered {status}.", "Check the address.")


def _check_address(url: str) -> None:
    try:
        parts = urlsplit(url)
        well = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        well = False
    if not well:
        raise Failure("download", f"{shown(url)} is no http or https address.", "Give one.")


def _begins_at(answer: requests.Response, place: int) -> bool:
    return answer.headers.get("Content-Range", "").startswith(f"bytes {place}-")


def _version(answer: requests.Response) -> str | None:
    """What `If-Range` takes: a strong ETag, else the time of the last change."""
    etag = answer.headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else answer.headers.get("Last-Modified")


class _Passing(Exception):
    """A fault that may be gone a moment later."""

    def __init__(self, reason: str, after: int = 0) -> None:
        super().__init__(reason)
        self.after = after
        """Seconds that the server asks us to wait."""


def shown(url: str) -> str:
    """The address without what may be secret in it: user, password and query (where signed addresses keep their key)."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "") + (f":{parts.port}" if parts.port else "")
    except ValueError:  # a password with a slash or a bracket in it, for one
        return "An address that cannot be read"
    return urlunsplit((parts.scheme, host, parts.path, "…" if parts.query else "", ""))


def _reason(error: Exception) -> str:
    if isinstance(error, _Passing):
        return str(error)
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not trusted"
    if isinstance(error, requests.exceptions.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off"
    return "no valid address" if isinstance(error, ValueError) else "no connection"


__all__ = ["Emit", "Fetch", "Progress", "Stopped", "shown"]
