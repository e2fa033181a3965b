"""A run in a terminal."""

from __future__ import annotations

import io
import threading

import pytest
from scripted import ScriptedRun

from kaito_jupyter import panel
from kaito_jupyter.panel import follow


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_without_a_front_end_a_run_is_shown_as_some_lines_of_text(capsys: pytest.CaptureFixture[str]) -> None:
    run = ScriptedRun("docs", steps=10)
    run.begin()
    run.train(5)
    panel.show(run)
    said = capsys.readouterr().out
    assert said.startswith("docs · training 5/10")
    assert "loss" in said


def test_a_terminals_line_is_written_over_until_the_run_has_ended() -> None:
    run, out = ScriptedRun("docs", steps=20), Terminal()
    run.begin()

    def work() -> None:
        run.train(20, seconds=0.005)
        run.finish()

    threading.Thread(target=work).start()
    follow(run, out, every=0.01)
    lines = out.getvalue().split("\r")
    assert len(lines) > 3
    assert lines[-1].startswith("docs: succeeded · 20 steps")
    assert lines[-1].endswith("\n")
    assert out.getvalue().count("\n") == 1


def test_a_log_file_gets_a_line_a_tenth() -> None:
    run, out = ScriptedRun("docs", steps=100), io.StringIO()
    run.begin()

    def work() -> None:
        run.train(100, seconds=0.003)
        run.finish()

    threading.Thread(target=work).start()
    follow(run, out, every=0.005)
    lines = out.getvalue().splitlines()
    assert 5 <= len(lines) <= 14
    assert lines[-1].startswith("docs: succeeded")


def test_a_line_cannot_steer_the_terminal() -> None:
    run, out = ScriptedRun("docs"), Terminal()
    run.status("Failed", "bad\x1b[2J news\nand more")
    follow(run, out)
    assert "\x1b" not in out.getvalue()
    assert out.getvalue().count("\n") == 1
