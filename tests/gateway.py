"""A reverse proxy before an API server, for tests: it says what a server or a gateway says on a bad day.

It terminates TLS with a certificate of its own and hands bearer tokens on, so it must be the whole way of its clients:
errors by status code, watches that answer 410, logs that were rotated. What breaks below HTTP is `wire`'s business.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

UPSTREAM_SILENCE = 30.0
"""Seconds after which a stream that nothing comes from is given up: its client has gone long since."""


class Gateway:
    """Forwards https to the API server of a kubeconfig's `cluster` entry. Methods cause faults, from any thread."""

    def __init__(self, cluster: dict[str, Any], folder: Path) -> None:
        url = urlsplit(cluster["server"])
        self._target = (url.hostname or "", url.port or 443)
        self._trust = ssl.create_default_context(
            cadata=base64.b64decode(cluster["certificate-authority-data"]).decode()
        )
        self._trust.check_hostname = False  # a test cluster's address is not always in its certificate
        self._lock = threading.Lock()
        self._refusals: list[tuple[int, dict[str, str]]] = []
        self._forgotten = 0
        """Grows with each loss of memory: a watch that began before ends with 410."""
        self._gone = 0
        self.rotated_at = ""
        """What logs held before this timestamp is gone."""
        self.requests: list[tuple[str, str, dict[str, list[str]]]] = []
        """Method, path and query of each request."""
        self.told = 0
        """Faults that reached a client."""
        command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=gateway"
        files = [
            "-addext",
            "subjectAltName=IP:127.0.0.1,DNS:localhost",
            "-keyout",
            "gateway.key",
            "-out",
            "gateway.crt",
        ]
        subprocess.run([*command.split(), *files], cwd=folder, check=True, capture_output=True)
        self.authority = base64.b64encode((folder / "gateway.crt").read_bytes()).decode()
        """The certificate to trust, as a kubeconfig has it."""
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "gateway.crt", folder / "gateway.key")
        # The handshake is the connection's own thread's, or one slow client would stop all.
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="gateway", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def forget(self) -> None:
        """Each watch that runs gets 410 inside its stream, and the next that would go on from before gets it as an answer."""
        with self._lock:
            self._forgotten += 1
            self._gone = 1

    def refuse(self, code: int, times: int = 1) -> None:
        """The next requests are answered with that code: 401, 429 (which asks to wait), 500, 503."""
        headers = {"Retry-After": "1"} if code == 429 else {}
        with self._lock:
            self._refusals += [(code, headers)] * times

    def rotate(self) -> None:
        """All that is in logs now is out of reach from now on; streams that run go on."""
        self.rotated_at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + ".000000000Z"

    def _refusal(self, path: str, query: dict[str, list[str]]) -> tuple[int, dict[str, str]] | None:
        with self._lock:
            self.requests.append((path.partition("?")[0], path, query))
            if self._refusals:
                self.told += 1
                return self._refusals.pop()
            if self._gone and query.get("watch") and query.get("resourceVersion"):
                self._gone = 0
                self.told += 1
                return 410, {}
        return None

    @contextlib.contextmanager
    def _ask(self, request: BaseHTTPRequestHandler, body: bytes | None) -> Iterator[http.client.HTTPResponse]:
        upstream = http.client.HTTPSConnection(*self._target, timeout=UPSTREAM_SILENCE, context=self._trust)
        try:
            kept = ("accept", "authorization", "content-type", "user-agent")
            headers = {k: v for k, v in request.headers.items() if k.lower() in kept}
            upstream.request(request.command, request.path, body, headers)
            yield upstream.getresponse()
        finally:
            upstream.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is gone, or was cut in its handshake, is what these tests are about."""


def _handler(gateway: Gateway) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 60

        def log_message(self, *_: Any) -> None:
            pass

        def _serve(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(size) if size else None
            query = parse_qs(urlsplit(self.path).query)
            if refusal := gateway._refusal(self.path, query):
                self._refuse(*refusal)
                return
            began = gateway._forgotten
            try:
                with gateway._ask(self, body) as answer:
                    self.send_response(answer.status)
                    for name in ("Content-Type", "Retry-After"):
                        if value := answer.headers.get(name):
                            self.send_header(name, value)
                    self.send_header("Transfer-Encoding", "chunked")
                    self.end_headers()
                    watches = bool(query.get("watch")) and answer.status == 200
                    pieces = self._pieces(answer)
                    if urlsplit(self.path).path.endswith("/log") and answer.status == 200:
                        pieces = self._newer(pieces, gateway.rotated_at)
                    for piece in pieces:
                        if watches and gateway._forgotten > began:
                            gateway.told += 1
                            self._chunk(json.dumps({"type": "ERROR", "object": _status(410)}).encode() + b"\n")
                            break
                        self._chunk(piece)
                self.wfile.write(b"0\r\n\r\n")
            except (OSError, http.client.HTTPException):
                self.close_connection = True  # whoever broke off: the other side is to see it

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _serve

        def _refuse(self, code: int, headers: dict[str, str]) -> None:
            data = json.dumps(_status(code)).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def _chunk(self, piece: bytes) -> None:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.flush()

        @staticmethod
        def _pieces(answer: http.client.HTTPResponse) -> Iterator[bytes]:
            while piece := answer.read1(65536):
                yield piece

        @staticmethod
        def _newer(pieces: Iterator[bytes], rotated_at: str) -> Iterator[bytes]:
            """Without the lines at the beginning that a rotation took."""
            rest, begun = b"", not rotated_at
            for piece in pieces:
                if begun:
                    yield piece
                    continue
                *whole, rest = (rest + piece).split(b"\n")
                kept = [line for line in whole if line[:30].decode("ascii", "replace") >= rotated_at]
                if kept:
                    begun = True
                    yield b"".join(line + b"\n" for line in whole[len(whole) - len(kept) :]) + rest
                    rest = b""
            if not begun and rest and rest[:30].decode("ascii", "replace") >= rotated_at:
                yield rest

    return Handler


def _status(code: int) -> dict[str, Any]:
    reasons = {401: "Unauthorized", 410: "Expired", 429: "TooManyRequests", 500: "InternalError"}
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": reasons.get(code, "ServiceUnavailable"),
        "message": "too old resource version: 1 (2)" if code == 410 else "a fault that a test made",
    }
