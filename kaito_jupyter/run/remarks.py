"""Notes and tags as people type them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from kaito_trainer.contract import Problem

from ..errors import SpecError

LONGEST: Final = 2000
"""Characters of a note."""
_TAG: Final = re.compile(r"[\w.:+@/-]{1,60}")


def said(text: str) -> str:
    """A note's text. Raises `SpecError` for none."""
    clean = text.strip()
    if not clean:
        raise SpecError([Problem("note", "it is empty.", 'Write %kaito note NAME "what you want to remember".')])
    if len(clean) > LONGEST:
        raise SpecError([Problem("note", f"it has {len(clean)} characters.", f"Use at most {LONGEST}.")])
    return clean


def words(tags: Iterable[str]) -> list[str]:
    """Tags. Raises `SpecError` with all that are none."""
    found = list(tags)
    wrong = [tag for tag in found if not _TAG.fullmatch(tag)]
    if wrong:
        remedy = "Use up to 60 letters, digits and . _ : + @ / - without spaces."
        raise SpecError([Problem("tag", f'"{tag[:80]}" is no tag.', remedy) for tag in wrong])
    return found


__all__ = ["said", "words"]
