"""A real IPython shell for each test, with a trainer that trains nothing and a state folder of its own."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

STUB = Path(__file__).parents[2] / "stub_trainer.py"


@pytest.fixture
def trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Runs of this test go to a folder of its own, and the stub trains, with the options given here."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    def use(*options: str) -> None:
        monkeypatch.setenv("KAITO_LOCAL_TRAINER", shlex.join([sys.executable, str(STUB), *options]))

    use()
    return use


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trainer: object) -> Iterator[InteractiveShell]:
    """A shell of its own with the extension loaded and some DataFrames defined."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.chdir(tmp_path)
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    config.Completer.use_jedi = False
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(config=config)
    shell.run_line_magic("load_ext", "kaito_jupyter")
    shell.user_ns["df"] = pd.DataFrame(
        {"prompt": [f"What is {i}?" for i in range(40)], "completion": [f"It is {i}." for i in range(40)]}
    )
    yield shell
    shell.run_line_magic("unload_ext", "kaito_jupyter")
    InteractiveShell.clear_instance()


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The runs whose panel was shown, in order; nothing is drawn."""
    import kaito_jupyter

    runs: list[Any] = []
    monkeypatch.setattr(kaito_jupyter, "show", runs.append, raising=False)
    return runs
