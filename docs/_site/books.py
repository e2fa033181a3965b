"""The notebooks as pages of the site, with the outputs that they were saved with."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter
from traitlets.config import Config

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
ORDER = ("quickstart", "your-own-data", "qlora-and-memory", "cluster", "when-it-fails", "compare-runs")
"""As they are read; each is a file of `notebooks/`."""


def pages() -> Iterable[tuple[str, str | bytes]]:
    """Path below the site, and its content: Markdown, and the pictures of the outputs."""
    for name in ORDER:
        file = NOTEBOOKS / f"{name}.ipynb"
        if not file.is_file():
            continue
        notebook = nbformat.read(file, as_version=4)
        exporter = MarkdownExporter(
            config=Config({"NbConvertBase": {"display_data_priority": ["image/png", "text/plain"]}})
        )
        resources = {"unique_key": name, "output_files_dir": f"{name}_files"}
        text, resources = exporter.from_notebook_node(notebook, resources)
        text = text.replace(".ipynb)", ".md)")
        head, _, rest = text.lstrip().partition("\n")
        note = f"*A notebook: `notebooks/{name}.ipynb`. A test runs it from the first cell to the last.*"
        yield f"notebooks/{name}.md", f"{head}\n\n{note}\n{_without_colours(rest)}"
        for path, content in resources.get("outputs", {}).items():
            yield f"notebooks/{path}", content


def _without_colours(text: str) -> str:
    return re.sub(r"\x1b\[[\d;]*m", "", text)
