"""Sources and destinations in one word."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito_jupyter.spec import DataDestination, DataSource, parse_destination, parse_source

CLAIM = {"persistentVolumeClaim": {"claimName": "claim"}}


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("image:reg.io/a:1", DataSource(image="reg.io/a:1")),
        (" image:reg.io/a:1 ", DataSource(image="reg.io/a:1")),
        ("pvc:claim", DataSource(volume_source=CLAIM)),
        ("pvc:claim/sub/train.parquet", DataSource(volume_source=CLAIM, path="sub/train.parquet")),
        ("https://a.io/x.csv", DataSource(urls=("https://a.io/x.csv",))),
        ("https://a.io/x.csv  https://a.io/y.csv", DataSource(urls=("https://a.io/x.csv", "https://a.io/y.csv"))),
        ("data/train.csv", DataSource(path="data/train.csv")),
        ("./image", DataSource(path="./image")),
        ("C:/data.csv", DataSource(path="C:/data.csv")),
    ],
)
def test_a_source_is_read_from_one_word(text, source):
    assert parse_source(text) == source


@pytest.mark.parametrize(
    ("text", "destination"),
    [
        ("image:reg.io/a:1", DataDestination(image="reg.io/a:1")),
        ("pvc:claim", DataDestination(volume_source=CLAIM)),
        ("adapters", DataDestination(path="adapters")),
    ],
)
def test_a_destination_is_read_from_one_word(text, destination):
    assert parse_destination(text) == destination


@given(st.text())
def test_any_word_is_read_as_one_kind(text):
    source, destination = parse_source(text), parse_destination(text)
    assert [bool(source.urls), source.image is not None, source.volume_source is not None].count(True) <= 1
    assert source.delivered == (not source.urls and source.image is None and source.volume_source is None)
    assert (destination.image, destination.volume_source, destination.path).count(None) == 2
