"""How fast steps go by, from the curve's own times: without the pauses in which the trainer evaluates or saves."""

from __future__ import annotations

from collections.abc import Iterable

from .series import Series

LOOKBACK = 32
"""Latest intervals that the pace is taken from."""


def seconds_a_step(series: Series, pauses: Iterable[tuple[int, float]]) -> float | None:
    """The usual time of a step of late: the mean of the middle half of the latest intervals.

    `pauses` are steps after which the trainer did something else, with the time at which that was over; an interval
    that holds one is measured from there. So is the first one, from the beginning of the training.
    """
    resumed = dict(pauses)
    steps, times = series["global_step"], series["time"]
    paces: list[float] = []
    for i in range(len(steps) - 1, max(-1, len(steps) - 1 - LOOKBACK), -1):
        before, since = (steps[i - 1], times[i - 1]) if i else (-1.0, float("nan"))
        inside = [step for step in resumed if before <= step < steps[i]]
        if inside and not resumed[max(inside)] < since:
            before, since = max(inside), resumed[max(inside)]
        spent = times[i] - since
        if spent > 0:
            paces.append(spent / (steps[i] - before))
    if not paces:
        return None
    paces.sort()
    cut = len(paces) // 4
    middle = paces[cut : len(paces) - cut]
    return sum(middle) / len(middle)
