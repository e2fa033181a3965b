"""The magics through a real ipykernel, as a headless notebook runs them."""

import asyncio
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

FRAME = (
    "import pandas as pd\n"
    "df = pd.DataFrame({'prompt': [f'What is {i}? ' for i in range(40)], 'completion': [f'It is {i}.' for i in range(40)]})"
)
PANEL = "application/vnd.jupyter.widget-view+json"


@pytest.fixture
def execute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trainer: Callable[..., None]
) -> Iterator[Callable[..., list[Any]]]:
    """Run cells in a notebook of their own; gives back the cells with their outputs."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("PYTHONPATH", ":".join(p for p in sys.path if p))

    def run(*sources: str, allow_errors: bool = False) -> list[Any]:
        cells = [nbformat.v4.new_code_cell(s) for s in ("%load_ext kaito_jupyter", FRAME, *sources)]
        notebook = nbformat.v4.new_notebook(cells=cells)
        client = NotebookClient(
            notebook,
            timeout=120,
            kernel_name="python3",
            allow_errors=allow_errors,
            resources={"metadata": {"path": tmp_path}},
        )
        with warnings.catch_warnings():
            # zmq and asyncio complain of loops that nbclient leaves to the garbage collector.
            warnings.simplefilter("ignore")
            client.execute()
        return notebook.cells[2:]

    yield run
    asyncio.set_event_loop(None)


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[\d;]*m", "", text)


def test_a_waited_run_leaves_picture_and_text_and_is_shown_once(execute: Callable[..., list[Any]]) -> None:
    waited, listed = execute("%kaito_tune df --preset a/b --max-steps 12 --name one --wait", "%kaito runs")
    kinds = [(o.output_type, sorted(o.get("data", {}))) for o in waited.outputs]
    assert kinds == [  # a stream of warnings would show too
        ("stream", []),
        ("display_data", ["image/png", "text/plain"]),
        ("display_data", ["text/html", "text/plain"]),
    ], waited.outputs
    assert waited.outputs[0].text.startswith("kaito: lora on a/b: 40 rows (instruction), 4 of them held out, 12 steps")
    assert "one" in waited.outputs[1].data["text/plain"]
    assert "12" in waited.outputs[1].data["text/plain"]
    assert "Succeeded" in listed.outputs[0].data["text/plain"]


def test_a_run_in_the_background_frees_the_kernel_at_once(
    execute: Callable[..., list[Any]], trainer: Callable[..., None]
) -> None:
    trainer("--hang")
    started, free, awaited = execute(
        "run = %kaito_tune df --preset a/b --max-steps 20",
        "print(run.done)",
        "run.cancel()\n"
        "try:\n"
        "    await run.wait()\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, run.state.state)",
    )
    assert any("text/plain" in o.get("data", {}) for o in started.outputs)
    assert free.outputs[0].text == "False\n"
    assert awaited.outputs[0].text == "RunFailed Cancelled\n"


def test_a_run_as_a_value_shows_its_panel_once_in_each_cell(execute: Callable[..., list[Any]]) -> None:
    first, second = execute("run = %kaito_tune df --preset a/b --max-steps 3 --wait\nrun", "run")
    for cell in (first, second):
        assert [sorted(o.data) for o in cell.outputs if o.output_type == "display_data"] == [
            ["image/png", "text/plain"],
            ["text/html", "text/plain"],
        ]
        assert not [o for o in cell.outputs if o.output_type == "execute_result"]


@pytest.mark.parametrize(
    ("source", "name", "told"),
    [
        (
            "%kaito_tune df --presett a/b",
            "SpecError",
            '--presett: %kaito_tune has no such option. Did you mean "--preset"?',
        ),
        (
            "%%kaito_tune df --preset a/b --epochs 0\nLoraConfig:\n  r: 0",
            "SpecError",
            (
                "2 problems in the spec:\n"
                "  LoraConfig.r: 0 is out of range. Give a whole number of at least 1.\n"
                "  --epochs: 0 is out of range. Give a number above 0."
            ),
        ),
        ("%kaito_tune fd2 --preset a/b", "DatasetError", 'DF: fd2 is not defined. DataFrames here: "df".'),
        ("%kaito watch nope", "RunNotFound", "run nope: there is no such run on this machine. There is none yet."),
    ],
)
def test_a_mistake_fails_a_headless_notebook_with_its_message_alone(
    execute: Callable[..., list[Any]], source: str, name: str, told: str
) -> None:
    (cell, after) = execute(source, "print('went on')", allow_errors=True)
    (output,) = cell.outputs
    assert (output.output_type, output.ename, output.evalue) == ("error", name, told)
    first, *rest = told.splitlines()
    assert [plain(line) for line in output.traceback] == [f"kaito: {first}", *rest]
    assert after.outputs[0].text == "went on\n"
    with pytest.raises(CellExecutionError) as failure:
        execute(source)
    assert "Traceback" not in str(failure.value)
    assert told.splitlines()[0] in str(failure.value)


def test_a_run_that_fails_fails_the_notebook_that_waits_for_it(
    execute: Callable[..., list[Any]], trainer: Callable[..., None]
) -> None:
    trainer("--fail", "out-of-memory")
    (cell,) = execute("%kaito_tune df --preset a/b --max-steps 8 --name bad --wait", allow_errors=True)
    (error,) = [o for o in cell.outputs if o.output_type == "error"]
    assert error.ename == "RunFailed"
    assert error.evalue.startswith("run bad failed: out-of-memory: ")
    assert len(error.traceback) == len(error.evalue.splitlines())
    assert [o for o in cell.outputs if "image/png" in o.get("data", {})]


def test_a_hostile_log_stays_text(execute: Callable[..., list[Any]], trainer: Callable[..., None]) -> None:
    trainer("--foreign", "--seconds", "0.01")
    (_, logs) = execute("%kaito_tune df --preset a/b --max-steps 12 --wait", "%kaito logs")
    data = logs.outputs[0].data
    assert sorted(data) == ["text/plain"]
    assert "<img src=x onerror=" in data["text/plain"]
