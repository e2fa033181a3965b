"""A diagnosis, and the changed spec that mends what is wrong: how they show as text and on a page.

Whatever comes from a log or a server is cut to a length here, and escaped where it goes to a page.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape
from typing import Any, Final, NamedTuple

from ..spec import TuningSpec
from ..status import State
from .notes import Note

EVIDENCE: Final = 8
"""The most lines of evidence."""
WIDTH: Final = 400
"""Characters of each."""
SAME: Final = 100
"""Characters by which two lines are taken for the same."""
SECRETS: Final = re.compile(
    r"(://)[^/@\s]+(?=@)|(\?)(?=\S*=)[^\s\"'<>]+|(\bhf_)[A-Za-z0-9]{8,}|\b((?i:bearer|basic) )[A-Za-z0-9+/=_.~-]{8,}"
    r"|(\beyJ)[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"
)
"""What a log line may hold and evidence must not: a login in an address, a signature, a token."""
WELL: Final = "well"
"""The cause of a run with which nothing is wrong."""


class Change(NamedTuple):
    """One value of a spec that becomes another."""

    path: str
    """In KAITO's words; options as `Section.field`."""
    before: Any
    """None: it was not set."""
    after: Any
    reason: str = ""
    """Why, in a few words."""

    @property
    def shown(self) -> str:
        """The new value, for people."""
        return _value(self.after)

    def __str__(self) -> str:
        text = f"{self.path}: {_value(self.before)} → {_value(self.after)}"
        return f"{text}   ({self.reason})" if self.reason else text


@dataclass(frozen=True, slots=True)
class Fix:
    """A spec that may do better, and what is different in it."""

    spec: TuningSpec
    changes: tuple[Change, ...]

    def __repr__(self) -> str:
        return "\n".join(map(str, self.changes))

    def _repr_html_(self) -> str:
        cell = "style='text-align:left;padding:2px 14px 2px 0'"
        rows = "".join(
            f"<tr><td {cell}><code>{escape(c.path)}</code></td><td {cell}>{escape(_value(c.before))} → "
            f"<strong>{escape(_value(c.after))}</strong></td><td {cell}>{escape(c.reason)}</td></tr>"
            for c in self.changes
        )
        return f"<table>{rows}</table>"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What is wrong with a run, as far as that can be told, and what to do."""

    name: str
    """The run's."""
    cause: str
    """The rule that fits: `cuda-oom`, `evicted`, `stall`, …; `well` when nothing is wrong."""
    sentence: str
    """What is wrong, in one sentence."""
    remedy: str = ""
    """What to do about it."""
    evidence: tuple[str, ...] = ()
    """What it is concluded from: the place's words and lines of the log."""
    state: State = "Pending"
    """How the run stands."""
    retrying: bool = False
    """Whether an attempt has failed and another one follows by itself."""
    fix: Fix | None = None
    """The spec with which it may do better; None where no spec can help."""
    command: str = ""
    """The line to type next; empty when there is nothing to do but to wait."""
    notes: tuple[Note, ...] = ()
    """What a run that goes well could do better."""

    @property
    def well(self) -> bool:
        """Whether nothing is wrong."""
        return self.cause == WELL

    @property
    def advice(self) -> str:
        """The remedy, and the line to type next when there is one."""
        return f"{self.remedy} Type: {self.command}" if self.command else self.remedy

    def __repr__(self) -> str:
        parts = [f"{self.name}: {self.sentence}"]
        if self.remedy:
            parts.append(f"  What to do: {self.remedy}")
        if self.fix is not None:
            parts += [f"  {self.command} changes:", *(f"    {c}" for c in self.fix.changes)]
        elif self.command:
            parts.append(f"  Then: {self.command}")
        parts += [f"  Note: {note}" for note in self.notes]
        if self.evidence:
            parts += ["  Evidence:", *(f"    {line}" for line in self.evidence)]
        return "\n".join(parts)

    def _repr_html_(self) -> str:
        colour = "#009E73" if self.well else "#D55E00"
        evidence = "\n".join(self.evidence)
        parts = [
            f"<div><strong>{escape(self.name)}</strong>: {escape(self.sentence)}</div>",
            f"<div><strong>What to do:</strong> {escape(self.remedy)}</div>" if self.remedy else "",
            self.fix._repr_html_() if self.fix is not None else "",
            f"<div><code>{escape(self.command)}</code></div>" if self.command else "",
            *(f"<div><strong>Note:</strong> {escape(str(note))}</div>" for note in self.notes),
            f"<pre style='font-size:11px;white-space:pre-wrap'>{escape(evidence)}</pre>" if evidence else "",
        ]
        style = f"border-left:3px solid {colour};padding:2px 0 2px 10px;margin:6px 0"
        return f'<div style="{style}">{"".join(parts)}</div>'

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))


def shown(lines: Any) -> tuple[str, ...]:
    """Lines as evidence: no empty ones, none twice, each cut, and not too many of them."""
    kept: list[str] = []
    for line in lines:
        text = plain(str(line))
        # What a program raised stands in its log too, with its module before it.
        if text and not any(text[:SAME] in other or other[:SAME] in text for other in kept):
            kept.append(text if len(text) <= WIDTH else f"{text[: WIDTH - 1]}…")
    return tuple(kept[:EVIDENCE])


def plain(text: str) -> str:
    """Text that steers no terminal and holds nothing that looks like a credential."""
    return blanked("".join(c if c.isprintable() else " " for c in text).strip())


def blanked(text: str) -> str:
    """The text without what looks like a credential."""
    return SECRETS.sub(_blank, text)


def _blank(found: re.Match[str]) -> str:
    return next(f"{name}***" for name in found.groups("") if name)


def _value(value: Any) -> str:
    if value is None:
        return "not set"
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 1]}…"


__all__ = ["WELL", "Change", "Diagnosis", "Fix", "blanked", "plain", "shown"]
