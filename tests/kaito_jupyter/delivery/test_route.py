from __future__ import annotations

import random
import string
from typing import Any

import pandas as pd
import pytest

from kaito_jupyter.dataset import Dataset
from kaito_jupyter.delivery import route
from kaito_jupyter.delivery.parcel import amount, packed
from kaito_jupyter.delivery.route import LARGEST, beside, tagged
from kaito_jupyter.errors import SpecError
from kaito_jupyter.spec import DataSource, TuningSpec, build_spec
from kaito_jupyter.spec.sources import pvc

IMAGE = "registry.example.com/team/adapter:1"


@pytest.fixture(scope="module")
def small() -> Dataset:
    return Dataset.read(pd.DataFrame({"text": ["one", "two", "three"]}))


@pytest.fixture(scope="module")
def large() -> Dataset:
    """Text that cannot be packed into a ConfigMap."""
    draw = random.Random(0)
    return Dataset.read(pd.DataFrame({"text": ["".join(draw.choices(string.printable, k=5000)) for _ in range(300)]}))


def spec(**options: Any) -> TuningSpec:
    given = {"output": f"image:{IMAGE}", "push_secret": "push", "instance_type": "Standard_NC24ads_A100_v4"}
    return build_spec(preset="phi-4-mini-instruct", target="kaito", **given | options)


def test_small_data_travels_in_a_config_map_and_says_how_small_it_is(small: Dataset) -> None:
    found = route(small, spec())
    assert found.way == "configmap"
    assert found.note == "The data (1 kB) travels in a ConfigMap."


def test_large_data_goes_beside_the_adapter(large: Dataset) -> None:
    with packed(large) as parcel:
        assert parcel.size > LARGEST
    tag = large.fingerprint[:16]
    found = route(large, spec())
    assert found.way == "image"
    assert found.source == DataSource(
        image=f"registry.example.com/team/adapter-data:{tag}", image_pull_secrets=("push",)
    )
    assert found.note == (
        f"The data ({amount(parcel.size)}) is too large for a ConfigMap: "
        f"it goes into the image {found.source.image}, beside the adapter's."
    )
    found = route(large, spec(output="pvc:claim", push_secret=None))
    assert found.way == "volume"
    assert found.source == DataSource(volume_source=pvc("claim"), path=f"kaito-data/{tag}/train.parquet")


def test_large_data_without_a_place_is_a_problem_that_says_the_choices(large: Dataset) -> None:
    with pytest.raises(SpecError, match=r"image:REGISTRY/NAME, pvc:CLAIM") as caught:
        route(large, TuningSpec(preset="a/b"))
    assert [p.path for p in caught.value.problems] == ["tuning.input"]


def test_data_goes_where_the_input_says(small: Dataset) -> None:
    tag = small.fingerprint[:16]
    other = route(small, spec(input="image:other.example.com/data", pull_secret="pull"))
    assert other.source == DataSource(image=f"other.example.com/data:{tag}", image_pull_secrets=("pull",))
    assert route(small, spec(input="image:other.example.com/data")).source.image_pull_secrets == ()
    same = route(small, spec(input="image:registry.example.com/data:mine")).source
    assert (same.image, same.image_pull_secrets) == ("registry.example.com/data:mine", ("push",))
    for given, path in {
        "pvc:claim": f"kaito-data/{tag}/train.parquet",
        "pvc:claim/some/folder/": f"some/folder/{tag}/train.parquet",
        "pvc:claim/my.parquet": "my.parquet",
    }.items():
        found = route(small, spec(input=given))
        assert (found.way, found.source.path) == ("volume", path)
        assert found.note == f"The data goes into the claim claim, as {path}."


def test_data_cannot_be_put_into_any_volume(small: Dataset) -> None:
    with pytest.raises(SpecError, match="persistentVolumeClaim only"):
        route(small, spec(input=DataSource(volume_source={"emptyDir": {}})))


def test_the_image_beside_and_its_tag(small: Dataset) -> None:
    tag = small.fingerprint[:16]
    assert [beside(i) for i in ("127.0.0.1:5000/a:1", "a", "r.io/a/b@sha256:0", "r.io/a")] == [
        "127.0.0.1:5000/a-data", "a-data", "r.io/a/b-data", "r.io/a-data",
    ]  # fmt: skip
    assert tagged("127.0.0.1:5000/a", small) == f"127.0.0.1:5000/a:{tag}"
    assert tagged("127.0.0.1:5000/a:1", small) == "127.0.0.1:5000/a:1"


@pytest.mark.parametrize(
    ("size", "text"), [(1, "1 kB"), (412_345, "412 kB"), (12_345_678, "12.3 MB"), (2_500_000_000, "2.5 GB")]
)
def test_sizes_are_for_people(size: int, text: str) -> None:
    assert amount(size) == text
