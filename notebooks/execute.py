"""Run the notebooks and keep their outputs, as people read them where no kernel runs: `make notebooks`.

`python notebooks/execute.py [NAME …]`: all of them without a name, but `cluster`, which works where KUBECONFIG, NAMESPACE (with a Secret
`push`) and REGISTRY say. What a machine's own folders are called is not kept, nor are live widgets: their picture and text are.
"""

from __future__ import annotations

import base64
import io
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent
WIDGET = "application/vnd.jupyter.widget-view+json"
PATIENCE = 1800
"""Seconds that a cell may take."""


def execute(name: str, replaced: Mapping[str, str] | None = None, environment: Mapping[str, str] | None = None) -> Any:
    """The notebook, run from its first cell to its last in a kernel of its own. Raises `CellExecutionError`.

    `replaced`: texts that are run in others' place. `environment`: variables over those of this process.
    """
    notebook = nbformat.read(HERE / f"{name}.ipynb", as_version=4)
    for old, new in (replaced or {}).items():
        found = [cell for cell in notebook.cells if old in cell.source]
        if not found:
            raise ValueError(f"{name}: nothing says {old!r} any more")
        for cell in found:
            cell.source = cell.source.replace(old, new)
    client = NotebookClient(
        notebook,
        timeout=PATIENCE,
        kernel_name="python3",
        store_widget_state=False,
        resources={"metadata": {"path": str(HERE)}},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zmq and asyncio have their own about loops
        client.execute(env={**os.environ, **(environment or {})})
    return notebook


def portable(notebook: Any, folders: Mapping[str, str]) -> Any:
    """The notebook without what belongs to this machine: folders by their usual names, no live widgets, no times of cells."""
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = _joined(cell.outputs)
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(WIDGET, None)
            output.get("metadata", {}).pop(WIDGET, None)
            _rename(output, folders)
            if picture := output.get("data", {}).get("image/png"):
                output["data"]["image/png"] = _smaller(picture)
    return notebook


def _joined(outputs: list[Any]) -> list[Any]:
    """What was printed in one go, as one: the kernel's clock has cut it. (nbclient's own way loses displays that are updated.)"""
    joined: list[Any] = []
    for output in outputs:
        before = joined[-1] if joined else None
        if before and output.output_type == before.output_type == "stream" and output.name == before.name:
            before.text += output.text
        else:
            joined.append(output)
    return joined


def _smaller(picture: str) -> str:
    """A PNG with 64 colours: curves need no more, and a quarter of the bytes."""
    from PIL import Image

    out = io.BytesIO()
    image = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")
    image.quantize(64, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return base64.b64encode(out.getvalue()).decode("ascii")


def _rename(output: Any, folders: Mapping[str, str]) -> None:
    for key, value in output.items():
        if isinstance(value, dict):
            _rename(value, folders)
        elif isinstance(value, str) and key != "image/png":
            output[key] = _renamed(value, folders)
        elif isinstance(value, list):
            output[key] = [_renamed(v, folders) if isinstance(v, str) else v for v in value]


def _renamed(text: str, folders: Mapping[str, str]) -> str:
    for folder, usual in folders.items():
        text = text.replace(folder, usual)
    return re.sub(r"127\.0\.0\.1:\d+", "registry.example.com", text)


def main(names: list[str]) -> None:
    for name in names or [f.stem for f in sorted(HERE.glob("*.ipynb")) if f.stem != "cluster"]:
        print(name, flush=True)
        with tempfile.TemporaryDirectory() as state:
            notebook = execute(name, environment={"XDG_STATE_HOME": state})
            names_of = {os.environ["NAMESPACE"]: "team-a"} if os.environ.get("NAMESPACE") else {}
            folders = names_of | {state: "~/.local/state", str(HERE.parent): "~/kaito_jupyter", str(Path.home()): "~"}
            nbformat.write(portable(notebook, folders), HERE / f"{name}.ipynb")


if __name__ == "__main__":
    main(sys.argv[1:])
