"""An object store for tests: a folder that fsspec writes to, and an http server that gives a file to who has a signed address."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from fsspec.implementations.local import LocalFileSystem
from fsspec.registry import _registry, register_implementation
from http_servers import Quiet, http_server


@contextmanager
def shelf(folder: Path, host: str) -> Iterator[list[str]]:
    """`s3://…` is that store for as long as the block lasts. Gives the paths of the files that were fetched."""
    key = secrets.token_bytes()
    fetched: list[str] = []
    port: list[int] = []

    def signature(path: str) -> str:
        return hmac.new(key, path.encode(), hashlib.sha256).hexdigest()

    class Answer(Quiet):
        def do_GET(self) -> None:  # noqa: N802 (the server's name for it)
            parts = urlsplit(self.path)
            (given,) = parse_qs(parts.query).get("signature", [""])
            file = folder / parts.path.lstrip("/")
            if not hmac.compare_digest(given, signature(parts.path)) or not file.is_file():
                self.say(403)
                return
            fetched.append(parts.path)
            self.say(200, file.read_bytes())

    class Shelf(LocalFileSystem):
        protocol = "s3"
        cachable = False

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            return str(folder / path.removeprefix("s3://").lstrip("/")) if path.startswith("s3://") else path

        def put_file(self, lpath: str, rpath: str, callback: Any = None, **_: Any) -> None:
            Path(rpath).parent.mkdir(parents=True, exist_ok=True)
            super().put_file(lpath, rpath, callback=callback)

        def sign(self, path: str, expiration: int = 100, **_: Any) -> str:
            name = f"/{Path(path).relative_to(folder)}"
            return f"http://{host}:{port[0]}{name}?signature={signature(name)}"

    before = _registry.get("s3")
    register_implementation("s3", Shelf, clobber=True)
    try:
        with http_server(Answer, host) as found:
            port.append(found)
            yield fetched
    finally:
        _registry.pop("s3", None)
        if before is not None:
            register_implementation("s3", before, clobber=True)


def signed(url: str) -> str:
    """The signed address of a file that is there."""
    from fsspec.core import url_to_fs

    store, path = url_to_fs(url)
    return str(store.sign(path))
