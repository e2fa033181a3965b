from __future__ import annotations

import gc
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kaito_jupyter import RunFailed, watch
from kaito_jupyter.backends.base import Backend
from kaito_jupyter.errors import BackendError, RunNotFound
from kaito_jupyter.run import Adapter, Run

Start = Callable[..., Run]
Until = Callable[..., Any]
Loss = Callable[[int], float]


def test_a_run_has_its_curve_its_evaluations_samples_log_and_adapter(start: Start, loss: Loss) -> None:
    run = start("--foreign", name="whole").wait()
    assert (run.name, run.namespace, run.ref.backend, run.backend.name) == ("whole", "default", "local", "local")
    assert run.done
    history = run.history
    assert history.index.name == "global_step"
    assert list(history.index) == list(range(1, 21))
    assert list(history["loss"]) == [loss(n) for n in range(1, 21)]
    assert {"learning_rate", "grad_norm", "tokens_per_second", "epoch", "time"} <= set(history.columns)
    assert "mean_token_accuracy" not in history.columns  # it was never said
    assert list(run.evaluations.index) == [0, 20]
    assert [s.global_step for s in run.samples] == [0, 20]
    assert run.dataset is not None
    assert run.dataset.rows == 40
    assert run.spec.config.TrainingArguments.max_steps == 20

    adapter = run.adapter
    assert isinstance(adapter, Adapter)
    assert adapter.path == Path(run.ref.location) / "results"
    assert os.fspath(adapter) == str(adapter.path)
    assert adapter.base_model == "stub"
    assert "adapter_model.safetensors" in adapter.files
    assert adapter.size == 10
    assert f"PeftModel.from_pretrained(model, {str(adapter.path)!r})" in repr(adapter)

    log = run.logs()
    assert any("<script>" in line for line in log)
    assert any(line.startswith('{"kaito_event":1') for line in log)
    foreign = run.logs(events=False)
    assert 0 < len(foreign) < len(log)
    assert run.logs(2) == log[-2:]
    assert run.logs(2, events=False) == foreign[-2:]
    assert str(run.logs(2)) == "\n".join(log[-2:])


def test_a_log_is_followed_from_its_last_lines_to_its_end(start: Start) -> None:
    run = start("--foreign", name="followed")  # it runs while it is followed
    stop = threading.Event()
    lines = list(run.follow_logs(10_000, events=True, stop=stop))
    assert not stop.is_set()  # it is the reader's: another of its threads may have lines still to tell
    assert lines == list(run.wait().logs())
    assert list(run.follow_logs(2, events=True)) == lines[-2:]
    assert list(run.follow_logs(10_000)) == list(run.logs(events=False))
    run.delete()
    assert list(run.follow_logs()) == []


def test_the_repr_is_one_honest_line_and_the_bundle_has_picture_and_text(start: Start) -> None:
    run = start("--phase-seconds", "0.2", name="shown")
    assert repr(run).startswith("<Run shown (local): ")
    run.wait()
    assert repr(run).startswith("<Run shown (local): succeeded · 20 steps")
    assert "\n" not in repr(run)
    bundle = run._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "image/png"}
    assert "shown" in bundle["text/plain"]
    assert bundle["image/png"].startswith("iVBOR")
    assert run.plot().axes


def test_another_kernel_sees_the_same_run_from_its_first_step_on(start: Start, until: Until) -> None:
    run = start("--seconds", "0.02", "--foreign", name="again")
    until(lambda: len(run.state.series) > 5)
    other = watch("again", backend=run.backend)
    assert len(other.state.series) > 5
    assert list(other.history.index)[:5] == [1, 2, 3, 4, 5]
    assert other.dataset is None
    assert other.spec == run.spec
    run.wait()
    other.wait()
    assert other.history.equals(run.history)
    assert other.evaluations.equals(run.evaluations)
    assert other.samples == run.samples
    late = watch("again", namespace="default", backend=run.backend)
    assert late.done
    assert late.history.equals(run.history)
    with pytest.raises(RunNotFound, match='Did you mean "again"'):
        watch("agian", backend=run.backend)


def test_a_closed_run_can_be_read_again_without_a_gap_or_a_repetition(start: Start, until: Until) -> None:
    run = start("--seconds", "0.02", name="closed")
    until(lambda: len(run.state.series) > 2)
    run.close()
    run.close()
    seen = len(run.state.series)
    time.sleep(0.2)
    assert len(run.state.series) == seen
    run.open(5.0)
    assert len(run.state.series) > seen
    run.close()
    run.wait()
    assert list(run.history.index) == list(range(1, 21))


def test_a_run_that_nobody_holds_is_not_read_any_more(start: Start, until: Until) -> None:
    run = start("--hang", "--at", "1", name="dropped")
    backend: Backend = run.backend
    del run
    gc.collect()
    until(lambda: not [t for t in threading.enumerate() if t.name == "kaito run dropped"])
    assert backend.status(backend.find("dropped")).state == "Running"


def test_subscribers_are_told_by_the_readers_thread_and_cannot_break_it(start: Start) -> None:
    told: list[str] = []

    def note() -> None:
        told.append(threading.current_thread().name)

    def broken() -> None:
        raise ValueError("a view's mistake")

    run = start("--seconds", "0.01", "--phase-seconds", "0.2", name="told")
    run.subscribe(broken)
    end = run.subscribe(note)
    run.wait()
    assert set(told) == {"kaito run told"}
    assert run.done
    end()
    end()  # harmless


def test_a_long_log_tells_subscribers_seldom(start: Start) -> None:
    run = start("--steps", "30000", "--unflushed", "--history-every", "10000", name="long").wait()
    told: list[int] = []
    late = watch("long", backend=run.backend)
    late.close()
    again = Run(run.backend, run.ref)
    again.subscribe(lambda: told.append(1))
    again.wait()
    assert len(again.history) == 30000
    assert len(told) < 30


def test_a_killed_trainer_is_told_with_its_kind_and_remedy(start: Start, until: Until) -> None:
    run = start("--hang", name="killed")
    until(lambda: len(run.state.series) >= 10)
    os.kill(json.loads((Path(run.ref.location) / "process.json").read_text())["pid"], signal.SIGKILL)
    with pytest.raises(RunFailed, match=r"^run killed failed: killed: The trainer was killed from outside \(SIGKILL\)"):
        run.wait(10)
    assert run.state.state == "Failed"
    assert run.adapter is None
    assert "Failed" in repr(run) or "failed" in repr(run)


def test_a_failure_that_the_trainer_explained_is_passed_on(start: Start) -> None:
    run = start("--fail", "out-of-memory", name="oom")
    with pytest.raises(RunFailed) as told:
        run.wait()
    assert str(told.value) == (
        "run oom failed: out-of-memory: stub: The device ran out of memory. Halve the batch size."
    )


def test_a_traceback_in_the_log_is_the_reason(start: Start) -> None:
    run = start("--raise", name="raised")
    with pytest.raises(RunFailed, match="the stub was told to fail at step 10"):
        run.wait()


def test_a_cancelled_run_keeps_what_it_learnt(start: Start, until: Until) -> None:
    run = start("--seconds", "0.02", name="cancelled", max_steps=2000)
    until(lambda: len(run.state.series) > 2)
    run.cancel()
    with pytest.raises(
        RunFailed, match=r"^run cancelled was cancelled at step \d+ of 2000\. Its adapter so far is in /"
    ):
        run.wait()
    assert run.state.state == "Cancelled"
    assert isinstance(run.adapter, Adapter)
    run.cancel()


def test_a_run_deleted_by_another_kernel_ends_for_who_watches(start: Start, until: Until) -> None:
    run = start("--hang", name="gone")
    until(lambda: len(run.state.series) > 2)
    watch("gone", backend=run.backend).delete()
    with pytest.raises(RunFailed, match="run gone was cancelled"):
        run.wait()
    with pytest.raises(RunNotFound):
        run.logs()


def test_a_backend_out_of_reach_is_tried_again_and_said(
    start: Start, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start("--seconds", "0.02", name="reach")
    run.close()
    follow = run.backend.follow
    calls: list[int] = []

    def flaky(*args: Any) -> Any:
        calls.append(1)
        if len(calls) <= 2:
            raise BackendError("the server does not answer")
        yield from follow(*args)

    monkeypatch.setattr(run.backend, "follow", flaky)
    run.open()
    until(lambda: run.trouble == "the server does not answer")
    assert "the server does not answer" in repr(run)
    run.wait()
    assert run.trouble == ""
    assert list(run.history.index) == list(range(1, 21))


def test_a_reader_that_breaks_is_heard_of_by_who_waits(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    run = start("--hang", name="broken")
    run.close()
    monkeypatch.setattr(run.backend, "follow", lambda *_: 1 / 0)
    with pytest.raises(BackendError, match="run broken: it cannot be read: ZeroDivisionError"):
        run.wait()
