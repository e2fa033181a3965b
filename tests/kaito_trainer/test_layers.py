"""Layers from elsewhere: what later ones take away, and what none may do."""

from __future__ import annotations

import io
import random
import tarfile
from pathlib import Path

import pytest

from kaito_trainer.layers import LayerError, unpack, write_layer

Entry = tuple[str, str | None]
"""Name and content (None: a folder), or `kind:target` for what is neither."""


def lay(folder: Path, *layers: list[Entry], below: str = "data") -> dict[str, str]:
    """Unpack layers one over the other: name -> content of what is there then."""
    target = folder / "target"
    target.mkdir()
    kinds = {"symlink": tarfile.SYMTYPE, "hardlink": tarfile.LNKTYPE, "device": tarfile.CHRTYPE}
    for number, entries in enumerate(layers):
        file = folder / f"{number}.tar.gz"
        with tarfile.open(file, "w:gz") as tar:
            for name, content in entries:
                entry = tarfile.TarInfo(name)
                kind, _, link = (content or "").partition(":")
                if content is None:
                    entry.type = tarfile.DIRTYPE
                elif kind in kinds:
                    entry.type, entry.linkname = kinds[kind], link
                entry.size = len(content.encode()) if content and kind not in kinds else 0
                tar.addfile(entry, io.BytesIO((content or "").encode()))
        unpack(file, target, below)
    return {str(p.relative_to(target)): p.read_text() for p in sorted(target.rglob("*")) if p.is_file()}


def test_only_what_is_below_the_folder_is_unpacked(tmp_path: Path) -> None:
    base = [("etc/passwd", "root"), ("dev/null", "device:"), ("./data/a.csv", "1"), ("/data/sub/b.csv", "2")]
    assert lay(tmp_path, base) == {"data/a.csv": "1", "data/sub/b.csv": "2"}


@pytest.mark.parametrize(
    ("second", "left"),
    [
        ([("data/.wh.a", "")], {"data/d/b": "2", "data/d/e/c": "3"}),
        ([("data/.wh.d", "")], {"data/a": "1"}),
        ([("data/d/.wh..wh..opq", ""), ("data/d/new", "4")], {"data/a": "1", "data/d/new": "4"}),
        ([("data/d/new", "4"), ("data/d/.wh..wh..opq", "")], {"data/a": "1", "data/d/new": "4"}),
        ([(".wh.data", ""), ("data/new", "4")], {"data/new": "4"}),
        ([(".wh..wh..opq", ""), ("data/new", "4")], {"data/new": "4"}),
        ([("data/.wh.none", ""), (".wh.etc", "")], {"data/a": "1", "data/d/b": "2", "data/d/e/c": "3"}),
        ([("data/d", "now a file")], {"data/a": "1", "data/d": "now a file"}),
        ([("data/a", None), ("data/a/x", "5")], {"data/a/x": "5", "data/d/b": "2", "data/d/e/c": "3"}),
        ([("data/../../.wh.kept", "")], {"data/a": "1", "data/d/b": "2", "data/d/e/c": "3"}),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_later_layer_takes_away_and_replaces_what_earlier_ones_have(
    tmp_path: Path, second: list[Entry], left: dict[str, str]
) -> None:
    (tmp_path / "kept").write_text("outside")
    first: list[Entry] = [("data/a", "1"), ("data/d/b", "2"), ("data/d/e/c", "3")]
    assert lay(tmp_path, first, second) == left
    assert (tmp_path / "kept").read_text() == "outside"


@pytest.mark.parametrize(
    "entries",
    [
        [("data/../../outside", "x")],
        [("data/pipe", "device:")],
        [("data/a", "hardlink:../../secret")],
        [("data/a", "hardlink:etc/shadow")],
        [("etc/x", "symlink:/"), ("data/a", "hardlink:etc/x")],
        [("data/a", "1"), ("data/a/b", "2")],
    ],
    ids=lambda value: str(value)[:50],
)
def test_what_leads_outside_or_is_no_file_is_refused(tmp_path: Path, entries: list[Entry]) -> None:
    (tmp_path / "secret").write_text("secret")
    with pytest.raises(LayerError):
        lay(tmp_path, entries)
    assert not (tmp_path / "outside").exists()


def test_symbolic_links_are_left_out_so_that_nothing_is_written_through_them(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    entries: list[Entry] = [("data/l", f"symlink:{outside}"), ("data/l/x", "1"), ("data/m", "symlink:l")]
    assert lay(tmp_path, entries) == {"data/l/x": "1"}
    assert list(outside.iterdir()) == []


def test_hard_links_within_a_layer_are_files(tmp_path: Path) -> None:
    assert lay(tmp_path, [("data/a", "1"), ("data/b", "hardlink:data/a")]) == {"data/a": "1", "data/b": "1"}


def test_text_is_packed_and_what_hardly_gets_smaller_is_stored(tmp_path: Path) -> None:
    for name, content in (("text", b"some words " * 10_000), ("weights", random.Random(0).randbytes(100_000))):
        (tmp_path / name).write_bytes(content)
        (tmp_path / "small").write_bytes(b"{}")
        files = {"data/a": tmp_path / name, "data/b": tmp_path / "small"}
        layer = write_layer(files, tmp_path / f"{name}.layer")
        assert (layer.size > len(content)) == (name == "weights")
        unpack(layer.path, tmp_path / f"{name}.target")
        assert (tmp_path / f"{name}.target" / "data" / "a").read_bytes() == content
    assert write_layer({"data/empty": tmp_path / "small"}, tmp_path / "x").size < 1000


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b\x08\x00cut"])
def test_what_is_no_layer_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(LayerError):
        unpack(tmp_path / "x", tmp_path / "target")
