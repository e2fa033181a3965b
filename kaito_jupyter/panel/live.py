"""A run on the page: who sends what, when, and from which thread.

One thread a shown run (the batcher), from the first `show` until the run has ended. The run's reader thread only wakes
it. It sends widget messages and replaces outputs by their display id, both of which are safe from any thread; it never
prints and never displays anything new, which current kernels would put into whatever cell is the latest.

Clicks come on the kernel's own thread, where they must not wait for a cluster or a disk: each gets a thread of its own.
"""

from __future__ import annotations

import atexit
import logging
import sys
import threading
import time
import uuid
import weakref
from collections.abc import Callable
from typing import Any, Final

from ..errors import KaitoError
from ..status import TERMINAL
from . import bundle, still
from .again import Again
from .drawer import Drawer
from .feed import Feed, Message, Shown

log = logging.getLogger(__name__)

INTERVAL: Final = 0.22
"""Seconds between two messages: 4 to 5 a second read as motion, and each is mostly envelope."""
HEARTBEAT: Final = 10.0
"""Seconds after which a sign of life is sent when there is no news. The front end worries after three of them."""
PICTURE_EVERY: Final = 15.0
"""Seconds between two pictures of a living run, for the notebook's file. Each costs about 0.1 s of one core."""
FINAL_SCALE: Final = 2.0
"""The last picture's pixels for each of the page's: it stays, so it is made for sharp screens."""
FINISH: Final = 30.0
"""The most seconds that the end of a run waits for its last picture, so that a headless notebook's last cell holds it."""


class Panel:
    """All places of this kernel's notebooks that show one run."""

    def __init__(self, run: Shown) -> None:
        self.run = run
        self.id = uuid.uuid4().hex
        self.feed = Feed(run)
        self.widget: Any = None
        self._drawer = Drawer(run, self._say)
        self._restart = Again(run, self._say)
        self._sending = threading.Lock()
        """Held from the making of a message until it is sent: messages must come in the order of the feed's memory."""
        self._placing = threading.Lock()
        """Held while outputs are made or replaced, so that none misses the end."""
        self._starting = threading.Lock()
        self._places: list[tuple[Any, Any]] = []
        self._png: bytes | None = None
        self._wake = threading.Event()
        self._ended = False
        """The outputs hold (or are just getting) the stills of the end."""
        self._finished = threading.Event()
        """All is said and shown: nothing more will be sent but answers to clicks."""
        self._closing = False
        self._thread: threading.Thread | None = None
        self._unsubscribe: Callable[[], None] | None = None

    def show(self, there: tuple[Any, Any] | None = None) -> None:
        """Display the run in the cell that runs now, live as long as the run is. Call it on the kernel's own thread.

        With two display handles it goes where they are, and any thread may call it.
        """
        from IPython.display import display

        if self.widget is None:
            self.widget = make_widget(self.id, self._on_message)
        if self._over():
            self._finish()
        with self._placing:
            upper, lower = self._bundles()
            if there is None:
                places = [display(b.data, metadata=b.metadata, raw=True, display_id=True) for b in (upper, lower)]
                there = (places[0], places[1])
            else:
                for handle, new in zip(there, (upper, lower), strict=True):
                    handle.update(new.data, metadata=new.metadata, raw=True)
            self._places.append(there)
        if not self._finished.is_set():
            self._start()
            if self._over():  # it ended while we were on the way, and told nobody here: who waits for it finds it shown
                self._finished.wait(FINISH)

    def _over(self) -> bool:
        """Has the run ended, and is all of it in its state? Its own last word counts only when the backend agrees."""
        status = self.run.state.status
        return self.run.done or (status is not None and status.state in TERMINAL)

    def _start(self) -> None:
        with self._starting:
            if self._finished.is_set() or (self._thread is not None and self._thread.is_alive()):
                return
            self._thread = threading.Thread(target=self._work, name=f"kaito panel {self.run.name}", daemon=True)
            _watched.add(self)
            self._thread.start()
            self._unsubscribe = self._unsubscribe or self.run.subscribe(self._on_change)

    def _on_change(self) -> None:
        """The run's reader thread calls this after each change. At the end it waits, so that who waits for the run finds it shown."""
        self._wake.set()
        self._start()  # it went to sleep if the run was closed, and is read again
        if self._over():
            self._finished.wait(FINISH)

    def _work(self) -> None:
        """The batcher."""
        pictured = 0.0
        try:
            while not self._over():
                woken = self._wake.wait(HEARTBEAT)
                self._wake.clear()
                if self._closing or (not woken and not self.run.reading):
                    return
                self._send(self.feed.news if woken else self.feed.alive)
                if woken and time.monotonic() - pictured >= PICTURE_EVERY and len(self.run.state.series):
                    pictured = time.monotonic()
                    self._draw()
                if not self._over():
                    time.sleep(INTERVAL)
            self._finish()
        except Exception:
            log.exception("the panel of the run %s failed", self.run.name)
            self._finished.set()  # the run's end must not wait for it
        finally:
            if self._finished.is_set() and self._unsubscribe is not None:
                self._unsubscribe()

    def _finish(self) -> None:
        """Say the last word to the front end, with what was made, keep it for a stored widget state, and leave stills in the notebook."""
        self.feed.look_at_result()
        self._send(lambda now: self.feed.news(now, final=True))
        if self.widget is not None and not self.widget.snapshot:
            self.widget.snapshot = self.feed.snapshot(time.time())
        if not self._finished.is_set():
            self._draw(over=True)
            self._finished.set()

    def _draw(self, *, over: bool = False) -> None:
        """Make the picture anew and put it into all outputs."""
        try:
            self._png = picture(self.run, FINAL_SCALE if over else 1.0)
        except Exception:
            log.exception("the run %s cannot be drawn", self.run.name)  # then the picture before it, or text, must do
        with self._placing:
            self._ended = self._ended or over
            bundles = self._bundles()
            for place in self._places:
                # The facts first: when the picture comes, the page puts the live panel there before it paints.
                for handle, new in zip(reversed(place), reversed(bundles), strict=True):
                    handle.update(new.data, metadata=new.metadata, raw=True)

    def close(self) -> None:
        """End the thread soon, whatever the run does. The outputs stay as they are."""
        self._closing = True
        self._wake.set()
        self._drawer.close()
        if self._thread is not None:
            self._thread.join(2 * INTERVAL + 1)

    def _bundles(self) -> tuple[bundle.Bundle, bundle.Bundle]:
        from ..plots import alt_text, summary

        over, now = self._ended, time.time()
        model_id = None if over or self.widget is None else self.widget.model_id
        panel = "" if self.widget is None else self.id
        with self.run.lock:
            text = summary(self.run.state, self.run.name)
            alt = alt_text(self.run.state, self.run.name)
        html = still.html(self.run, now, panel=panel, png=self._png) if over else None
        return bundle.picture(text, alt, self._png, model_id), bundle.facts(text, html)

    def _send(self, make: Callable[[float], Message | None]) -> None:
        if self.widget is None:
            return
        with self._sending:
            message = make(time.time())
            if message is not None:
                self.widget.send(message.content, buffers=[message.data])

    def _on_message(self, _widget: Any, content: Any, _buffers: Any) -> None:
        """What a front end asks for. It may be any page that can reach this kernel, so only known words count."""
        word = content.get("k") if isinstance(content, dict) else None
        if word == "want":
            self._send(self.feed.everything)
            if (again := self._restart.last) is not None:
                self._say(again)
        elif word == "cancel":
            threading.Thread(target=self._cancel, name=f"kaito cancel {self.run.name}", daemon=True).start()
        elif word == "again":
            threading.Thread(target=self._again, name=f"kaito resume {self.run.name}", daemon=True).start()
        elif word == "log":
            if content.get("on") is not True:
                self._drawer.close()
            elif content.get("more") is True:
                self._drawer.more()
            else:
                self._drawer.open(anew=content.get("keep") is not True)

    def _cancel(self) -> None:
        try:
            self.run.cancel()
        except KaitoError as error:
            self._say({"k": "refused", "text": str(error)})

    def _again(self) -> None:
        """Start the run again, as is offered by now: what a page says of it is not asked."""
        self._restart.start(self.feed.offered(time.time()))

    def _say(self, content: dict[str, Any]) -> None:
        self._send(lambda _now: Message(content, b""))


_watched: weakref.WeakSet[Panel] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Before the interpreter goes: a thread that sends in the middle of that fails, loudly."""
    for panel in list(_watched):
        panel.close()


def make_widget(panel: str, on_message: Callable[..., None]) -> Any:
    """The widget that carries a panel's messages, or None where there can be none: then picture and text do."""
    if "google.colab" in sys.modules:
        return None  # updates from threads don't reach its pages (googlecolab/colabtools#3373)
    try:
        import anywidget  # noqa: F401
    except ImportError:
        return None
    from .widget import RunWidget

    widget = RunWidget(run=panel)
    widget.on_msg(on_message)
    return widget


def picture(run: Shown, scale: float = 1.0) -> bytes | None:
    """The run's curve as PNG; None as long as there is none."""
    from ..plots import png

    with run.lock:
        there = len(run.state.series) or len(run.state.evaluations)
        return png(run.state, title=run.name, scale=scale) if there else None
