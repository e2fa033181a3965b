"""What is wrong with an input, said so that a person can act on it.

A `Problem` has four parts: where, what came and what is allowed (both in the message), and how to go on. Everything
that checks (dataset, spec, config, options) returns a list of problems, never only the first one.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Severity = Literal["error", "warning", "note"]

SHOWN_LENGTH: Final = 60
"""Letters of a value that a message shows."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding."""

    path: str
    """Where: a field path (`TrainingArguments.learning_rate`), an option (`--preset`) or a cell of the data."""

    message: str
    """What came and why it cannot be, as a sentence."""

    remedy: str = ""
    """What is allowed and how to go on, as a sentence."""

    severity: Severity = "error"
    """An error stops the run, a warning does not (unless asked to be strict), a note tells of a choice made."""

    fix: tuple[tuple[str, Any], ...] = field(default=(), compare=False)
    """The remedy as a change, where there is one: (field path, value), with None for a field to leave out."""

    def __str__(self) -> str:
        return f"{self.path}: {self.message}{' ' + self.remedy if self.remedy else ''}"


def close_match(word: str, allowed: Iterable[str], cutoff: float = 0.6) -> str:
    """The nearest allowed word as `Did you mean "x"?`, or an empty string when none is near (0: any is, 1: the same)."""
    near = nearest(word, allowed, cutoff)
    return f'Did you mean "{near}"?' if near else ""


def nearest(word: str, allowed: Iterable[str], cutoff: float = 0.6) -> str:
    """The nearest allowed word itself, or an empty string when none is near."""
    lowered = {a.lower(): a for a in allowed}
    near = difflib.get_close_matches(word.lower(), lowered, n=1, cutoff=cutoff)
    return lowered[near[0]] if near else ""


def listing(words: Iterable[object], last: str = "or") -> str:
    """`"a", "b" or "c"`: allowed values as a person would list them."""
    quoted = [f'"{w}"' if isinstance(w, str) else str(w) for w in words]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} {last} {quoted[-1]}"


def shown(value: Any) -> str:
    """A value as a message shows it: as YAML would write it, on one line, cut when it is long. Never raises."""
    if isinstance(value, str):
        return f'"{one_line(value, SHOWN_LENGTH - 2)}"'
    if value is None or isinstance(value, bool):
        text = {True: "true", False: "false", None: "null"}[value]
    else:
        try:
            text = repr(value)
        except Exception as error:  # noqa: BLE001 (any object may come in, a broken one or a huge number too)
            text = f"<{type(value).__name__} without a repr: {type(error).__name__}>"
    return one_line(text)


def one_line(text: str, longest: int = SHOWN_LENGTH) -> str:
    """Foreign text for the inside of a message: without line ends and control characters, cut when it is long."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[: longest + 1])
    return text if len(text) <= longest else text[: longest - 1] + "…"
