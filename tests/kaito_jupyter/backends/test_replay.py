"""Recorded runs, played again."""

import threading
import time
from itertools import pairwise

import pytest

from kaito_jupyter.backends.base import TuningJob
from kaito_jupyter.backends.replay import ReplayBackend
from kaito_jupyter.errors import BackendError, RunNotFound, SpecError
from kaito_jupyter.run import Run
from kaito_jupyter.spec import TuningSpec
from kaito_jupyter.status import Lines, Status
from kaito_trainer.contract import decode, encode
from kaito_trainer.contract import events as ev

T = 1_764_000_000.0


def lines(steps=5, end=True):
    payloads = [ev.TrainBegin(max_steps=steps, model="tiny", method="qlora")]
    payloads += [ev.Log(global_step=i, loss=3.0 - i / 10) for i in range(1, steps + 1)]
    payloads += [ev.TrainEnd(status="completed", global_step=steps, adapter="/mnt/results")] if end else []
    found = [encode(p, seq=i, time=T + 10 * i) for i, p in enumerate(payloads, 1)]
    found.insert(3, "a foreign line")
    return found


@pytest.fixture
def otter(tmp_path):
    path = tmp_path / "otter.jsonl"
    path.write_text("\n".join(lines()) + "\n", encoding="utf-8")
    return path


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def everything(backend, ref, since=None):
    return list(backend.follow(ref, since, threading.Event()))


def test_without_a_speed_all_is_there_at_once(otter):
    backend = ReplayBackend(otter)
    ref = backend.find("otter")
    assert (ref.backend, ref.location) == ("replay", str(otter))
    *batches, status = everything(backend, ref)
    assert [text for batch in batches for text in batch.texts] == lines()
    assert status == backend.status(ref) == Status("Succeeded")
    assert backend.logs(ref, 2) == lines()[-2:]
    assert backend.adapter(ref) == "/mnt/results"
    assert (backend.spec(ref).preset, backend.spec(ref).method) == ("tiny", "qlora")


def test_a_reader_goes_on_after_its_cursor(otter):
    backend = ReplayBackend(otter)
    batch, status = everything(backend, backend.find("otter"), since="5")
    assert batch == Lines(lines()[5:], "8")
    assert status.state == "Succeeded"


def test_with_a_speed_lines_come_in_time_and_as_of_now(otter):
    clock = Clock()
    backend = ReplayBackend(otter, speed=10, clock=clock)
    ref = backend.find("otter")
    assert backend.status(ref).state == "Running"
    assert len(backend.logs(ref)) == 1
    clock.now += 2.5
    assert len(backend.logs(ref)) == 4, "the foreign line comes with the event before it"
    events = [decode(line) for line in backend.logs(ref) if decode(line)]
    assert [round(b.time - a.time, 3) for a, b in pairwise(events)] == [1.0, 1.0]
    assert abs(events[0].time - time.time()) < 3600
    clock.now += 99
    assert backend.status(ref).state == "Succeeded"


def test_a_reader_waits_for_the_next_line_and_can_be_stopped(otter):
    backend = ReplayBackend(otter, speed=1e-6)
    stop = threading.Event()
    stream = backend.follow(backend.find("otter"), None, stop)
    first, second, third = next(stream), next(stream), next(stream)
    assert (first.state, len(second.texts), third) == ("Running", 1, None)
    stop.set()
    assert list(stream) == []


def test_a_cancelled_run_ends_where_it_was(otter):
    clock = Clock()
    backend = ReplayBackend(otter, speed=10, clock=clock)
    ref = backend.find("otter")
    clock.now += 2.5
    backend.cancel(ref)
    clock.now += 99
    *batches, status = everything(backend, ref)
    assert len(batches[0].texts) == 4
    assert status.state == "Cancelled"
    assert backend.adapter(ref) is None


@pytest.mark.parametrize(
    ("end", "state"),
    [(None, "Failed"), (Status("Failed", "SIGKILL", kind="killed"), "Failed"), (Status("Succeeded"), "Succeeded")],
)
def test_a_recording_without_an_end_gets_one(tmp_path, end, state):
    path = tmp_path / "cut.jsonl"
    path.write_text("\n".join(lines(end=False)))
    backend = ReplayBackend(path, end=end)
    assert backend.status(backend.find("cut")).state == state


def test_a_submitted_run_plays_the_recording_under_its_own_name(otter):
    backend = ReplayBackend(otter)
    spec = TuningSpec(preset="phi-4-mini-instruct", name="mine", namespace="team")
    ref = backend.submit(TuningJob(spec, None, 5))
    assert (ref.name, ref.namespace, backend.spec(ref)) == ("mine", "team", spec)
    assert [r.name for r in backend.runs()] == ["mine", "otter"]
    record = backend.record(ref)
    assert (record.preset, record.total_steps, len(record.tail)) == ("phi-4-mini-instruct", 5, 7)
    assert backend.find("mine", "team") == ref
    with pytest.raises(SpecError, match='"mine" is the name of another run here'):
        backend.submit(TuningJob(spec, None, 5))
    backend.delete(ref)
    with pytest.raises(RunNotFound):
        backend.status(ref)


def test_mistakes_are_told(tmp_path, otter):
    with pytest.raises(BackendError, match="No such file"):
        ReplayBackend(tmp_path / "none.jsonl")
    with pytest.raises(BackendError, match="0 is no speed"):
        ReplayBackend(otter, speed=0)
    with pytest.raises(RunNotFound, match='Did you mean "otter"'):
        ReplayBackend(otter).find("oter")
    with pytest.raises(SpecError, match="no recording"):
        ReplayBackend().submit(TuningJob(TuningSpec(preset="x", name="y"), None, None))


def test_a_run_shows_a_recording_like_any_other(otter):
    backend = ReplayBackend(otter)
    run = Run(backend, backend.find("otter"))
    try:
        run.wait(timeout=30)
        assert list(run.history.index) == [1, 2, 3, 4, 5]
        assert run.state.adapter == "/mnt/results"
        assert list(run.state.output) == ["a foreign line"]
    finally:
        run.close()


def test_a_spec_beside_a_recording_is_what_its_run_was_asked_for(otter):
    asked = TuningSpec(preset="phi-4-mini-instruct", method="qlora", name="of-old")
    otter.with_suffix(".yaml").write_text(asked.to_yaml(), encoding="utf-8")
    backend = ReplayBackend(otter)
    spec = backend.spec(backend.find("otter"))
    assert (spec.preset, spec.method, spec.name) == ("phi-4-mini-instruct", "qlora", "otter")


def test_a_spec_beside_a_recording_that_is_none_is_told(otter):
    otter.with_suffix(".yaml").write_text("kind: Workspace\nresource: 7\n", encoding="utf-8")
    with pytest.raises(SpecError):
        ReplayBackend(otter)
