"""What pages say of the house itself, taken from where it is said: the law of layers, the map of rooms, the Role, the changes."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

from kaito_jupyter.checkup.rights import shipped

ROOT = Path(__file__).parents[2]


def layers() -> str:
    """The law that import-linter holds, as a table from the top room down, each room with its docstring's first sentence."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contract = next(c for c in config["tool"]["importlinter"]["contracts"] if c["id"] == "layers")
    rows = ["| level | room | what lives there |", "| --- | --- | --- |"]
    for number, layer in reversed(list(enumerate(reversed(contract["layers"]), 1))):
        rows += [f"| {number} | `{room}` | {_promise(room)} |" for room in re.split(r"\s*[|:]\s*", layer)]
    return "\n".join([f"*{contract['name']}.*", "", *rows])


def rooms() -> str:
    """The contributor's map of rooms."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    trainer = text[text.index("| room of `trainer/") :]
    return trainer[: trainer.index("\n\n")]


def role() -> str:
    """The Role that a notebook needs, as `deploy/` ships it."""
    return f"```yaml\n{shipped()['role.yaml']}```"


def binding() -> str:
    return f"```yaml\n{shipped()['rolebinding.yaml']}```"


def changelog() -> str:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    return text.replace("`docs/", "`")


def _promise(room: str) -> str:
    package = ROOT / "kaito_jupyter" / room
    file = package / "__init__.py" if package.is_dir() else package.with_suffix(".py")
    doc = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) if file.is_file() else None
    first = " ".join((doc or "").split("\n\n")[0].split())
    return first.rstrip(":").replace("|", "\\|")


PARTS = {"layers": layers, "rooms": rooms, "role": role, "binding": binding}
"""What a page asks for by `<!-- generated: NAME -->`."""
