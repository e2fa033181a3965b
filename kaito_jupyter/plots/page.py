"""A figure as a page: heading, what went wrong, and the phases while there is no curve. Laid out in pixels.

Colours are Okabe and Ito's (distinct for colour-blind eyes), and no meaning hangs on colour alone.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..state import PhaseSpan, duration
from ..state.words import amounts, describe
from ..status import TERMINAL

if TYPE_CHECKING:
    from ..state import RunState

DPI: Final = 100
FONT: Final = "DejaVu Sans"
"""Comes with matplotlib, so that a picture is the same everywhere."""


@dataclass(frozen=True)
class Look:
    """Colours of one theme."""

    back: str
    front: str
    quiet: str
    grid: str
    track: str
    loss: str
    held: str
    rate: str
    good: str
    bad: str


LIGHT: Final = Look(
    "#ffffff", "#1c1e21", "#646a71", "#e9ebee", "#e4e7ea", "#0072b2", "#d98a00", "#009e73", "#00785a", "#c04a00"
)
DARK: Final = Look(
    "#111418", "#e8eaed", "#9aa1a9", "#262b31", "#2c3238", "#56b4e9", "#e69f00", "#2bbd92", "#3ecda3", "#ff8f4d"
)
AHEAD: Final = ("pending", "loading", "tokenizing", "training", "saving")
"""The phases that every run has."""
SIGNS: Final = {"Pending": "○", "Running": "●", "Succeeded": "✓", "Failed": "✗", "Cancelled": "■"}


class Page:
    """One figure, laid out in pixels from above and from below."""

    def __init__(self, figure: Figure, look: Look, width: int, height: int) -> None:
        self.figure, self.look = figure, look
        self.width, self.height = width, height
        self.top, self.bottom = 14.0, 14.0
        self.left, self.right = 16.0, 16.0

    def text(self, x: float, y: float, text: str, **style: Any) -> Any:
        """Text at pixels from the left and from the top. Dollar signs are no formulas."""
        usual: dict[str, Any] = {"color": self.look.front, "size": 9, "va": "top", "family": FONT, "parse_math": False}
        return self.figure.text(x / self.width, 1 - y / self.height, text, **(usual | style))

    def fits(self, text: str, size: float, room: float) -> str:
        """The text, cut to so many pixels (by the font's usual width)."""
        most = max(8, int(room / (size * DPI / 72 * 0.56)))
        return text if len(text) <= most else text[: most - 1].rstrip() + "…"

    def heading(self, state: RunState, title: str, now: float) -> None:
        """Name, then how it stands with its sign, then a thin bar of what is done."""
        look, room = self.look, self.width - self.left - self.right
        if title:
            self.text(self.left, self.top, self.fits(title, 11, room), size=11, weight="bold")
            self.top += 22
        tone = {"Succeeded": look.good, "Failed": look.bad, "Running": look.loss}.get(state.state, look.quiet)
        self.text(self.left, self.top, SIGNS[state.state], color=tone, size=9.5)
        self.text(
            self.left + 16,
            self.top,
            self.fits(describe(state, now, cause=state.failure is None), 9, room - 16),
            color=look.quiet,
        )
        self.top += 21
        if state.progress is not None and state.state in ("Pending", "Running"):
            for share, color in ((1.0, look.track), (state.progress, look.loss)):
                x = [self.left / self.width, (self.left + share * room) / self.width]
                y = [1 - self.top / self.height] * 2
                self.figure.add_artist(Line2D(x, y, color=color, linewidth=2.2, solid_capstyle="butt"))
            self.top += 8

    def failure(self, state: RunState) -> None:
        """What went wrong and what to do, at the foot."""
        failure = state.failure
        if failure is None:
            return
        most = int((self.width - self.left - self.right) / 6.7)
        message = textwrap.wrap(
            " ".join(f"{failure.kind}: {failure.message}".split()), most, max_lines=2, placeholder=" …"
        )
        remedy = textwrap.wrap(" ".join(failure.remedy.split()), most, max_lines=2, placeholder=" …")
        lines = [(line, self.look.bad) for line in message] + [(line, self.look.front) for line in remedy]
        for line, color in reversed(lines):
            self.text(self.left, self.height - self.bottom, line, color=color, size=8.5, va="bottom")
            self.bottom += 15
        self.bottom += 5

    def waiting(self, state: RunState, now: float) -> None:
        """No point yet: the phases one below the other with their durations, and those that come."""
        look, over = self.look, state.state in TERMINAL
        spans = state.phases[-7:] or [PhaseSpan(state.phase, None, None)]
        rows = [("✓", look.quiet, span, "normal") for span in spans[:-1]]
        last = SIGNS[state.state] if over else "●"
        rows.append((last, look.bad if state.state == "Failed" else look.loss, spans[-1], "bold"))
        coming = AHEAD[AHEAD.index(state.phase) + 1 :] if state.phase in AHEAD and not over else ()
        rows += [("○", look.grid, PhaseSpan(name, None, None), "normal") for name in coming]
        y = self.top + 16
        for sign, tone, span, weight in rows:
            ahead, seconds = sign == "○", span.seconds(now)
            self.text(self.left + 2, y, sign, color=look.quiet if ahead else tone)
            self.text(self.left + 22, y, span.name, weight=weight, color=look.quiet if ahead else look.front)
            if seconds is not None and seconds >= 1:
                self.text(self.left + 190, y, duration(seconds), color=look.quiet, ha="right")
            if weight == "bold" and not over:
                detail = " · ".join(part for part in (state.phase_detail, amounts(state)) if part)
                self.text(self.left + 210, y, self.fits(detail, 9, self.width - 250), color=look.quiet)
            y += 23
