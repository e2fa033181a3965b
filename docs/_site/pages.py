"""MkDocs' hooks: pages and parts that are written when the site is built, so that no fact stands twice."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import books  # noqa: E402
import house  # noqa: E402
import reference  # noqa: E402

PART = re.compile(r"<!-- generated: (\w+) -->")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that no file holds."""
    made: list[tuple[str, str | bytes]] = [*reference.pages(), ("changelog.md", house.changelog()), *books.pages()]
    for path, content in made:
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Fill in the parts that a page asks for by `<!-- generated: NAME -->`."""
    if page.file.src_uri == "refusals.md":
        markdown = markdown.replace("](", "]\\(")  # regular expressions that look like links
    return PART.sub(lambda found: house.PARTS[found[1]](), markdown)
