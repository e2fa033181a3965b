"""A server of one file that cuts, refuses, asks to wait, lies and changes its mind; and who listens to a download."""

from __future__ import annotations

import contextlib
import hashlib
import random
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from http_servers import Quiet, http_server

from kaito_trainer.contract.events import Payload
from kaito_trainer.download import download

CONTENT = random.Random(0).randbytes(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Server:
    """One file at every path, and what to do otherwise: a list that is used up, one entry a request."""

    address: str = "127.0.0.1"
    port: int = 0
    content: bytes = CONTENT
    etag: str = '"1"'
    ranges: bool = True
    plan: list[Callable[[Any], bool]] = field(default_factory=list)
    """Each is given the handler, and says whether it has answered."""
    seen: list[tuple[str, str, str]] = field(default_factory=list)
    """Path, range and If-Range of each request."""

    def url(self, path: str = "/train.parquet") -> str:
        return f"http://{self.address}:{self.port}{path}"


@contextlib.contextmanager
def file_server(address: str = "127.0.0.1") -> Iterator[Server]:
    """A server for the time of a block."""
    found = Server(address=address)
    lock = threading.Lock()

    class Handler(Quiet):
        def do_GET(self) -> None:  # noqa: N802 (as http.server calls it)
            asked, if_range = self.headers.get("Range") or "", self.headers.get("If-Range") or ""
            with lock:
                found.seen.append((self.path, asked, if_range))
                special = found.plan.pop(0) if found.plan else None
            if special and special(self):
                return None
            headers = {"ETag": found.etag} if found.etag else {}
            if asked and found.ranges and if_range == found.etag:
                start = int(asked.removeprefix("bytes=").rstrip("-"))
                size = len(found.content)
                return self.say(206, found.content[start:], Content_Range=f"bytes {start}-{size - 1}/{size}", **headers)
            return self.say(200, found.content, **headers)

    with http_server(Handler, address) as port:
        found.port = port
        yield found


def says(status: int, body: bytes = b"", **headers: str) -> Callable[[Any], bool]:
    def answer(handler: Any) -> bool:
        handler.say(status, body, **headers)
        return True

    return answer


def cuts(
    after: int, *, status: int = 200, start: int = 0, etag: str = '"1"', length: bool = True
) -> Callable[[Any], bool]:
    """Promises all, sends some, hangs up."""

    def answer(handler: Any) -> bool:
        handler.send_response(status)
        handler.send_header("ETag", etag)
        if length:
            handler.send_header("Content-Length", str(len(CONTENT) - start))
        else:
            handler.send_header("Transfer-Encoding", "chunked")
        if status == 206:
            handler.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        handler.end_headers()
        part = CONTENT[start : start + after]
        handler.wfile.write(part if length else b"%x\r\n" % len(part) + part + b"\r\n")
        handler.wfile.flush()
        handler.connection.shutdown(socket.SHUT_RDWR)
        return True

    return answer


class Told:
    """Events and pauses of a download, with no real waiting."""

    def __init__(self) -> None:
        self.events: list[Payload] = []
        self.pauses: list[float] = []

    def __call__(self, *sources: str, target: Path, **options: Any) -> list[Path]:
        options = {"allow_private": True, "pause": self.pauses.append, **options}
        return download(sources, target, emit=self.events.append, **options)

    @property
    def details(self) -> list[str]:
        return [str(e.to_dict().get("detail")) for e in self.events]
