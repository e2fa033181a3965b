"""A run's state as a picture and as text: matplotlib figure, PNG, plain-text twin and alternative text.

Pure: a `RunState` in, something to show out. Read the state under its run's lock. matplotlib and numpy load with the
first picture, never with this package, and pyplot never: figures are drawn from any thread and no backend is touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .text import alt_text, means, sparkline, summary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..state import RunState

__all__ = ["alt_text", "figure", "means", "png", "sparkline", "summary"]


def figure(
    state: RunState,
    *,
    title: str = "",
    dark: bool = False,
    smooth: bool = True,
    learning_rate: bool = False,
    now: float | None = None,
    width: int = 640,
    height: int = 360,
) -> Figure:
    """The run as a matplotlib Figure: loss raw and smoothed, held-out loss, and how the run stands.

    `now` (seconds since the epoch) is for durations and the time left; default: the time of the last event. `width` and
    `height` are in pixels at the figure's 100 dots an inch. As long as a run may be, drawing takes the same time.
    """
    from .drawing import draw

    return draw(
        state, title=title, dark=dark, smooth=smooth, learning_rate=learning_rate, now=now, width=width, height=height
    )


def png(state: RunState, *, scale: float = 1.0, **options: Any) -> bytes:
    """The same as an opaque PNG; `scale` 2 gives twice the pixels for a sharp screen. Options as for `figure`."""
    from .drawing import render

    return render(figure(state, **options), scale)
