"""Several runs beside each other: their curves in one picture, what differs in their specs, and what came of them.

Nothing is copied: a comparison asks its runs each time, so that one that still runs shows its newest figures.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from kaito_trainer.contract import Problem
from kaito_trainer.contract.problems import close_match, listing

from ..backends.past import PastBackend
from ..errors import KaitoError, SpecError
from ..state import RunState
from ..status import TERMINAL
from .adapter import Adapter
from .contrast import Contrast, contrast
from .registry import watch
from .run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from ..plots.overlay import Curve

By = Literal["steps", "tokens", "time"]
BY: Final[tuple[By, ...]] = get_args(By)
"""What the curves are laid over each other by; `time` is seconds since each one's training began."""
MOST: Final = 16
"""Runs that one picture takes."""
Price = float | Mapping[str, float] | None
"""Of a node, an hour: one for all runs, or by instance type."""


def compare(
    *runs: Run | str, by: By = "steps", price_per_hour: Price = None, namespace: str | None = None
) -> Comparison:
    """Compare runs, given as such or by name (those that are deleted, too, as the history holds them).

    `price_per_hour` of the node, for the costs: a number, or a mapping from instance types to numbers. Raises `SpecError` for
    fewer than two runs, one that comes twice, and what `by` cannot be; `RunNotFound` for a name that there is none of.
    """
    problems = []
    if by not in BY:
        problems.append(Problem("by", f'"{by}" is no axis.', close_match(str(by), BY) or f"Use {listing(BY)}."))
    names = [run if isinstance(run, str) else run.name for run in runs]
    if len(runs) < 2:
        problems.append(Problem("runs", f"there is {'one' if runs else 'none'}.", "Name two runs or more."))
    elif len(runs) > MOST:
        problems.append(Problem("runs", f"there are {len(runs)}.", f"Name at most {MOST}."))
    twice = [
        n for n in dict.fromkeys(names) if isinstance(n, str) and [r for r in runs if isinstance(r, str)].count(n) > 1
    ]
    problems += [Problem("runs", f"{name} is named twice.", "Name each run once.") for name in twice]
    if problems:
        raise SpecError(problems)
    return Comparison([watch(run, namespace) if isinstance(run, str) else run for run in runs], by, price_per_hour)


class Comparison:
    """Runs beside each other. In a notebook it shows its picture and its tables; `plot`, `to_frame` and `specs` give the parts."""

    def __init__(self, runs: Sequence[Run], by: By = "steps", price_per_hour: Price = None) -> None:
        self.runs = tuple(runs)
        self.by: By = by
        self.price_per_hour = price_per_hour
        self.labels = _labels(self.runs)
        """What each run is called here: its name, with namespace and place where two have the same."""

    @property
    def alive(self) -> bool:
        """Whether one of them still runs."""
        return any(run.state.state not in TERMINAL for run in self.runs)

    @property
    def specs(self) -> Contrast:
        """Where their specs differ: what was asked for, and what runs where nothing was said."""
        return contrast(self.labels, [(run.spec, run.backend.name, _rows(run)) for run in self.runs])

    def curves(self, by: By | None = None) -> DataFrame:
        """All points: a row a run and logged step, with `step`, `tokens`, `seconds`, `loss` and `eval_loss`.

        The same figures as in each run's `history` and `evaluations`. With `by`, indexed by run and that axis.
        """
        from pandas import concat

        frames = []
        for label, run in zip(self.labels, self.runs, strict=True):
            with run.lock:
                loss, held = run.history, run.evaluations
                start = began(run.state)
            loss = loss.reindex(columns=["num_tokens", "time", "loss"])
            held = held.reindex(columns=["eval_loss", "time"]).rename(columns={"time": "held"})
            both = loss.join(held, how="outer")
            when = both["time"].fillna(both["held"])
            both = both.assign(seconds=when - start if start is not None else when * float("nan"), run=label)
            both = both.rename(columns={"num_tokens": "tokens"}).reset_index(names="step")
            frames.append(both[["run", "step", "tokens", "seconds", "loss", "eval_loss"]])
        table = concat(frames, ignore_index=True)
        return table if by is None else table.set_index(["run", {"steps": "step", "time": "seconds"}.get(by, by)])

    def to_frame(self) -> DataFrame:
        """What came of them: a row a run. Durations in seconds, sizes in bytes; empty where nobody knows."""
        from pandas import DataFrame, Index

        return DataFrame([self.metrics(run) for run in self.runs], index=Index(self.labels, name="run"))

    def plot(
        self, by: By | None = None, *, dark: bool = False, smooth: bool = True, width: int = 800, height: int = 480
    ) -> Figure:
        """Loss over loss, held-out loss below, each curve named at its end, as a matplotlib Figure."""
        from ..plots.overlay import overlay

        by = self.by if by is None else by
        return overlay(self._curves(by), by, dark=dark, smooth=smooth, width=width, height=height)

    def notes(self, by: By | None = None) -> list[str]:
        """What the picture leaves out, and why."""
        by = self.by if by is None else by
        missing = [c.label for c in self._curves(by) if not len(c.x) and not len(c.held_x)]
        what = {"tokens": "tell no tokens", "time": "tell no times"}.get(by, "have made no step yet")
        found = [f"Not in the picture, because they {what}: {', '.join(missing)}."] if missing else []
        live = [n for n, run in zip(self.labels, self.runs, strict=True) if run.state.state not in TERMINAL]
        return found + ([f"Still running: {', '.join(live)}. Compare again for the newest figures."] if live else [])

    def report(self, path: str | Path | None = None) -> Path:
        """Write picture and tables as one HTML page that needs nothing else. Gives back its path (default: `comparison.html`)."""
        from .export import report_of_comparison

        return report_of_comparison(self, path)

    def __repr__(self) -> str:
        from .versus import text

        return text(self)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        from .versus import html

        return {"text/plain": repr(self), "text/html": html(self)}

    def _curves(self, by: By) -> list[Curve]:
        import numpy as np

        from ..plots.curve import points
        from ..plots.overlay import Curve

        found = []
        for label, run in zip(self.labels, self.runs, strict=True):
            with run.lock:
                state = run.state
                loss, held = points(state.series, "loss"), points(state.evaluations, "eval_loss")
                if by == "tokens":
                    known = points(state.series, "num_tokens")
                elif by == "time":
                    known = points(state.series, "time")
                    known = _merged(known, points(state.evaluations, "time"))
                    known = (known[0], known[1] - (began(state) or 0.0))
                else:
                    known = (loss[0], loss[0])
            if by == "steps":
                found.append(Curve(label, *loss, *held))
                continue
            pairs = []
            for steps, values in (loss, held):
                if not len(known[0]):
                    pairs += [np.empty(0), np.empty(0)]
                    continue
                # A held-out loss before the first step stands at nothing trained on, and at the beginning.
                x = np.interp(steps, known[0], known[1], left=0.0 if by == "tokens" else None)
                pairs += [x, values]
            found.append(Curve(label, *pairs))
        return found

    def metrics(self, run: Run) -> dict[str, Any]:
        """What came of one of them: a row of `to_frame`."""
        with run.lock:
            state, now = run.state, time.time()
            losses = [v for v in state.series["loss"] if v == v]
            speeds = [v for v in state.series["tokens_per_second"] if v == v]
            pairs = zip(state.evaluations["global_step"], state.evaluations["eval_loss"], strict=True)
            held = {step: v for step, v in pairs if v == v}
            trained = {step: v for step, v in held.items() if step > 0}
            seconds = state.elapsed(now)
            found = {
                "state": state.state,
                "step": state.global_step,
                "max_steps": state.max_steps,
                "tokens": state.num_tokens,
                "loss": state.loss,
                "best_loss": min(losses, default=None),
                "eval_loss_before": held.get(0.0),
                "eval_loss": state.eval_loss,
                "best_eval_loss": min(trained.values(), default=None),
                "tokens_per_second": median(speeds) if speeds else None,
                "seconds": seconds,
            }
        price = self.price_per_hour
        price = price.get(run.spec.resource.instance_type or "") if isinstance(price, Mapping) else price
        found["cost"] = None if price is None or seconds is None else seconds / 3600 * price
        found["adapter_bytes"] = _adapter_bytes(run)
        return found


def began(state: RunState) -> float | None:
    """When the training began: the first step's clock starts there."""
    for span in state.phases:
        if span.name == "training" and span.began is not None:
            return span.began
    return next((t for t in state.series["time"] if t == t), None)


def _merged(one: Any, other: Any) -> Any:
    """Two columns by step as one; where both know a step, the first one's."""
    import numpy as np

    steps = np.concatenate((one[0], other[0]))
    values = np.concatenate((one[1], other[1]))
    steps, first = np.unique(steps, return_index=True)
    return steps, np.maximum.accumulate(values[first])


def _labels(runs: Sequence[Run]) -> tuple[str, ...]:
    names = [run.name for run in runs]
    found = []
    for run in runs:
        same = [r for r in runs if r.name == run.name]
        label = run.name
        if len(same) > 1:
            label = f"{run.namespace}/{run.name} ({run.ref.backend})"
            if len({(r.namespace, r.ref.backend) for r in same}) < len(same):
                label += f" #{1 + same.index(run)}"
        found.append(label)
    return tuple(found if len(set(names)) < len(names) else names)


def _rows(run: Run) -> int | None:
    with contextlib.suppress(KaitoError):
        return run.rows
    return None


def _adapter_bytes(run: Run) -> int | None:
    if isinstance(run.backend, PastBackend):
        return run.backend.entry.adapter_bytes
    with contextlib.suppress(KaitoError, OSError):
        found = run.adapter
        return found.size if isinstance(found, Adapter) else None
    return None


__all__ = ["BY", "Comparison", "compare"]
