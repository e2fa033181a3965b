from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

import kaito_jupyter
from kaito_jupyter.backends.base import Record
from kaito_jupyter.backends.local import LocalBackend
from kaito_jupyter.errors import BackendError, SpecError
from kaito_jupyter.run import Listed, Run, Runs, runs
from kaito_jupyter.status import RunRef, Status

Start = Callable[..., Run]


def test_a_list_tells_how_each_run_stands_and_watches_none(start: Start, until: Callable[..., Any]) -> None:
    first = start("--raise", "--at", "15", name="first", max_steps=20)
    until(lambda: first.done)
    second = start("--seconds", "0.02", "--history-every", "5", name="second", namespace="team", max_steps=400)
    until(lambda: len(second.state.series) > 12)
    backend = second.backend
    first.close()
    second.close()
    before = threading.active_count()
    listed = runs(backend=backend)
    assert threading.active_count() == before
    assert [r.name for r in listed] == ["second", "first"]
    assert [r.state.state for r in listed] == ["Running", "Failed"]
    assert listed[0].state.global_step > 12
    assert (listed[0].state.max_steps, listed[1].state.max_steps) == (400, 20)
    assert listed[1].state.global_step == 15
    assert listed[1].state.loss == first.state.loss
    assert [r.name for r in runs(namespace="team", backend=backend)] == ["second"]
    assert [r.name for r in listed[1:]] == ["first"]

    text = repr(listed).splitlines()
    assert text[0].split() == ["name", "state", "step", "loss", "curve", "left", "age", "preset", "backend"]
    assert text[1].split()[:2] == ["team/second", "Running"]
    assert text[2].split()[:3] == ["first", "Failed", "15/20"]
    assert repr(listed[1]).startswith("<first (local): failed")

    live = listed[0].watch()
    assert list(live.history.index)[:12] == list(range(1, 13))
    listed[0].cancel()
    until(lambda: live.done)
    assert live.state.state == "Cancelled"
    listed[0].delete()
    assert [r.name for r in runs(backend=backend)] == ["first"]


def test_no_runs_say_so(local: Callable[..., LocalBackend]) -> None:
    none = runs(backend=local())
    assert (len(none), repr(none), none._repr_html_()) == (0, "No runs yet.", "<p>No runs yet.</p>")


def test_a_table_escapes_what_it_shows_and_counts_what_it_does_not(local: Callable[..., LocalBackend]) -> None:
    record = Record(
        RunRef("local", "<b>x", "default", ""), Status("Failed", "<script>", created=1.0), preset="<script>"
    )
    many = Runs([Listed(local(), record)] * 53, ["kaito: <script> is down"])
    page = many._repr_html_()
    assert "<script>" not in page
    assert "&lt;b&gt;x" in page
    assert page.count("<tr>") == 51
    assert "… and 3 more" in page
    assert repr(many).splitlines()[-1] == "Not asked: kaito: <script> is down"


def test_a_backend_that_cannot_be_reached_does_not_hide_the_others(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start(name="here").wait()
    away = LocalBackend(run.backend.root.parent / "elsewhere")  # type: ignore[attr-defined]

    def refuse() -> None:
        raise BackendError("the server does not answer")

    monkeypatch.setattr(away, "records", refuse)
    monkeypatch.setattr("kaito_jupyter.run.registry.all_backends", lambda namespace: (away, run.backend))
    listed = runs()
    assert [r.name for r in listed] == ["here"]
    assert listed.troubles == ("local: the server does not answer",)
    assert kaito_jupyter.watch("here").done


def test_a_backend_is_a_word_that_is_known() -> None:
    with pytest.raises(SpecError, match=r'backend: "lokal" is no backend\. Did you mean "local"\?'):
        runs(backend="lokal")


def test_two_hundred_finished_runs_are_listed_by_reading_the_ends_of_their_logs(start: Start) -> None:
    run = start("--steps", "3000", "--unflushed", "--history-every", "500", name="one").wait()
    record = run.backend.record(run.ref)
    assert sum(map(len, record.tail)) < 10_000
    assert Listed(run.backend, record).state.global_step == 3000
