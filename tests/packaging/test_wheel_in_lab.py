"""The panel of an installed wheel, in a JupyterLab of the same environment, on a machine without Node."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import CHROMIUM, CHROMIUM_ARGUMENTS, Jupyter, Server
from playwright.sync_api import sync_playwright

from .conftest import Environment

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]  # an environment is installed


def recording(path: Path) -> Path:
    """The lines of a run of ten steps."""
    lines = [{"type": "train_begin", "max_steps": 10, "num_train_epochs": 1}]
    lines += [{"type": "log", "global_step": step, "loss": 4 - step / 10, "epoch": step / 10} for step in range(1, 11)]
    lines += [{"type": "train_end", "global_step": 10, "status": "completed"}]
    text = [json.dumps({"kaito_event": 1, "seq": seq, "time": 1e9 + seq, **line}) for seq, line in enumerate(lines)]
    path.write_text("\n".join(text) + "\n")
    return path


@pytest.fixture
def jupyter(plain: Environment, tmp_path: Path) -> Iterator[Jupyter]:
    server = Server(tmp_path, {}, python=plain.python, base=plain.variables)
    try:
        server.wait_until_up(300)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=list(CHROMIUM_ARGUMENTS))
            page = browser.new_page()
            page.set_default_timeout(120_000)
            yield Jupyter(server, page)
            browser.close()
    finally:
        server.stop()


def test_a_wheel_without_node_shows_the_panel(jupyter: Jupyter, tmp_path: Path) -> None:
    played = recording(tmp_path / "otter.jsonl")
    cell = f"""
%load_ext kaito_jupyter
import shutil
import kaito_jupyter as kaito
from kaito_jupyter.backends.replay import ReplayBackend
assert shutil.which("node") is None
assert "site-packages" in kaito.__file__
run = kaito.watch("otter", backend=ReplayBackend({str(played)!r}))
run
"""
    notebook = jupyter.open(jupyter.write("wheel.ipynb", [cell]))
    notebook.run(0)
    panel = notebook.panel(0)
    panel.wait_for()
    notebook.page.wait_for_function("Number(document.querySelector('.kaito-panel')?.dataset.points) >= 10")
    assert "Succeeded" in panel.inner_text()
    assert not jupyter.problems
