"""A long curve made short enough to draw: decimated, smoothed, with limits that one odd value does not spoil."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from ..state import Series
from .text import LARGEST

Values = npt.NDArray[np.float64]


def points(series: Series, name: str) -> tuple[Values, Values]:
    """Steps and values of a column where it has values, as copies: the series may go on growing."""
    steps, values = np.array(series["global_step"]), np.array(series[name])
    there = np.abs(values) < LARGEST
    return (steps, values) if there.all() else (steps[there], values[there])


def decimate(x: Values, y: Values, columns: int) -> tuple[Values, Values]:
    """At most two points a column of pixels, its lowest and its highest, in the order in which they came."""
    if len(x) <= 2 * columns:
        return x, y
    edges = np.linspace(0, len(x), columns + 1).astype(int).tolist()
    index = [i for a, b in pairwise(edges) for i in sorted((a + int(y[a:b].argmin()), a + int(y[a:b].argmax())))]
    return x[index], y[index]


def smoothed(x: Values, y: Values, columns: int) -> tuple[Values, Values]:
    """Exponential moving average, corrected for its start, with a half-life of a thirtieth of the curve.

    A long curve is averaged by column of pixels first.
    """
    if len(x) > columns:
        edges = np.linspace(0, len(x), columns + 1).astype(int)[:-1]
        counts = np.diff(np.append(edges, len(x)))
        x, y = np.add.reduceat(x, edges) / counts, np.add.reduceat(y, edges) / counts
    keep = 0.5 ** (1 / max(1.0, len(x) / 30))
    average, weight, out = 0.0, 0.0, np.empty(len(y))
    for i, value in enumerate(y.tolist()):
        average, weight = keep * average + (1 - keep) * value, keep * weight + (1 - keep)
        out[i] = average / weight
    return x, out


def limits(y: Values, others: Values) -> tuple[float, float]:
    """What to show of an axis: all of the curve but lone spikes (a first huge loss), and all other values."""
    shown = [others]
    if len(y) >= 5:
        window = np.lib.stride_tricks.sliding_window_view(y, 5) if len(y) <= 20_000 else _blocks(y)
        medians = np.median(window, axis=1)
        ends = np.array([np.median(y[:3]), np.median(y[-3:])])
        low = min(medians.min(), ends.min())
        high = max(medians.max(), ends.max())
        slack = 0.5 * (high - low) or 0.05 * abs(high)
        shown += [np.array([low, high]), y[(y >= low - slack) & (y <= high + slack)]]
    else:
        shown.append(y)
    every = np.concatenate(shown)
    if not len(every):
        return 0.0, 1.0
    low, high = float(every.min()), float(every.max())
    pad = 0.07 * (high - low) or max(0.05 * abs(high), 1e-9)
    return (low - pad if low < 0 or low - pad > 0 else 0.0), high + pad


def _blocks(y: Values) -> Any:
    """Five neighbours at a time, without overlap."""
    return y[: len(y) // 5 * 5].reshape(-1, 5)
