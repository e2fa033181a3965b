"""What a panel is sent: only what is new since the last message, so that an update costs the same at any length of run.

A message is a small dict and one buffer of float64; `js/store.js` is its other end and describes it. Pure but for
reading the run's state under the run's lock: who sends, when and from which thread is `live`'s business.
"""

from __future__ import annotations

import math
import threading
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Final, NamedTuple, Protocol

from ..spec import TuningSpec
from ..state import RunState, Series, marks
from ..state.series import number
from ..state.spent import spent
from ..state.words import ending
from ..status import TERMINAL, RunRef
from .advice import Advice
from .again import offer
from .made import made

ROWS: Final = ("global_step", "loss", "learning_rate", "num_tokens", "time")
"""Columns of the curve, in the order in which the front end expects them."""
HELD_OUT: Final = ("global_step", "eval_loss")

RESEND_EVERY: Final = 2.0
"""Seconds that lie at least between two messages with all rows, when rows before the end keep changing."""
SHOWN_SAMPLES: Final = 3
SHOWN_TEXT: Final = 1500
"""Characters of a sample or a message that are shown."""
SNAPSHOT_ROWS: Final = 2000
"""Rows that are kept in the notebook with the widget's state."""


class Shown(Protocol):
    """What a panel needs of a run."""

    @property
    def name(self) -> str: ...
    @property
    def ref(self) -> RunRef: ...
    @property
    def spec(self) -> TuningSpec: ...
    @property
    def state(self) -> RunState: ...
    @property
    def lock(self) -> AbstractContextManager[Any]: ...
    @property
    def done(self) -> bool: ...
    @property
    def reading(self) -> bool: ...
    @property
    def heard(self) -> float | None: ...
    @property
    def trouble(self) -> str: ...
    @property
    def adapter(self) -> Any: ...

    def subscribe(self, callback: Callable[..., None]) -> Callable[[], None]: ...
    def cancel(self) -> None: ...
    def follow_logs(
        self, tail: int = ..., *, events: bool = ..., stop: threading.Event | None = None
    ) -> Iterator[str]: ...
    def resume(self, *, fix: bool = ..., end: bool = ..., on_progress: Callable[[str], None] | None = None) -> Any: ...


class Message(NamedTuple):
    """A dict for JSON, and float64 numbers."""

    content: dict[str, Any]
    data: bytes


class Feed:
    """Remembers what the front end has. Not locked: one thread at a time."""

    def __init__(self, run: Shown) -> None:
        self.run = run
        self._generation = 0
        self._rows = 0
        self._held_out = 0
        self._rewrites = (0, 0)
        self._resent = -math.inf
        self._seen: tuple[int, str] = (-1, "")
        self._said: dict[str, Any] = {}
        self._samples: tuple[int, list[dict[str, Any]]] = (-1, [])
        self._advice = Advice(run)
        self._made: dict[str, Any] | None = None

    def everything(self, now: float) -> Message:
        """All there is: for a front end that has just come, or has lost its place."""
        with self.run.lock:
            return self._everything(now)

    def news(self, now: float, *, final: bool = False) -> Message | None:
        """What came since the last message; None when nothing did. With `final`, held-back resends come too."""
        state = self.run.state
        with self.run.lock:
            if self._seen == (state.revision, self._trouble()) and not final:
                return None
            rewrites = (state.series.rewrites, state.evaluations.rewrites)
            if self._generation == 0 or rewrites != self._rewrites or self._shrunk(state):
                if not final and now - self._resent < RESEND_EVERY:
                    return None
                return self._everything(now)
            said = self._status(now)
            patch = {key: value for key, value in said.items() if self._said.get(key) != value}
            return self._message("new", patch, said, self._rows, self._held_out, now)

    def alive(self, now: float) -> Message:
        """A sign of life, when there was no news for a while. It may be the silence that is to be told of."""
        with self.run.lock:
            advice = self._advised(now)
        patch = {"advice": advice} if advice != self._said.get("advice") else {}
        self._said = self._said | patch
        content = {"k": "new", "g": self._generation, "at": self._rows, "n": 0, "e": [self._held_out, 0], "s": patch}
        return Message(content | {"t": round(now, 2)}, b"")

    def snapshot(self, now: float) -> dict[str, Any]:
        """All there is in at most `SNAPSHOT_ROWS` rows, to be stored in a notebook: content and `data` in one dict."""
        state = self.run.state
        with self.run.lock:
            rows = _thinned(state.series, ROWS)
            held_out = _thinned(state.evaluations, HELD_OUT)
            content = {"k": "all", "g": 0, "at": 0, "n": len(rows[0]), "e": [0, len(held_out[0])]}
            content |= {"t": round(now, 2), "s": self._status(now)}
        return content | {"data": b"".join(column.tobytes() for column in (*rows, *held_out))}

    def look_at_result(self) -> None:
        """Find out what the ended run has made: reads its files, once."""
        if self._made is None and self.run.state.state in TERMINAL:
            self._made = made(self.run)

    def offered(self, now: float) -> dict[str, Any] | None:
        """How the run may be started again, when something is wrong with it that this may mend."""
        with self.run.lock:
            found = self._advice(now)
            return None if found is None else offer(self.run, found)

    def _advised(self, now: float) -> dict[str, Any] | None:
        """What is wrong, what to do, the line to type, and the button that does the same."""
        found = self._advice(now)
        if found is None:
            return None
        said = {"sentence": _text(found.sentence), "remedy": _text(found.remedy), "command": _text(found.command)}
        return said | {"again": offer(self.run, found)}

    def _everything(self, now: float) -> Message:
        state = self.run.state
        self._generation += 1
        self._resent = now
        self._rewrites = (state.series.rewrites, state.evaluations.rewrites)
        said = self._status(now)
        return self._message("all", said, said, 0, 0, now)

    def _message(
        self, kind: str, patch: dict[str, Any], said: dict[str, Any], at: int, held: int, now: float
    ) -> Message:
        state = self.run.state
        data = [state.series[name][at:].tobytes() for name in ROWS]
        data += [state.evaluations[name][held:].tobytes() for name in HELD_OUT]
        self._rows, self._held_out = len(state.series), len(state.evaluations)
        self._seen, self._said = (state.revision, self._trouble()), said
        content = {"k": kind, "g": self._generation, "at": at, "n": self._rows - at, "e": [held, self._held_out - held]}
        return Message(content | {"t": round(now, 2), "s": patch}, b"".join(data))

    def _trouble(self) -> str:
        """Why nothing comes from the backend, if so."""
        return _text(self.run.trouble)

    def _shrunk(self, state: RunState) -> bool:
        return len(state.series) < self._rows or len(state.evaluations) < self._held_out

    def _status(self, now: float) -> dict[str, Any]:
        """All that is said beside the curves. Small, and flat where it changes often."""
        run, state = self.run, self.run.state
        left = state.seconds_left(now)
        begin = state.train_begin
        return {
            "name": run.name,
            "namespace": run.ref.namespace,
            "backend": run.ref.backend,
            "location": run.ref.location,
            "preset": run.spec.preset,
            "method": run.spec.method,
            "revision": state.revision_number,
            "device": _text(begin.get("device")),
            "eval_rows": begin.get("eval_rows") if isinstance(begin.get("eval_rows"), int) else None,
            "state": state.state,
            "reason": _text(state.reason),
            "trouble": self._trouble(),
            "phase": state.phase,
            "ending": " · ".join(ending(state)),
            "detail": _text(state.phase_detail),
            "done": state.phase_done,
            "total": state.phase_total,
            "unit": _text(state.phase_unit),
            "phases": [list(span) for span in state.phases],
            "step": state.global_step,
            "max_steps": state.max_steps,
            "loss": _brief(state.loss),
            "eval_loss": _brief(state.eval_loss),
            "speed": _brief(state.tokens_per_second),
            "tokens": state.num_tokens,
            "memory": state.device_memory_bytes,
            "memory_used": state.device_memory_used_bytes,
            "memory_total": number(begin.get("device_memory_total_bytes")),
            "gpu": _brief(state.gpu_utilization),
            "samples_speed": _brief(state.samples_per_second),
            "step_seconds": _brief(state.step_seconds),
            "spent": _spent(state),
            "left": None if left is None else round(left),
            "created": state.created,
            "started": state.started,
            "ended": state.ended,
            "adapter": _text(state.adapter),
            "failure": _failure(state),
            "advice": self._advised(now),
            "marks": [list(mark) for mark in marks(state)],
            "made": self._made,
            "notes": [{"sentence": _text(n.sentence), "remedy": _text(n.remedy)} for n in self._advice.notes],
            "samples": self._shown_samples(state),
        }

    def _shown_samples(self, state: RunState) -> list[dict[str, Any]]:
        """The first and the last answers: what the model said before and after."""
        if self._samples[0] != len(state.samples):
            ends = state.samples[:1] + state.samples[1:][-1:]
            shown = [
                {
                    "step": step,
                    "samples": [
                        {key: _text(sample.get(key)) for key in ("prompt", "completion", "reference")}
                        for sample in samples[:SHOWN_SAMPLES]
                    ],
                }
                for step, samples in ends
            ]
            self._samples = (len(state.samples), shown)
        return self._samples[1]


def _text(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= SHOWN_TEXT else f"{text[:SHOWN_TEXT]} …"


def _brief(value: float | None) -> float | None:
    """Six digits: more are never shown, and each would be sent again and again."""
    return None if value is None else float(f"{value:.6g}")


def _spent(state: RunState) -> list[int] | None:
    """Whole seconds of late in steps, waiting for data, on checkpoints, on evaluations."""
    went = spent(state.series)
    return None if went is None else [round(seconds) for seconds in went]


def _failure(state: RunState) -> dict[str, Any] | None:
    if state.failure is None:
        return None
    kind, message, remedy, details = state.failure
    return {
        "kind": _text(kind),
        "message": _text(message),
        "remedy": _text(remedy),
        "details": [_text(line) for line in details[-50:]],
    }


def _thinned(series: Series, names: Iterable[str]) -> list[array[float]]:
    """Every n-th row and the last one, so that `SNAPSHOT_ROWS` are not exceeded."""
    stride = -(-len(series) // (SNAPSHOT_ROWS - 1)) or 1
    columns = []
    for name in names:
        column = series[name]
        thin = column[::stride]
        if (len(column) - 1) % stride:
            thin.append(column[-1])
        columns.append(thin)
    return columns
