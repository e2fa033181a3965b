"""Where a run's time went of late: into steps, waiting for data, checkpoints, evaluations. Pure."""

from __future__ import annotations

from typing import Final, NamedTuple

from .series import Series
from .words import duration

LOOKBACK: Final = 1000
"""Latest rows of the curve that it is taken from: the cost stays the same however long the run."""

LITTLE: Final = 0.01
"""Share of the time that is not worth a word."""


class Spent(NamedTuple):
    """Seconds, between the first and the last of the rows looked at."""

    steps: float
    """Forward, backward and the optimiser, without waiting for data."""
    data: float
    save: float
    eval: float

    @property
    def total(self) -> float:
        return sum(self)

    def describe(self) -> str:
        """`steps 48s · data 12s (20 %)`; what took next to nothing is left out."""
        words = {"steps": self.steps, "data": self.data, "checkpoints": self.save, "evaluation": self.eval}
        whole = self.total or 1.0
        kept = [
            (name, s, round(100 * s / whole)) for name, s in words.items() if name == "steps" or s >= LITTLE * whole
        ]
        return " · ".join(f"{name} {duration(s)}" + (f" ({p} %)" if name != "steps" else "") for name, s, p in kept)


def spent(series: Series) -> Spent | None:
    """Where the time of the latest rows went; None where the trainer does not say (KAITO's own, or an older one of ours)."""
    # Not the first of several: it bears what is done once, as measuring the base model and starting to read data.
    rows = range(max(1 if len(series) > 1 else 0, len(series) - LOOKBACK), len(series))
    steps, each = series["global_step"], series["step_seconds"]
    whole = [each[i] * (steps[i] - (steps[i - 1] if i else 0.0)) for i in rows if each[i] == each[i]]
    if not whole:
        return None
    data, save, held_out = (
        sum(v for v in series[name][rows.start :] if v == v)
        for name in ("data_seconds", "save_seconds", "eval_seconds")
    )
    return Spent(max(0.0, sum(whole) - data), data, save, held_out)


__all__ = ["LOOKBACK", "Spent", "spent"]
