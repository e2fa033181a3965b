"""`Form`: what a person fills in, and what becomes of it.

Handlers run on the kernel's own thread and do no more than note what was written; a thread of the form's own looks at the
draft when the typing pauses, and sets the widgets. It never prints and never displays anything new. Submitting has a thread, too.
"""

from __future__ import annotations

import atexit
import html
import logging
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from kaito_trainer.contract import Problem

from ..errors import InputError, KaitoError
from ..run import Run
from ..spec import TuningSpec
from . import words
from .draft import Draft
from .line import line as line_of
from .page import FRAME, Page
from .seen import Examiner, Seen

log = logging.getLogger(__name__)

PAUSE: Final = 0.25
"""Seconds without a change after which the draft is looked at."""
PATIENCE: Final = 120.0
"""Seconds that `spec` and `problems` wait for a look that goes on."""


class Form:
    """A form to fill in. It shows itself in a notebook; `spec`, `line` and `submit()` are what comes out of it."""

    def __init__(
        self,
        data: Any,
        draft: Draft,
        *,
        before: TuningSpec | None = None,
        frames: Callable[[], Mapping[str, Any]] | None = None,
    ) -> None:
        self.run: Run | None = None
        """The run that it started last."""
        self._draft = draft
        self._frames = frames
        self._examiner = Examiner(data, before)
        self._seen: Seen | None = None
        self._lock = threading.RLock()
        """Held while draft or widgets change."""
        self._looking = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None
        self._stale = self._closing = self._submitting = False
        self._places: tuple[Any, Any] | None = None
        self._page = Page(self._on_change, self._on_fix, list(frames()) if frames else None)
        self._page.fill(draft)
        self._page.submit.on_click(self._on_submit)
        self._page.begin.on_click(self._on_begin)
        self._page.again.on_click(self._on_again)
        _forms.add(self)
        self._touch()

    # What comes out of it

    @property
    def spec(self) -> TuningSpec:
        """What it says, as a spec. Waits for a check that goes on."""
        return self._settled().spec

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All findings: errors, warnings, notes. Waits for a check that goes on."""
        return self._settled().problems

    @property
    def line(self) -> str:
        """The magic line that repeats it, with only what differs from the defaults."""
        return line_of(self._draft)

    def submit(self) -> Run:
        """Start the run and show it below. Raises as `kaito_jupyter.tune` does, with all problems at once."""
        run = self._submitted(lambda _text: None)
        self._show_run(run)
        return run

    def __repr__(self) -> str:
        return f"<the form of {self.line}>"

    # Showing

    def show(self) -> None:
        """Display it in the cell that runs now, with a place below it for the run."""
        from IPython.display import display

        display(self._page.box)
        empty = {"text/html": "", "text/plain": ""}
        upper, lower = (display(empty, raw=True, display_id=True) for _ in range(2))
        self._places = (upper, lower)

    def _ipython_display_(self) -> None:
        self.show()

    def _show_run(self, run: Run) -> None:
        from .. import show  # the public name: faces don't know each other

        self.run = run
        if self._places is not None:
            show(run, places=self._places)
        else:
            show(run)

    # What the user does, on the kernel's own thread

    def _on_change(self, path: str, text: str) -> None:
        with self._lock:
            if path == FRAME:
                self._choose(text)
            else:
                self._draft = self._draft.put(path, text)
            self._page.remember(self._draft)
        self._touch()

    def _choose(self, name: str) -> None:
        """Another DataFrame of the notebook."""
        frames = self._frames() if self._frames else {}
        self._examiner.data = frames.get(name)
        self._draft = replace(self._draft, word=name, columns=())

    def _on_fix(self, problems: Iterable[Problem]) -> None:
        with self._lock:
            self._draft = self._draft.fixed(problems)
            self._page.fill(self._draft)
        self._touch()

    def _on_begin(self, _button: Any) -> None:
        with self._lock:
            target = self._seen.target if self._seen else "local"
            for path, text in words.beginning(self._draft.spec, target).items():
                self._draft = self._draft.put(path, text)
            self._page.fill(self._draft)
        self._touch()

    def _on_again(self, _button: Any) -> None:
        self._examiner.forget()
        self._touch()

    def _on_submit(self, _button: Any) -> None:
        with self._lock:
            if self._submitting:
                return
            self._submitting = self._page.submit.disabled = True
        threading.Thread(target=self._submit, name="kaito form submits", daemon=True).start()

    # Looking at the draft

    def _touch(self) -> None:
        """Something changed: have it looked at soon."""
        with self._lock:
            self._stale = True
            _set(self._page.repeat, words.repeat(self.line))
            if not self._submitting:
                _set(self._page.status, "")
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._look, name="kaito form", daemon=True)
                self._thread.start()

    def _look(self) -> None:
        while not self._closing:
            with self._lock:
                if not self._stale:
                    self._thread = None  # under the lock: who touches now starts another one
                    self._looking.notify_all()
                    return
                first, self._stale = self._seen is None, False
                draft = self._draft
            if not first:
                threading.Event().wait(PAUSE)
                if self._stale:
                    continue
            try:
                for seen in self._examiner.examine(draft):
                    with self._lock:
                        if self._stale or self._closing:
                            break
                        self._seen = seen
                        self._page.update(seen)
                        self._page.submit.disabled |= self._submitting
            except Exception:
                log.exception("the form cannot be checked")
                with self._lock:
                    _set(self._page.status, "<p>It cannot be checked; Submit checks it once more.</p>")
                    self._page.submit.disabled = self._submitting

    def _settled(self) -> Seen:
        with self._looking:
            self._looking.wait_for(lambda: self._thread is None or self._closing, PATIENCE)
            seen = self._seen
        if seen is None or seen.draft != self._draft:
            raise KaitoError("the form's check has not come to an end. Ask again in a moment.")
        return seen

    # Starting

    def _submit(self) -> None:
        try:
            run = self._submitted(self._tell)
            self._show_run(run)
            self._tell(f"{run.name} was started. In any other cell, %kaito watch {run.name} shows it too.")
        except InputError as error:
            with self._lock:
                if self._seen is not None:
                    others = [p for p in self._seen.problems if p not in error.problems]
                    self._seen = replace(self._seen, problems=(*error.problems, *others))
                    self._page.update(self._seen)
            self._tell("It was not started: see the findings.")
        except KaitoError as error:
            self._tell(f"It was not started: {error}")
        except Exception as error:
            log.exception("the form's run could not be started")
            self._tell(f"It was not started: {type(error).__name__}: {error}")
        finally:
            with self._lock:
                self._submitting = False
                self._page.submit.disabled = bool(self._seen and self._seen.errors)

    def _submitted(self, tell: Callable[[str], None]) -> Run:
        from .. import tune  # the public name

        with self._lock:
            draft, data, seen = self._draft, self._examiner.data, self._seen
        if seen is not None and seen.dataset is not None and seen.draft.columns == draft.columns:
            data = seen.dataset  # read and checked already
            columns: dict[str, Any] = {}
        else:
            columns = dict(draft.columns) if data is not None else {}
        tell("Starting …")
        run: Run = tune(data, **draft.options(), **columns, on_progress=tell)
        self._examiner.forget()
        return run

    def _tell(self, text: str) -> None:
        with self._lock:
            _set(self._page.status, f"<p role='status'>{html.escape(text)}</p>")

    def close(self) -> None:
        """End its thread soon. What is on the page stays."""
        with self._looking:
            self._closing = True
            self._looking.notify_all()
        if (thread := self._thread) is not None:
            thread.join(2.0)


_forms: weakref.WeakSet[Form] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Before the interpreter goes: a thread that sends in the middle of that fails, loudly."""
    for form in list(_forms):
        form.close()


def _set(widget: Any, text: str) -> None:
    if widget.value != text:
        widget.value = text
