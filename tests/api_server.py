"""An API server for unit tests: answers from a script, over plain http, and remembers what it was asked."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import yaml


class Request(NamedTuple):
    """What was asked."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


class Answer(NamedTuple):
    """What is said: JSON, or pieces of a stream. With `cut` the connection breaks off where the pieces end."""

    code: int = 200
    body: Any = None
    pieces: list[bytes] | None = None
    cut: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    hold: threading.Event | None = None
    """Wait for it before the end."""


class ApiServer:
    """`answer(request)` decides. By default: the next of `script`, and the last one for ever."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.script: list[Answer] = [Answer(body={})]
        self.answer: Callable[[Request], Answer] = self._next
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def _serve(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                url = urlsplit(self.path)
                body = json.loads(self.rfile.read(size)) if size else None
                request = Request(self.command, url.path, dict(parse_qsl(url.query)), dict(self.headers), body)
                server.requests.append(request)
                with contextlib.suppress(OSError):
                    self._say(server.answer(request))

            do_GET = do_HEAD = do_POST = do_PATCH = do_DELETE = _serve

            def _say(self, answer: Answer) -> None:
                self.send_response(answer.code)
                for name, value in answer.headers:
                    self.send_header(name, value)
                if answer.pieces is None:
                    data = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(b"" if self.command == "HEAD" else data)
                    return
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for piece in answer.pieces:
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                if answer.hold:
                    answer.hold.wait(30)
                if answer.cut:
                    self.close_connection = True
                    return
                self.wfile.write(b"0\r\n\r\n")

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def _next(self, _: Request) -> Answer:
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@contextlib.contextmanager
def api_server() -> Iterator[ApiServer]:
    server = ApiServer()
    try:
        yield server
    finally:
        server.close()


def kubeconfig(
    path: Path,
    server: str,
    token: str | None = None,
    *,
    context: str = "test",
    namespace: str | None = "team-a",
    **cluster: Any,
) -> str:
    """Write a kubeconfig with one context; its path."""
    place = {"cluster": "c", "user": "u"} | ({"namespace": namespace} if namespace else {})
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "u", "user": {"token": token} if token else {}}],
        "contexts": [{"name": context, "context": place}],
        "current-context": context,
    }
    path.write_text(yaml.safe_dump(config))
    return str(path)
