"""Both distributions, built as they are published, and environments that hold nothing of this checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PIP = ("-m", "pip", "--disable-pip-version-check", "-qq")


@dataclass(frozen=True)
class Distributions:
    """Where the built files lie, by the distribution's name."""

    wheels: dict[str, Path]
    sdists: dict[str, Path]


@dataclass(frozen=True)
class Environment:
    """A virtual environment, and a folder to work in that is nobody's checkout."""

    python: Path
    folder: Path

    @property
    def variables(self) -> dict[str, str]:
        """Without the checkout, without Node, without a cluster."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "KUBE", "KAITO", "VIRTUAL_ENV"))}
        return {
            **kept,
            "PATH": str(self.python.parent),
            "XDG_STATE_HOME": str(self.folder / "state"),
            "XDG_DATA_HOME": str(self.folder / "data"),
            "IPYTHONDIR": str(self.folder / "ipython"),
            "MPLCONFIGDIR": str(self.folder / "matplotlib"),
        }

    def pip(self, *words: str) -> None:
        run(self.python, *PIP, "install", *words, "--constraint", str(ROOT / "constraints.txt"))

    def run(self, code: str) -> str:
        """What that Python code prints, in a fresh interpreter."""
        return run(self.python, "-c", code, cwd=self.folder, env=self.variables)


def run(*words: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        words, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    """A source distribution of each, and the wheel that is built out of it, with no look at the checkout."""
    out = tmp_path_factory.mktemp("dist")
    for folder in (ROOT, ROOT / "trainer"):
        run(sys.executable, "-m", "build", "--outdir", str(out), str(folder))
    names = {"kaito-jupyter": "kaito_jupyter-*", "kaito-trainer": "kaito_trainer-*"}
    return Distributions(
        {name: next(out.glob(f"{pattern}.whl")) for name, pattern in names.items()},
        {name: next(out.glob(f"{pattern}.tar.gz")) for name, pattern in names.items()},
    )


@pytest.fixture(scope="session")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Environment]:
    def environment(name: str) -> Environment:
        folder = tmp_path_factory.mktemp(name)
        venv.create(folder / "venv", with_pip=True)
        return Environment(folder / "venv" / "bin" / "python", folder)

    return environment


@pytest.fixture(scope="session")
def plain(make: Callable[[str], Environment], distributions: Distributions) -> Environment:
    """What `pip install kaito-jupyter` gives, no extra, beside a JupyterLab."""
    environment = make("plain")
    environment.pip("jupyterlab", *map(str, distributions.wheels.values()))
    return environment


@pytest.fixture(scope="session")
def local(make: Callable[[str], Environment], distributions: Distributions) -> Environment:
    """What `pip install 'kaito-jupyter[local]'` gives. Torch and the like are those of this environment, not fetched again:
    they are seen by pip, so that what the extra asks for is held against them."""
    environment = make("local")
    site = Path(environment.run("import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    run(environment.python, *PIP, "uninstall", "--yes", "setuptools")  # that of `venv` is older than torch asks for
    (site / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")
    jupyter, trainer = (distributions.wheels[name] for name in ("kaito-jupyter", "kaito-trainer"))
    environment.pip("--no-index", "--no-deps", "--ignore-installed", str(jupyter), str(trainer))
    environment.pip("--no-index", f"kaito-jupyter[local] @ {jupyter.as_uri()}")
    return environment
