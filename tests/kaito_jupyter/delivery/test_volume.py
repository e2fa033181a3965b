"""What the helper pod does, done by this machine's shell; and a claim that is written through a mount."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path
from typing import cast

import pandas as pd
import pytest

from kaito_jupyter.cluster.client import Client
from kaito_jupyter.dataset import Dataset
from kaito_jupyter.delivery import volume
from kaito_jupyter.delivery.volume import LOOK, TAKE
from kaito_jupyter.errors import SpecError
from kaito_jupyter.spec import DataSource, TuningSpec
from kaito_jupyter.spec.sources import pvc

CONTENT = os.urandom(2_000_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def shell(script: str, *words: str, before: str = "") -> subprocess.CompletedProcess[bytes]:
    """The script, with the content for its input. That all of it is read, `Popen` would tell as a broken pipe."""
    with subprocess.Popen(["sh", "-c", before + script, "sh", *words], stdin=-1, stdout=-1, stderr=-1) as process:
        assert process.stdin
        process.stdin.write(CONTENT)
        process.stdin.close()
        assert process.stdout
        assert process.stderr
        out, err = process.stdout.read(), process.stderr.read()
    return subprocess.CompletedProcess(words, process.returncode, out, err)


def test_a_file_arrives_whole_under_its_name_alone(tmp_path: Path) -> None:
    file = tmp_path / "a b" / "train.parquet"
    assert subprocess.run(["sh", "-c", LOOK, "sh", str(file)], capture_output=True, check=True).stdout == b"none\n"
    assert shell(TAKE, str(file), str(len(CONTENT)), DIGEST).returncode == 0
    assert file.read_bytes() == CONTENT
    assert [p.name for p in file.parent.iterdir()] == ["train.parquet"]
    looked = subprocess.run(["sh", "-c", LOOK, "sh", str(file)], capture_output=True, check=True).stdout
    assert looked.split()[0].decode() == DIGEST


def test_what_fails_leaves_nothing_and_reads_its_input_to_the_end(tmp_path: Path) -> None:
    file = tmp_path / "a" / "train.parquet"
    damaged = shell(TAKE, str(file), str(len(CONTENT)), "0")
    assert damaged.returncode == volume._DAMAGED
    full = shell(TAKE, str(file), str(len(CONTENT)), DIGEST, before="ulimit -f 100; ")
    assert full.returncode == 1
    assert list(file.parent.iterdir()) == []
    nowhere = shell(TAKE, "/proc/nowhere/train.parquet", str(len(CONTENT)), DIGEST)
    assert nowhere.returncode == 1
    assert b"/proc/nowhere" in nowhere.stderr


def test_a_claim_that_is_mounted_here_is_written_in_place_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(volume, "place", lambda client, claim, namespace, path: tmp_path / path)
    data = Dataset.read(pd.DataFrame({"text": ["one", "two"]}))
    mark = data.fingerprint[:16]
    source = DataSource(volume_source=pvc("data"), path=f"sets/{mark}/train.parquet")
    spec = TuningSpec(preset="a/b", input=source)
    told: list[str] = []

    class Cluster:
        def find(self, *_: object) -> dict[str, object]:
            return {}

    client = cast("Client", Cluster())
    assert [volume.put(data, source, spec, client, told.append) for _ in range(2)] == [False, True]
    file = tmp_path / "sets" / mark / "train.parquet"
    data.write(tmp_path / "expected.parquet")
    assert file.read_bytes() == (tmp_path / "expected.parquet").read_bytes()
    assert file.stat().st_mode & 0o777 == 0o644
    assert [p.name for p in file.parent.iterdir()] == ["train.parquet"]

    (tmp_path / "file").write_text("no folder")
    source = DataSource(volume_source=pvc("data"), path="file/train.parquet")
    with pytest.raises(SpecError, match="could not be put into the claim data"):
        volume.put(data, source, spec, client, told.append)
