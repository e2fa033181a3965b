from __future__ import annotations

import sys
import urllib.request
from pathlib import Path
from typing import Any, cast

import pandas as pd
import pytest
from shelf import shelf

from kaito_jupyter.cluster.client import Client
from kaito_jupyter.dataset import Dataset
from kaito_jupyter.delivery import deliver, route
from kaito_jupyter.errors import SpecError
from kaito_jupyter.spec import DataSource, TuningSpec

NOBODY = cast("Client", None)
"""No cluster is asked: a store is the user's own matter."""


@pytest.fixture(scope="module")
def data() -> Dataset:
    return Dataset.read(pd.DataFrame({"text": ["one", "two", "three"]}))


def spec(*urls: str, **more: Any) -> TuningSpec:
    return TuningSpec(preset="phi-4-mini-instruct", input=DataSource(urls=urls), **more)


def test_data_is_put_into_a_store_once_and_signed_each_time(data: Dataset, tmp_path: Path) -> None:
    with shelf(tmp_path, "127.0.0.1") as fetched:
        told: list[str] = []
        first = deliver(data, spec("s3://bucket/sets/"), client=NOBODY, target="job", on_progress=told.append)
        assert first is not None
        place = f"bucket/sets/{data.fingerprint[:16]}/train.parquet"
        (address,) = first.source.urls
        assert address.startswith("http://127.0.0.1:")
        assert (first.way, first.reused, first.kept) == ("url", False, DataSource(urls=(f"s3://{place}",)))
        with urllib.request.urlopen(address) as answer:
            assert answer.read() == (tmp_path / place).read_bytes()
        assert fetched == [f"/{place}"]
        assert told[-1] == f"The data is in s3://{place}."
        assert not any("signature" in text for text in told)
        before = (tmp_path / place).stat().st_mtime_ns
        again = deliver(data, spec("s3://bucket/sets/"), client=NOBODY, target="job")
        assert again is not None
        assert again.reused
        assert (tmp_path / place).stat().st_mtime_ns == before

        there = deliver(None, spec(f"s3://{place}"), client=NOBODY, target="job")
        assert there is not None
        assert there.source == first.source
        assert there.told_to(spec()).placement.private_urls


def test_what_is_not_in_the_store_is_told(tmp_path: Path) -> None:
    with shelf(tmp_path, "127.0.0.1"), pytest.raises(SpecError, match=r"there is no s3://bucket/none\.parquet"):
        deliver(None, spec("s3://bucket/none.parquet"), client=NOBODY, target="job")


def test_a_store_that_kaito_may_not_fetch_from_is_told(data: Dataset, tmp_path: Path) -> None:
    with (
        shelf(tmp_path, "127.0.0.1"),
        pytest.raises(SpecError, match=r"signed for 127\.0\.0\.1, from where KAITO's webhook"),
    ):
        deliver(data, spec("s3://bucket"), client=NOBODY, target="kaito")


@pytest.mark.parametrize("url", ["memory://place", "file:///tmp/place"])
def test_a_store_that_signs_nothing_is_refused_before_anything_is_sent(data: Dataset, url: str) -> None:
    with pytest.raises(SpecError, match=r"nothing that a pod can fetch.* image:REGISTRY/NAME or pvc:CLAIM"):
        deliver(data, spec(url), client=NOBODY, target="job")


def test_a_package_that_is_missing_is_named(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("adlfs", "gcsfs"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SpecError, match=r"az:// needs the Python package adlfs.* pip install fsspec adlfs"):
        deliver(data, spec("az://container/folder"), client=NOBODY, target="job")
    with pytest.raises(SpecError, match=r"pip install fsspec gcsfs"):
        deliver(data, spec("gs://bucket/folder"), client=NOBODY, target="job")
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(SpecError, match=r"pip install fsspec s3fs|pip install fsspec"):
        deliver(data, spec("gs://bucket/folder"), client=NOBODY, target="job")


def test_nothing_is_put_at_an_http_address_and_what_is_there_is_taken_as_it_is(data: Dataset) -> None:
    with pytest.raises(SpecError, match="nothing can be put at an http address"):
        route(data, spec("https://example.com/folder"))
    assert deliver(None, spec("https://example.com/train.parquet"), client=NOBODY, target="job") is None


def test_a_store_is_a_valid_input_for_a_cluster(tmp_path: Path) -> None:
    for target in ("kaito", "job"):
        paths = [p.path for p in spec("s3://bucket/folder").problems(target) if p.severity == "error"]  # type: ignore[arg-type]
        assert not [p for p in paths if p.startswith("tuning.input")]
    assert spec("s3://bucket/a", "s3://bucket/b").problems("kaito")
