from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import kaito_jupyter
from kaito_jupyter.backends.past import PastBackend
from kaito_jupyter.errors import BackendError, RunFailed, RunNotFound, SpecError
from kaito_jupyter.history import archive
from kaito_jupyter.run import Run, runs
from kaito_jupyter.run.keeping import entry_of, lines_of
from kaito_jupyter.state import Failure, RunState, Samples

Start = Callable[..., Run]
SECRET = "hf_abcdefghijklmnopqrstuv"


@pytest.fixture(autouse=True)
def shelf(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    path = tmp_path / "history.sqlite"
    monkeypatch.setenv("KAITO_HISTORY", str(path))
    return path


@pytest.fixture(params=["well", "failed", "cancelled"])
def ended(request: pytest.FixtureRequest, start: Start, until: Callable[..., Any]) -> Run:
    if request.param == "well":
        return start(name="otter").wait()
    if request.param == "failed":
        run = start("--raise", "--at", "15", name="otter")
        with pytest.raises(RunFailed):
            run.wait()
        return run
    run = start("--seconds", "0.05", name="otter", max_steps=400)
    until(lambda: len(run.state.series) > 5)
    run.cancel()
    with pytest.raises(RunFailed):
        run.wait()
    return run


def test_a_run_that_was_deleted_comes_back_with_every_figure(ended: Run) -> None:
    before, spec = ended.history, ended.spec
    plain = ended.state
    ended.delete()
    again = kaito_jupyter.watch("otter")
    assert isinstance(again.backend, PastBackend)
    assert again.done
    pd.testing.assert_frame_equal(again.history, before)
    pd.testing.assert_frame_equal(again.evaluations, ended.evaluations)
    assert again.spec == spec
    for name in (
        "state", "reason", "failure", "global_step", "max_steps", "created", "started", "ended", "loss", "eval_loss",
        "phases", "samples", "num_train_epochs", "train_end",
    ):  # fmt: skip
        assert getattr(again.state, name) == getattr(plain, name), name
    assert (again.name, again.rows, again.ref.backend) == ("otter", 40, "local")
    with pytest.raises(BackendError, match="holds no data"):
        again.backend.sent(again.ref)
    again.delete()
    with pytest.raises(RunNotFound):
        kaito_jupyter.watch("otter")


def test_lists_show_what_is_gone_only_when_asked_and_find_by_tag(start: Start) -> None:
    first, second = start(name="first").wait(), start(name="second").wait()
    first.note("the small one")
    first.tag("baseline")
    backend = first.backend
    assert [r.tags for r in runs(backend=backend)] == [(), ("baseline",)]
    first.delete()
    assert [r.name for r in runs(backend=backend)] == ["second"]
    listed = runs(backend=backend, past=True)
    assert [(r.name, r.past) for r in listed] == [("second", False), ("first", True)]
    assert [r.name for r in runs(backend=backend, tags=["baseline"])] == ["first"]
    gone = listed[1]
    assert (gone.state.global_step, gone.state.loss) == (20, first.state.loss)
    assert len(gone.spark) == 20
    assert [n.text for n in gone.notes] == ["the small one"]
    assert "deleted" in repr(listed)
    frame = listed.to_frame()
    assert list(frame["name"]) == ["second", "first"]
    assert list(frame["loss"]) == [second.state.loss, first.state.loss]
    assert frame["created"].dt.tz is not None
    again = gone.watch()
    assert [n.text for n in again.notes] == ["the small one"]
    assert again.tags == ("baseline",)


def test_a_run_that_ended_unseen_is_kept_when_a_list_deletes_it(start: Start, until: Callable[..., Any]) -> None:
    run = start(name="alone")
    run.close()
    until(lambda: run.backend.status(run.ref).state == "Succeeded")
    assert archive().entries() == []
    runs(backend=run.backend)[0].delete()
    assert [e.name for e in archive().entries()] == ["alone"]


def test_a_history_that_cannot_be_used_costs_a_run_nothing(start: Start, shelf: Path) -> None:
    shelf.mkdir()
    run = start(name="otter").wait()
    assert run.state.state == "Succeeded"
    (trouble,) = runs(backend=run.backend).troubles
    assert "history" in trouble


def test_no_secret_comes_into_the_history(start: Start, shelf: Path) -> None:
    run = start(name="x").wait()
    address = "https://me:geheim@host/x?sig=s3cr3t"
    state = run.state
    state.failure = Failure("crash", f"401 for {SECRET}", "", (f"GET {address}", "Authorization: Bearer abcdef123456"))
    state.reason = f"could not read {address}"
    state.samples.append(Samples(99, [{"prompt": "p", "completion": SECRET}]))
    state.ended = state.ended or 1.0
    entry = entry_of(run.backend, run.ref, state)
    everything = repr(entry)
    assert "crash" in everything
    for secret in (SECRET[3:], "geheim", "s3cr3t", "abcdef123456"):
        assert secret not in everything


def test_notes_and_tags_are_checked(start: Start) -> None:
    run = start(name="otter").wait()
    with pytest.raises(SpecError, match="it is empty"):
        run.note("  ")
    with pytest.raises(SpecError, match="no tag"):
        run.tag("two words", "fine")
    run.tag("fine", "other")
    run.tag(remove=["other"])
    assert run.tags == ("fine",)


def test_a_long_curve_is_thinned_and_keeps_its_last_row() -> None:
    state = RunState()
    state.feed_many(
        f'{{"kaito_event":1,"type":"log","seq":{n},"time":{n}.5,"global_step":{n},"loss":{n / 7}}}'
        for n in range(1, 50_001)
    )
    again = RunState()
    again.feed_many(lines_of(state))
    assert 10_000 < len(again.series) <= 20_001
    assert (again.global_step, again.loss) == (50_000, 50_000 / 7)
    row = again.series.find(30_001)
    if row is not None:
        assert again.series["loss"][row] == 30_001 / 7
