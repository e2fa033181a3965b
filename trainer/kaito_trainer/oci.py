"""One-layer OCI images: how a dataset reaches a pod, and how an adapter leaves it.

    layer = write_layer({"data/train.parquet": file}, folder / "layer.tar.gz")
    image = Image("registry/name:tag", auth_files=(…,), logins={"registry": {"username": …, "password": …}})
    image.digest()          # None: the registry has no such image
    image.check_push()      # RegistryError when it could not be pushed
    image.push(layer, annotations={…}, on_retry=print, on_bytes=bar.update)   # its manifest's digest
    image.pull(folder, below="data")                                          # the same

KAITO reads a data image by its folder `/data`, and an adapter image by `data/adapter_config.json` and
`data/adapter_model.safetensors` in one gzip layer (KAITO v0.12, `pkg/workspace/image`); other files it passes over.
Here stands what is in the image; `registry` speaks with the registry, `logins` knows who we are there, `layers` packs
and unpacks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any, Final

from . import registry
from .layers import Layer, LayerError, unpack, write_layer
from .logins import LoginError, Logins
from .logins import find as find_login
from .logins import read as read_logins
from .registry import RegistryError

LAYER_TYPE: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG_TYPE: Final = "application/vnd.oci.image.config.v1+json"
MANIFEST_TYPE: Final = "application/vnd.oci.image.manifest.v1+json"
MODEL_ANNOTATION: Final = "sh.kaito.model.name"
"""KAITO's annotation of an adapter image: the preset that it was trained on."""

_DOCKER: Final = "application/vnd.docker.distribution.manifest"
READABLE: Final = f"{MANIFEST_TYPE}, application/vnd.oci.image.index.v1+json, {_DOCKER}.v2+json, {_DOCKER}.list.v2+json"
"""What a registry may answer: images that users built with Docker have its own types, and may be an index of platforms."""
BLOCK: Final = 1 << 20


class Image:
    """One image name in its registry.

    `auth_files` are Docker config files besides the user's own, `logins` the `auths` of one, for who has no file. Plain
    http is spoken to loopback addresses and to those that `KAITO_INSECURE_REGISTRIES` names. Nothing is asked of the
    registry before a method is called.
    """

    def __init__(
        self, reference: str, *, auth_files: tuple[Path, ...] = (), logins: Mapping[str, Any] | None = None
    ) -> None:
        self._container = registry.parse(reference)
        self.reference = reference.strip()
        self.host = str(self._container.registry)
        """The registry, `host[:port]`."""
        try:
            known = Logins(read_logins(auth_files) | dict(logins or {}))
        except LoginError as error:
            remedy = "Mount a secret of the type kubernetes.io/dockerconfigjson there."
            raise RegistryError("registry-auth", str(error), remedy) from None
        login = find_login(f"{self.host}/{self._container.api_prefix}", known)
        self._remote = registry.Remote(self.host, insecure=registry.is_insecure(self.host), login=login)

    def digest(self) -> str | None:
        """The digest of the image's manifest, or None when the registry has no such image. Raises `RegistryError`."""
        with registry.explained("read", self.reference, self.host):
            answer = self._remote.ask("HEAD", self._container.manifest_url(), headers={"Accept": READABLE})
            if answer.status_code == 404:
                return None
            registry.expect(answer, 200)
            told = answer.headers.get("Docker-Content-Digest")
            return str(told) if told else _digest(self._read(self._container.manifest_url()))

    def check_push(self, *, tries: int = 1, on_retry: Callable[[str], None] | None = None) -> None:
        """Find out whether we may push, before hours of work depend on it: an upload is begun and given up again.

        Raises `RegistryError`. Faults that may pass are tried again when there is more than one of `tries`.
        """

        def once() -> None:
            answer = self._remote.ask("POST", self._container.upload_blob_url())
            registry.expect(answer, 202)
            if session := self._remote.location(answer):
                self._remote.forget(session)

        with registry.explained("push", self.reference, self.host):
            registry.with_retries(once, on_retry, tries=tries)

    def push(
        self,
        layer: Layer,
        *,
        annotations: Mapping[str, str],
        on_retry: Callable[[str], None] | None = None,
        on_bytes: Callable[[int], None] | None = None,
    ) -> str:
        """Push the image and return its manifest's digest. Faults of the network are tried again with back-off.

        `on_retry` is told each fault in words, `on_bytes` the layer's bytes as they leave (a negative number: that many
        will leave again). What the registry has already is not sent. Raises `RegistryError`.
        """
        # No platform: KAITO's images fit any, and containerd takes them so (KAITO's image specification).
        config = _compact({"rootfs": {"type": "layers", "diff_ids": [layer.diff_id]}})
        manifest = _compact(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "config": {"mediaType": CONFIG_TYPE, "digest": _digest(config), "size": len(config)},
                "layers": [{"mediaType": LAYER_TYPE, "digest": layer.digest, "size": layer.size}],
                "annotations": dict(annotations),
            }
        )

        def once() -> str:
            with layer.path.open("rb") as file:
                self._upload(layer.digest, _Outgoing(file, layer.size, on_bytes))
            self._upload(_digest(config), config)
            headers = {"Content-Type": MANIFEST_TYPE}
            answer = self._remote.ask("PUT", self._container.manifest_url(), data=manifest, headers=headers)
            registry.expect(answer, 201)
            return _digest(manifest)

        with registry.explained("push", self.reference, self.host):
            return registry.with_retries(once, on_retry)

    def pull(
        self,
        target: Path,
        *,
        below: str = "",
        expect: Callable[[int], None] | None = None,
        on_bytes: Callable[[int], None] | None = None,
        on_retry: Callable[[str], None] | None = None,
    ) -> str:
        """Unpack the image's files (those `below` a folder of it) into `target`, and return the manifest's digest.

        `expect` is told the bytes that will come, `on_bytes` those that came. Every part is checked against its digest,
        and what was cut goes on where it was cut. Raises `RegistryError`, also for what `layers.unpack` refuses.
        """
        with registry.explained("pull", self.reference, self.host):
            layers, digest = registry.with_retries(self._layers, on_retry)
            if expect:
                expect(sum(size for _, size in layers))
            target.mkdir(parents=True, exist_ok=True)
            packed = target / ".layer"
            for blob, _ in layers:
                packed.unlink(missing_ok=True)
                registry.with_retries(partial(self._fetch, blob, packed, on_bytes), on_retry)
                try:
                    unpack(packed, target, below)
                except LayerError as error:
                    raise RegistryError(
                        "registry",
                        f"A layer of {self.reference} cannot be unpacked ({error}).",
                        "Build the image with layers in gzip, and with plain files below /data.",
                    ) from None
                finally:
                    packed.unlink(missing_ok=True)
        return digest

    def _layers(self) -> tuple[list[tuple[str, int]], str]:
        """Digest and size of the layers of the one image that is meant, and the digest of what the name stands for."""
        body = self._read(self._container.manifest_url())
        digest = _digest(body)
        if self._container.digest and self._container.digest != digest:
            raise registry.Damaged
        try:
            manifest = json.loads(body)
            if platforms := manifest.get("manifests"):
                fitting = [m for m in platforms if (m.get("platform") or {}).get("os") in (None, "linux")]
                of_ours = [m for m in fitting if (m.get("platform") or {}).get("architecture") == "amd64"]
                chosen = (of_ours or fitting or platforms)[0]["digest"]
                body = self._read(self._container.manifest_url(chosen))
                if _digest(body) != chosen:
                    raise registry.Damaged
                manifest = json.loads(body)
            return [(str(layer["digest"]), int(layer.get("size", 0))) for layer in manifest["layers"]], digest
        except (ValueError, LookupError, TypeError, AttributeError):
            raise RegistryError(
                "registry",
                f"{self.host} answered something else than the manifest of {self.reference}.",
                "Check that the name is that of a container image, and that nothing stands between here and the registry.",
            ) from None

    def _read(self, path: str) -> bytes:
        answer = self._remote.ask("GET", path, headers={"Accept": READABLE})
        registry.expect(answer, 200)
        return bytes(answer.content)

    def _upload(self, digest: str, content: _Outgoing | bytes) -> None:
        there = self._remote.ask("HEAD", self._container.get_blob_url(digest))
        if there.status_code == 200:
            return
        begun = self._remote.ask("POST", self._container.upload_blob_url())
        registry.expect(begun, 202)
        session = self._remote.location(begun)
        where = f"{session}{'&' if '?' in session else '?'}digest={digest}"
        headers = {"Content-Type": "application/octet-stream"}
        try:
            registry.expect(self._remote.request("PUT", where, data=content, headers=headers), 201)
        except BaseException:
            if isinstance(content, _Outgoing):
                content.seek(0)  # they will leave again
            raise

    def _fetch(self, digest: str, packed: Path, on_bytes: Callable[[int], None] | None) -> None:
        """Append to `packed` what of a blob is missing there."""
        have = packed.stat().st_size if packed.exists() else 0
        headers = {"Range": f"bytes={have}-"} if have else {}
        came = 0
        with self._remote.request(
            "GET", f"{self._remote.prefix}://{self._container.get_blob_url(digest)}", headers=headers, stream=True
        ) as answer:
            if answer.status_code != 206:
                registry.expect(answer, 200)
                came, have = -have, 0
            with packed.open("ab" if have else "wb") as file:
                for block in answer.iter_content(BLOCK):
                    file.write(block)
                    if on_bytes:
                        on_bytes(len(block) + came)
                    came = 0
        with packed.open("rb") as file:
            seen = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != f"sha256:{seen}":
            if on_bytes:
                on_bytes(-packed.stat().st_size)
            packed.unlink()
            raise registry.Damaged


class _Outgoing:
    """A file on its way out: `requests` streams what has a length and can be read."""

    def __init__(self, file: IO[bytes], size: int, on_bytes: Callable[[int], None] | None) -> None:
        self._file, self._size, self._tell = file, size, on_bytes or (lambda size: None)

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        while block := self.read(BLOCK):
            yield block

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(size)
        self._tell(len(block))
        return block

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, place: int) -> int:
        self._tell(place - self._file.tell())
        return self._file.seek(place)


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _compact(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


__all__ = ["LAYER_TYPE", "MODEL_ANNOTATION", "Image", "Layer", "RegistryError", "write_layer"]
