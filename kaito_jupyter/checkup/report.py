"""What the doctor found: lines for people, and the YAML that grants what is missing."""

from __future__ import annotations

import html
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

Mark = Literal["ok", "note", "failed"]

_SIGNS: Final[dict[Mark, str]] = {"ok": "ok", "note": "note", "failed": "FAILED"}
_COLOURS: Final[dict[Mark, str]] = {"ok": "#1a7f37", "note": "#6e6e6e", "failed": "#cf222e"}


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was looked at."""

    topic: str
    mark: Mark
    """`note`: it is no fault, or it could not be looked at."""
    text: str
    remedy: str = ""
    """What to do, as a sentence. A failed line always has one."""

    def __post_init__(self) -> None:
        if self.mark == "failed" and not self.remedy:
            raise ValueError(f"{self.topic}: a failed line needs a remedy")

    def __str__(self) -> str:
        return " ".join(part for part in (self.text, self.remedy) if part)


@dataclass(frozen=True)
class Report:
    """All lines of one look. Shows as text and as a table."""

    lines: tuple[Line, ...]
    role: str = ""
    """YAML of the Role and the RoleBinding that give the missing rights; empty when none is missing."""

    @property
    def ok(self) -> bool:
        """Whether nothing has failed."""
        return not self.failed

    @property
    def failed(self) -> tuple[Line, ...]:
        """What has to be mended."""
        return tuple(line for line in self.lines if line.mark == "failed")

    def of(self, topic: str) -> tuple[Line, ...]:
        """The lines of one topic."""
        return tuple(line for line in self.lines if line.topic == topic)

    @property
    def verdict(self) -> str:
        """The whole in one sentence."""
        if self.ok:
            return "Nothing is wrong."
        return f"{len(self.failed)} {'thing is' if len(self.failed) == 1 else 'things are'} wrong."

    def __repr__(self) -> str:
        topics = max((len(line.topic) for line in self.lines), default=0)
        signs = max(len(s) for s in _SIGNS.values())
        told = [self.verdict]
        for line in self.lines:
            told.append(f"  {_SIGNS[line.mark]:{signs}}  {line.topic:{topics}}  {line.text}")
            if line.remedy:
                told.append(f"  {'':{signs}}  {'':{topics}}  → {line.remedy}")
        if self.role:
            told += ["", self.role.rstrip("\n")]
        return "\n".join(told)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))

    def _repr_html_(self) -> str:
        rows = "".join(_row(line) for line in self.lines)
        role = f"<pre>{html.escape(self.role)}</pre>" if self.role else ""
        return f"<p><b>{html.escape(self.verdict)}</b></p><table><tbody>{rows}</tbody></table>{role}"


def _row(line: Line) -> str:
    left = "style='text-align:left;vertical-align:top;white-space:{}'"
    sign = f"<b style='color:{_COLOURS[line.mark]}'>{_SIGNS[line.mark]}</b>"
    remedy = f"<br>→ {html.escape(line.remedy)}" if line.remedy else ""
    text = f"<td {left.format('normal')}>{html.escape(line.text)}{remedy}</td>"
    topic = f"<th scope='row' {left.format('nowrap')}>{html.escape(line.topic)}</th>"
    return f"<tr><td {left.format('nowrap')}>{sign}</td>{topic}{text}</tr>"


def listed(lines: Iterable[Line | None]) -> tuple[Line, ...]:
    """Those that there are."""
    return tuple(line for line in lines if line is not None)
