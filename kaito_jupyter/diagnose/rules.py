"""The one table of what can be wrong with a run.

A rule fits when all of its signs do: the contract's kind of error, a pattern in the place's words, a pattern in the
program's. The first that fits counts. Sentences and remedies are templates over `Case.words` and the patterns' named groups.
"""

from __future__ import annotations

from typing import Final

from .failures import FAILURES, UNKNOWN
from .rule import Rule
from .waits import WAITS

RULES: Final[tuple[Rule, ...]] = (*FAILURES, *WAITS, UNKNOWN)
"""All causes, in the order in which they are tried. The last fits whatever failed."""

__all__ = ["RULES", "Rule"]
