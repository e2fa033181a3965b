"""Who sends what, when, and from which thread, and what is left when the run has ended."""

from __future__ import annotations

import base64
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from scripted import ScriptedRun

from kaito_jupyter import panel as room
from kaito_jupyter.errors import BackendError
from kaito_jupyter.panel import bundle, live
from kaito_jupyter.panel.live import Panel

VIEW = bundle.WIDGET_VIEW


class Place:
    """An output of the notebook: what it holds now, and from which thread it was changed."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data
        self.threads: list[str] = []

    def update(self, data: dict[str, Any], **_: Any) -> None:
        self.data = data
        self.threads.append(threading.current_thread().name)


class Widget:
    """A page's end of the wire."""

    model_id = "model-1"

    def __init__(self, on_message: Callable[..., None]) -> None:
        self.on_message = on_message
        self.snapshot: dict[str, Any] = {}
        self.sent: list[dict[str, Any]] = []

    def send(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        self.sent.append(content)

    def says(self, content: Any) -> None:
        self.on_message(self, content, [])

    def kinds(self) -> list[str]:
        return [content["k"] for content in self.sent]


@pytest.fixture(autouse=True)
def front_end(monkeypatch: pytest.MonkeyPatch) -> list[Place]:
    """A notebook that takes outputs, and a quick batcher."""
    places: list[Place] = []

    def display(data: dict[str, Any], **_: Any) -> Place:
        places.append(Place(data))
        return places[-1]

    monkeypatch.setattr("IPython.display.display", display)
    monkeypatch.setattr(live, "make_widget", lambda _panel, on_message: Widget(on_message))
    monkeypatch.setattr(live, "INTERVAL", 0.01)
    return places


def until(condition: Callable[[], Any]) -> None:
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("that did not come")


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("kaito ")]


def test_a_living_run_is_a_widget_and_an_ended_one_a_picture_and_facts(front_end: list[Place]) -> None:
    run = ScriptedRun(steps=20)
    run.begin()
    panel = Panel(run)
    panel.show()
    upper, lower = front_end
    assert upper.data[VIEW]["model_id"] == "model-1"
    assert lower.data["text/html"] == ""
    run.train(20)
    run.finish()
    assert VIEW not in upper.data
    assert base64.b64decode(upper.data["image/png"]).startswith(b"\x89PNG")
    assert "Succeeded" in lower.data["text/html"]
    assert panel.widget.snapshot["n"] == 20
    until(lambda: not threads())


def test_who_waits_for_a_run_finds_it_shown_to_the_end(front_end: list[Place]) -> None:
    run = ScriptedRun(steps=3)
    run.begin()
    Panel(run).show()
    run.train(3)
    over = threading.Event()

    def reader() -> None:
        run.finish()  # the callbacks come first, as with a real run's reader
        over.set()

    threading.Thread(target=reader).start()
    assert over.wait(30)
    assert VIEW not in front_end[0].data


def test_messages_and_outputs_come_from_the_one_thread_of_the_run(front_end: list[Place]) -> None:
    run = ScriptedRun(steps=30)
    run.begin()
    panel = Panel(run)
    panel.show()
    panel.show()
    assert len(threads()) == 1
    run.train(30, seconds=0.002)
    run.finish()
    assert {name for place in front_end for name in place.threads} == {f"kaito panel {run.name}"}
    assert all(VIEW not in place.data for place in front_end)


def test_a_page_that_comes_later_is_told_everything() -> None:
    run = ScriptedRun()
    run.begin()
    panel = Panel(run)
    panel.show()
    run.train(10)
    panel.widget.says({"k": "want"})
    whole = [content for content in panel.widget.sent if content["k"] == "all"][-1]
    assert (whole["at"], whole["n"]) == (0, 10)
    run.status("Cancelled")


def test_a_click_on_cancel_is_passed_on_without_holding_the_kernel() -> None:
    run = ScriptedRun()
    run.begin()
    panel = Panel(run)
    panel.show()
    panel.widget.says({"k": "cancel"})
    until(lambda: run.cancelled == 1)
    run.status("Cancelled")


def test_a_refused_cancel_tells_the_page_why(monkeypatch: pytest.MonkeyPatch) -> None:
    run = ScriptedRun()
    run.begin()
    panel = Panel(run)
    panel.show()

    def refuse() -> None:
        raise BackendError("The cluster cannot be reached.")

    monkeypatch.setattr(run, "cancel", refuse)
    panel.widget.says({"k": "cancel"})
    until(lambda: {"k": "refused", "text": "The cluster cannot be reached."} in panel.widget.sent)
    run.status("Cancelled")


def test_logs_come_when_they_are_asked_for() -> None:
    run = ScriptedRun()
    run.say("hello <b>")
    panel = Panel(run)
    panel.show()
    assert threads() == ["kaito panel panel-test"]
    panel.widget.says({"k": "log", "on": True})
    until(lambda: any(sent.get("lines") == ["hello <b>"] for sent in panel.widget.sent))
    panel.widget.says({"k": "log", "on": False})
    until(lambda: threads() == ["kaito panel panel-test"])
    panel.close()
    run.status("Cancelled")


@pytest.mark.parametrize("junk", [None, 7, "cancel", [], {}, {"k": "boom"}, {"k": ["cancel"]}])
def test_what_no_panel_says_is_not_heard(junk: Any) -> None:
    run = ScriptedRun()
    panel = Panel(run)
    panel.show()
    before = len(panel.widget.sent)
    panel.widget.says(junk)
    assert run.cancelled == 0
    assert len(panel.widget.sent) == before
    run.status("Cancelled")


def test_a_closed_run_keeps_no_thread_and_an_opened_one_is_shown_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "HEARTBEAT", 0.02)
    run = ScriptedRun(steps=9)
    run.begin()
    panel = Panel(run)
    panel.show()
    run.reading = False
    until(lambda: not threads())
    run.reading = True
    run.train(9)
    run.finish()
    assert panel.widget.snapshot["n"] == 9


def test_there_are_signs_of_life_while_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "HEARTBEAT", 0.02)
    run = ScriptedRun()
    run.begin()
    panel = Panel(run)
    panel.show()
    until(lambda: sum(content["k"] == "new" and not content["s"] for content in panel.widget.sent) >= 2)
    run.status("Cancelled")


def test_a_picture_that_cannot_be_drawn_does_not_hold_up_the_end(
    front_end: list[Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ScriptedRun(steps=2)
    run.begin()
    Panel(run).show()

    def fail(*_: Any) -> bytes:
        raise MemoryError

    monkeypatch.setattr(live, "picture", fail)
    run.train(2)
    run.finish()
    assert set(front_end[0].data) == {"text/plain"}
    assert "Succeeded" in front_end[1].data["text/html"]
    until(lambda: not threads())


def test_a_panel_that_is_closed_ends_its_thread_though_the_run_goes_on() -> None:
    run = ScriptedRun()
    run.begin()
    panel = Panel(run)
    panel.show()
    panel.close()
    assert threads() == []


def test_a_run_that_ended_long_ago_is_shown_at_once_without_a_thread(front_end: list[Place]) -> None:
    run = ScriptedRun(steps=5)
    run.begin()
    run.train(5)
    run.finish()
    panel = Panel(run)
    panel.show()
    assert threads() == []
    assert VIEW not in front_end[0].data
    assert "image/png" in front_end[0].data
    assert panel.id in front_end[1].data["text/html"]


def test_without_anywidget_and_in_colab_there_is_no_widget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "anywidget", None)
    assert live.make_widget("p", print) is None
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "google.colab", sys)
    assert live.make_widget("p", print) is None


def test_without_a_widget_the_output_is_text_and_then_a_picture(
    front_end: list[Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "make_widget", lambda *_: None)
    run = ScriptedRun(steps=4)
    run.begin()
    Panel(run).show()
    assert set(front_end[0].data) == {"text/plain"}
    run.train(4)
    run.finish()
    assert set(front_end[0].data) == {"text/plain", "image/png"}
    assert "data-run" not in front_end[1].data["text/html"]


def test_a_run_that_is_shown_twice_has_one_panel(front_end: list[Place], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "terminal", lambda: False)
    run = ScriptedRun(steps=2)
    run.begin()
    room.show(run)
    room.show(run)
    assert len(front_end) == 4
    assert len(threads()) == 1
    run.train(2)
    run.finish()
    assert all("Succeeded" in place.data["text/html"] for place in front_end[1::2])
