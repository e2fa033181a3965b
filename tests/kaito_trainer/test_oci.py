"""Images pushed to and pulled from a real registry, with and without logins, over lines that fail."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from registries import PASSWORD, USER, Gate, Registry, gate, login_file, serving, tokens, with_password

from kaito_trainer import oci, registry
from kaito_trainer.oci import Image, RegistryError, write_layer

IDENTITY = "canary-identity-token-55ee"


@pytest.fixture(scope="module")
def open_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with serving(tmp_path_factory.mktemp("registry")) as found:
        yield found


@pytest.fixture(scope="module")
def closed_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    folder = tmp_path_factory.mktemp("registry")
    with serving(folder, with_password(folder)) as found:
        yield found


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No waiting between tries, and no login of whoever runs the tests."""
    monkeypatch.setattr(registry.with_retries, "__kwdefaults__", {"tries": 5, "pause": lambda seconds: None})
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))


def data_layer(folder: Path, content: bytes = b"rows" * 1000) -> oci.Layer:
    file = folder / "train.parquet"
    file.write_bytes(content)
    return write_layer({"data/train.parquet": file}, folder / "layer.tar.gz")


def test_the_same_files_give_the_same_layer_whenever_and_by_whom_it_is_packed(tmp_path: Path) -> None:
    first = data_layer(tmp_path)
    (tmp_path / "train.parquet").chmod(0o600)
    again = write_layer({"data/train.parquet": tmp_path / "train.parquet"}, tmp_path / "other.tar.gz")
    assert (first.digest, first.diff_id, first.size) == (again.digest, again.diff_id, again.size)
    with tarfile.open(again.path) as tar:
        assert [(m.name, m.mode, m.uid, m.mtime) for m in tar] == [
            ("data", 0o755, 0, 0),
            ("data/train.parquet", 0o644, 0, 0),
        ]


def test_what_was_pushed_is_found_and_pulled_again(open_registry: Registry, tmp_path: Path) -> None:
    layer = data_layer(tmp_path)
    image = Image(f"{open_registry.host}/team/data:v1")
    assert image.digest() is None
    left: list[int] = []
    digest = image.push(layer, annotations={"a": "b"}, on_bytes=left.append)
    assert digest == image.digest()
    assert sum(left) == layer.size
    expected: list[int] = []
    came: list[int] = []
    assert image.pull(tmp_path / "out", below="data", expect=expected.append, on_bytes=came.append) == digest
    assert (tmp_path / "out" / "data" / "train.parquet").read_bytes() == b"rows" * 1000
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["data"], "nothing else is left there"
    assert expected == [layer.size] == [sum(came)]
    left.clear()
    assert image.push(layer, annotations={"a": "b"}, on_bytes=left.append) == digest
    assert left == [], "what the registry has is not sent again"
    assert Image(f"{open_registry.host}/team/data@{digest}").digest() == digest


def test_the_image_is_laid_out_as_kaito_lays_its_own_out(open_registry: Registry, tmp_path: Path) -> None:
    layer = data_layer(tmp_path)
    digest = Image(f"{open_registry.host}/layout:v1").push(layer, annotations={oci.MODEL_ANNOTATION: "phi-4"})
    manifest = open_registry.manifest("layout", "v1")
    assert [part["mediaType"] for part in manifest["layers"]] == [oci.LAYER_TYPE]
    assert manifest["annotations"] == {"sh.kaito.model.name": "phi-4"}
    if shutil.which("skopeo") is None:
        pytest.skip("needs skopeo")
    name = f"docker://{open_registry.host}/layout:v1"
    said = json.loads(subprocess.check_output(["skopeo", "inspect", "--tls-verify=false", name]))
    assert said["Digest"] == digest
    assert said["Layers"] == [layer.digest]
    config = json.loads(subprocess.check_output(["skopeo", "inspect", "--tls-verify=false", "--config", "--raw", name]))
    assert config == {"rootfs": {"type": "layers", "diff_ids": [layer.diff_id]}}, "no platform: it fits all of them"
    copied = tmp_path / "copied"
    subprocess.run(
        ["skopeo", "copy", "-q", "--src-tls-verify=false", "--dest-decompress", name, f"dir:{copied}"], check=True
    )
    with tarfile.open(copied / layer.diff_id.removeprefix("sha256:")) as tar:
        assert tar.getnames() == ["data", "data/train.parquet"]


@pytest.mark.parametrize("how", ["file", "mapping", "user's own"])
def test_a_login_may_come_from_a_file_a_mapping_or_the_users_own_config(
    closed_registry: Registry, tmp_path: Path, how: str
) -> None:
    reference = f"{closed_registry.host}/private:{how[:4]}"
    if how == "file":
        image = Image(reference, auth_files=(login_file(tmp_path / "config.json", closed_registry.host),))
    elif how == "mapping":
        image = Image(reference, logins={closed_registry.host: {"username": USER, "password": PASSWORD}})
    else:
        (tmp_path / "docker").mkdir()
        login_file(tmp_path / "docker" / "config.json", f"http://{closed_registry.host}/v1/")
        image = Image(reference)
    image.check_push()
    digest = image.push(data_layer(tmp_path), annotations={})
    assert image.pull(tmp_path / "out") == digest == image.digest()


def test_no_or_a_wrong_password_is_said_at_once_and_not_shown(closed_registry: Registry, tmp_path: Path) -> None:
    wrong = login_file(tmp_path / "config.json", closed_registry.host, "canary-wrong-password")
    for files in ((), (wrong,)):
        image = Image(f"{closed_registry.host}/private:x", auth_files=files)
        retries: list[str] = []
        for act in (image.check_push, image.digest, lambda image=image: image.pull(tmp_path / "out")):
            with pytest.raises(RegistryError) as caught:
                act()
            assert caught.value.kind == "registry-auth"
            assert f"no or wrong credentials ({closed_registry.host} answered 401" in str(caught.value)
            assert "canary" not in str(caught.value)
        with pytest.raises(RegistryError):
            image.push(data_layer(tmp_path), annotations={}, on_retry=retries.append)
        assert retries == [], "it would not help to try again"


def test_a_registry_with_a_token_service_is_asked_for_each_right(tmp_path: Path) -> None:
    with tokens(tmp_path, IDENTITY) as service, serving(tmp_path, service.auth()) as found:
        entries: dict[str, dict[str, str]] = {
            "password": {"username": USER, "password": PASSWORD},
            "identity": {"identitytoken": IDENTITY, "auth": "MDAwMDo="},
        }
        for name, entry in entries.items():
            image = Image(f"{found.host}/{name}/data:v1", logins={found.host: entry})
            image.check_push()
            digest = image.push(data_layer(tmp_path), annotations={})
            assert Image(f"{found.host}/{name}/data:v1", logins={found.host: entry}).pull(tmp_path / name) == digest
        scopes = [asked["scope"].split(":") for asked in service.asked]
        assert {(name, frozenset(rights.split(","))) for _, name, rights in scopes} == {
            (f"{name}/data", frozenset(rights)) for name in entries for rights in (["pull"], ["pull", "push"])
        }
        service.fail_with[:] = [503, 429]
        retries: list[str] = []
        Image(f"{found.host}/p/x:v1", logins={found.host: entries["password"]}).check_push(
            tries=5, on_retry=retries.append
        )
        assert [text.partition(",")[0] for text in retries] == [
            "try 1 of 5 failed (answered 503)",
            "try 2 of 5 failed (answered 429)",
        ]
        with pytest.raises(RegistryError, match="no or wrong credentials"):
            Image(f"{found.host}/p/x:v1", logins={found.host: {"identitytoken": "canary-other"}}).check_push()


@pytest.fixture
def before(open_registry: Registry) -> Iterator[Gate]:
    with gate(open_registry) as found:
        yield found


def test_faults_of_a_push_are_told_and_tried_again(before: Gate, tmp_path: Path) -> None:
    faults = iter([503, -1, 429, 0])
    before.fault = lambda method, path: next(faults, 0) if method == "PUT" else 0
    retries: list[str] = []
    left: list[int] = []
    layer = data_layer(tmp_path, b"pushed over a bad line")
    image = Image(f"{before.host}/faults/push:v1")
    digest = image.push(layer, annotations={}, on_retry=retries.append, on_bytes=left.append)
    assert [text.partition(", next")[0] for text in retries] == [
        "try 1 of 5 failed (answered 503)",
        "try 2 of 5 failed (ConnectionError)",
        "try 3 of 5 failed (answered 429)",
    ]
    assert sum(left) == layer.size
    assert image.digest() == digest


def test_a_pull_that_was_cut_goes_on_where_it_was_cut(before: Gate, tmp_path: Path) -> None:
    layer = data_layer(tmp_path, random.Random(0).randbytes(5_000_000))
    image = Image(f"{before.host}/faults/pull:v1")
    digest = image.push(layer, annotations={})
    faults = iter([-2, 503])
    before.fault = lambda method, path: next(faults, 0) if layer.digest in path else 0
    before.seen.clear()
    came: list[int] = []
    assert image.pull(tmp_path / "out", on_bytes=came.append) == digest
    assert sum(came) == layer.size
    ranges = [asked for _, path, asked in before.seen if layer.digest in path]
    assert ranges[0] == ""
    assert ranges[1] == ranges[2] != "", "from there on"


def test_a_registry_that_stays_away_is_named_after_all_tries(tmp_path: Path, before: Gate) -> None:
    before.fault = lambda method, path: 500
    retries: list[str] = []
    with pytest.raises(RegistryError, match=r"Cannot push .*: 127\.0\.0\.1:\d+ answered 500: made to fail\.") as caught:
        Image(f"{before.host}/x:v1").push(data_layer(tmp_path), annotations={}, on_retry=retries.append)
    assert caught.value.kind == "registry"
    assert len(retries) == 4
    with pytest.raises(RegistryError, match=r"127\.0\.0\.1:1 cannot be reached \(ConnectionError\)"):
        Image("127.0.0.1:1/x:v1").digest()


def test_what_is_not_there_or_not_an_image_is_said(before: Gate, tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="There is no image"):
        Image(f"{before.host}/nothing:v1").pull(tmp_path)
    before.fault = lambda method, path: 200
    with pytest.raises(RegistryError, match=r"something else than the manifest"):
        Image(f"{before.host}/nothing:v1").pull(tmp_path)


@pytest.mark.parametrize(
    "reference", ["", "a/B:c", "x:y:z", "https://u:canary@h/x", "u:canary@reg.io/x:v1", "reg.io/x:", "reg.io//x"]
)
def test_a_name_that_is_none_is_refused_without_showing_what_may_be_a_password(reference: str) -> None:
    with pytest.raises(RegistryError, match="is not an image name") as caught:
        Image(reference)
    assert "canary" not in str(caught.value)
