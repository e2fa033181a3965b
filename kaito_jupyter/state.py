"""What is known of a run, as a pure fold over its log: `RunState.feed(line)` for each line, `apply(status)` between.

No I/O and no clock: who asks for durations says what time it is. Lines may be missing, come twice, out of order, cut,
glued or foreign; a trainer may go back to a checkpoint, or be started again from nothing. Nothing that a line holds
raises. Not locked: the reader thread folds, and others read under the run's lock.

Whose word counts: the backend's `Status` says how a run stands as soon as there is one; before, the trainer's own
events do (`train_begin` Running, `train_end` Succeeded or Cancelled, `error` Failed). What went wrong is told by the
trainer if it could, else by the backend, with the log's last lines.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from kaito_trainer.contract import Event, decode

from .series import Series, number, whole
from .status import TERMINAL, State, Status

OUTPUT_LINES: Final = 2000
"""Foreign lines that are kept, the latest ones."""
OUTPUT_WIDTH: Final = 2000
"""Characters kept of a foreign line."""
LOG_COLUMNS: Final = (
    "loss", "learning_rate", "grad_norm", "epoch", "num_tokens", "tokens_per_second", "mean_token_accuracy",
    "device_memory_bytes", "time",
)  # fmt: skip
EVALUATION_COLUMNS: Final = ("eval_loss", "epoch", "time")


class Failure(NamedTuple):
    """Why a run failed."""

    kind: str
    """One of the contract's `ERROR_KINDS`."""
    message: str
    remedy: str = ""
    details: tuple[str, ...] = ()
    """All problems when there were several, or the log's last lines when nobody said why."""


class PhaseSpan(NamedTuple):
    """One kind of work, from when to when (seconds since the epoch; None: not known, or not over)."""

    name: str
    began: float | None
    ended: float | None


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
    time: float


class RunState:
    """One run, as far as its lines and its backend have told."""

    def __init__(self) -> None:
        self.series = Series(LOG_COLUMNS)
        """The curve: one row a logged step."""
        self.evaluations = Series(EVALUATION_COLUMNS)
        """Loss on the held-out rows; step 0 is the base model."""
        self.state: State = "Pending"
        self.reason = ""
        self.failure: Failure | None = None
        self.phase = "pending"
        self.phases: list[PhaseSpan] = []
        self.phase_detail = ""
        self.phase_done: int | None = None
        self.phase_total: int | None = None
        self.phase_unit = ""
        self.global_step = 0
        self.max_steps: int | None = None
        self.num_train_epochs: float | None = None
        self.train_begin: dict[str, Any] = {}
        """The last `train_begin` event's fields: model, device, parameters, versions, …"""
        self.samples: list[Samples] = []
        self.saves: deque[Saved] = deque(maxlen=100)
        self.adapter: str | None = None
        """Where the trainer says that it put the adapter."""
        self.created: float | None = None
        self.started: float | None = None
        self.ended: float | None = None
        self.output: deque[str] = deque(maxlen=OUTPUT_LINES)
        self.revision = 0
        """Grows with every visible change."""

    def feed(self, line: str, time: float | None = None) -> None: ...

    def feed_many(self, lines: Iterable[str]) -> None: ...

    def apply(self, item: Event | Status | str) -> None: ...

    @property
    def epoch(self) -> float | None:
        return self.series.last("epoch")

    @property
    def loss(self) -> float | None:
        return self.series.last("loss")

    @property
    def eval_loss(self) -> float | None:
        return self.evaluations.last("eval_loss")

    @property
    def learning_rate(self) -> float | None:
        return self.series.last("learning_rate")

    @property
    def grad_norm(self) -> float | None:
        return self.series.last("grad_norm")

    @property
    def tokens_per_second(self) -> float | None:
        return self.series.last("tokens_per_second")

    @property
    def num_tokens(self) -> float | None:
        return self.series.last("num_tokens")

    @property
    def device_memory_bytes(self) -> float | None:
        return self.series.last("device_memory_bytes")

    @property
    def progress(self) -> float | None:
        """Share of the steps made, 0 to 1."""

    def elapsed(self, now: float) -> float | None:
        """Seconds since the run started, or that it took."""

    def seconds_left(self, now: float) -> float | None:
        """Estimated seconds until the last step, by the pace of the latest steps without pauses for evaluation."""

    def describe(self, now: float) -> str:
        """One line for people: `training 120/400 · loss 1.93 · 2m 10s left`."""
        return ""
