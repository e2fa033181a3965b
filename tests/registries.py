"""Real registries (Debian's `docker-registry`) of a test's own, and a gate before one that can be made to fail."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from http_servers import Quiet, http_server

USER, PASSWORD = "kaito", "canary-pw-7c1f"
HTPASSWD = f"{USER}:$2b$05$abcdefghijklmnopqrstuu/PI7sVYPrH5G5EXtTqmmipKPBSIRwQ2\n"
AUTH = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Registry:
    """One registry process on this machine. What was pushed stays over a stop and a start."""

    folder: Path
    auth: dict[str, Any] = field(default_factory=dict)
    """The `auth` section of its configuration."""
    address: str = "127.0.0.1"
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        return f"{self.address}:{self.port}"

    def start(self) -> None:
        config = {
            "version": 0.1,
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(self.folder / "store")}},
            "http": {"addr": self.host, "secret": "x"},
            **({"auth": self.auth} if self.auth else {}),
        }
        file = self.folder / "registry.yml"
        file.write_text(json.dumps(config))
        with (self.folder / "registry.log").open("ab") as log:
            self._process = subprocess.Popen(["docker-registry", "serve", str(file)], stdout=log, stderr=log)
        deadline = time.monotonic() + 120
        while True:
            assert self._process.poll() is None, (self.folder / "registry.log").read_text()
            with contextlib.suppress(OSError), socket.create_connection((self.address, self.port), 1):
                return
            assert time.monotonic() < deadline, "the registry does not listen"
            time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def manifest(self, name: str, tag: str) -> Any:
        """What the registry itself says that an image is."""
        request = urllib.request.Request(f"http://{self.host}/v2/{name}/manifests/{tag}")
        request.add_header("Accept", "application/vnd.oci.image.manifest.v1+json")
        request.add_header("Authorization", f"Basic {AUTH}")
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)


@contextlib.contextmanager
def serving(folder: Path, auth: dict[str, Any] | None = None, address: str = "127.0.0.1") -> Iterator[Registry]:
    """A registry that runs. Skips where the program is not installed."""
    if shutil.which("docker-registry") is None:
        pytest.skip("needs docker-registry (apt-get install docker-registry)")
    registry = Registry(folder, auth or {}, address)
    registry.start()
    try:
        yield registry
    finally:
        registry.stop()


def with_password(folder: Path) -> dict[str, Any]:
    """The `auth` section of a registry that knows one user."""
    file = folder / "htpasswd"
    file.write_text(HTPASSWD)
    return {"htpasswd": {"realm": "test", "path": str(file)}}


def login_file(file: Path, host: str, password: str = PASSWORD) -> Path:
    """A Docker config file with a login for a registry."""
    auth = base64.b64encode(f"{USER}:{password}".encode()).decode()
    file.write_text(json.dumps({"auths": {host: {"auth": auth}}}))
    return file


@dataclass
class Gate:
    """What stands before a registry: it hands everything on, unless it is told to fail."""

    port: int = 0
    fault: Callable[[str, str], int] | None = None
    """(method, path) -> 0: hand on; a status: answer it; -1: hang up; -2: hang up in the middle of the answer."""
    seen: list[tuple[str, str, str]] = field(default_factory=list)
    """Method, path and range of each request."""

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"


@contextlib.contextmanager
def gate(registry: Registry) -> Iterator[Gate]:
    """A gate before a registry."""
    found = Gate()

    class Handler(Quiet):
        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            found.seen.append((self.command, self.path, self.headers.get("Range") or ""))
            fault = found.fault(self.command, self.path) if found.fault else 0
            if fault > 0:
                return self.say(fault, b'{"errors":[{"message":"made to fail"}]}', Retry_After="1")
            if fault == -1:
                return self.connection.shutdown(socket.SHUT_RDWR)
            to = http.client.HTTPConnection("127.0.0.1", registry.port, timeout=60)
            to.request(self.command, self.path, body or None, dict(self.headers))
            answer = to.getresponse()
            content = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                self.send_header(name, value)
            self.end_headers()
            if fault == -2:
                self.wfile.write(content[: len(content) // 2])
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)
            elif self.command != "HEAD":
                self.wfile.write(content)
            to.close()
            return None

        do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _any

    with http_server(Handler) as port:
        found.port = port
        yield found


@dataclass
class Tokens:
    """A token service for a registry, as the big ones have it."""

    folder: Path
    port: int = 0
    asked: list[dict[str, str]] = field(default_factory=list)
    fail_with: list[int] = field(default_factory=list)
    """Statuses to answer first."""

    def auth(self) -> dict[str, Any]:
        """The registry's `auth` section."""
        realm = f"http://127.0.0.1:{self.port}/token"
        bundle = str(self.folder / "token.crt")
        return {"token": {"realm": realm, "service": "test", "issuer": "test", "rootcertbundle": bundle}}

    def sign(self, scope: str) -> str:
        der = subprocess.run(
            ["openssl", "x509", "-in", self.folder / "token.crt", "-outform", "DER"], capture_output=True, check=True
        ).stdout
        name, actions = scope.split(":")[1], scope.split(":")[2].split(",")
        now = int(time.time())
        claims = {
            "iss": "test",
            "aud": "test",
            "sub": USER,
            "exp": now + 600,
            "nbf": now - 60,
            "iat": now,
            "jti": str(len(self.asked)),
            "access": [{"type": "repository", "name": name, "actions": actions}],
        }
        head = {"alg": "RS256", "typ": "JWT", "x5c": [base64.b64encode(der).decode()]}
        plain = b".".join(_url64(json.dumps(part).encode()) for part in (head, claims))
        sign = ["openssl", "dgst", "-sha256", "-sign", str(self.folder / "token.key")]
        signature = subprocess.run(sign, input=plain, capture_output=True, check=True).stdout
        return (plain + b"." + _url64(signature)).decode()


def _url64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


@contextlib.contextmanager
def tokens(folder: Path, identity: str) -> Iterator[Tokens]:
    """A token service that knows `USER` by password and by the identity token `identity`."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    service = Tokens(folder)
    make = f"openssl req -x509 -newkey rsa:2048 -nodes -keyout {folder}/token.key -out {folder}/token.crt -days 2 -subj /CN=test"
    subprocess.run(make.split(), capture_output=True, check=True)

    class Handler(Quiet):
        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            asked = {k: v[0] for k, v in parse_qs(body or urlsplit(self.path).query).items()}
            service.asked.append(asked)
            if service.fail_with:
                return self.say(service.fail_with.pop(0))
            if asked.get("refresh_token") != identity and self.headers.get("Authorization") != f"Basic {AUTH}":
                return self.say(401, b'{"errors":[{"message":"unknown user"}]}')
            return self.say(200, json.dumps({"access_token": service.sign(asked["scope"])}).encode())

        do_GET = do_POST = _any

    with http_server(Handler) as port:
        service.port = port
        yield service
