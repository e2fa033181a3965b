"""Several runs in one picture: loss above, held-out loss below, each curve with its name at its end.

A run is told apart by colour, by dash, and by its name beside its curve, so that none of the three alone must do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ..state.words import shown
from .curve import Values, decimate, limits, smoothed
from .drawing import FEW, SMOOTHED_FROM, RunFigure, even_ticks
from .page import DARK, DPI, FONT, LIGHT, Page

HUES_LIGHT: Final = ("#0072b2", "#c04a00", "#007a5a", "#a8478f", "#8f6400", "#2b2f36", "#1f86bd", "#6a50b8")
HUES_DARK: Final = ("#56b4e9", "#ff8f4d", "#2bbd92", "#e39cc9", "#e6b422", "#d5d9de", "#8fd0f5", "#b7a2f2")
"""After Okabe and Ito, each with a contrast of at least 3 to the background of its theme."""
DASHES: Final = ("solid", (0, (6, 1.6)), (0, (2, 1.4)), (0, (7, 1.6, 1.6, 1.6)))
"""Neighbours never share one; from the ninth run on, hue and dash come in new pairs."""
GAP: Final = 14.0
"""Pixels between two names at the curves' ends."""
LABEL: Final = 24
"""Characters of a name that are shown."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One run's curves over what they are compared by."""

    label: str
    x: Values
    loss: Values
    held_x: Values
    held_out: Values


AXES: Final = {"steps": "step", "tokens": "tokens trained on", "time": "since the training began"}
"""What runs can be compared by -> how the axis is called."""


def overlay(curves: Sequence[Curve], by: str, *, dark: bool, smooth: bool, width: int, height: int) -> RunFigure:
    """See `Comparison.plot`."""
    look = DARK if dark else LIGHT
    figure = RunFigure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=look.back)
    FigureCanvasAgg(figure)
    page = Page(figure, look, width, height)
    chart = _Overlay(page, curves, by, HUES_DARK if dark else HUES_LIGHT, smooth)
    chart.draw()
    return figure


class _Overlay:
    def __init__(self, page: Page, curves: Sequence[Curve], by: str, hues: Sequence[str], smooth: bool) -> None:
        self.page, self.look, self.by, self.smooth = page, page.look, by, smooth
        self.curves = curves
        self.styles = [
            {"color": hues[i % len(hues)], "linestyle": DASHES[(i + i // len(hues)) % len(DASHES)]}
            for i in range(len(curves))
        ]
        longest = max((len(_name(c.label)) for c in curves), default=4)
        self.left, self.right = 58.0, 84 + 7.5 * longest
        ends = [x[-1] for c in curves for x in (c.x, c.held_x) if len(x)]
        starts = [x[0] for c in curves for x in (c.x, c.held_x) if len(x)]
        self.first, self.last = (float(min(starts)), float(max(ends))) if ends else (0.0, 1.0)
        self.scale, self.unit = _unit(by, self.last)

    def draw(self) -> None:
        page = self.page
        losses = [(c.x, c.loss) for c in self.curves]
        held = [(c.held_x, c.held_out) for c in self.curves]
        if not any(len(x) for x, _ in (*losses, *held)):
            page.text(page.left, page.top, "No step was made yet.", color=self.look.quiet)
            return
        both = any(len(x) for x, _ in held) and any(len(x) for x, _ in losses)
        room = page.height - 20 - 44 - (34 if both else 0)
        upper = room * (0.62 if both else 1.0)
        if any(len(x) for x, _ in losses):
            self._chart("loss", losses, 30.0, upper - 10, raw=True)
        if both:
            self._chart("held-out loss", held, 30.0 + upper + 34, room - upper - 10, raw=False)
        elif any(len(x) for x, _ in held):
            self._chart("held-out loss", held, 30.0, upper - 10, raw=False)
        page.text(
            page.width - self.right, page.height - 12, f"{AXES[self.by]}{self.unit}", size=8.5, color=self.look.quiet, ha="right", va="bottom"
        )  # fmt: skip

    def _chart(
        self, title: str, pairs: Sequence[tuple[Values, Values]], top: float, height: float, *, raw: bool
    ) -> None:
        page = self.page
        page.text(page.left, top - 18, title, size=9, weight="bold")
        axes = self._axes(top, height)
        low, high = _limits([y for _, y in pairs], spikes=raw)
        columns = int(page.width - self.left - self.right)
        ends: list[tuple[float, float, int]] = []
        for i, (x, y) in enumerate(pairs):
            if len(x):
                self._line(axes, x, y, self.styles[i], columns, (low, high), raw=raw)
                ends.append((float(x[-1]), float(y[-1]), i))
        axes.set_ylim(low, high)
        even_ticks(axes)
        pad = 0.015 * (self.last - self.first) or 0.5
        axes.set_xlim(self.first - pad, self.last + pad)
        axes.xaxis.set_major_formatter(_numbers(self.scale, self.by))
        if self.by == "time":  # ticks that are round in the unit that is shown
            axes.xaxis.set_major_locator(_Scaled(self.scale))
        self._names(axes, ends, top, height, low, high)

    def _line(
        self,
        axes: Any,
        x: Values,
        y: Values,
        style: dict[str, Any],
        columns: int,
        span: tuple[float, float],
        *,
        raw: bool,
    ) -> None:
        soft = raw and self.smooth and len(x) >= SMOOTHED_FROM
        if soft:
            axes.plot(*decimate(x, y, columns), color=style["color"], linewidth=0.8, alpha=0.28, zorder=3)
            x, y = smoothed(x, np.clip(y, *span), columns)
        look: dict[str, Any] = {**style, "linewidth": 1.9, "zorder": 4, "solid_joinstyle": "round"}
        if not raw:
            look |= {"linewidth": 1.5, "marker": "D", "markersize": 4.5, "markeredgecolor": self.look.back}
            look |= {"markeredgewidth": 0.8, "clip_on": False}
        elif len(x) <= FEW and not soft:
            look |= {"marker": "o", "markersize": 2.8}
        axes.plot(*decimate(x, y, columns), **look)

    def _axes(self, top: float, height: float) -> Any:
        page, look = self.page, self.look
        left, width = self.left / page.width, (page.width - self.left - self.right) / page.width
        axes = page.figure.add_axes(
            (left, 1 - (top + height) / page.height, width, height / page.height), facecolor=look.back
        )
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.spines["bottom"].set_color(look.quiet)
        axes.spines["bottom"].set_linewidth(0.8)
        axes.grid(axis="y", color=look.grid, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(length=0, labelsize=8.5, labelcolor=look.quiet, labelfontfamily=FONT)
        axes.tick_params(axis="x", length=3, color=look.quiet)
        axes.yaxis.set_major_locator(MaxNLocator(5 if height > 120 else 3, min_n_ticks=2, steps=[1, 2, 2.5, 5, 10]))
        axes.xaxis.set_major_locator(MaxNLocator(7, integer=self.by != "time", steps=[1, 2, 2.5, 5, 10]))
        return axes

    def _names(
        self, axes: Any, ends: list[tuple[float, float, int]], top: float, height: float, low: float, high: float
    ) -> None:
        """Each curve's name and last value to the right, apart from each other, with a hair line from the curve's end."""
        at = [top + height * (1 - (min(max(y, low), high) - low) / (high - low)) for _, y, _ in ends]
        places = spread(at, top, top + height)
        edge = self.page.width - self.right
        for (x, y, i), place in zip(ends, places, strict=True):
            color = self.styles[i]["color"]
            pixel = top + height - (min(max(y, low), high) - low) / (high - low) * height
            begin = self.left + (x - axes.get_xlim()[0]) / (axes.get_xlim()[1] - axes.get_xlim()[0]) * (
                edge - self.left
            )
            # Not clipped to the axes: it runs from the curve's end to the name beside the picture.
            axes.plot(
                [begin + 3, edge + 4, edge + 12], [pixel, pixel, place],
                color=color, linewidth=0.7, alpha=0.55, zorder=2, clip_on=False, transform=_pixels(self.page),
            )  # fmt: skip
            label = f"{_name(self.curves[i].label)}  {shown(y)}"
            self.page.text(edge + 15, place, label, size=8.5, color=color, va="center", weight="bold")


def spread(at: Sequence[float], low: float, high: float, gap: float = GAP) -> list[float]:
    """Places near the wanted ones, in the same order, at least `gap` apart, within the bounds as far as there is room."""
    order = sorted(range(len(at)), key=lambda i: at[i])
    placed = list(at)
    floor = low
    for i in order:
        placed[i] = floor = max(at[i], floor)
        floor += gap
    ceiling = max(high, low + gap * (len(at) - 1))
    for i in reversed(order):
        placed[i] = ceiling = min(placed[i], ceiling)
        ceiling -= gap
    return placed


def _pixels(page: Page) -> Any:
    """From pixels (from the left and from the top) to the figure."""
    from matplotlib.transforms import Affine2D

    return Affine2D().scale(1 / page.width, -1 / page.height).translate(0, 1) + page.figure.transFigure


def _limits(curves: Sequence[Values], *, spikes: bool) -> tuple[float, float]:
    """What to show of the axis; with `spikes`, a lone huge value may leave it."""
    none = np.empty(0)
    spans = [limits(y, none) if spikes else limits(none, y) for y in curves if len(y)]
    return (min(low for low, _ in spans), max(high for _, high in spans)) if spans else (0.0, 1.0)


def _unit(by: str, last: float) -> tuple[float, str]:
    if by != "time":
        return 1.0, ""
    size, name = (3600.0, "hours") if last >= 7200 else (60.0, "minutes") if last >= 120 else (1.0, "seconds")
    return size, f", {name}"


def _numbers(scale: float, by: str) -> FuncFormatter:
    def text(value: float, _position: int) -> str:
        if by == "time":
            return f"{value / scale:.4g}"
        for size, unit in ((1e9, "B"), (1e6, "M"), (1e4, "k")):
            if abs(value) >= size:
                return f"{value / (1e3 if unit == 'k' else size):.4g}{unit}"
        return f"{value:.6g}"

    return FuncFormatter(text)


class _Scaled(MaxNLocator):
    """Round ticks in another unit than the axis's own."""

    def __init__(self, scale: float) -> None:
        super().__init__(7, steps=[1, 2, 2.5, 3, 5, 10])
        self._scale = scale

    def tick_values(self, vmin: float, vmax: float) -> Any:
        return np.asarray(super().tick_values(vmin / self._scale, vmax / self._scale)) * self._scale


def _name(label: str) -> str:
    return label if len(label) <= LABEL else f"{label[: LABEL - 1]}…"


__all__ = ["AXES", "Curve", "overlay", "spread"]
