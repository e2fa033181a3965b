"""A tuning option that nobody ever heard of, said in one place: it must turn up in all the others."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
FIELD = """
    sparkle: int | None = option(
        "How much it glitters.", unit="carats", minimum=1, maximum=24, flag="--sparkle", simple=True, source=_OURS
    )
"""
"""The one place: a field of `TrainerSection`, behind its last one."""
ASKED = """
import json, sys
import pandas as pd
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

config = Config()
config.HistoryManager.enabled = False
shell = InteractiveShell.instance(config=config)
shell.run_line_magic("load_ext", "kaito_jupyter")
shell.Completer.use_jedi = False
shell.user_ns["df"] = pd.DataFrame({"prompt": ["a"] * 40, "completion": ["b"] * 40})
import kaito_jupyter as kaito

def offered(line):
    with provisionalcompleter():
        return [c.text for c in shell.Completer.completions(line, len(line))]

def said(line):
    found = shell.run_cell(line)
    return found.result if found.error_in_exec is None else found.error_in_exec

line = "%kaito_tune df --preset a/b --backend local --sparkle "
form = kaito.form(shell.user_ns["df"], preset="a/b", backend="local", sparkle=9)
control = form._page.controls["TrainerOptions.sparkle"]
seen = {
    "flag": offered("%kaito_tune df --spark"),
    "form's flag": offered("%kaito_form df --spark"),
    "completion": offered("%kaito_tune df --set TrainerOptions.spark"),
    "body": offered("%%kaito_tune df\\nTrainerOptions:\\n  spark"),
    "help": "--sparkle N How much it glitters (carats, at least 1, at most 24)" in " ".join(shell.find_line_magic("kaito_tune").__doc__.split()),
    "yaml": "sparkle: 7" in said(line + "7 --dry-run").to_yaml(),
    "check": [str(p) for p in said(line + "99 --dry-run").problems],
    "form": [control.input.description, control.input.value, control.field.help],
    "form's line": form.line,
    "form's check": [],
    "form's yaml": "sparkle: 9" in form._seen.to_yaml() if form.problems is not None else None,
}
sys.path.insert(0, sys.argv[1])
import reference

seen["docs"] = [
    next(row for row in reference.options_page().splitlines() if "sparkle" in row),
    "--sparkle" in reference.magics_page(),
]
control.input.value = "none"
seen["form's check"] = [str(p) for p in form.problems if p.severity == "error"]
form.close()
print("seen", json.dumps(seen))
"""


def test_a_new_option_in_one_place_turns_up_everywhere(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "trainer" / "kaito_trainer", tmp_path / "kaito_trainer")
    sections = tmp_path / "kaito_trainer" / "contract" / "sections.py"
    text = sections.read_text(encoding="utf-8")
    end = text.index("\n\n\nALL_SECTIONS")
    sections.write_text(text[:end] + FIELD + text[end:], encoding="utf-8")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT))),
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "KUBECONFIG": str(tmp_path / "none"),
    }
    done = subprocess.run(
        [sys.executable, "-c", ASKED, str(ROOT / "docs" / "_site")],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("seen ")).removeprefix("seen "))
    row, in_magics = seen.pop("docs")
    assert in_magics
    for word in ("sparkle", "How much it glitters.", "carats", "24", "--sparkle"):
        assert word in row
    assert seen == {
        "flag": ["--sparkle"],
        "form's flag": ["--sparkle"],
        "completion": ["TrainerOptions.sparkle="],
        "body": ["sparkle: "],
        "help": True,
        "yaml": True,
        "check": ["--sparkle: 99 is out of range. Give a whole number of at least 1 and up to 24."],
        "form": ["sparkle", "9", "How much it glitters (carats, at least 1, at most 24)."],
        "form's line": "%kaito_tune df --preset a/b --backend local --sparkle 9",
        "form's check": [
            'TrainerOptions.sparkle: "none" is not a whole number. Give a whole number of at least 1 and up to 24.'
        ],
        "form's yaml": True,
    }
