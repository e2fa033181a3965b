from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from kaito_jupyter.errors import SpecError


def value(shell: InteractiveShell, cell: str) -> Any:
    result = shell.run_cell(cell)
    result.raise_error()
    return result.result


def test_what_runs_leave_outlives_them(
    shell: InteractiveShell, shown: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("KAITO_HISTORY", str(tmp_path / "history.sqlite"))
    for name in ("one", "two"):
        value(shell, f"%kaito_tune df --preset a/b --max-steps 4 --name {name} --wait")
    value(shell, "%kaito note one the small rank")
    value(shell, "%kaito tag one baseline rank")
    value(shell, "%kaito tag one --remove rank")
    value(shell, "%kaito delete one")
    assert [r.name for r in value(shell, "%kaito runs")] == ["two"]
    assert [r.name for r in value(shell, "%kaito runs --all")] == ["two", "one"]
    (gone,) = value(shell, "%kaito runs --tag baseline")
    assert (gone.tags, [n.text for n in gone.notes]) == (("baseline",), ["the small rank"])
    versus = value(shell, "%kaito compare one two --by tokens --price-per-hour 2")
    assert (versus.labels, versus.by) == (("one", "two"), "tokens")
    assert value(shell, "%kaito report one -o one.html").read_text().startswith("<!doctype html>")
    capsys.readouterr()
    value(shell, "%kaito note one")
    assert "the small rank" in capsys.readouterr().out
    with pytest.raises(SpecError, match="no price"):
        value(shell, "%kaito compare one two --price-per-hour much")
    with pytest.raises(SpecError, match="which run"):
        value(shell, "%kaito note")
