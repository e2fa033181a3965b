"""Sources into a folder: under which names, and out of data images."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from file_server import CONTENT, Told
from registries import Registry, serving

from kaito_trainer import oci, registry
from kaito_trainer.download import file_names
from kaito_trainer.failures import Failure


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.mark.parametrize(
    ("urls", "names"),
    [
        (["https://h/a/train.json?x=1#sha256=0"], ["train.json"]),
        (["https://h/a/x.csv", "https://h/b/x.csv", "https://h/c/x.csv"], ["x.csv", "1-x.csv", "2-x.csv"]),
        (["https://h/1-x", "https://h/x", "https://h/b/x"], ["1-x", "x", "2-x"]),
        (["https://h", "https://h/a/", "https://h/..", "https://h/a%2F..%2f..", "https://h/%00"], None),
        (["https://h/.image", "https://h/a%2F..%2Fpasswd"], ["image", "passwd"]),
        ([f"https://h/{'x' * 300}.json"], ["x" * 95 + ".json"]),
    ],
)
def test_files_are_named_by_their_addresses_and_stay_in_their_folder(urls: list[str], names: list[str] | None) -> None:
    found = list(file_names(urls).values())
    if names is not None:
        assert found == names
    assert len(set(found)) == len(urls)
    assert all(name and "/" not in name and not name.startswith(".") and name.isprintable() for name in found)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with serving(tmp_path_factory.mktemp("registry")) as found:
        yield found


def test_a_data_image_is_laid_into_the_folder(images: Registry, told: Told, tmp_path: Path) -> None:
    (tmp_path / "train.parquet").write_bytes(CONTENT)
    layer = oci.write_layer({"data/train.parquet": tmp_path / "train.parquet"}, tmp_path / "layer")
    oci.Image(f"{images.host}/data:v1").push(layer, annotations={})
    (file,) = told(f"image:{images.host}/data:v1", target=tmp_path / "data")
    assert file == tmp_path / "data" / "train.parquet"
    assert file.read_bytes() == CONTENT
    assert [p.name for p in (tmp_path / "data").iterdir()] == ["train.parquet"]
    last = told.events[-1].to_dict()
    assert last["done"] == last["total"] == layer.size


def test_an_image_of_docker_with_several_layers_and_platforms_is_read(
    images: Registry, told: Told, tmp_path: Path
) -> None:
    """Built by hand as `docker buildx` would, copied in by skopeo: an index, attestations, Docker's types, a base's files."""
    folder = tmp_path / "image"
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def blob(content: bytes) -> dict[str, Any]:
        name = hashlib.sha256(content).hexdigest()
        (blobs / name).write_bytes(content)
        return {"digest": f"sha256:{name}", "size": len(content)}

    def layer(files: dict[str, bytes]) -> dict[str, Any]:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as tar:
            for name, content in files.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
        return {"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", **blob(packed.getvalue())}

    def manifest(*layers: dict[str, Any]) -> dict[str, Any]:
        kind = "application/vnd.docker.distribution.manifest.v2+json"
        config = {"mediaType": "application/vnd.docker.container.image.v1+json", **blob(b'{"rootfs":{}}')}
        made = {"schemaVersion": 2, "mediaType": kind, "config": config, "layers": list(layers)}
        return {"mediaType": kind, **blob(json.dumps(made).encode())}

    ours = manifest(
        layer({"etc/passwd": b"root", "data/old.json": b"1"}), layer({"data/.wh.old.json": b"", "data/new.json": b"2"})
    )
    manifests = [
        {**manifest(layer({"x": b""})), "platform": {"os": "unknown", "architecture": "unknown"}},
        {**manifest(layer({"data/arm.json": b"3"})), "platform": {"os": "linux", "architecture": "arm64"}},
        {**ours, "platform": {"os": "linux", "architecture": "amd64"}},
    ]
    kind = "application/vnd.docker.distribution.manifest.list.v2+json"
    index = json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": manifests}).encode()
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    top = {"schemaVersion": 2, "manifests": [{"mediaType": kind, **blob(index)}]}
    (folder / "index.json").write_text(json.dumps(top))
    to = f"docker://{images.host}/built:v1"
    copy = ["skopeo", "copy", "-q", "--all", "--preserve-digests", "--dest-tls-verify=false", f"oci:{folder}", to]
    subprocess.run(copy, check=True)
    (file,) = told(f"image:{images.host}/built:v1", target=tmp_path / "data")
    assert (file.name, file.read_bytes()) == ("new.json", b"2")


def test_an_image_without_data_is_refused(images: Registry, told: Told, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    layer = oci.write_layer({"other/x": tmp_path / "x"}, tmp_path / "layer")
    oci.Image(f"{images.host}/other:v1").push(layer, annotations={})
    with pytest.raises(Failure, match="has no folder /data") as caught:
        told(f"image:{images.host}/other:v1", target=tmp_path / "data")
    assert caught.value.kind == "download"
    with pytest.raises(Failure, match="There is no image"):
        told(f"image:{images.host}/none:v1", target=tmp_path / "data")
    with pytest.raises(Failure, match="is not an image name"):
        told("image:user:canary@h/x", target=tmp_path / "data")
    assert "canary" not in str(told.details)
    assert list((tmp_path / "data").iterdir()) == []


def test_a_registry_that_cannot_be_reached_is_a_download_that_failed(
    told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.with_retries.__kwdefaults__, "pause", lambda seconds: None)
    with pytest.raises(Failure, match="cannot be reached") as caught:
        told("image:127.0.0.1:1/x:v1", target=tmp_path / "data")
    assert caught.value.kind == "download"
    assert sum("failed (ConnectionError)" in text for text in told.details) == 4
