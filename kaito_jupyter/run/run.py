"""A run as a person holds it: how it stands, its curve, its log, its end, and its adapter."""

from __future__ import annotations

import base64
import contextlib
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kaito_trainer.contract import Problem, decode

from ..backends.base import Backend
from ..errors import RunNotFound
from ..hf_logs import Reader as LogReader
from ..history import Note, archive
from ..history.entry import key_of
from ..state import RunState, Series
from ..status import RunRef
from .adapter import Adapter
from .answers import Answers
from .reader import Reader
from .remarks import said, words
from .waiting import Patience, caller_awaits, raise_for

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from ..dataset import Dataset
    from ..diagnose import Diagnosis, Fix
    from ..preflight import Estimate
    from ..spec import TuningSpec

CATCH_UP: Final = 20.0
"""The most seconds that `watch` waits for a log to be read to its present end. A million steps take two."""


class Run:
    """A tuning run, wherever it is. It goes on whatever becomes of this object and of the kernel.

    While it is watched, one thread keeps `state` up to date, until the run has ended, `close` is called, or the last
    reference is gone. `await run` and `await run.wait()` wait for its end.
    """

    def __init__(
        self,
        backend: Backend,
        ref: RunRef,
        *,
        spec: TuningSpec | None = None,
        dataset: Dataset | None = None,
        problems: Sequence[Problem] = (),
    ) -> None:
        self.backend = backend
        self.ref = ref
        self.dataset = dataset
        """What was sent; None when the run was found again."""
        self.problems = tuple(problems)
        """Warnings and notes of the start."""
        self._spec = spec
        self._rows: int | None = None
        # A finalizer closes the reader, so nothing of the reader's may hold the run.
        weakly = weakref.ref(self)

        def renew() -> LogReader | None:
            run = weakly()
            if run is not None:
                run._spec = run.dataset = run._rows = None  # they were the last revision's
            return _log_reader(backend, ref)[0]

        reader, revision = _log_reader(backend, ref, spec)
        state = RunState(reader)
        state.revision_number = revision
        self._reader = Reader(backend, ref, state, renew)
        self._reader.open()
        # Not `self._reader.close`: a finalizer may run in any thread, and must not wait for another.
        weakref.finalize(self, self._reader.close, join=False).atexit = False

    @property
    def name(self) -> str:
        return self.ref.name

    @property
    def namespace(self) -> str:
        return self.ref.namespace

    @property
    def revision(self) -> int:
        """Which revision of the run it is: grows when its spec is changed while it lives. `state` is this one's alone."""
        return self.state.revision_number

    @property
    def rows(self) -> int | None:
        """Rows that it was sent, those held out included; None when nobody knows."""
        if self.dataset is not None:
            return self.dataset.rows
        if self._rows is None:
            self._rows = self.backend.record(self.ref).rows or 0
        return self._rows or None

    @property
    def spec(self) -> TuningSpec:
        """What was asked for, as it was said."""
        if self._spec is None:
            self._spec = self.backend.spec(self.ref)
        return self._spec

    @property
    def state(self) -> RunState:
        """How it stands. The object lives: its fields change as lines come; hold `lock` to read several that belong together."""
        return self._reader.state

    @property
    def lock(self) -> Any:
        """A reentrant lock that is held while `state` changes."""
        return self._reader.lock

    @property
    def done(self) -> bool:
        """Whether it has ended and every line of it is in `state`."""
        return self._reader.over.is_set()

    @property
    def reading(self) -> bool:
        """Whether `state` is being kept up to date: until the run has ended, or `close`."""
        return self._reader.reading

    @property
    def heard(self) -> float | None:
        """When a step last came in while all before was read already, by our own clock; None: none has come so."""
        return self._reader.stepped

    @property
    def trouble(self) -> str:
        """Why nothing new comes (the backend cannot be reached), or an empty string."""
        return str(self._reader.trouble or "")

    @property
    def history(self) -> DataFrame:
        """The curve: a row a logged step, indexed by `global_step`; columns by the names of the Trainer's log."""
        return self._frame(self.state.series)

    @property
    def evaluations(self) -> DataFrame:
        """Numbers on the held-out rows, indexed by `global_step`; step 0 is the base model."""
        return self._frame(self.state.evaluations)

    @property
    def samples(self) -> Answers:
        """What the model answered to a few held-out prompts, before the training and after."""
        with self.lock:
            return Answers(self.state.samples)

    @property
    def adapter(self) -> Adapter | str | None:
        """The adapter, when the run has ended and made one; as a text, the address where it was pushed to.

        After a cancel it is what was learnt until then.
        """
        found = self.backend.adapter(self.ref)
        return Adapter(found) if isinstance(found, Path) else found

    @property
    def notes(self) -> tuple[Note, ...]:
        """What people wrote about it, oldest first, each with its time."""
        return archive().notes(self._key())

    @property
    def tags(self) -> tuple[str, ...]:
        """Its tags, sorted."""
        return archive().tags(self._key())

    def note(self, text: str) -> None:
        """Write a line about it into the user's history, where it stays when the run is deleted. Raises `HistoryError`."""
        archive().note(self._key(), said(text))

    def tag(self, *tags: str, remove: Sequence[str] = ()) -> None:
        """Give it tags (words without spaces), and take others away. Raises `SpecError` for one that is no tag."""
        archive().tag(self._key(), words(tags), remove=remove)

    def to_csv(self, path: str | Path) -> Path:
        """Write the curve, with the held-out loss beside it, as CSV: a row a step. Gives back the file's path."""
        from .export import csv

        return csv(self, path)

    def report(self, path: str | Path | None = None) -> Path:
        """Write a page that tells all of it (curves, spec, data, figures, answers, events, adapter) and needs nothing else.

        `path`: the file, default `NAME.html` in the current folder. It may be sent: it holds no secret and loads nothing.
        """
        from .export import report

        return report(self, path)

    def plot(self, **options: Any) -> Figure:
        """The curve as a matplotlib Figure. Options: those of `plots.figure`, such as `dark` and `smooth`."""
        from .. import plots

        with self.lock:
            figure: Figure = plots.figure(self.state, **{"title": self.name, **options})
        return figure

    def logs(self, tail: int | None = None, *, events: bool = True) -> Log:
        """The log's last `tail` lines (all with None), read anew. Without `events`, those that are meant for people."""
        if events or tail is None:
            lines = self.backend.logs(self.ref, tail)
            return Log(lines if events else [line for line in lines if decode(line) is None])
        asked = 4 * tail + 100
        while True:
            lines = self.backend.logs(self.ref, asked)
            foreign = [line for line in lines if decode(line) is None]
            if len(foreign) >= tail or len(lines) < asked:
                return Log(foreign[max(0, len(foreign) - tail) :])
            asked *= 8

    def follow_logs(
        self, tail: int = 100, *, events: bool = False, stop: threading.Event | None = None
    ) -> Iterator[str]:
        """The log's last `tail` lines, then each as it comes, until the run has ended or `stop` is set."""
        from .following import following

        return following(self.backend, self.ref, tail, events=events, stop=stop)

    def wait(self, timeout: float | None = None) -> Run:
        """Wait until it has ended, and give it back. In a coroutine, and in a cell with `await`: `await run.wait()`.

        Raises `RunFailed` when it failed or was cancelled, with the reason and what to do, and `WaitTimeout` when it has
        not ended after `timeout` seconds. An interrupt (Ctrl-C, the stop button) ends the wait; the run goes on.
        """
        if caller_awaits(1):
            return self._ended(timeout)  # type: ignore[return-value]  # a coroutine: the caller awaits it
        Patience(self._reader, self.name, timeout).block()
        return self._outcome()

    def __await__(self) -> Generator[Any, None, Run]:
        return self._ended(None).__await__()

    async def _ended(self, timeout: float | None) -> Run:
        await Patience(self._reader, self.name, timeout).sleep()
        return self._outcome()

    def _outcome(self) -> Run:
        if self.state.state != "Succeeded":
            adapter = None
            with contextlib.suppress(RunNotFound):  # deleted meanwhile
                adapter = self.adapter
            raise_for(self.state, self.name, adapter)
        return self

    def estimate(self, *, price_per_hour: float | None = None) -> Estimate | None:
        """What it takes of memory, and from its first steps on of hours and money; None for a model that is not known.

        Its `seconds_per_step` are an earlier run's for `kaito_jupyter.estimate`.
        """
        from ..preflight import estimate

        with self.lock:
            pace = self.state.seconds_per_step
        target = self.backend.name
        return estimate(self.spec, self.rows, target=target, seconds_per_step=pace, price_per_hour=price_per_hour)

    def diagnose(self) -> Diagnosis:
        """What is wrong with it, with the evidence and what to do; that nothing is, when that is so.

        Looks at what is known of it now. One that is not being read is read to its present end first.
        """
        from .health import examined

        return examined(self, self._reader)

    def fix(self) -> Fix:
        """The spec with which it may do better, and what is different in it. `resume(fix=True)` starts it.

        Raises `SpecError` with the diagnosis when no change of the spec can help.
        """
        from .health import mended

        return mended(self.diagnose())

    def resume(
        self,
        *,
        fix: bool = False,
        end: bool = False,
        name: str | None = None,
        on_progress: Callable[[str], None] | None = None,
        **changes: Any,
    ) -> Run:
        """Start it again as a run of its own (`NAME-2`, or `name`), with the data that was sent before, and give that back.

        With `fix` the spec is the mended one. `changes` are said over it: `assignments` (`["Section.field=value"]`),
        `model_access_secret`, `pull_secret`, `push_secret`, `instance_type`. A run that is alive is ended first with `end`,
        and refused without. In KAITO the old Workspace is deleted once the new one stands: it would keep its GPU node.
        A trainer of ours goes on from the old run's checkpoints where it finds them (on this machine, in a volume).

        Raises `SpecError` when it has succeeded, is alive, cannot be mended, or when the changed spec cannot work.
        """
        from .resume import changed, start_again

        spec = changed(self.fix().spec if fix else self.spec, **changes)
        return start_again(self, self._reader, spec, name=name, end=end, on_progress=on_progress)

    def cancel(self) -> None:
        """Ask it to save and end. Returns at once; the state becomes Cancelled when it has. Harmless when it has ended."""
        self.backend.cancel(self.ref)
        self._reader.open()

    def delete(self) -> None:
        """Remove all that it made, its adapter included (but not a folder that you named). Ends it first when it is live."""
        self.backend.delete(self.ref)

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Have it called after each change of `state`, until what is given back is called.

        The reader's thread calls it: it must be quick, and must neither print nor display. It keeps the run being read.
        """
        unsubscribe = self._reader.subscribe(callback)
        self._reader.open()
        return unsubscribe

    def open(self, catch_up: float = 0.0) -> Run:
        """Begin to read (again), and wait up to `catch_up` seconds until what there is has been read."""
        self._reader.open()
        self._reader.catch_up(catch_up)
        return self

    def close(self) -> None:
        """Stop to read. The run goes on, and `wait`, `subscribe`, `cancel` and `open` go on reading where it stopped."""
        self._reader.close()

    def __repr__(self) -> str:
        with self.lock:
            how = self.state.describe(time.time())
        trouble = f" ({self.trouble})" if self.trouble else ""
        return f"<Run {self.name} ({self.ref.backend}): {how}{trouble}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """Picture and text, where the extension (which shows the live panel) is not loaded."""
        from .. import plots

        with self.lock:
            bundle = {"text/plain": plots.summary(self.state, self.name)}
            if len(self.state.series):
                bundle["image/png"] = base64.b64encode(plots.png(self.state, title=self.name)).decode("ascii")
        return bundle

    def _key(self) -> str:
        created = self.state.created
        return key_of(self.ref, self.backend.status(self.ref).created if created is None else created)

    def _frame(self, series: Series) -> DataFrame:
        import numpy as np
        from pandas import DataFrame, Index

        with self.lock:
            columns = {name: np.array(values) for name, values in series.columns.items()}
        steps = Index(columns.pop("global_step").astype("int64"), name="global_step")
        return DataFrame(columns, index=steps).dropna(axis="columns", how="all")


class Log(list[str]):
    """Lines of a log. Shows as text."""

    def __str__(self) -> str:
        return "\n".join(self)

    __repr__ = __str__

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))


def _log_reader(backend: Backend, ref: RunRef, spec: TuningSpec | None = None) -> tuple[LogReader | None, int]:
    """What reads a log's lines (None: any reader will do), and of which revision of the run.

    KAITO's own trainer speaks no events; what its lines leave out is known from the spec.
    """
    if backend.name != "kaito":
        return None, 1
    record = backend.record(ref)
    config = (spec or backend.spec(ref)).effective_config("kaito", rows=record.rows)
    every = config.TrainingArguments.logging_steps
    return LogReader(logging_steps=every, max_steps=record.total_steps), record.status.revision
