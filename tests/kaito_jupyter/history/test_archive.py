from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kaito_jupyter.history import Archive, Entry, archive, speeds
from kaito_jupyter.history.entry import key_of
from kaito_jupyter.history.file import HistoryError
from kaito_jupyter.status import RunRef


def entry(name: str = "otter", **changes: Any) -> Entry:
    ref = RunRef("local", name, "default", f"/runs/{name}")
    values: dict[str, Any] = {
        "key": key_of(ref, 10.0), "name": name, "namespace": "default", "backend": "local", "location": ref.location,
        "state": "Succeeded", "preset": "phi-4", "method": "lora", "created": 10.0, "ended": 20.0, "loss": 0.1 + 0.2,
        "tokens_per_second": 1200.0, "spark": (3.0, 2.5), "lines": ("one", "two ü"), "spec": "a: 1\n",
    }  # fmt: skip
    return Entry(**(values | changes))


@pytest.fixture
def shelf(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "state" / "history.sqlite")


def test_what_is_kept_comes_back_as_it_was(shelf: Archive) -> None:
    kept = entry()
    shelf.keep(kept)
    again = Archive(shelf.path)
    assert again.named("otter") == [kept]
    assert again.entries() == [replace(kept, lines=())]
    assert again.entry("nothing") is None
    assert again.named("otter", "team") == []
    assert stat.S_IMODE(shelf.path.stat().st_mode) == 0o600


def test_a_history_that_nobody_wrote_is_empty_and_makes_no_file(shelf: Archive) -> None:
    assert (shelf.entries(), shelf.named("x"), shelf.remarks(), shelf.holds("x")) == ([], [], {}, False)
    assert not shelf.path.exists()


def test_notes_and_tags_come_before_a_run_has_ended_and_stay_when_it_is_kept_anew(shelf: Archive) -> None:
    kept = entry()
    shelf.note(kept.key, "higher rank")
    shelf.tag(kept.key, ["baseline", "rank"])
    shelf.keep(kept)
    shelf.keep(replace(kept, loss=0.5))
    shelf.tag(kept.key, ["rank", "good"], remove=["baseline"])
    (found,) = shelf.named("otter")
    assert [n.text for n in found.notes] == ["higher rank"]
    assert (found.tags, found.loss) == (("good", "rank"), 0.5)
    assert [e.name for e in shelf.entries(["good", "rank"])] == ["otter"]
    assert shelf.entries(["good", "bad"]) == []
    shelf.forget(kept.key)
    assert (shelf.entries(), shelf.remarks()) == ([], {})


def test_the_newest_comes_first_and_a_name_may_be_given_again(shelf: Archive) -> None:
    for created in (30.0, 10.0, 20.0):
        ref = RunRef("local", "otter", "default", "/runs/otter")
        shelf.keep(entry(key=key_of(ref, created), created=created))
    assert [e.created for e in shelf.named("otter")] == [30.0, 20.0, 10.0]
    assert shelf.names() == ("otter",)


@pytest.mark.parametrize(
    "content", [b"not a database at all, but long enough to be looked at" * 40, b"SQLite format 3\0junk"]
)
def test_a_damaged_file_is_set_aside_and_told_of(shelf: Archive, content: bytes) -> None:
    shelf.path.parent.mkdir(parents=True)
    shelf.path.write_bytes(content)
    assert shelf.entries() == []
    (aside,) = shelf.path.parent.glob("history.damaged-*.sqlite")
    assert aside.read_bytes() == content
    assert aside.name in shelf.trouble
    shelf.keep(entry())
    assert [e.name for e in shelf.entries()] == ["otter"]


def test_damage_in_the_middle_is_said_once_and_costs_no_further_run(shelf: Archive) -> None:
    for n in range(40):
        shelf.keep(entry(f"otter-{n}", lines=tuple(f"{n} {i}" for i in range(3000))))
    with shelf.path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 200_000)
    with pytest.raises(HistoryError, match="was damaged"):
        shelf.entries()
    shelf.keep(entry())
    assert [e.name for e in shelf.entries()] == ["otter"]


def test_a_file_of_a_newer_version_is_left_alone(shelf: Archive) -> None:
    shelf.keep(entry())
    with sqlite3.connect(shelf.path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(HistoryError, match="newer kaito-jupyter"):
        shelf.entries()
    assert not list(shelf.path.parent.glob("*damaged*"))


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HistoryError, match="KAITO_HISTORY"):
        Archive(tmp_path / "file" / "history.sqlite").keep(entry())


def test_two_kernels_that_write_at_once_lose_nothing(shelf: Archive) -> None:
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from test_archive import entry
from kaito_jupyter.history import Archive
shelf = Archive(Path({str(shelf.path)!r}))
for n in range(30):
    made = entry(f"{{sys.argv[1]}}-{{n}}")
    shelf.keep(made)
    shelf.tag(made.key, [sys.argv[1]])
"""
    processes = [subprocess.Popen([sys.executable, "-c", code, who]) for who in ("a", "b")]
    assert [p.wait(120) for p in processes] == [0, 0]
    assert len(shelf.entries()) == 60
    assert len(shelf.entries(["b"])) == 30


def test_the_users_own_file_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KAITO_HISTORY", str(tmp_path / "mine.sqlite"))
    assert archive().path == tmp_path / "mine.sqlite"
    monkeypatch.setenv("KAITO_HISTORY", "OFF")
    none = archive()
    none.keep(entry())
    assert none.entries() == []
    with pytest.raises(HistoryError, match="is off"):
        none.note("x", "y")
    monkeypatch.delenv("KAITO_HISTORY")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    if sys.platform == "linux":
        assert archive().path == tmp_path / "state" / "kaito-jupyter" / "history.sqlite"


def test_speeds_are_those_of_the_same_model_method_and_node_the_latest_first(shelf: Archive) -> None:
    a100 = {"instance_type": "Standard_NC24ads_A100_v4", "backend": "kaito"}
    shelf.keep(entry("old", **a100, ended=100.0))
    shelf.keep(entry("new", **a100, ended=200.0, tokens_per_second=1300.0, seconds_per_step=2.0, devices=1))
    shelf.keep(entry("never-trained", **a100, tokens_per_second=None))
    shelf.keep(entry("here"))
    found = speeds("phi-4", "lora", "Standard_NC24ads_A100_v4", within=shelf)
    assert [(s.name, s.tokens_per_second, s.seconds_per_step) for s in found] == [
        ("new", 1300.0, 2.0),
        ("old", 1200.0, None),
    ]
    assert speeds("phi-4", "lora", "Standard_NC24ads_A100_v4", backend="job", within=shelf) == []
    assert [s.name for s in speeds("phi-4", "lora", within=shelf)] == ["here"]
    assert speeds("phi-4", "qlora", within=shelf) == []
