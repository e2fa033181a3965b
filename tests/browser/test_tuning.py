"""The main job as a person does it in the browser: submit, watch, cancel, reload, lose the kernel, reopen.

The trainer is the stub, but for the last test: what is looked at here lies between the trainer's lines and the page.
"""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
from browsing import Jupyter, Notebook
from playwright.sync_api import BrowserContext, expect

pytestmark = pytest.mark.browser

STUB = Path(__file__).parent.parent / "stub_trainer.py"
UIS: tuple[Literal["lab", "notebook"], ...] = ("lab", "notebook")
_numbers = itertools.count(1)


def setup(
    model: Path,
    stub: str,
    *,
    rows: str = "'prompt': [f'q{i}' for i in range(40)], 'completion': [f'a{i}' for i in range(40)]",
) -> str:
    """The first cell: the extension, a DataFrame, a model's folder, and how the stub behaves."""
    return (
        f"import os, pandas as pd\n"
        f"os.environ['KAITO_LOCAL_TRAINER'] = '{sys.executable} {STUB} {stub}'\n"
        f"model = '{model}'\n"
        f"df = pd.DataFrame({{{rows}}})\n"
        f"%load_ext kaito_jupyter"
    )


@pytest.fixture
def name() -> str:
    """A run's name that no other test uses."""
    return f"browser-{next(_numbers)}"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny-model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return folder


def shown(notebook: Notebook, cell: int) -> tuple[int, int, int]:
    """Points of the panel's curve: how many, the first step and the last one."""
    facts = notebook.panel(cell).evaluate("panel => ({...panel.dataset})")
    return int(facts["points"] or 0), int(facts["first"] or 0), int(facts["last"] or 0)


def wait_for_points(notebook: Notebook, cell: int, count: int) -> None:
    notebook.page.wait_for_function(
        "([cell, count]) => Number(cell.querySelector('.kaito-panel')?.dataset.points) >= count",
        arg=[notebook.cell(cell).element_handle(), count],
    )


def wait_for_state(notebook: Notebook, cell: int, state: str) -> None:
    expect(notebook.panel(cell)).to_have_attribute("data-state", state)


@pytest.mark.parametrize("ui", UIS)
def test_the_next_cell_answers_while_the_curve_grows_and_cancel_ends_the_run(
    jupyter: Jupyter, model: Path, name: str, ui: Literal["lab", "notebook"]
) -> None:
    cells = [setup(model, "--steps 2000 --seconds 0.05"), f"%kaito_tune df --preset {{model}} --name {name}", "6 * 7"]
    notebook = jupyter.open(jupyter.write(f"{name}.ipynb", cells), ui)
    notebook.run(0)
    notebook.run(1)
    wait_for_points(notebook, 1, 5)
    before, first, _ = shown(notebook, 1)
    notebook.run(2)
    assert "42" in notebook.text(2)
    assert first == 1
    wait_for_points(notebook, 1, before + 10)
    panel = notebook.panel(1)
    expect(panel.locator("progress")).to_have_attribute("aria-label", "Progress of the run")
    expect(panel.get_by_role("status")).to_contain_text(f"{name}: ")

    panel.get_by_role("button", name="Cancel run").click()
    expect(panel).to_have_attribute("data-state", "Running")
    panel.get_by_role("button", name="Really cancel?").click()
    wait_for_state(notebook, 1, "Cancelled")
    expect(panel.get_by_text(re.compile(r"^Cancelled at step \d+ of 2,000"))).to_be_visible()
    assert jupyter.problems == []


@pytest.mark.parametrize("ui", UIS)
def test_reloading_the_page_in_mid_run_brings_the_complete_curve_back(
    jupyter: Jupyter, model: Path, name: str, ui: Literal["lab", "notebook"]
) -> None:
    cells = [
        setup(model, "--steps 2000 --seconds 0.05"),
        f"run = %kaito_tune df --preset {{model}} --name {name}",
        "run.delete()",
    ]
    notebook = jupyter.open(jupyter.write(f"{name}.ipynb", cells), ui)
    notebook.run(0)
    notebook.run(1)
    wait_for_points(notebook, 1, 20)
    notebook.save()
    before, _, _ = shown(notebook, 1)
    notebook.reload()
    wait_for_points(notebook, 1, before + 20)
    points, first, last = shown(notebook, 1)
    assert (first, last) == (1, points)
    notebook.run(2)


@pytest.mark.parametrize("ui", UIS)
def test_a_run_outlives_its_kernel_and_a_new_one_shows_every_step_once(
    jupyter: Jupyter, model: Path, name: str, ui: Literal["lab", "notebook"]
) -> None:
    cells = [
        setup(model, "--steps 250 --seconds 0.05"),
        f"%kaito_tune df --preset {{model}} --name {name}",
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        f"%load_ext kaito_jupyter\nrun = %kaito watch {name}",
        "steps = run.wait().history.index.tolist(); print(steps == list(range(1, 251)))",
    ]
    notebook = jupyter.open(jupyter.write(f"{name}.ipynb", cells), ui)
    notebook.run(0)
    notebook.run(1)
    wait_for_points(notebook, 1, 20)
    notebook.run(2, wait=False)
    dialog = notebook.page.get_by_role("button", name=re.compile("^(Ok|OK|Restart)$"))
    dialog.first.click()
    notebook.wait_for_kernel()
    notebook.run(3)
    wait_for_points(notebook, 3, 60)
    points, first, last = shown(notebook, 3)
    assert (first, last) == (1, points)
    wait_for_state(notebook, 3, "Succeeded")
    assert shown(notebook, 3) == (250, 1, 250)
    notebook.run(4)
    assert "True" in notebook.text(4)


@pytest.mark.parametrize("ui", UIS)
def test_the_saved_notebook_shows_the_end_without_a_kernel_and_without_trust(
    jupyter: Jupyter, browser: BrowserContext, model: Path, name: str, tmp_path: Path, ui: Literal["lab", "notebook"]
) -> None:
    cells = [
        setup(model, "--steps 40 --seconds 0.05"),
        f"run = %kaito_tune df --preset {{model}} --name {name}",
        "await run",
    ]
    notebook = jupyter.open(jupyter.write(f"{name}.ipynb", cells), ui)
    notebook.run(0)
    notebook.run(1)
    wait_for_state(notebook, 1, "Succeeded")
    expect(notebook.panel(1)).to_contain_text("Held-out prompts, before and after")
    content = notebook.save()
    assert "application/vnd.jupyter.widget-view+json" not in json.dumps(content)
    picture = next(output for output in content["cells"][1]["outputs"] if "image/png" in output.get("data", {}))
    assert picture["metadata"]["image/png"]["alt"].startswith(f"Loss curve of {name}: succeeded, 40 steps")

    content["cells"][0]["source"] = "# changed by another hand: the signature is void, and so is the trust"
    copy = notebook.path.with_name(f"{name}-copy.ipynb")
    copy.write_text(json.dumps(content))
    jupyter.server.stop_kernels()
    reopened = jupyter.open(copy, ui, kernel=False)
    reopened.page.wait_for_function("window.jupyterapp?.shell?.currentWidget?.content?.widgets?.[1]?.model")
    assert not reopened.page.evaluate("window.jupyterapp.shell.currentWidget.content.widgets[1].model.trusted")
    expect(reopened.output(1).locator("img")).to_be_visible()
    assert reopened.output(1).locator("img").evaluate("image => image.naturalWidth") > 600
    expect(reopened.output(1)).to_contain_text(name)
    expect(reopened.output(1)).to_contain_text("succeeded · 40 steps")
    expect(reopened.output(1)).to_contain_text("answer 40")

    if ui == "lab":
        exported_without_network(browser, copy, tmp_path, name)


def exported_without_network(browser: BrowserContext, notebook: Path, folder: Path, name: str) -> None:
    """`jupyter nbconvert --to html`, looked at with no network at all."""
    subprocess.run(
        [sys.executable, "-m", "nbconvert", "--to", "html", "--output-dir", str(folder), str(notebook)],
        check=True,
        capture_output=True,
    )
    page = browser.new_page()
    page.route(
        "**/*", lambda route: route.continue_() if route.request.url.startswith(("file:", "data:")) else route.abort()
    )
    page.goto((folder / f"{notebook.stem}.html").as_uri())
    picture = page.locator("img").first
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.naturalWidth") > 600
    expect(page.get_by_text("succeeded · 40 steps").first).to_be_visible()
    page.close()


def test_nothing_in_the_data_or_the_log_executes(jupyter: Jupyter, model: Path, name: str) -> None:
    markup = '<script>window.owned=1</script><img src=x onerror="window.owned=1">'
    rows = f"'prompt': ['''{markup} ''' + str(i) for i in range(40)], 'completion': [str(i) + '''{markup}''' for i in range(40)], '''{markup}''': 1"
    cells = [
        setup(model, "--steps 30 --seconds 0.05 --foreign --raise --at 20", rows=rows),
        f"run = %kaito_tune df --preset {{model}} --name {name}",
        "from kaito_jupyter import Dataset; Dataset.read(df, name='''" + markup + "''')",
        f"%kaito logs {name}",
        "%kaito runs",
        "run.state.samples and None; run",
    ]  # fmt: skip
    notebook = jupyter.open(jupyter.write(f"{name}.ipynb", cells))
    notebook.run(0)
    notebook.run(1)
    notebook.panel(1).get_by_role("button", name="Logs").click()
    wait_for_state(notebook, 1, "Failed")
    expect(notebook.panel(1)).to_contain_text("the log has ended")
    notebook.panel(1).get_by_label("Search the log").fill(
        "<script>document.title"
    )  # lines out of sight are no elements
    expect(notebook.panel(1).get_by_role("log")).to_contain_text("<script>document.title='owned'</script>")
    expect(notebook.panel(1)).to_contain_text("RuntimeError: the stub was told to fail at step 20: <script>1</script>")
    for cell in range(2, 6):
        notebook.run(cell)
    expect(notebook.output(3)).to_contain_text("<script>")
    notebook.page.wait_for_timeout(500)
    assert notebook.page.evaluate("window.owned") is None
    assert "owned" not in notebook.page.title()
    content = notebook.save()
    for output in content["cells"][1]["outputs"]:
        html = "".join(output.get("data", {}).get("text/html", ""))
        assert "<script" not in html
        assert "<img" not in html
    jupyter.server.stop_kernels()
    reopened = jupyter.open(notebook.path, kernel=False)
    expect(reopened.output(1)).to_contain_text("<script>1</script>")
    assert reopened.page.evaluate("window.owned") is None
    assert "owned" not in reopened.page.title()


@pytest.mark.train
def test_a_real_model_is_tuned_and_shown_from_loading_to_its_adapter(
    jupyter: Jupyter, name: str, tmp_path: Path
) -> None:
    pytest.importorskip("trl", reason="needs kaito-trainer[train]")
    model = tmp_path / "tiny-llama"
    make = "import pathlib, sys, tiny; tiny.make_model(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", make, str(model)], cwd=STUB.parent, check=True, capture_output=True)
    cells = [
        "import pandas as pd\nfrom tiny import conversations\n%load_ext kaito_jupyter",
        f"run = %kaito_tune pd.DataFrame(conversations(60)) --preset {model} --name {name} --max-steps 24 --batch-size 2",
        "6 * 7",
        "(await run).adapter.size > 0",
    ]
    notebook = jupyter.open(jupyter.write(f"{name}.ipynb", cells))
    notebook.run(0)
    notebook.run(1)
    notebook.run(2)
    assert "42" in notebook.text(2)
    panel = notebook.panel(1)
    expect(panel).to_have_attribute("data-state", "Succeeded", timeout=120_000)
    assert shown(notebook, 1) == (24, 1, 24)
    for text in ("loading", "tokenizing", "training", "saving", "Adapter", "Held-out prompts, before and after"):
        expect(panel).to_contain_text(text)
    notebook.run(3)
    assert "True" in notebook.text(3)
