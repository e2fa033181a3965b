"""Events reach stdout and the file, numbered on, and no failure to do so ends a training."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from kaito_trainer.contract import decode
from kaito_trainer.contract.events import History, Log, Phase
from kaito_trainer.emit import Emitter


def numbers(text: str) -> list[int]:
    return [event.seq for line in text.splitlines() if (event := decode(line)) is not None]


def test_lines_go_to_both_places_at_once(tmp_path: Path) -> None:
    out = io.StringIO()
    emit = Emitter(out)
    emit(Phase(phase="loading"))
    emit.copy_to(tmp_path)
    emit(Log(global_step=1, loss=2.0))
    assert numbers(out.getvalue()) == [0, 1]
    assert (tmp_path / "events.jsonl").read_text() == out.getvalue().splitlines(keepends=True)[1]


@pytest.mark.parametrize(
    ("earlier", "first"),
    [
        ("", 0),
        ('{"kaito_event":1,"type":"log","seq":41,"time":1,"global_step":1}\n', 42),
        ('{"kaito_event":1,"type":"log","seq":41,"time":1}\n{"kaito_event":1,"type":"lo', 42),
        ("not ours\n", 0),
    ],
    ids=["empty", "whole", "torn", "foreign"],
)
def test_numbers_go_on_from_an_earlier_file_and_a_torn_line_stays_alone(
    tmp_path: Path, earlier: str, first: int
) -> None:
    (tmp_path / "events.jsonl").write_text(earlier)
    emit = Emitter(io.StringIO())
    emit.copy_to(tmp_path)
    emit(Phase(phase="loading"))
    written = (tmp_path / "events.jsonl").read_text()
    assert written.startswith(earlier)
    last = decode(written.splitlines()[-1])
    assert last is not None
    assert (last.type, last.seq) == ("phase", first)


def test_an_earlier_files_end_is_found_behind_a_long_history(tmp_path: Path) -> None:
    earlier = Emitter(None)
    earlier.copy_to(tmp_path)
    for _ in range(3):
        earlier(History(columns={"loss": [1.234567] * 500}))
    emit = Emitter(None)
    emit.copy_to(tmp_path)
    emit(Phase(phase="loading"))
    assert numbers((tmp_path / "events.jsonl").read_text()) == [0, 1, 2, 3]


def test_only_the_first_process_speaks(tmp_path: Path) -> None:
    out = io.StringIO()
    emit = Emitter(out, speaks=False)
    emit.copy_to(tmp_path)
    emit(Phase(phase="loading"))
    assert out.getvalue() == ""
    assert not list(tmp_path.iterdir())


def test_a_reader_that_went_away_is_no_failure(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as stream:
        emit = Emitter(stream)
        emit.copy_to(tmp_path)
        for step in range(3):
            emit(Log(global_step=step))
        stream.write("later words of anyone go nowhere, and fail nobody")
    assert numbers((tmp_path / "events.jsonl").read_text()) == [0, 1, 2]
    assert capfd.readouterr().err.count("events get lost") == 1


def test_a_folder_that_cannot_be_written_is_no_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = io.StringIO()
    emit = Emitter(out)
    emit.copy_to(tmp_path / "nonesuch")
    emit(Phase(phase="loading"))
    assert numbers(out.getvalue()) == [0]
    assert "events get lost" in capsys.readouterr().err


def test_what_json_has_no_word_for_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    out = io.StringIO()
    emit = Emitter(out)
    emit(Log(global_step=1, loss=float("nan")))
    odd: Any = object()
    emit(Phase(phase=odd))
    emit(Phase(phase="training"))
    assert numbers(out.getvalue()) == [0, 1]
    assert '"loss":null' in out.getvalue()
    assert "events get lost" in capsys.readouterr().err


def test_a_full_disk_is_no_failure_and_later_lines_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    emit = Emitter(None)
    emit.copy_to(tmp_path)
    write = os.write
    monkeypatch.setattr("kaito_trainer.emit.os.write", lambda fd, data: write(fd, data[:20]))
    emit(Phase(phase="loading"))
    monkeypatch.undo()
    emit(Phase(phase="training"))
    emit(Phase(phase="saving"))
    assert numbers((tmp_path / "events.jsonl").read_text()) == [1, 2]
    assert sys.stdout is not None
