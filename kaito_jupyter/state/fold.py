"""`RunState`: a run as its lines and its backend have told it so far.

Lines may be missing, come twice, out of order, cut, glued or foreign; a trainer may go back to a checkpoint, or be
started again from nothing. Nothing that a line holds raises. Who asks for durations says what time it is. Not locked:
the reader thread folds, and others read under the run's lock.

Whose word counts: the backend's `Status` says how a run stands as soon as there is one (only "Pending" yields to
events: they prove that it runs); before, the trainer's own events do (`train_begin` Running, `train_end` Succeeded or
Cancelled, `error` Failed). What went wrong is told by the trainer if it could, else by the backend.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable
from json import JSONDecoder
from typing import Final, NamedTuple

from kaito_trainer.contract.events import MARK, Event, decode

from ..hf_logs import Reader, visible
from ..status import TERMINAL, State, Status
from . import bulk
from .facts import Facts
from .failure import Failure, merge
from .pace import seconds_a_step
from .phases import PhaseSpan
from .words import describe

OUTPUT_LINES: Final = 2000
"""Foreign lines that are kept, the latest ones."""
REVISIONS: Final = 20
"""Earlier revisions that are remembered, the latest ones."""
OUTPUT_WIDTH: Final = 2000
"""Characters kept of a foreign line."""
BESIDE: Final = 50
"""The latest lines of programs beside the trainer that are not kept once more."""
_LONGEST: Final = 100_000
_DECODER: Final = JSONDecoder()


class Latest:
    """The latest value of a column of the series, as an attribute."""

    def __init__(self, series: str = "series") -> None:
        self._series = series

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, state: RunState | None, owner: type) -> float | None:
        value: float | None = None if state is None else getattr(state, self._series).last(self._name)
        return value


class Revision(NamedTuple):
    """What became of an earlier revision of a run."""

    number: int
    global_step: int
    loss: float | None


class RunState(Facts):
    """One run, as far as its lines and its backend have told. All of it may be read; `feed` and `apply` change it.

    `reader` reads the lines of KAITO's own trainer, which speaks no events: give one that knows the run's
    `logging_steps` and `max_steps`. It is not asked any more once an event came.
    """

    loss = Latest()
    learning_rate = Latest()
    grad_norm = Latest()
    epoch = Latest()
    num_tokens = Latest()
    """Tokens trained on so far."""
    tokens_per_second = Latest()
    samples_per_second = Latest()
    """Rows of the data."""
    step_seconds = Latest()
    """What a step takes, waiting for its data included."""
    mean_token_accuracy = Latest()
    device_memory_bytes = Latest()
    """The peak."""
    device_memory_used_bytes = Latest()
    gpu_utilization = Latest()
    """Percent."""
    eval_loss = Latest("evaluations")

    def __init__(self, reader: Reader | None = None) -> None:
        super().__init__()
        self.revision_number = 1
        """Which revision of the run this is; `revision` counts changes of this object."""
        self.revisions: list[Revision] = []
        """Those before, as far as they were seen here."""
        self._begin(reader)

    def _begin(self, reader: Reader | None) -> None:
        self.state: State = "Pending"
        self.reason = ""
        """Why it stands so, by the backend."""
        self.failure: Failure | None = None
        """Known as soon as the trainer tells of it, perhaps before the backend says that the run has failed."""
        self.created: float | None = None
        self.started: float | None = None
        self.ended: float | None = None
        self.status: Status | None = None
        """What the backend said last."""
        self.output: deque[str] = deque(maxlen=OUTPUT_LINES)
        """Foreign lines as a terminal would show them, without progress bars."""
        self._reader: Reader | None = Reader() if reader is None else reader
        self._beside: deque[str] = deque(maxlen=BESIDE)

    def begin_anew(self, number: int, reader: Reader | None = None) -> None:
        """The run has another revision, and its training begins anew: forget all of the one before."""
        changes, rewrites = self.revision, (self.series.rewrites, self.evaluations.rewrites)
        before = [*self.revisions, Revision(self.revision_number, self.global_step, self.loss)][-REVISIONS:]
        Facts.__init__(self)
        self._begin(reader)
        self.revision, self.revision_number, self.revisions = changes + 1, number, before
        # A view must not take the first rows of this curve for the last rows of the old one.
        self.series.rewrites, self.evaluations.rewrites = (n + 1 for n in rewrites)

    def feed(self, line: str, time: float | None = None) -> None:
        """Take one line of the log, whatever it is. `time`: when it was written, if the backend knows."""
        event = decode(line)
        if event is not None:
            self.apply(event)
            if not line.startswith(MARK):
                self._keep(line[: line.find(MARK)])
        elif MARK in line:
            self._glued(line)
        else:
            self._foreign(line, time)

    def feed_many(self, lines: Iterable[str]) -> None:
        """Take many lines, as `feed` would one by one, but a long stretch of log events several times as fast."""
        for stretch in bulk.stretches(lines):
            if isinstance(stretch, str):
                self.feed(stretch)
            else:
                self._feed_logs(stretch)

    def feed_beside(self, lines: Iterable[str], phase: str = "", time: float | None = None) -> None:
        """Take lines of a program beside the trainer (one that fetches or pushes): its events count as the trainer's do.

        Its other lines are output alone: a download's bar counts no steps. What it says again and again, as a loop that
        waits does, is kept once, so that it does not drive out the trainer's own words. `phase`: what it is there for,
        told where no events are: of one that pushes, only after the training.
        """
        for line in lines:
            if MARK in line:
                self.feed(line)
            elif line not in self._beside:
                self._beside.append(line[:OUTPUT_WIDTH])
                self._keep(line)
        if phase and self._reader is not None and phase != self.phase and (phase != "pushing" or self._ended >= 0):
            self._take(Event("phase", 0, time or 0.0, {"phase": phase}), self._order.next())

    def _feed_logs(self, stretch: bulk.Stretch) -> None:
        lines, logs = stretch
        if logs and self._take_logs(logs):
            if len(logs) < len(lines):
                for line in stretch.others():
                    self._feed_after(line)
        elif len(lines) < 2 * bulk.WORTH_IT:
            for line in lines:
                self.feed(line)
        else:  # the odd line is in one of the halves only
            for half in stretch.halves():
                self._feed_logs(half)

    def _feed_after(self, line: str) -> None:
        """Take an event that stood among logs which are taken already: late, but not from another attempt."""
        seq = bulk.number_of(line)
        if seq is not None and self.max_steps is not None and self._order.whole_before(seq):
            self._order.place(seq, 0.0)  # a summary that cannot say anything new need not be parsed
            return
        event = decode(line)
        if event is None:
            self.feed(line)
        elif (order := self._order.place(event.seq, 0.0)) is not None:
            self._take(event, order)

    def _take_logs(self, lines: list[str]) -> bool:
        """Take log events by the column. False, with nothing taken, when they need to be looked at one by one."""
        read = bulk.read(lines)
        if read is None:
            return False
        columns, seqs = read.columns, read.seqs
        if not self.series.follows(int(columns["global_step"][0])):
            return False
        base = self._order.place_all(seqs, read.newest)
        if base is None:
            return False
        orders = seqs if not base else array("q", [base + seq for seq in seqs])
        self._reader = None
        self.series.extend(columns, orders)
        first = columns["time"][0]
        self._at(int(columns["global_step"][-1]), orders[-1])
        self._trains(orders[-1], first if first == first else None)
        self.revision += len(lines)
        if self.state == "Pending":
            self._settle()
        return True

    def apply(self, item: Event | Status | str) -> None:
        """Take an event, a foreign line, or how the run stands."""
        if isinstance(item, Event):
            order = self._order.place(item.seq, item.time)
            if order is not None:
                self._reader = None
                self._take(item, order)
                if self.state == "Pending":
                    self._settle()
        elif isinstance(item, Status):
            if item.revision > self.revision_number:
                self.begin_anew(item.revision)
            self.status = item
            self._settle()
            self.revision += 1
        else:
            self._foreign(item, None)

    def _glued(self, line: str) -> None:
        """Several events, or an event and other text, on one line."""
        before, *pieces = line.split(MARK)
        self._keep(before)
        for piece in pieces:
            text = MARK + piece
            try:
                end = _DECODER.raw_decode(text)[1]
            except (ValueError, RecursionError):
                end = 0
            event = decode(text[:end])
            if event is not None:
                self.apply(event)
            self._keep(text if event is None else text[end:])

    def _foreign(self, line: str, time: float | None) -> None:
        if self._reader is not None:
            for event in self._reader.feed(f"{line}\n", time):
                self._take(event, self._order.next())
            if self.state == "Pending":
                self._settle()
        self._keep(line)

    def _keep(self, line: str) -> None:
        text = visible(line[-_LONGEST:])
        if text:
            self.output.append(text[:OUTPUT_WIDTH])
            self.revision += 1

    def _settle(self) -> None:
        status, first = self.status, self._phases.first
        verdict: State = "Running" if self._order.seen else "Pending"
        if self._ended >= 0:
            completed = self.train_end.get("status") != "cancelled"
            verdict = "Failed" if self._error is not None else "Succeeded" if completed else "Cancelled"
        if status is None:
            self.state, self.reason = verdict, ""
            self.created = self.started = first
        else:
            waits = status.state == "Pending" and verdict != "Pending"
            self.state, self.reason = "Running" if waits else status.state, status.reason
            self.created, self.started = status.created, first if status.started is None else status.started
        over = self.state in TERMINAL
        self.ended = None if not over else self._end_time if status is None or status.ended is None else status.ended
        well = over and self.state != "Failed"
        self.failure = None if well else merge(self._error, status, reversed(self.output))

    @property
    def phases(self) -> list[PhaseSpan]:
        """What it did, from when to when. The last is open until the run or its trainer has ended."""
        created = None if self.status is None else self.status.created
        return self._phases.spans(created, self._end_time if self.ended is None else self.ended)

    @property
    def progress(self) -> float | None:
        """Share of the steps made, 0 to 1; None when the number of steps is not known."""
        return min(1.0, self.global_step / self.max_steps) if self.max_steps else None

    def elapsed(self, now: float) -> float | None:
        """Seconds since the run started, or that it took."""
        if self.started is None:
            return None
        return max(0.0, (now if self.ended is None else self.ended) - self.started)

    @property
    def seconds_per_step(self) -> float | None:
        """What a step takes of late, without pauses; None before the first steps."""
        return seconds_a_step(self.series, self._pauses)

    def seconds_left(self, now: float) -> float | None:
        """Estimated seconds until the last step, by the pace of the latest steps without pauses; None when unknown."""
        if self.max_steps is None or self.state in TERMINAL or self._ended >= 0 or self.phase != "training":
            return None
        left = max(0, self.max_steps - self.global_step)
        pace = self.seconds_per_step
        if pace is None:
            return None if left else 0.0
        rows, times = self.series["global_step"], self.series["time"]
        since = max([t for t in times[-1:] if t == t] + [time for _, time in self._pauses])
        usual = rows[-1] - rows[-2] if len(rows) > 1 else 1.0
        # No more than until the next log is due: a trainer that hangs does not come nearer to its end.
        return max(0.0, left * pace - min(max(0.0, now - since), usual * pace))

    def describe(self, now: float) -> str:
        """One line for people: `training 120/400 · loss 1.93 · 2m 10s left`."""
        return describe(self, now)
