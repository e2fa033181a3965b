"""The form as a person fills it in who has no mouse: from a DataFrame to a run of a real model, in JupyterLab."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import axe
import pytest
from browsing import Jupyter, Notebook
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser

TESTS = Path(__file__).parent.parent
NAMED = """() => {
    const here = document.activeElement;
    const label = here.id && document.querySelector(`label[for="${here.id}"]`);
    return (label?.innerText || here.getAttribute('aria-label') || here.innerText || '').trim();
}"""
SETUP = """import os, pandas as pd
os.environ["KUBECONFIG"] = "/no/cluster/here"
from tiny import conversations
df = pd.DataFrame(conversations(60))
%load_ext kaito_jupyter"""


def tab_to(page: Page, name: str) -> None:
    """Press Tab until the control of that name has the focus. What no Tab reaches is not there."""
    for _ in range(120):
        page.keyboard.press("Tab")
        if page.evaluate(NAMED).startswith(name):
            return
    pytest.fail(f"no Tab leads to {name}")


def write(page: Page, name: str, text: str) -> None:
    tab_to(page, name)
    page.keyboard.type(text)


def themed(notebook: Notebook, theme: str) -> None:
    notebook.command("apputils:change-theme", {"theme": theme})
    notebook.page.wait_for_function("theme => document.body.dataset.jpThemeName === theme", arg=theme)


@pytest.mark.train
def test_by_keyboard_alone_from_a_frame_to_a_tuned_model_and_its_line_says_the_same(
    jupyter: Jupyter, tmp_path: Path
) -> None:
    pytest.importorskip("trl", reason="needs kaito-trainer[train]")
    model = tmp_path / "tiny-llama"
    make = "import pathlib, sys, tiny; tiny.make_model(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", make, str(model)], cwd=TESTS, check=True, capture_output=True)
    cells = [SETUP, "form = %kaito_form df", "open('spec.yaml', 'w').write(form.spec.to_yaml())", "6 * 7"]
    notebook = jupyter.open(jupyter.write("form.ipynb", cells))
    page = notebook.page
    page.keyboard.press("Shift+Enter")
    page.keyboard.press("Control+Enter")
    form = notebook.output(1).locator(".kaito-form")
    expect(form).to_be_visible(timeout=120_000)

    write(page, "Model", str(model))
    write(page, "Name of the run", "by-hand")
    write(page, "max_steps", "many")
    expect(form).to_contain_text('"many" is not a whole number', timeout=60_000)
    expect(form.locator(".kf-field.kf-error")).to_have_count(1)
    expect(form.get_by_role("button", name="Submit")).to_be_disabled()
    page.keyboard.press("Control+A")
    page.keyboard.type("12")
    write(page, "per_device_train_batch_size", "2")
    write(page, "r", "4")
    tab_to(page, "▸ Training")
    page.keyboard.press("Enter")
    tab_to(page, "lr_scheduler_type")
    page.keyboard.type("constant")
    expect(form).to_contain_text("Ready to start", timeout=120_000)
    expect(form).to_contain_text("df as tiny-llama sees it", timeout=120_000)
    expect(form.get_by_role("textbox", name="The magic line that repeats this form")).to_have_value(
        f"%kaito_tune df --preset {model} --name by-hand --rank 4 --max-steps 12 --batch-size 2 "
        "--set TrainingArguments.lr_scheduler_type=constant"
    )
    tab_to(page, "Submit")
    page.keyboard.press("Enter")
    panel = notebook.panel(1)
    expect(panel).to_have_attribute("data-state", "Succeeded", timeout=240_000)
    expect(form).to_contain_text("by-hand was started", timeout=60_000)
    notebook.run(2)
    notebook.run(3)
    assert "42" in notebook.text(3)
    assert jupyter.problems == []

    line = form.get_by_role("textbox", name="The magic line that repeats this form").input_value()
    check = "from pathlib import Path\nprint(plan.spec.to_yaml() == Path('spec.yaml').read_text())"
    fresh = jupyter.open(jupyter.write("fresh.ipynb", [SETUP, f"plan = {line} --dry-run", check]))
    for cell in range(3):
        fresh.run(cell, milliseconds=180_000)
    assert "True" in fresh.text(2)


def test_nothing_in_the_form_keeps_anybody_out(jupyter: Jupyter) -> None:
    line = "%kaito_form df --preset phi-4-mini-instruct --backend kaito --learning-rate fast"
    notebook = jupyter.open(jupyter.write("axe.ipynb", [SETUP, line]))
    notebook.run(0)
    notebook.run(1)
    form = notebook.output(1).locator(".kaito-form")
    expect(form).to_contain_text("to mend before it can start", timeout=120_000)
    expect(form).to_contain_text("rows (conversational)", timeout=120_000)
    for switch in form.locator("button.kf-switch:visible").all():
        switch.click()
    expect(form.get_by_label("lora_dropout")).to_be_visible()
    expect(form.get_by_label("use_dora")).to_be_visible(timeout=60_000)
    expect(form.get_by_role("region", name="YAML")).to_be_visible(timeout=60_000)
    assert axe.grave(form) == []
    themed(notebook, "JupyterLab Dark")
    assert axe.grave(form) == []
    themed(notebook, "JupyterLab Light")
    assert jupyter.problems == []
