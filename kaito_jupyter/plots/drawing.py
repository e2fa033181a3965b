"""The picture of a run. Everything is set on the figure itself, nothing in matplotlib's global settings.

The raw loss is thin, the smoothed one thick, held-out loss has markers, the learning rate is dashed.
"""

from __future__ import annotations

import io
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ..state.words import shown
from .curve import decimate, limits, points, smoothed
from .page import DARK, DPI, FONT, LIGHT, Page
from .text import latest

if TYPE_CHECKING:
    from ..state import RunState

FEW: Final = 60
"""Points up to which each is marked."""
SMOOTHED_FROM: Final = 12
"""Points from which on a smoothed curve says more than the raw one."""


class RunFigure(Figure):
    """A Figure that notebooks show without pyplot."""

    def _repr_png_(self) -> bytes:
        return render(self, 1.0)


def render(figure: Figure, scale: float) -> bytes:
    """The figure as PNG, opaque."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=DPI * scale, facecolor=figure.get_facecolor())
    return out.getvalue()


def draw(
    state: RunState,
    *,
    title: str,
    dark: bool,
    smooth: bool,
    learning_rate: bool,
    now: float | None,
    width: int,
    height: int,
) -> RunFigure:
    """See `plots.figure`."""
    look = DARK if dark else LIGHT
    now = latest(state) if now is None else now
    figure = RunFigure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=look.back)
    FigureCanvasAgg(figure)
    page = Page(figure, look, width, height)
    page.heading(state, title, now)
    if state.failure is not None:
        page.failure(state)
    curve = points(state.series, "loss")
    held = points(state.evaluations, "eval_loss")
    if not len(curve[0]) and not len(held[0]):
        page.waiting(state, now)
        return figure
    rate = points(state.series, "learning_rate") if learning_rate else (np.empty(0), np.empty(0))
    Chart(page).draw(state, curve, held, rate, smooth)
    return figure


class Chart:
    """The curves, between a page's heading and its foot."""

    def __init__(self, page: Page) -> None:
        self.page, self.look = page, page.look

    def draw(self, state: RunState, curve: Any, held: Any, rate: Any, smooth: bool) -> None:
        """Loss above, learning rate in a strip below if it is wanted."""
        look = self.look
        x, y = curve
        strip = 58 if len(rate[0]) else 0
        axes = self._axes(self.page.top + 24, self.page.bottom + 34 + strip)
        low, high = limits(y, held[1])
        columns = self.page.width - 80
        drawn: list[tuple[str, dict[str, Any]]] = []
        soft = smooth and len(x) >= SMOOTHED_FROM
        if len(x):
            few = len(x) <= FEW
            style: dict[str, Any] = {
                "color": look.loss,
                "linewidth": 0.9 if soft else 1.6,
                "alpha": 0.45 if soft else 1.0,
            }
            style |= {"marker": "o", "markersize": 7 if len(x) == 1 else 2.6} if few else {}
            axes.plot(*decimate(x, y, columns), **style, zorder=3, solid_joinstyle="round")
            drawn.append(("loss", style | {"markersize": 3}))
            if soft:
                style = {"color": look.loss, "linewidth": 2.0}
                axes.plot(*smoothed(x, np.clip(y, low, high), columns), **style, zorder=4, solid_joinstyle="round")
                drawn.append(("smoothed", style))
            self._spikes(axes, x, y, high)
        if len(held[0]):
            style = {"color": look.held, "linewidth": 1.2, "linestyle": (0, (4, 2)), "marker": "D", "markersize": 5}
            style |= {"markeredgecolor": look.back, "markeredgewidth": 0.8}
            axes.plot(*held, **style, zorder=5, clip_on=False)
            drawn.append(("held out", style))
        axes.set_ylim(low, high)
        even_ticks(axes)
        first, last = self._span(axes, state, np.concatenate((x, held[0])))
        axes.set_xlim(first, last)
        axes.xaxis.set_major_formatter(_steps(last))
        self._labels(axes, held, curve, first, last)
        self._ending(axes, state, x, y, high)
        self._legend(drawn, self.page.top + 6)
        if strip:
            axes.tick_params(labelbottom=False)
            self._strip(rate, first, last, strip, columns)
        else:
            self._step_label()

    def _axes(self, top: float, bottom: float) -> Any:
        left, right = 58.0, self.page.right + 6
        axes = self.page.figure.add_axes(
            (
                left / self.page.width,
                bottom / self.page.height,
                (self.page.width - left - right) / self.page.width,
                max(30.0, self.page.height - top - bottom) / self.page.height,
            ),
            facecolor=self.look.back,
        )
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.spines["bottom"].set_color(self.look.quiet)
        axes.spines["bottom"].set_linewidth(0.8)
        axes.grid(axis="y", color=self.look.grid, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(length=0, labelsize=8.5, labelcolor=self.look.quiet, labelfontfamily=FONT)
        axes.tick_params(axis="x", length=3, color=self.look.quiet)
        room = self.page.height - top - bottom
        axes.yaxis.set_major_locator(MaxNLocator(6 if room > 120 else 3, min_n_ticks=2, steps=[1, 2, 2.5, 5, 10]))
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 2.5, 5, 10]))
        return axes

    def _span(self, axes: Any, state: RunState, steps: Any) -> tuple[float, float]:
        """The steps to show: those that were made, so that the curve fills the page; with a single one, all to come."""
        first, last = float(steps.min()), float(steps.max())
        if first == last:
            first, last = (0.0, float(state.max_steps)) if state.max_steps else (first, first)
        if first == last:
            axes.set_xticks([first])
        pad = 0.015 * (last - first) or 0.5
        return first - pad, last + pad

    def _spikes(self, axes: Any, x: Any, y: Any, high: float) -> None:
        """Mark what lies above the axis, so that nothing is hidden in silence."""
        above = y > high
        if above.any():
            some = x[above][:: max(1, int(above.sum()) // 40)]
            axes.plot(
                some,
                np.full(len(some), high),
                linestyle="",
                marker=6,
                color=self.look.loss,
                markersize=5,
                clip_on=False,
            )

    def _labels(self, axes: Any, held: Any, curve: Any, first: float, last: float) -> None:
        """The first and the last held-out loss in figures, on the side of the marker where the curve is not."""
        steps, values = held
        for i in sorted({0, len(steps) - 1}) if len(steps) else ():
            left = steps[i] - first < 0.5 * (last - first)
            near = curve[1][np.abs(curve[0] - steps[i]) <= 0.05 * (last - first)]
            below = len(near) and values[i] < np.median(near)
            axes.annotate(
                shown(float(values[i])),
                (steps[i], values[i]),
                xytext=(6 if left else -6, -7 if below else 6),
                textcoords="offset points",
                ha="left" if left else "right",
                va="top" if below else "bottom",
                size=8.5,
                color=self.look.held,
                family=FONT,
                weight="bold",
                annotation_clip=False,
                zorder=6,
                path_effects=[withStroke(linewidth=2.5, foreground=self.look.back)],
            )

    def _ending(self, axes: Any, state: RunState, x: Any, y: Any, high: float) -> None:
        """Where a run that did not complete has ended."""
        if state.state not in ("Failed", "Cancelled") or not len(x):
            return
        color = self.look.bad if state.state == "Failed" else self.look.quiet
        axes.plot(
            x[-1:], np.minimum(y[-1:], high), marker="X" if state.state == "Failed" else "s", markersize=8, color=color,
            markeredgecolor=self.look.back, zorder=7, clip_on=False,
        )  # fmt: skip

    def _legend(self, drawn: list[tuple[str, dict[str, Any]]], y: float) -> None:
        x = 58.0
        for name, style in drawn:
            line = {k: v for k, v in style.items() if k != "zorder"}
            position = 1 - (y + 6) / self.page.height
            self.page.figure.add_artist(
                Line2D([x / self.page.width, (x + 22) / self.page.width], [position] * 2, markevery=[1], **line)
            )
            self.page.text(x + 30, y, name, size=8.5, color=self.look.quiet)
            x += 46 + 7.2 * len(name)

    def _step_label(self) -> None:
        self.page.text(self.page.width - self.page.right - 6, self.page.height - self.page.bottom + 2, "step", size=8.5, color=self.look.quiet,
                  ha="right", va="bottom")  # fmt: skip

    def _strip(self, rate: Any, first: float, last: float, height: float, columns: int) -> None:
        axes = self._axes(self.page.height - self.page.bottom - 34 - height + 20, self.page.bottom + 34)
        x, y = decimate(rate[0], rate[1], columns)
        axes.plot(x, y, color=self.look.rate, linewidth=1.4, linestyle=(0, (5, 1.5)))
        axes.set_xlim(first, last)
        axes.xaxis.set_major_formatter(_steps(last))
        low, high = float(y.min()), float(y.max())
        pad = 0.1 * (high - low) or 0.1 * abs(high) or 1.0
        axes.set_ylim(low - pad, high + pad)
        ends = [high] if high == low else [low, high]
        axes.set_yticks(ends, [shown(value) for value in ends])
        self.page.text(
            58, self.page.height - self.page.bottom - 34 - height + 4, "learning rate", size=8.5, color=self.look.quiet
        )
        self._step_label()


def _steps(last: float) -> FuncFormatter:
    """Steps on an axis up to `last`: `400`, `12k`, `1.5M`, all with the same unit."""
    size, unit = (1e6, "M") if last >= 1e6 else (1e3, "k") if last >= 1e4 else (1.0, "")
    return FuncFormatter(lambda value, _: f"{value / size:.4g}{unit if value else ''}")


def even_ticks(axes: Any) -> None:
    """Label all ticks with as many decimals as their distance asks for."""
    low, high = axes.get_ylim()
    ticks = [tick for tick in axes.get_yticks().tolist() if low <= tick <= high]
    gap = min((b - a for a, b in pairwise(ticks)), default=abs(ticks[0]) if ticks else 1.0)
    places = next((p for p in range(6) if all(abs(round(t, p) - t) <= gap / 100 for t in ticks)), 6)
    far = max(map(abs, ticks), default=0.0) >= 1e5 or places > 5
    axes.set_yticks(ticks, [shown(tick) if far else f"{tick:.{places}f}" for tick in ticks])
