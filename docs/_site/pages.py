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
PICTURE = re.compile(r"<!-- picture: ([\w-]+) \| (.+?) -->")
IMAGES = HERE.parent / "images"


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that no file holds."""
    made: list[tuple[str, str | bytes]] = [*reference.pages(), ("changelog.md", house.changelog()), *books.pages()]
    for path, content in made:
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Fill in what a page asks for: `<!-- generated: NAME -->`, and `<!-- picture: NAME | ITS TEXT -->` where that is there."""
    if page.file.src_uri == "refusals.md":
        markdown = markdown.replace("](", "]\\(")  # regular expressions that look like links
    markdown = PICTURE.sub(lambda found: _picture(found[1], found[2], page.file.src_uri), markdown)
    return PART.sub(lambda found: house.PARTS[found[1]](), markdown)


def _picture(name: str, alternative: str, page: str) -> str:
    """A screenshot, light and dark, where both have been taken."""
    if not all((IMAGES / f"{name}-{theme}.png").is_file() for theme in ("light", "dark")):
        return ""
    up = "../" * page.count("/")
    return "".join(f"![{alternative}]({up}images/{name}-{theme}.png#only-{theme})" for theme in ("light", "dark"))
