import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell

import kaito_jupyter as kaito
from kaito_jupyter.errors import RunNotFound, SpecError
from kaito_jupyter.run import Run


def value(shell: InteractiveShell, cell: str) -> Any:
    """The value of a cell that succeeds."""
    result = shell.run_cell(cell)
    result.raise_error()
    return result.result


def until(condition: Callable[[], bool]) -> None:
    """Wait until it is so."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def done(shell: InteractiveShell, shown: list[Any]) -> Run:
    """A run that has succeeded."""
    run = value(shell, "%kaito_tune df --preset a/b --max-steps 4 --name done --wait")
    shown.clear()
    return run  # type: ignore[no-any-return]


@pytest.fixture
def live(shell: InteractiveShell, shown: list[Any], done: Run, trainer: Callable[..., None]) -> Iterator[Run]:
    """A run that goes on until it is ended."""
    trainer("--hang", "--foreign")
    run = value(shell, "%kaito_tune df --preset a/b --max-steps 6 --name live")
    shown.clear()
    yield run
    if "live" in {r.name for r in kaito.runs()}:
        run.delete()


def test_runs_are_listed_newest_first(shell: InteractiveShell, live: Run) -> None:
    assert [run.name for run in value(shell, "%kaito runs")] == ["live", "done"]
    assert [run.name for run in value(shell, "%kaito runs --backend local -n default")] == ["live", "done"]
    assert list(value(shell, "%kaito runs -n elsewhere")) == []


def test_watch_shows_the_run_with_its_whole_curve(shell: InteractiveShell, done: Run, shown: list[Any]) -> None:
    run = value(shell, "%kaito watch done")
    assert shown == [run]
    assert list(run.history.index) == [1, 2, 3, 4]


def test_without_a_name_it_is_the_latest_run(shell: InteractiveShell, live: Run, shown: list[Any]) -> None:
    assert value(shell, "%kaito watch").name == "live"
    assert "live" in value(shell, "%kaito yaml").text


def test_a_name_may_come_from_a_variable(shell: InteractiveShell, done: Run, shown: list[Any]) -> None:
    shell.user_ns["which"] = "done"
    assert value(shell, "%kaito watch {which}").name == "done"


def test_logs_are_lines_with_or_without_events(shell: InteractiveShell, live: Run) -> None:
    until(lambda: live.state.global_step == 3)
    with_events = value(shell, "%kaito logs live --events --tail 3")
    assert len(with_events) == 3
    lines = value(shell, "%kaito logs live")
    assert lines
    assert not any("kaito_event" in line for line in lines)
    assert repr(lines) == "\n".join(lines)


def test_logs_are_followed_in_the_cell(shell: InteractiveShell, done: Run, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert value(shell, "%kaito logs done -f --events --tail 2") is None
    printed = capsys.readouterr().out.splitlines()
    assert printed == list(done.logs(2))


def test_logs_of_a_silent_run_say_so(shell: InteractiveShell, done: Run, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert value(shell, "%kaito logs done") == []
    assert "kaito: done has written nothing but events yet; --events shows them.\n" in capsys.readouterr().out


def test_the_default_number_of_lines_is_configured(shell: InteractiveShell, done: Run) -> None:
    shell.run_line_magic("config", "KaitoMagics.log_lines = 2")
    assert len(value(shell, "%kaito logs done --events")) == 2


def test_yaml_holds_the_spec_and_says_what_kaito_would_refuse(shell: InteractiveShell, done: Run) -> None:
    text = value(shell, "%kaito yaml done").text
    assert "# KAITO would refuse this: tuning.preset.name: " in text
    _, workspace = yaml.safe_load_all(text)
    assert workspace["metadata"]["name"] == "done"
    assert workspace["tuning"]["method"] == "lora"


def test_cancel_ends_a_run_and_shows_no_second_panel(
    shell: InteractiveShell, live: Run, shown: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    run = value(shell, "%kaito cancel live")
    assert run.name == "live"
    assert shown == []
    assert "kaito: live is asked to save and end.\n" in capsys.readouterr().out
    with pytest.raises(kaito.RunFailed, match="cancelled"):
        live.wait(30)
    value(shell, "%kaito cancel live")
    assert "kaito: live has ended already: Cancelled.\n" in capsys.readouterr().out


def test_cancel_without_a_name_takes_the_only_live_run(shell: InteractiveShell, live: Run, shown: list[Any]) -> None:
    second = value(shell, "%kaito_tune df --preset a/b --name second")
    error = shell.run_cell("%kaito cancel").error_in_exec
    assert str(error) == '%kaito cancel: 2 runs are alive. Say which: "second" and "live".'
    second.delete()
    assert value(shell, "%kaito cancel").name == "live"


def test_delete_refuses_a_live_run_without_yes(shell: InteractiveShell, live: Run) -> None:
    error = shell.run_cell("%kaito delete live").error_in_exec
    assert type(error) is SpecError
    assert str(error) == (
        "%kaito delete: live is alive (Running). End it first (%kaito cancel live), or add --yes to end and delete it."
    )
    assert value(shell, "%kaito delete live --yes") is None
    assert [run.name for run in kaito.runs()] == ["done"]


def test_delete_removes_a_run_that_has_ended(
    shell: InteractiveShell, done: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert value(shell, "%kaito delete done") is None
    assert "kaito: done is deleted.\n" in capsys.readouterr().out
    assert type(shell.run_cell("%kaito watch done").error_in_exec) is RunNotFound


def test_a_close_name_is_suggested(shell: InteractiveShell, done: Run) -> None:
    assert 'Did you mean "done"?' in str(shell.run_cell("%kaito watch don").error_in_exec)


def test_names_of_runs_complete(shell: InteractiveShell, live: Run) -> None:
    def offered(cell: str) -> list[str]:
        with provisionalcompleter():
            return [c.text for c in shell.Completer.completions(cell, len(cell))]

    assert offered("%kaito watch ") == ["done", "live"]
    assert offered("%kaito cancel li") == ["live"]
    assert offered("%kaito delete --yes ") == ["done", "live"]


def test_every_verb_has_help(shell: InteractiveShell) -> None:
    for verb in ("runs", "watch", "logs", "yaml", "cancel", "delete", "diagnose", "resume"):
        text = repr(value(shell, f"%kaito {verb} --help"))
        assert f"%kaito {verb}" in text
        assert "--backend" in text
    assert repr(value(shell, "%kaito")) == repr(value(shell, "%kaito help")) == shell.find_line_magic("kaito").__doc__


def test_the_doctor_looks_where_the_line_or_the_defaults_say(
    shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    import kaito_jupyter

    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(kaito_jupyter, "doctor", lambda **given: asked.append(given), raising=False)
    value(shell, "%kaito doctor")
    value(shell, "%kaito doctor --context test -n team-a --registry registry/a:1")
    shell.run_line_magic("config", "KaitoMagics.output = 'image:registry/b:1'")
    value(shell, "%kaito doctor")
    assert asked == [
        {"context": None, "namespace": None, "registry": None},
        {"context": "test", "namespace": "team-a", "registry": "registry/a:1"},
        {"context": None, "namespace": None, "registry": "image:registry/b:1"},
    ]


def test_the_doctor_gives_a_report(shell: InteractiveShell) -> None:
    report = value(shell, "%kaito doctor")
    assert [line.topic for line in report.lines][-1] == "this machine"
    assert "--backend" not in repr(value(shell, "%kaito doctor --help"))
