"""A notebook that nobody watches: executed by nbclient, it must hold the end of the run, with and without a kernel."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from kaito_jupyter.panel.bundle import WIDGET_VIEW

STUB = Path(__file__).parents[2] / "stub_trainer.py"


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The main job, headless; its last cell is the wait."""
    folder = tmp_path_factory.mktemp("headless")
    model = folder / "tiny-model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    cells = [
        (
            f"import os\nos.environ['XDG_STATE_HOME'] = '{folder}'\n"
            f"os.environ['KAITO_LOCAL_TRAINER'] = '{sys.executable} {STUB} --steps 30 --seconds 0.02'\n"
            "import pandas as pd\n%load_ext kaito_jupyter"
        ),
        "df = pd.DataFrame({'prompt': [f'q{i}' for i in range(40)], 'completion': [f'a{i}' for i in range(40)]})",
        f"run = %kaito_tune df --preset {model} --name headless",
        "run.wait()\nNone",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    return NotebookClient(notebook, timeout=120, kernel_name="python3", store_widget_state=True).execute()


def test_the_output_holds_the_final_picture_and_facts_and_no_widget(executed: Any) -> None:
    outputs = [output.data for output in executed.cells[2].outputs if output.output_type == "display_data"]
    assert [set(data) for data in outputs] == [{"text/plain", "image/png"}, {"text/plain", "text/html"}]
    assert "succeeded · 30 steps" in outputs[0]["text/plain"]
    assert "Succeeded" in outputs[1]["text/html"]
    assert all(WIDGET_VIEW not in data for data in outputs)


def test_the_stored_widget_state_holds_the_curve(executed: Any) -> None:
    states = executed.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"].values()
    (widget,) = [state for state in states if state["model_module"] == "anywidget"]
    assert widget["state"]["snapshot"]["n"] == 30
    assert [buffer["path"] for buffer in widget["buffers"]] == [["snapshot", "data"]]


def test_the_wait_adds_nothing_to_its_own_cell(executed: Any) -> None:
    assert executed.cells[3].outputs == []
