"""A shell with our magics, and forms that leave no thread behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(config=config)
    shell.run_line_magic("load_ext", "kaito_jupyter")
    yield shell
    shell.run_line_magic("unload_ext", "kaito_jupyter")
    InteractiveShell.clear_instance()


@pytest.fixture
def form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """`kaito_jupyter.form`, on a machine that knows no cluster and has no runs. Its forms are closed afterwards."""
    import kaito_jupyter

    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    made: list[Any] = []

    def make(*arguments: Any, **options: Any) -> Any:
        made.append(kaito_jupyter.form(*arguments, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()
