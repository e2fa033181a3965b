"""The panel itself, on a run that does what the test says: look, keyboard, theme, size, and staying in place."""

from __future__ import annotations

import itertools
from pathlib import Path

import axe
import pytest
from browsing import Jupyter, Notebook
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

SETUP = """
import threading, time
from kaito_trainer.contract import events as ev
from kaito_jupyter.panel import live, show
from scripted import ScriptedRun
"""


def opened(jupyter: Jupyter, name: str, *cells: str) -> Notebook:
    notebook = jupyter.open(jupyter.write(f"{name}.ipynb", [SETUP, *cells]))
    notebook.run(0)
    return notebook


def test_the_panel_stays_where_it_is_when_its_output_is_drawn_again_and_when_the_run_ends(jupyter: Jupyter) -> None:
    notebook = opened(
        jupyter,
        "stays",
        "live.PICTURE_EVERY = 0.5\n"
        "run = ScriptedRun(steps=400); run.begin(); run.train(30, tell=False); show(run)\n"
        "go = threading.Event()\n"
        "def work():\n    run.train(50, seconds=0.1); go.wait(); run.finish()\n"
        "threading.Thread(target=work).start()",
    )
    notebook.run(1)
    panel = notebook.panel(1)
    panel.wait_for()
    panel.get_by_role("button", name="Learning rate").click()
    panel.get_by_label("Log scale").check()
    logs = panel.get_by_role("button", name="Logs")
    logs.click()
    log = panel.get_by_role("log")
    expect(log).to_contain_text("[log] global_step=30")
    log.evaluate("element => { element.scrollTop = 40 }")
    panel.evaluate("element => { element.mine = true; window.redrawn = 0; }")
    notebook.page.evaluate(
        """cell => new MutationObserver(changes => { window.redrawn += 1 })
            .observe(cell.querySelector('.jp-OutputArea'), {childList: true, subtree: true})""",
        notebook.cell(1).element_handle(),
    )
    logs.focus()
    notebook.page.wait_for_function("Number(document.querySelector('.kaito-panel')?.dataset.points) >= 50")
    assert notebook.page.evaluate("window.redrawn") > 0
    assert panel.evaluate("element => element.mine"), "another panel came in its place"
    expect(logs).to_be_focused()
    assert log.evaluate("element => element.scrollTop") == 40
    expect(panel.get_by_role("button", name="Learning rate")).to_have_attribute("aria-pressed", "true")

    notebook.page.evaluate(
        "window.jupyterapp.shell.currentWidget.context.sessionContext.session.kernel.requestExecute({code: 'go.set()'})"
    )
    expect(panel).to_have_attribute("data-state", "Succeeded")
    expect(notebook.output(1).locator("kaito-run-1 .kaito-panel")).to_be_visible()
    assert panel.evaluate("element => element.mine"), "another panel came in its place"
    expect(panel).to_have_count(1)
    expect(notebook.output(1).locator("img")).to_be_hidden()
    expect(panel.get_by_label("Log scale")).to_be_checked()


def test_a_page_with_the_kernel_still_there_shows_an_ended_run_live_after_a_reload(jupyter: Jupyter) -> None:
    notebook = opened(
        jupyter, "ended", "run = ScriptedRun(steps=40); run.begin(); run.train(40); run.finish(); show(run)"
    )
    notebook.run(1)
    expect(notebook.panel(1)).to_have_attribute("data-points", "40")
    notebook.save()
    notebook.reload()
    expect(notebook.panel(1)).to_have_attribute("data-points", "40")
    expect(notebook.panel(1).locator("canvas")).to_be_visible()
    expect(notebook.output(1).locator("img")).to_be_hidden()


def test_a_hundred_thousand_steps_are_shown_and_zoomed_into(jupyter: Jupyter) -> None:
    notebook = opened(
        jupyter,
        "long",
        "run = ScriptedRun(steps=200_000); run.begin(); run.train(100_000, tell=False); show(run)",
        "run.train(100_010)",
    )
    notebook.run(1)
    panel = notebook.panel(1)
    expect(panel).to_have_attribute("data-points", "100000")
    notebook.run(2)
    expect(panel).to_have_attribute("data-points", "100010")
    panel.locator(".kaito-canvas").scroll_into_view_if_needed()
    box = panel.locator(".u-over").bounding_box()
    assert box
    mouse = notebook.page.mouse
    mouse.move(box["x"] + 100, box["y"] + 50)
    mouse.down()
    mouse.move(box["x"] + 160, box["y"] + 60, steps=4)
    mouse.up()
    everything = panel.get_by_role("button", name="Show all")
    expect(everything).to_be_visible()
    everything.click()
    expect(everything).to_be_hidden()
    assert jupyter.problems == []


def test_the_panel_follows_the_theme(jupyter: Jupyter) -> None:
    notebook = opened(jupyter, "theme", "run = ScriptedRun(); run.begin(); run.train(30); show(run)")
    notebook.run(1)
    panel = notebook.panel(1)
    expect(panel).to_have_attribute("data-dark", "false")
    try:
        notebook.command("apputils:change-theme", {"theme": "JupyterLab Dark"})
        expect(panel).to_have_attribute("data-dark", "true")
        back, front = panel.evaluate(
            "element => [getComputedStyle(element).backgroundColor, getComputedStyle(element).color]"
        )
        assert (back, front) == ("rgb(17, 17, 17)", "rgb(255, 255, 255)")
    finally:
        notebook.command("apputils:change-theme", {"theme": "JupyterLab Light"})
    expect(panel).to_have_attribute("data-dark", "false")


def test_the_panel_is_worked_by_keyboard_and_read_aloud(jupyter: Jupyter) -> None:
    notebook = opened(
        jupyter,
        "keyboard",
        "run = ScriptedRun('by-keyboard'); run.begin(); run.train(30); show(run)",
        "run.status('Cancelled'); run.cancelled",
    )
    notebook.run(1)
    panel = notebook.panel(1)
    panel.get_by_role("button", name="Logs").focus()
    reached = []
    for _ in range(8):
        reached.append(
            notebook.page.evaluate(
                "document.activeElement.getAttribute('aria-label') || document.activeElement.innerText || document.activeElement.type"
            )
        )
        notebook.page.keyboard.press("Tab")
    assert reached == [
        "Logs",
        "Cancel run",
        "Loss",
        "Held-out loss",
        "Learning rate",
        "Smoothing",
        "checkbox",
        "Horizontal axis",
    ]
    expect(panel.get_by_role("status")).to_contain_text("by-keyboard: Training · step 30 of 400")
    assert "Loss by step, 30 points from step 1 to 30." in (
        panel.get_by_role("application").get_attribute("aria-label") or ""
    )
    panel.get_by_role("button", name="Cancel run").press("Enter")
    panel.get_by_role("button", name="Really cancel?").press("Enter")
    expect(panel.get_by_role("button", name="Cancelling …")).to_be_disabled()
    notebook.run(2)
    assert "1" in notebook.text(2)


def test_one_press_of_cancel_is_taken_back_by_time(jupyter: Jupyter) -> None:
    notebook = opened(jupyter, "once", "run = ScriptedRun(); run.begin(); show(run)", "run.cancelled")
    notebook.run(1)
    panel = notebook.panel(1)
    panel.get_by_role("button", name="Cancel run").click()
    expect(panel.get_by_role("button", name="Really cancel?")).to_be_visible()
    expect(panel.get_by_role("button", name="Cancel run")).to_be_visible(timeout=10_000)
    notebook.run(2)
    assert "0" in notebook.text(2)


def test_a_run_in_trouble_says_what_is_wrong_and_what_to_type(jupyter: Jupyter) -> None:
    again = 'run.status("Running", "retrying (attempt 2 of 7 follows): x was killed by SIGKILL", "killed")'
    memory = 'run.say(ev.Error(kind="out-of-memory", message="CUDA out of memory. <b>")); run.status("Failed")'
    notebook = opened(jupyter, "trouble", "run = ScriptedRun(); run.begin(); run.train(9); show(run)", again, memory)
    notebook.run(1)
    panel = notebook.panel(1)
    expect(panel.locator(".kaito-trouble")).to_have_count(0)
    notebook.run(2)
    trouble = panel.get_by_role("group", name="Trouble")  # what is read aloud says the same, out of sight
    expect(trouble.get_by_text("Retrying, after this: the trainer was killed from outside")).to_be_visible()
    expect(trouble.get_by_text("%kaito resume panel-test --yes")).to_be_visible()
    notebook.run(3)
    failure = panel.get_by_role("group", name="Why it failed")
    expect(failure.get_by_text("CUDA out of memory. <b>")).to_be_visible()
    expect(failure.get_by_text("The GPU ran out of memory at step 9 of 400")).to_be_visible()
    expect(failure.get_by_text("%kaito resume panel-test --fix")).to_be_visible()


def test_six_hundred_pixels_are_enough(jupyter: Jupyter, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "HuggingFaceTB/SmolLM2-135M-Instruct"}')
    (tmp_path / "adapter_model.safetensors").write_bytes(bytes(1000))
    notebook = opened(
        jupyter,
        "narrow",
        "run = ScriptedRun(); run.begin(); run.train(30); show(run)",
        f"ended = ScriptedRun(); ended.begin(); ended.train(30); ended.finish({str(tmp_path)!r}); show(ended)",
    )
    notebook.run(1)
    notebook.run(2)
    notebook.panel(2).get_by_text("PEFT code").click()
    for cell, width in itertools.product((1, 2), (600, 420)):
        panel = notebook.panel(cell)
        panel.evaluate("(element, width) => { element.style.width = `${width}px` }", width)
        notebook.page.wait_for_timeout(200)
        wide = panel.evaluate(
            "element => [...element.querySelectorAll('*')].filter(e => !e.closest('.kaito-sr') && e.getBoundingClientRect().right > element.getBoundingClientRect().right + 1).map(e => e.className)"
        )
        assert wide == []


def test_axe_finds_nothing_grave_in_a_panel_that_runs_failed_or_finished(jupyter: Jupyter) -> None:
    notebook = opened(
        jupyter,
        "axe",
        "run = ScriptedRun('running'); run.begin(); run.train(30); show(run)",
        "failed = ScriptedRun('failed'); failed.begin(); failed.train(30)\n"
        "failed.say(ev.Error(kind='out-of-memory', message='CUDA out of memory.')); failed.status('Failed'); show(failed)",
        "done = ScriptedRun('done'); done.begin(); done.train(30); done.finish(); show(done)",
    )
    states = {1: "Running", 2: "Failed", 3: "Succeeded"}
    for cell, state in states.items():
        notebook.run(cell)
        expect(notebook.panel(cell)).to_have_attribute("data-state", state)
    notebook.panel(1).get_by_role("button", name="Logs").click()
    expect(notebook.panel(1).get_by_role("log")).to_contain_text("[log] global_step=30")
    try:
        for theme, dark in (("JupyterLab Light", "false"), ("JupyterLab Dark", "true")):
            notebook.command("apputils:change-theme", {"theme": theme})
            for cell, state in states.items():
                expect(notebook.panel(cell)).to_have_attribute("data-dark", dark)
                assert axe.grave(notebook.panel(cell)) == [], (state, theme)
    finally:
        notebook.command("apputils:change-theme", {"theme": "JupyterLab Light"})


def test_a_failed_runs_button_starts_it_again_and_says_how_the_new_run_stands(jupyter: Jupyter) -> None:
    notebook = opened(
        jupyter,
        "again",
        "run = ScriptedRun('oom'); run.begin(); run.train(9)\n"
        "run.say(ev.Error(kind='out-of-memory', message='CUDA out of memory.')); run.status('Failed'); show(run)",
        "run.resumed",
    )
    notebook.run(1)
    card = notebook.panel(1).get_by_role("group", name="Why it failed")
    expect(card).to_be_visible()
    notebook.page.wait_for_timeout(3000)  # the last picture moves the panel, and a key pressed just then is lost
    card.get_by_role("button", name="Fix and run again").press("Enter")
    expect(card.locator(".kaito-outcome")).to_contain_text("oom-2 has started")
    expect(card.locator(".kaito-outcome")).to_be_focused()
    expect(card.get_by_role("button", name="Fix and run again")).to_have_count(0)
    notebook.run(2)
    assert "{'fix': True, 'end': False}" in notebook.text(2)


def test_the_log_is_searched_and_followed_and_the_error_jumped_to(jupyter: Jupyter) -> None:
    notebook = opened(
        jupyter,
        "log",
        "run = ScriptedRun(); run.begin(); run.train(50); run.say('a needle'); run.train(100)\n"
        "run.say('Error: it broke'); run.train(200); show(run)",
        "run.say('the newest line')",
    )
    notebook.run(1)
    panel = notebook.panel(1)
    panel.get_by_role("button", name="Logs").click()
    log, follow = panel.get_by_role("log"), panel.get_by_role("button", name="Follow")
    expect(log).to_contain_text("[log] global_step=200")
    expect(follow).to_have_attribute("aria-pressed", "true")
    panel.get_by_label("Search the log").fill("needle")
    expect(log.locator("mark")).to_have_text("needle")
    expect(panel.get_by_text("1 of 1", exact=True)).to_be_visible()
    expect(follow).to_have_attribute("aria-pressed", "false")
    notebook.run(2)
    expect(log).to_contain_text("a needle")
    panel.get_by_label("Search the log").fill("")
    panel.get_by_role("button", name="Next error").click()
    expect(log.locator(".kaito-current")).to_have_text("Error: it broke")
    follow.click()
    expect(log).to_contain_text("the newest line")
