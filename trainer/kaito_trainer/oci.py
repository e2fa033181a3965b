"""One-layer OCI images: how a dataset reaches a pod, and how an adapter leaves it.

KAITO reads a data image by its folder `/data`, and an adapter image by `data/adapter_config.json` and
`data/adapter_model.safetensors` in one gzip layer (KAITO v0.12, `pkg/workspace/image`). The registry protocol and its
credentials (Docker config, credential helpers, basic and token auth) are oras-py's; here stand what is in the image, and
errors that a person can act on. No message holds a password or a token.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import ipaddress
import json
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, cast

import oras.provider
import requests
from oras.container import Container

LAYER_TYPE: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG_TYPE: Final = "application/vnd.oci.image.config.v1+json"
MANIFEST_TYPE: Final = "application/vnd.oci.image.manifest.v1+json"
MODEL_ANNOTATION: Final = "sh.kaito.model.name"
"""KAITO's annotation of an adapter image: the preset that it was trained on."""

TIMEOUT: Final = (10, 300)
"""Seconds to connect, and to wait for a registry's answer (an upload is answered when it is stored)."""
TRIES: Final = 5
BLOCK: Final = 1 << 20


class RegistryError(Exception):
    """A registry said no, or cannot be reached.

    `kind` is `registry-auth` when credentials are missing, wrong or without the right; else `registry`.
    """

    def __init__(self, kind: str, message: str, remedy: str) -> None:
        super().__init__(f"{message} {remedy}")
        self.kind, self.message, self.remedy = kind, message, remedy


@dataclass(frozen=True, slots=True)
class Layer:
    """A gzip layer on disk. The same files give the same bytes, so that its digest names the content."""

    path: Path
    digest: str
    diff_id: str
    """Digest of the layer before gzip."""
    size: int


def write_layer(files: Mapping[str, Path], target: Path) -> Layer:
    """Pack files (name in the image -> file) into a gzip layer at `target`: no times, owners or modes of this machine."""
    packed = _Hashing(target.open("wb"))
    # A fixed time and no file name in gzip's header: equal content, equal digest.
    with packed.file, gzip.GzipFile("", "wb", 6, cast("IO[bytes]", packed), mtime=0) as squeezed:
        raw = _Hashing(cast("IO[bytes]", squeezed))
        with tarfile.open(fileobj=cast("IO[bytes]", raw), mode="w|", format=tarfile.PAX_FORMAT) as tar:
            for folder in sorted({str(p) for name in files for p in Path(name).parents} - {"."}):
                entry = tarfile.TarInfo(folder)
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(entry)
            for name, path in sorted(files.items()):
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = path.stat().st_size, 0o644
                with path.open("rb") as content:
                    tar.addfile(entry, content)
    return Layer(target, packed.digest(), raw.digest(), packed.size)


class Image:
    """One image name in its registry.

    `auth_files` are Docker config files besides the user's own; plain http is spoken to loopback addresses only, unless
    `insecure` says otherwise.
    """

    def __init__(self, reference: str, *, auth_files: tuple[Path, ...] = (), insecure: bool | None = None) -> None:
        self.reference = reference
        try:
            self._container = Container(reference)
        except ValueError as error:
            raise RegistryError(
                "registry", f'"{reference}" is not an image name.', "Write registry/name:tag."
            ) from error
        host = str(self._container.registry)
        plain = is_loopback(host) if insecure is None else insecure
        self._remote = _Remote(host, insecure=plain, auth_files=auth_files)

    def digest(self) -> str | None:
        """The digest of the image's manifest, or None when the registry has no such image."""
        with self._explained("read"):
            answer = self._remote.ask("HEAD", self._container.manifest_url(), headers={"Accept": MANIFEST_TYPE})
            if answer.status_code == 404:
                return None
            _expect(answer, 200)
            return str(answer.headers.get("Docker-Content-Digest", "")) or None

    def check_push(self) -> None:
        """Find out whether we may push, before hours of work depend on it: an upload is begun and given up again."""
        with self._explained("push"):
            answer = self._remote.ask("POST", self._container.upload_blob_url())
            _expect(answer, 202)
            if session := self._remote._get_location(answer, self._container):
                self._remote.request("DELETE", session)

    def push(
        self, layer: Layer, *, annotations: Mapping[str, str], on_retry: Callable[[str], None] | None = None
    ) -> str:
        """Push the image and return its manifest's digest. Faults of the network are tried again with back-off."""
        config = json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {},
                "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
            },
            separators=(",", ":"),
        ).encode()
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": _descriptor(CONFIG_TYPE, config),
            "layers": [{"mediaType": LAYER_TYPE, "digest": layer.digest, "size": layer.size}],
            "annotations": dict(annotations),
        }
        body = json.dumps(manifest, separators=(",", ":")).encode()

        def once() -> str:
            with layer.path.open("rb") as content:
                self._upload(layer.digest, layer.size, content)
            self._upload(manifest["config"]["digest"], len(config), config)  # type: ignore[index]
            answer = self._remote.ask(
                "PUT", self._container.manifest_url(), data=body, headers={"Content-Type": MANIFEST_TYPE}
            )
            _expect(answer, 201)
            return "sha256:" + hashlib.sha256(body).hexdigest()

        with self._explained("push"):
            return _with_retries(once, on_retry)

    def pull(self, target: Path) -> list[Path]:
        """Unpack the image's layers into `target`, and return the files. Names that lead outside of it are refused."""
        with self._explained("pull"):
            answer = self._remote.ask("GET", self._container.manifest_url(), headers={"Accept": MANIFEST_TYPE})
            _expect(answer, 200)
            target.mkdir(parents=True, exist_ok=True)
            for layer in answer.json()["layers"]:
                self._unpack(layer["digest"], target)
        return sorted(p for p in target.rglob("*") if p.is_file())

    def _upload(self, digest: str, size: int, content: IO[bytes] | bytes) -> None:
        there = self._remote.ask("HEAD", self._container.get_blob_url(digest))
        if there.status_code == 200:
            return
        begun = self._remote.ask("POST", self._container.upload_blob_url())
        _expect(begun, 202)
        session = self._remote._get_location(begun, self._container)
        where = f"{session}{'&' if '?' in session else '?'}digest={digest}"
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        _expect(self._remote.request("PUT", where, data=content, headers=headers), 201)

    def _unpack(self, digest: str, target: Path) -> None:
        answer = self._remote.ask("GET", self._container.get_blob_url(digest), stream=True)
        _expect(answer, 200)
        packed = target / ".layer"
        seen = hashlib.sha256()
        with packed.open("wb") as file:
            for block in answer.iter_content(BLOCK):
                seen.update(block)
                file.write(block)
        if digest != "sha256:" + seen.hexdigest():
            packed.unlink()
            raise RegistryError("registry", f"{self.reference} arrived damaged.", "Try again.")
        with tarfile.open(packed) as tar:
            tar.extractall(target, filter="data")
        packed.unlink()

    @contextmanager
    def _explained(self, verb: str) -> Iterator[None]:
        """The registry's and the network's errors as ours."""
        host = self._container.registry
        try:
            yield
        except _Refused as error:
            said = f"{host} answered {error.status}{': ' + error.said if error.said else ''}"
            if error.status in (401, 403):
                what = "no or wrong credentials" if error.status == 401 else "no right"
                raise RegistryError(
                    "registry-auth",
                    f"Cannot {verb} {self.reference}: {what} ({said}).",
                    f"Log in to {host} with an account that may {verb} it (docker login), or name a secret that holds such credentials.",
                ) from None
            if error.status == 404:
                raise RegistryError(
                    "registry", f"There is no image {self.reference} ({said}).", "Check its name and tag."
                ) from None
            raise RegistryError(
                "registry", f"Cannot {verb} {self.reference}: {said}.", "Try again, or ask who runs the registry."
            ) from None
        except requests.exceptions.SSLError:
            raise RegistryError(
                "registry",
                f"{host} does not speak https with a certificate that this machine trusts.",
                "Check the name; a registry without https must be allowed by name.",
            ) from None
        except requests.exceptions.RequestException as error:
            raise RegistryError(
                "registry", f"{host} cannot be reached ({type(error).__name__}).", "Check the name and the network."
            ) from None


class _Refused(Exception):
    """An answer that was not the one hoped for."""

    def __init__(self, answer: requests.Response) -> None:
        self.status, self.said = answer.status_code, ""
        try:
            errors = answer.json().get("errors") or [{}]
            self.said = str(errors[0].get("message") or errors[0].get("code") or "")[:200]
        except (ValueError, AttributeError, LookupError, TypeError):
            self.said = str(answer.reason or "")[:200]
        super().__init__(self.status, self.said)


class _Remote(oras.provider.Registry):
    """oras-py's client, without its silent retries (a check must fail at once), with time limits and streamed uploads."""

    def __init__(self, host: str, *, insecure: bool, auth_files: tuple[Path, ...]) -> None:
        super().__init__(hostname=host, insecure=insecure)
        self.basic = self._wants_basic(host)
        if self.basic:
            super().__init__(hostname=host, insecure=insecure, auth_backend="basic")
        self.auth.prefix = self.prefix
        # The user's own config counts too; ours, given by name, wins.
        self.auth.load_configs(Container(f"{host}/x"), configs=[])
        for file in auth_files:
            self.auth._auth_config["auths"] |= json.loads(file.read_text()).get("auths", {})
        for name in (host, f"https://{host}", f"https://{host}/v1/", f"https://{host}/v1"):
            entry = self.auth._auth_config["auths"].get(name, {})
            if not entry.get("auth") and entry.get("username") and entry.get("password"):
                entry["auth"] = base64.b64encode(f"{entry['username']}:{entry['password']}".encode()).decode()
            if self.auth._load_auth(name):
                break

    def _wants_basic(self, host: str) -> bool:
        try:
            answer = self.session.get(f"{self.prefix}://{host}/v2/", timeout=TIMEOUT)
        except requests.exceptions.RequestException:
            return False  # the first real request says what is wrong
        return bool(answer.headers.get("WWW-Authenticate", "").lower().startswith("basic"))

    def _known(self) -> dict[str, str]:
        """The header of the credentials we have: basic ones, or a token got before."""
        has = getattr(self.auth, "_basic_auth", None) if self.basic else self.auth.token
        return dict(self.auth.get_auth_header()) if has else {}

    def ask(self, method: str, path: str, **more: Any) -> requests.Response:
        return self.request(method, f"{self.prefix}://{path}", **more)

    def request(
        self, method: str, url: str, *, headers: dict[str, str] | None = None, data: Any = None, stream: bool = False
    ) -> requests.Response:
        headers = {**(headers or {}), **self._known()}
        answer = self._send(method, url, headers, data, stream)
        if answer.status_code not in (401, 403) or self.basic:
            return answer
        # A token is for one scope: what was good for reading is not for writing, so ask for a new one.
        headers.pop("Authorization", None)
        headers, changed = self.auth.authenticate_request(answer, headers, refresh=True)
        if not changed:
            return answer
        if hasattr(data, "seek"):
            data.seek(0)
        return self._send(method, url, headers, data, stream)

    def _send(self, method: str, url: str, headers: dict[str, str], data: Any, stream: bool) -> requests.Response:
        answer: requests.Response = self.session.request(
            method, url, headers=headers, data=data, stream=stream, timeout=TIMEOUT
        )
        return answer


class _Hashing:
    """A file that is written through, and hashed on the way."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.size, self._hash = file, 0, hashlib.sha256()

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        self.size += len(data)
        return self.file.write(data)

    def flush(self) -> None:
        self.file.flush()

    def tell(self) -> int:
        return self.size

    def digest(self) -> str:
        return "sha256:" + self._hash.hexdigest()


def is_loopback(host: str) -> bool:
    """Whether a registry's `host[:port]` is this machine itself (Docker speaks plain http to such ones too)."""
    name = host.rsplit(":", 1)[0].strip("[]")
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _descriptor(kind: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "digest": "sha256:" + hashlib.sha256(content).hexdigest(), "size": len(content)}


def _expect(answer: requests.Response, status: int) -> None:
    if answer.status_code != status and not (status == 201 and answer.status_code in (200, 202)):
        raise _Refused(answer)


def _with_retries(
    once: Callable[[], str], on_retry: Callable[[str], None] | None, pause: Callable[[float], None] = time.sleep
) -> str:
    for attempt in range(1, TRIES + 1):
        try:
            return once()
        except (requests.exceptions.ConnectionError, requests.exceptions.Timeout, _Refused) as error:
            passing = not isinstance(error, _Refused) or error.status == 429 or error.status >= 500
            if attempt == TRIES or not passing or isinstance(error, requests.exceptions.SSLError):
                raise
            wait = min(60, 2.0**attempt)
            if on_retry:
                on_retry(f"try {attempt} of {TRIES} failed ({type(error).__name__}), next in {wait:.0f} s")
            pause(wait)
    raise AssertionError("unreachable")
