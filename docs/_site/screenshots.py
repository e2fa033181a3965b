"""The documentation's screenshots, light and dark: `make screenshots`, or `python docs/_site/screenshots.py [NAME …]`.

JupyterLab and Chromium are real, as in the browser tests; the runs are recorded (notebooks/recorded) or told by a script,
so that a picture shows the same run each time and nothing is trained. They go to docs/images/NAME-light.png and -dark.png.
"""

from __future__ import annotations

import io
import os
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from playwright.sync_api import Locator, expect, sync_playwright

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"
TESTS = ROOT / "tests"
sys.path.insert(0, str(TESTS))

from browsing import CHROMIUM, CHROMIUM_ARGUMENTS, Jupyter, Notebook, Server  # noqa: E402

THEMES = ("light", "dark")
COLOURS = 128
"""Of a picture's palette: text stays sharp, and a picture is a third of its size."""
HTML = ".jp-RenderedHTMLCommon"
"""Selector of an output that is HTML and no widget."""
PATIENCE = 120_000
"""Milliseconds that a face may take to be ready."""

SETUP = """import inspect, itertools, os, textwrap, time
from dataclasses import replace
from pathlib import Path
import pandas as pd
import kaito_jupyter as kaito
from kaito_jupyter.backends.replay import ReplayBackend
from kaito_jupyter.panel import show
from kaito_jupyter.status import RunRef, Status
from kaito_trainer.contract import events as ev
from scripted import ScriptedRun
%load_ext kaito_jupyter
RECORDED = Path(os.environ["RECORDED"])

class Told(ScriptedRun):
    "A scripted run on a GPU, whose rates fit its clock."

    def say(self, *lines, tell=True):
        super().say(*(self.fitted(line) for line in lines), tell=tell)

    def fitted(self, line):
        if isinstance(line, ev.TrainBegin) and self.gpu:
            return replace(line, device="NVIDIA A100 80GB PCIe", total_parameters=3_836_021_760, trainable_parameters=11_534_336)
        if isinstance(line, ev.Log):
            rate = line.tokens_per_second * 1180 / 1174.5 / self.pace
            return replace(line, tokens_per_second=rate, device_memory_bytes=self.memory)
        return line

def told(name, ref="kaito", preset="phi-4-mini-instruct", ago=600, pace=2.2, memory=24_800_000_000, gpu=True, **more):
    "A run that began `ago` seconds ago and took `pace` a step."
    run, ticks, begun = Told(name, preset, **more), itertools.count(), time.time() - ago
    run.pace, run.memory, run.gpu = pace, memory, gpu
    run.ref = RunRef(ref, name, "team-a", name)
    run.clock = lambda: begun + pace * next(ticks)
    return run"""

FORM = """import collections, json, math, random, shutil, statistics, string
found = [(f"{m.__name__}.{n}", inspect.getdoc(f).split("\\n\\n")[0].replace("\\n", " "))
         for m in (collections, inspect, json, math, random, shutil, statistics, string, textwrap)
         for n, f in vars(m).items() if callable(f) and not n.startswith("_") and inspect.getdoc(f)]
df = pd.DataFrame([{"messages": [{"role": "user", "content": f"What does {n} do?"},
                                 {"role": "assistant", "content": d}]} for n, d in found])
%kaito_form df --preset phi-4-mini-instruct --backend local --name support-bot"""

RUNNING = """run = told("support-bot", ago=2.2 * 247)
run.begin(); run.train(90); run.evaluate(); run.say(ev.Save(global_step=90, path="/mnt/results/checkpoint-90"))
run.train(180); run.evaluate(); run.say(ev.Save(global_step=180, path="/mnt/results/checkpoint-180")); run.train(236)
late, clock = time.time() - run.clock(), run.clock
run.clock = lambda: clock() + late
show(run)"""

FAILED = """run = told("support-bot", ref="job", memory=83_700_000_000)
run.begin(); run.train(130)
run.say("Traceback (most recent call last):", '  File "train.py", line 3, in <module>',
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.45 GiB.")
run.say(ev.Error(kind="out-of-memory", message="CUDA out of memory. Tried to allocate 2.45 GiB.",
                 details=["GPU 0 has a total capacity of 79.25 GiB", "of which 1.21 GiB is free"]))
run.status("Failed", ended=run.clock())
show(run)"""

FINISHED = """import json
made = Path(os.environ["MADE"]); made.mkdir(parents=True)
(made / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "HuggingFaceTB/SmolLM2-135M-Instruct"}))
(made / "adapter_model.safetensors").write_bytes(bytes(1_900_000))
asked = {"prompt": "What does textwrap.dedent do?",
         "reference": "Remove any common leading whitespace from every line in `text`."}
run = told("support-bot", ref="local", preset="HuggingFaceTB/SmolLM2-135M-Instruct",
           gpu=False, memory=1_612_000_000, steps=240)
run.begin()
run.generate(asked | {"completion": "It is a function in the Python standard library that returns text."})
run.train(120); run.evaluate(); run.train(240)
run.generate(asked | {"completion": "Remove common leading whitespace from every line of the text."})
run.finish(str(made))
show(run)"""

RUNS = """part = Path(os.environ["PART"]); part.mkdir()
(part / "rank-64.jsonl").write_text("\\n".join((RECORDED / "rank-64.jsonl").read_text().split("\\n")[:70]))
(part / "rank-64.yaml").write_text((RECORDED / "rank-64.yaml").read_text())

class Before(ReplayBackend):
    "Recorded runs at the times at which they might have begun; the newest still runs."
    hours = {"rank-64": 0.04, "rank-16": 1.2, "rank-4": 3.1, "phi-4-mini-instruct": 26}

    def record(self, ref):
        found = super().record(ref)
        status = replace(found.status, created=time.time() - 3600 * self.hours[ref.name])
        return replace(found, status=replace(status, state="Running", reason="") if ref.name == "rank-64" else status)

kaito.runs(backend=Before(RECORDED / "phi-4-mini-instruct.log", RECORDED / "rank-4.jsonl", RECORDED / "rank-16.jsonl",
                          part / "rank-64.jsonl"))"""

COMPARE = """ranks = ReplayBackend(*(RECORDED / f"rank-{rank}.jsonl" for rank in (4, 16, 64)))
kaito.compare(*(kaito.watch(f"rank-{rank}", backend=ranks) for rank in (4, 16, 64)))"""


@dataclass(frozen=True)
class Scene:
    """A picture: the cell that makes it, what of its output is shown, and what is done before it is taken."""

    name: str
    cell: str
    part: str
    """Selector inside the cell's output."""
    width: int
    """CSS pixels that the part gets."""
    ready: Callable[[Locator], None]

    @property
    def style(self) -> str:
        """With a margin around what has no frame of its own."""
        margin = "padding: 12px 16px; " if self.part == HTML else ""
        return f"{margin}flex: none; box-sizing: border-box; width: {self.width}px"


def _form(part: Locator) -> None:
    expect(part).to_contain_text("rows (conversational)", timeout=PATIENCE)
    expect(part).to_contain_text(re.compile("Ready to (start|submit)|to mend before"), timeout=PATIENCE)


def _running(part: Locator) -> None:
    expect(part).to_have_attribute("data-state", "Running", timeout=PATIENCE)
    canvas = part.locator(".kaito-canvas")
    canvas.scroll_into_view_if_needed()
    canvas.hover(position={"x": 260, "y": 100})


def _failed(part: Locator) -> None:
    expect(part).to_have_attribute("data-state", "Failed", timeout=PATIENCE)
    expect(part.get_by_role("button", name="Fix and run again")).to_be_visible(timeout=PATIENCE)


def _finished(part: Locator) -> None:
    expect(part).to_have_attribute("data-state", "Succeeded", timeout=PATIENCE)
    part.evaluate("panel => panel.querySelectorAll('details.kaito-use').forEach(use => { use.open = true; })")


def _there(part: Locator) -> None:
    expect(part).to_be_visible(timeout=PATIENCE)


SCENES = (
    Scene("form", FORM, ".kaito-form", 860, _form),
    Scene("panel-running", RUNNING, ".kaito-panel", 860, _running),
    Scene("panel-failed", FAILED, ".kaito-panel", 860, _failed),
    Scene("panel-finished", FINISHED, ".kaito-panel", 860, _finished),
    Scene("runs", RUNS, HTML, 1120, _there),
    Scene("compare", COMPARE, HTML, 920, _there),
)


def main(names: Sequence[str]) -> int:
    """Take the pictures of these scenes, or of all. Gives the exit status: 1 if the page complained of anything."""
    scenes = [scene for scene in SCENES if not names or scene.name in names]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as made:
        folder = Path(made)
        server = Server(folder, _environment(folder))
        try:
            server.wait_until_up()
            with sync_playwright() as playwright:
                context = playwright.chromium.launch_persistent_context(
                    folder / "chromium",
                    executable_path=CHROMIUM,
                    headless=True,
                    args=list(CHROMIUM_ARGUMENTS),
                    viewport={"width": 1640, "height": 3400},
                )
                jupyter = Jupyter(server, context.new_page())
                notebook = jupyter.open(jupyter.write("pictures.ipynb", [SETUP, *(scene.cell for scene in scenes)]))
                for cell in range(len(scenes) + 1):
                    notebook.run(cell, milliseconds=PATIENCE)
                for theme in THEMES:
                    _change(notebook, theme)
                    for cell, scene in enumerate(scenes, 1):
                        _take(notebook, cell, scene, IMAGES / f"{scene.name}-{theme}.png")
                context.close()
        finally:
            server.stop()
    sys.stderr.writelines(f"the page said: {problem}\n" for problem in jupyter.problems)
    return 1 if jupyter.problems else 0


def _environment(folder: Path) -> dict[str, str]:
    return {
        "XDG_DATA_HOME": str(folder / "data"),
        "XDG_STATE_HOME": str(folder / "state"),
        "MPLCONFIGDIR": str(folder / "matplotlib"),
        "KUBECONFIG": str(folder / "no-cluster"),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join((str(TESTS), str(ROOT))),
        "RECORDED": str(ROOT / "notebooks" / "recorded"),
        "MADE": "runs/support-bot",
        "PART": str(folder / "part"),
    }


def _change(notebook: Notebook, theme: str) -> None:
    name = f"JupyterLab {theme.title()}"
    notebook.command("apputils:change-theme", {"theme": name})
    notebook.page.wait_for_function("name => document.body.dataset.jpThemeName === name", arg=name)


def _take(notebook: Notebook, cell: int, scene: Scene, path: Path) -> None:
    part = notebook.output(cell).locator(scene.part).first
    expect(part).to_be_visible(timeout=PATIENCE)
    part.evaluate("(element, style) => element.setAttribute('style', style)", scene.style)
    notebook.page.mouse.move(2, 2)
    scene.ready(part)
    notebook.page.wait_for_timeout(800)  # sizes and colours follow a frame or two later
    picture = Image.open(io.BytesIO(part.screenshot(animations="disabled"))).convert("RGB")
    path.parent.mkdir(exist_ok=True)
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    sys.stdout.write(
        f"{path.relative_to(ROOT)}  {picture.width} × {picture.height}, {path.stat().st_size // 1000} kB\n"
    )


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
