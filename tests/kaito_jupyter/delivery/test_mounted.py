from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any, cast

import pytest

from kaito_jupyter.cluster.client import Client
from kaito_jupyter.delivery.mounted import mounts, place

POD: dict[str, Any] = {
    "spec": {
        "volumes": [
            {"name": "home", "persistentVolumeClaim": {"claimName": "homes"}},
            {"name": "data", "persistentVolumeClaim": {"claimName": "data"}},
            {"name": "frozen", "persistentVolumeClaim": {"claimName": "data", "readOnly": True}},
            {"name": "other", "emptyDir": {}},
        ],
        "containers": [
            {
                "name": "notebook",
                "volumeMounts": [
                    {"name": "home", "mountPath": "/home/jovyan", "subPath": "jovyan"},
                    {"name": "data", "mountPath": "/data/"},
                    {"name": "data", "mountPath": "/locked", "readOnly": True},
                    {"name": "data", "mountPath": "/mine", "subPathExpr": "$(USER)"},
                    {"name": "frozen", "mountPath": "/frozen"},
                    {"name": "other", "mountPath": "/other"},
                ],
            },
            {"name": "sidecar", "volumeMounts": [{"name": "data", "mountPath": "/elsewhere"}]},
        ],
    }
}
HERE = {"/", "/home/jovyan", "/data", "/locked", "/mine", "/frozen", "/other"}


def test_mounts_of_a_claim_are_those_that_this_container_may_write() -> None:
    assert list(mounts(POD, "data", HERE)) == [(Path("/data"), PurePosixPath("/"))]
    assert list(mounts(POD, "homes", HERE)) == [(Path("/home/jovyan"), PurePosixPath("/jovyan"))]
    assert list(mounts(POD, "none", HERE)) == []


def test_a_claim_that_the_user_names_is_written_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = cast("Client", None)
    monkeypatch.setenv("KAITO_CLAIM_MOUNTS", f"other=/nowhere, data={tmp_path}")
    monkeypatch.setattr("kaito_jupyter.delivery.mounted._own", lambda *_: iter(()))
    assert place(nobody, "data", "default", "sets/train.parquet") == tmp_path / "sets" / "train.parquet"
    assert place(nobody, "data", "default", "/train.parquet") == tmp_path / "train.parquet"
    assert place(nobody, "other", "default", "train.parquet") is None  # it cannot be written
    assert place(nobody, "third", "default", "train.parquet") is None


def test_a_mount_shows_its_part_of_the_claim_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = cast("Client", None)
    shown = iter([(tmp_path, PurePosixPath("/jovyan"))] * 2)
    monkeypatch.setattr("kaito_jupyter.delivery.mounted._own", lambda *_: [next(shown)])
    assert place(nobody, "homes", "default", "jovyan/data/train.parquet") == tmp_path / "data" / "train.parquet"
    assert place(nobody, "homes", "default", "data/train.parquet") is None
