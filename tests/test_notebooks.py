"""The notebooks, run as they are from the first cell to the last, where no cluster and no hub is needed."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
CLUSTER = "cluster"
"""The one that `tests/cluster/test_notebooks.py` runs."""
HERE = sorted(f.stem for f in NOTEBOOKS.glob("*.ipynb") if f.stem != CLUSTER)
SHORTER = {"quickstart": {"head(400)": "head(24)"}, "when-it-fails": {"head(40)": "head(16)"}}
"""What a test runs with less: the training is the same, and takes seconds."""
TRAINS = ("quickstart", "when-it-fails")
LARGEST = 400_000
"""Bytes of a saved notebook: GitHub shows it at once, and a review can be read."""


def program() -> Any:
    """`notebooks/execute.py`, which is no package."""
    spec = importlib.util.spec_from_file_location("notebooks_execute", NOTEBOOKS / "execute.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def execute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Run a notebook with a state folder of its own."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("PYTHONPATH", ":".join(p for p in sys.path if p))
    environment = {"XDG_STATE_HOME": str(tmp_path / "state"), "OMP_NUM_THREADS": "1"}
    yield lambda name, **more: program().execute(name, SHORTER.get(name), environment | more)
    asyncio.set_event_loop(None)


@pytest.mark.train
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", HERE)
def test_it_runs_from_the_first_cell_to_the_last(name: str, execute: Callable[..., Any]) -> None:
    notebook = execute(name)
    failed = [c for c in notebook.cells if any(o.output_type == "error" for o in c.get("outputs", []))]
    meant = [c for c in notebook.cells if "raises-exception" in c.metadata.get("tags", [])]
    assert [c.source for c in failed] == [c.source for c in meant]  # who says that it fails must
    said = json.dumps([c.get("outputs", []) for c in notebook.cells])
    assert "Traceback" not in said.replace(
        "Traceback (most recent call last)", "", said.count("torch.OutOfMemoryError")
    )


@pytest.mark.parametrize("name", [*HERE, CLUSTER])
def test_it_is_saved_with_outputs_that_belong_to_no_machine(name: str) -> None:
    file = NOTEBOOKS / f"{name}.ipynb"
    notebook = nbformat.read(file, as_version=4)
    nbformat.validate(notebook)
    code = [c for c in notebook.cells if c.cell_type == "code"]
    assert all(c.execution_count for c in code), "run `make notebooks`"
    text = file.read_text(encoding="utf-8")
    assert len(text) < LARGEST
    assert re.findall(r"/(?:root|home|tmp|Users)/[\w./-]+|127\.0\.0\.1:\d+|widget-view", text) == []
    assert len({c.id for c in notebook.cells}) == len(notebook.cells)


@pytest.mark.parametrize("name", [*HERE, CLUSTER])
def test_it_begins_with_a_title_and_links_to_what_is_there(name: str) -> None:
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    assert notebook.cells[0].source.startswith("# ")
    prose = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    for link in re.findall(r"\]\(([^)#]+)", prose):
        assert link.startswith("https://") or (NOTEBOOKS / link).is_file(), link


def test_a_recording_holds_no_folder_of_the_machine_that_made_it() -> None:
    recordings = sorted((NOTEBOOKS / "recorded").iterdir())
    assert {f.stem for f in recordings} >= {"rank-4", "rank-16", "rank-64", "phi-4-mini-instruct"}
    for file in recordings:
        text = file.read_text(encoding="utf-8")
        assert re.findall(r"/(?:root|home|tmp|Users)/[\w./-]+|127\.0\.0\.1:\d+", text) == [], file.name
        assert len(text) < 50_000


class TestBinder:
    """`binder/`, as repo2docker reads it. `binder/replay FOLDER` does it all by hand (minutes: it installs everything anew)."""

    FOLDER = NOTEBOOKS.parent / "binder"

    def test_what_is_installed_is_there(self) -> None:
        from packaging.requirements import Requirement

        lines = [
            line for line in (self.FOLDER / "requirements.txt").read_text().splitlines() if line[:1] not in ("", "#")
        ]
        for line in lines:
            option, _, value = line.rpartition(" ")
            if option == "--constraint":
                assert (self.FOLDER / value).is_file()
            elif option == "-e":
                path, _, extras = value.rstrip("]").partition("[")
                project = tomllib.loads((NOTEBOOKS.parent / path / "pyproject.toml").read_text())["project"]
                assert set(extras.split(",")) <= set(project["optional-dependencies"])
            else:
                assert Requirement(line).name
        assert (self.FOLDER / "runtime.txt").read_text().startswith("python-3.")

    @pytest.mark.parametrize("script", ["postBuild", "start", "replay"])
    def test_a_script_is_a_program_that_bash_understands(self, script: str) -> None:
        file = self.FOLDER / script
        assert os.access(file, os.X_OK)
        assert subprocess.run(["bash", "-n", str(file)], capture_output=True, check=True).stderr == b""

    def test_the_start_hands_over_to_what_binder_starts(self) -> None:
        command = [str(self.FOLDER / "start"), "sh", "-c", "echo $OMP_NUM_THREADS $0", "x"]
        environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        assert done.stdout == "2 x\n"

    def test_the_code_of_the_build_compiles_and_names_what_there_is(self) -> None:
        import kaito_jupyter.demo

        (code,) = re.findall(r'python -c "(.*)"', (self.FOLDER / "postBuild").read_text())
        compile(code, "postBuild", "exec")
        assert kaito_jupyter.demo.PACKAGE.replace("_", "-") in (self.FOLDER / "postBuild").read_text()
        assert callable(kaito_jupyter.demo.smollm2)
