"""What a rule is: a cause, its signs, the sentence that names it, the remedy, the mend."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, Literal

from .mend import Mend

When = Literal["failed", "waiting", "any"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One cause."""

    cause: str
    """Its name; several rules may tell of the same."""
    sentence: str
    """What is wrong: a template."""
    remedy: str
    """What a person can do: a template. With a mend, what is left to do when that does not help."""
    kinds: tuple[str, ...] = ()
    """Kinds of error that it may be; empty: whatever it is."""
    place: str = ""
    """A pattern that the place's words must hold."""
    said: str = ""
    """A pattern that the program's words, or the log's last lines, must hold."""
    when: When = "failed"
    """`waiting`: nothing has failed, and nothing goes on. `any`: in either case."""
    mend: Mend | None = None
    then: str = "resume"
    """The verb, with its options, to go on with when there is no mended spec. Empty: nothing but waiting helps."""
    patterns: tuple[re.Pattern[str] | None, re.Pattern[str] | None] = field(init=False, compare=False, repr=False)
    """`place` and `said`, compiled."""

    def __post_init__(self) -> None:
        place = re.compile(self.place, re.DOTALL) if self.place else None
        said = re.compile(self.said, re.DOTALL | re.IGNORECASE) if self.said else None
        object.__setattr__(self, "patterns", (place, said))


AUTH: Final = r"unauthorized|authentication required|denied|forbidden|no basic auth|\b40[13]\b|authorization failed"
ABSENT: Final = r"not found|manifest unknown|does not exist|\b404\b|no such|name unknown"
SILENT: Final = r"timed? ?out|timeout|deadline exceeded|refused|unreachable|no route|could(?:n.t| not) (?:connect|resolve)|no such host|reset by peer|\bcurl: \((?:6|7|28|35|52|56)\)"
"""Patterns: a registry or server says no; there is no such thing; there is no answer."""

__all__ = ["ABSENT", "AUTH", "SILENT", "Rule", "When"]
