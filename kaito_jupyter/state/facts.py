"""`Facts`: what a run's events say, each folded in where it belongs. Not yet: how the run stands (see `fold`)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from kaito_trainer.contract.events import Event

from .failure import Failure, from_event
from .order import LATEST_TIME, Order
from .phases import Phases
from .series import LARGEST, Series, number, whole

KEPT: Final = 100
"""The most saves, and steps with samples, that are kept."""
LOG_COLUMNS: Final = (
    "loss", "learning_rate", "grad_norm", "epoch", "num_tokens", "tokens_per_second", "samples_per_second",
    "step_seconds", "data_seconds", "save_seconds", "eval_seconds", "mean_token_accuracy", "device_memory_bytes",
    "device_memory_used_bytes", "gpu_utilization", "time",
)  # fmt: skip
EVALUATION_COLUMNS: Final = ("eval_loss", "epoch", "time")
BEFORE_TRAINING: Final = ("pending", "downloading", "loading", "tokenizing")

Values = Mapping[str, Any]


class Samples(NamedTuple):
    """What the model answered at one step."""

    global_step: int
    samples: list[dict[str, str]]
    """Each with `prompt`, `completion` (the model's) and `reference` (the data's)."""


class Saved(NamedTuple):
    """A checkpoint, or (`final`) the adapter."""

    global_step: int
    path: str
    final: bool
    time: float | None


class Restart(NamedTuple):
    """The trainer went on from a checkpoint, or began again."""

    global_step: int
    """Where it went on."""
    reached: int
    """The last step that was told before."""
    time: float | None


class Facts:
    """The fold over events. `order` is an event's place in the order of writing: later words outdo earlier ones."""

    def __init__(self) -> None:
        self.series = Series(LOG_COLUMNS)
        """The curve: one row a logged step. Numbers with names that we don't know get columns too."""
        self.evaluations = Series(EVALUATION_COLUMNS)
        """Loss on the held-out rows; step 0 is the base model."""
        self.phase_detail = ""
        """For people: what exactly is loaded, downloaded, …"""
        self.phase_done: int | None = None
        self.phase_total: int | None = None
        self.phase_unit = ""
        """What the two before count: `rows`, `bytes`, …"""
        self.global_step = 0
        self.max_steps: int | None = None
        self.num_train_epochs: float | None = None
        self.train_begin: dict[str, Any] = {}
        """The last `train_begin` event's fields: model, device, parameters, versions, …"""
        self.train_end: dict[str, Any] = {}
        """The `train_end` event's fields, when the trainer has ended by itself."""
        self.samples: list[Samples] = []
        """By step; a step's later answers replace its earlier ones."""
        self.saves: deque[Saved] = deque(maxlen=KEPT)
        self.restarts: deque[Restart] = deque(maxlen=KEPT)
        self.adapter: str | None = None
        """Where the trainer says that it put the adapter, as the trainer sees it; once it was pushed, its image."""
        self.revision = 0
        """Grows with every visible change."""
        self._order = Order()
        self._phases = Phases()
        self._pauses: deque[tuple[int, float]] = deque(maxlen=64)
        self._stepped = self._begun = self._ended = -1  # order of the last step, beginning and end
        self._end_time: float | None = None
        self._error: Failure | None = None
        self._folds: dict[str, Callable[[Values, int, float | None], None]] = {
            "log": self._log,
            "evaluate": self._evaluate,
            "history": self._history,
            "phase": self._phase,
            "train_begin": self._train_begin,
            "generate": self._generate,
            "save": self._save,
            "push": self._push,
            "train_end": self._train_end,
            "error": self._failed,
        }

    @property
    def phase(self) -> str:
        """The kind of work it is at, or was at when it ended: `pending`, then words of the contract's `PHASES`."""
        return self._phases.name

    def _take(self, event: Event, order: int) -> None:
        fold = self._folds.get(event.type)
        if fold is not None:
            fold(event.data, order, event.time if 0 < event.time < LATEST_TIME else None)
            self.revision += 1

    def _log(self, data: Values, order: int, time: float | None) -> None:
        step = data.get("global_step")
        if step.__class__ is not int or not 0 <= step < LARGEST:
            step = whole(step)
            if step is None:
                return
        if self.series.put(step, order, data, time):
            if order > self._stepped:
                self._stepped, self.global_step = order, step
            if self._phases.name != "training" or self._error is not None:
                self._trains(order, time)

    def _trains(self, order: int, time: float | None) -> None:
        """A step was made: whatever was told before, it trains."""
        if order > max(self._phases.order, self._ended):
            if self.phase in BEFORE_TRAINING:
                self._change("training", order, time)
            if self._error is not None:
                self._reopen()

    def _at(self, step: int, order: int) -> None:
        if order > self._stepped:
            self._stepped, self.global_step = order, step

    def _pause(self, step: int, time: float | None) -> None:
        if time is not None:
            self._pauses.append((step, time))

    def _evaluate(self, data: Values, order: int, time: float | None) -> None:
        step, metrics = whole(data.get("global_step")), data.get("metrics")
        if step is None:
            return
        values = {k: v for k, v in data.items() if k != "metrics"}
        if self.evaluations.put(step, order, (metrics if isinstance(metrics, dict) else {}) | values, time):
            self._at(step, order)
            self._pause(step, time)

    def _history(self, data: Values, order: int, time: float | None) -> None:
        known = self._order.whole_before(order)  # then a summary cannot say anything new
        for series, name in ((self.series, "columns"), (self.evaluations, "evaluations")):
            columns = data.get(name)
            if not isinstance(columns, dict) or (known and len(series) >= _rows(columns)):
                continue
            if series.fill(columns, order):
                self._at(max(self.global_step, int(series["global_step"][-1])), order)
        most = whole(data.get("max_steps"))
        if most and (self.max_steps is None or order > self._begun):
            self.max_steps = most
        if len(self.series):
            self._trains(order, time)

    def _phase(self, data: Values, order: int, time: float | None) -> None:
        name, detail, unit = data.get("phase"), data.get("detail"), data.get("unit")
        if not isinstance(name, str) or not name or not self._change(name, order, time):
            return
        self.phase_detail = detail if isinstance(detail, str) else ""
        self.phase_unit = unit if isinstance(unit, str) else ""
        self.phase_done, self.phase_total = whole(data.get("done")), whole(data.get("total"))
        if name == "training" and unit == "steps":
            if self.phase_done is not None:
                self._at(self.phase_done, order)
            self.max_steps = self.phase_total or self.max_steps
        if -1 < self._ended < order and name in BEFORE_TRAINING:
            self._reopen()

    def _change(self, name: str, order: int, time: float | None) -> bool:
        before = self._phases.name
        latest = self._phases.mark(name, order, time)
        if latest and name != before:
            self.phase_detail = self.phase_unit = ""
            self.phase_done = self.phase_total = None
        self._settle()
        return latest

    def _train_begin(self, data: Values, order: int, time: float | None) -> None:
        step = whole(data.get("global_step"))
        if step is not None:
            stands = max(step, whole(data.get("told_to")) or 0)  # steps made once more are not told again
            self.series.restart(stands, order)
            self.evaluations.restart(stands, order)
            if order > self._begun and (self._begun >= 0 or stands):
                self.restarts.append(Restart(step, max(stands, self.global_step), time))
            self._at(step, order)
            self._pause(step, time)
        self._change("training", order, time)
        if order > self._begun:
            self._begun = order
            self.train_begin = dict(data)
            self.max_steps = whole(data.get("max_steps")) or self.max_steps
            self.num_train_epochs = number(data.get("num_train_epochs")) or self.num_train_epochs
            if order > self._ended:
                self._reopen()

    def _generate(self, data: Values, order: int, time: float | None) -> None:
        step, rows = whole(data.get("global_step")), data.get("samples")
        if step is None or not isinstance(rows, list):
            return
        texts = [{k: v for k, v in r.items() if isinstance(v, str)} for r in rows if isinstance(r, dict)]
        kept = {s.global_step: s for s in self.samples} | {step: Samples(step, texts)}
        self.samples = [kept[s] for s in sorted(kept)]
        if len(self.samples) > KEPT:
            del self.samples[1]  # the first is the base model's
        self._pause(step, time)

    def _save(self, data: Values, order: int, time: float | None) -> None:
        step, path = whole(data.get("global_step")), data.get("path")
        if step is None or not isinstance(path, str):
            return
        final = data.get("final") is True
        self.saves.append(Saved(step, path, final, time))
        if final:
            self.adapter = path
        self._pause(step, time)

    def _push(self, data: Values, order: int, time: float | None) -> None:
        image, digest = data.get("image"), data.get("digest")
        if isinstance(image, str):
            self.adapter = f"{image}@{digest}" if isinstance(digest, str) and digest else image

    def _train_end(self, data: Values, order: int, time: float | None) -> None:
        if order > self._ended:
            step, adapter = whole(data.get("global_step")), data.get("adapter")
            if step is not None:
                self._at(step, order)
            if isinstance(adapter, str):
                self.adapter = adapter
            self._close(order, time, None, dict(data))

    def _failed(self, data: Values, order: int, time: float | None) -> None:
        if order > self._ended:
            self._close(order, time, from_event(data), {})

    def _reopen(self) -> None:
        """It goes on after an end: the run was started again."""
        self._close(-1, None, None, {})

    def _close(self, order: int, time: float | None, error: Failure | None, end: dict[str, Any]) -> None:
        self._ended, self._end_time, self._error, self.train_end = order, time, error, end
        self._settle()

    def _settle(self) -> None:
        """Work out anew how the run stands."""
        raise NotImplementedError


def _rows(columns: Values) -> int:
    steps = columns.get("global_step")
    return len(steps) if isinstance(steps, list) else 0
