import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell

HEAVY = ("kubernetes", "pandas", "matplotlib", "torch", "transformers", "pyarrow", "numpy", "ipywidgets", "anywidget")
START = """
import json, sys
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config
config = Config()
config.HistoryManager.enabled = False
shell = InteractiveShell.instance(config=config)
"""


def in_a_fresh_interpreter(code: str, tmp_path: Path) -> str:
    """What the code prints there."""
    environment = {**os.environ, "IPYTHONDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    child = subprocess.run(
        [sys.executable, "-c", START + code], capture_output=True, text=True, check=True, env=environment
    )
    return child.stdout


def test_loading_imports_nothing_heavy(tmp_path: Path) -> None:
    told = in_a_fresh_interpreter(
        f"shell.run_line_magic('load_ext', 'kaito_jupyter')\nprint(json.dumps([m for m in {HEAVY} if m in sys.modules]))",
        tmp_path,
    )
    assert json.loads(told) == []


def test_completing_imports_nothing_heavy(tmp_path: Path) -> None:
    told = in_a_fresh_interpreter(
        "shell.run_line_magic('load_ext', 'kaito_jupyter')\n"
        "from IPython.core.completer import provisionalcompleter\n"
        "shell.Completer.use_jedi = False\n"
        "with provisionalcompleter():\n"
        "  for line in ('%kaito_tune ', '%kaito_tune df --pre', '%kaito_tune df --preset ', '%kaito watch ', '%kaito '):\n"
        "    list(shell.Completer.completions(line, len(line)))\n"
        f"print(json.dumps([m for m in {HEAVY} if m in sys.modules]))",
        tmp_path,
    )
    assert json.loads(told) == []


def test_a_mistake_is_told_without_importing_anything_heavy(tmp_path: Path) -> None:
    told = in_a_fresh_interpreter(
        "shell.run_line_magic('load_ext', 'kaito_jupyter')\n"
        "result = shell.run_cell('%kaito_tune df --presett x')\n"
        f"print(json.dumps([m for m in {HEAVY} if m in sys.modules]))",
        tmp_path,
    )
    assert json.loads(told.splitlines()[-1]) == []


def test_a_new_option_of_the_contract_is_a_flag_with_help_and_completion(tmp_path: Path) -> None:
    told = in_a_fresh_interpreter(
        """
from dataclasses import dataclass
from kaito_trainer.contract import config, sections

@dataclass(kw_only=True)
class Fancy(sections.TrainingSection):
    NAME = "TrainingArguments"
    fancy_factor: float | None = sections.option(
        "How fancy 100% of it is.", choices=("little", "much"), unit="fancies", above=0, flag="--fancy", source="test"
    )

config.ALL_SECTIONS = tuple(Fancy if s.NAME == Fancy.NAME else s for s in config.ALL_SECTIONS)
config.options.cache_clear()
shell.run_line_magic("load_ext", "kaito_jupyter")
from IPython.core.completer import provisionalcompleter
shell.Completer.use_jedi = False

def offered(line):
    with provisionalcompleter():
        return [c.text for c in shell.Completer.completions(line, len(line))]

magic = shell.find_line_magic("kaito_tune")
from kaito_jupyter.magics.arguments import read
from kaito_jupyter.magics.line import split
print(json.dumps({
    "help": " ".join(magic.__doc__.split()),
    "flags": offered("%kaito_tune df --fan"),
    "values": offered("%kaito_tune df --fancy "),
    "set": offered("%kaito_tune df --set TrainingArguments.fan"),
    "body": offered("%%kaito_tune df\\nTrainingArguments:\\n  fan"),
    "read": read(magic.parser, split("df --fancy much").words, {}).values,
}))
""",
        tmp_path,
    )
    found = json.loads(told)
    assert (
        '--fancy N How fancy 100% of it is (fancies, above 0, "little" or "much"). Sets TrainingArguments.fancy_factor.'
        in found["help"]
    )
    assert found["flags"] == ["--fancy"]
    assert found["values"] == ["little", "much"]
    assert found["set"] == ["TrainingArguments.fancy_factor="]
    assert found["body"] == ["fancy_factor: "]
    assert found["read"] == {"data": "df", "TrainingArguments.fancy_factor": "much"}


def registered(shell: InteractiveShell) -> list[object]:
    """Everything of ours that hangs on a shell."""
    return [
        *(m for kind in shell.magics_manager.magics.values() for m in kind if m.startswith("kaito")),
        *(c for c in shell.configurables if type(c).__name__ == "KaitoMagics"),
        *(m for m in shell.Completer.custom_matchers if getattr(m, "matcher_identifier", "") == "kaito_jupyter"),
        *(
            f
            for f in shell.events.callbacks["pre_execute"]
            if type(getattr(f, "__self__", None)).__name__ == "KaitoMagics"
        ),
        *(k for k in shell.display_formatter.ipython_display_formatter.deferred_printers if k[0].startswith("kaito")),
    ]


def test_loading_twice_is_the_same_as_once(shell: InteractiveShell) -> None:
    once = len(registered(shell))
    shell.run_line_magic("reload_ext", "kaito_jupyter")
    shell.extension_manager.loaded.clear()
    shell.run_line_magic("load_ext", "kaito_jupyter")
    assert len(registered(shell)) == once == 9


def test_unloading_leaves_nothing(shell: InteractiveShell) -> None:
    shell.run_line_magic("unload_ext", "kaito_jupyter")
    assert registered(shell) == []
    shell.run_line_magic("load_ext", "kaito_jupyter")


def test_defaults_are_shown_set_and_checked(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    shell.run_line_magic("config", "KaitoMagics")
    shown = capsys.readouterr().out
    for name in ("preset", "method", "namespace", "backend", "context", "instance_type", "output", "push_secret"):
        assert f"KaitoMagics.{name}=" in shown
    shell.run_line_magic("config", "KaitoMagics.method = 'qlora'")
    assert shell.magics_manager.registry["KaitoMagics"].method == "qlora"
    shell.run_line_magic("config", "KaitoMagics.method = 'lora8'")
    shell.run_line_magic("config", "KaitoMagics.log_lines = 0")
    assert [r.message for r in caplog.records if "KaitoMagics.method" in r.message] == [
        'KaitoMagics.method: "lora8" is not allowed. Did you mean "lora"? Use "lora" or "qlora".'
    ]
    magics = shell.magics_manager.registry["KaitoMagics"]
    assert (magics.method, magics.log_lines) == ("qlora", 200)


def test_the_configuration_file_of_ipython_is_heard(tmp_path: Path) -> None:
    told = in_a_fresh_interpreter(
        "config.KaitoMagics.preset = 'phi-4'\nshell.config.merge(config)\n"
        "shell.run_line_magic('load_ext', 'kaito_jupyter')\n"
        "print(shell.magics_manager.registry['KaitoMagics'].preset)",
        tmp_path,
    )
    assert told.strip() == "phi-4"


def test_the_question_mark_shows_options_and_examples(shell: InteractiveShell) -> None:
    shown = shell.inspector.info(shell.find_line_magic("kaito_tune"))["docstring"]
    assert "--epochs N" in shown
    assert "Times that the data is gone through (epochs, above 0)." in " ".join(shown.split())
    assert "%%kaito_tune df --preset phi-4-mini-instruct\n" in shown
    verbs = shell.inspector.info(shell.find_line_magic("kaito"))["docstring"]
    for verb in ("runs", "watch", "logs", "yaml", "cancel", "delete"):
        assert f"\n%kaito {verb}" in verbs
    assert "--tail N" in verbs
