"""The fold: whatever a log looks like, the state is right, or at least not wrong."""

import json
import math

import pytest

from kaito_jupyter.hf_logs import Reader
from kaito_jupyter.state import Failure, PhaseSpan, RunState
from kaito_jupyter.status import Status
from kaito_trainer.contract import encode
from kaito_trainer.contract import events as ev

T = 1_764_000_000.0


def line(payload, seq, time=None):
    return encode(payload, seq=seq, time=T + seq if time is None else time)


def a_run(steps=4, begin=1):
    """The lines of a whole run: held-out loss before and after, a checkpoint half-way."""
    payloads = [
        ev.Phase(phase="loading", detail="model"),
        ev.Phase(phase="tokenizing", done=8, total=8, unit="rows"),
        ev.TrainBegin(max_steps=steps, num_train_epochs=2.0, device="cpu", model="tiny"),
        ev.Evaluate(global_step=0, eval_loss=4.0),
        ev.Generate(global_step=0, samples=[{"prompt": "a", "completion": "b", "reference": "c"}]),
        *(ev.Log(global_step=i, loss=4.0 - i / 2, learning_rate=1e-4, epoch=i / 2) for i in range(1, steps + 1)),
        ev.Save(global_step=steps, path="/mnt/results/checkpoint"),
        ev.Phase(phase="saving"),
        ev.Evaluate(global_step=steps, eval_loss=2.0, metrics={"eval_runtime": 1.5}),
        ev.Save(global_step=steps, path="/mnt/results", final=True),
        ev.TrainEnd(status="completed", global_step=steps, train_runtime=9.0, adapter="/mnt/results"),
    ]
    return [line(payload, seq) for seq, payload in enumerate(payloads, begin)]


def folded(lines, *, status=None, reader=None):
    state = RunState(reader)
    for item in lines:
        state.feed(item)
    if status is not None:
        state.apply(status)
    return state


def curve(state):
    return dict(zip(map(int, state.series["global_step"]), state.series["loss"], strict=True))


def test_a_run_that_is_tried_again_says_so_whatever_its_phase():
    state = folded(a_run()[:7], status=Status("Running", "retrying (attempt 2 of 7 follows): x was killed", "killed"))
    assert (state.state, state.failure) == ("Running", None)
    assert "training 2/4 · retrying (attempt 2 of 7 follows): x was killed" in state.describe(T + 10)
    state.apply(Status("Running"))
    assert "retrying" not in state.describe(T + 10)


def test_a_run_that_completed():
    state = folded(a_run())
    assert (state.state, state.phase, state.failure) == ("Succeeded", "saving", None)
    assert (state.global_step, state.max_steps, state.progress) == (4, 4, 1.0)
    assert (state.loss, state.eval_loss, state.learning_rate, state.epoch) == (2.0, 2.0, 1e-4, 2.0)
    assert curve(state) == {1: 3.5, 2: 3.0, 3: 2.5, 4: 2.0}
    assert list(state.evaluations["eval_loss"]) == [4.0, 2.0]
    assert state.evaluations["eval_runtime"][1] == 1.5
    assert state.train_begin["device"] == "cpu"
    assert state.num_train_epochs == 2.0
    assert state.adapter == "/mnt/results"
    assert [s.final for s in state.saves] == [False, True]
    assert state.samples[0].samples[0]["completion"] == "b"
    assert state.phases == [
        PhaseSpan("loading", T + 1, T + 2),
        PhaseSpan("tokenizing", T + 2, T + 3),
        PhaseSpan("training", T + 3, T + 11),
        PhaseSpan("saving", T + 11, T + 14),
    ]
    assert (state.started, state.ended) == (T + 1, T + 14)
    assert state.elapsed(T + 999) == 13
    assert state.seconds_left(T + 14) is None
    assert state.describe(T + 99) == "succeeded · 4 steps in 13s · loss 2 · held-out 4 → 2"


def test_nothing_is_known_before_the_first_line():
    state = RunState()
    assert (state.state, state.phase, state.phases, state.progress) == ("Pending", "pending", [], None)
    assert state.loss is state.eval_loss is state.seconds_left(T) is state.elapsed(T) is None
    assert state.describe(T) == "pending"


def test_events_alone_say_how_it_stands_until_the_backend_does():
    state = RunState()
    state.feed(line(ev.Phase(phase="loading", detail="model"), 1))
    assert state.state == "Running"
    state.apply(Status("Pending", "Waiting for a node.", created=T - 60))
    assert (state.state, state.reason) == ("Running", "Waiting for a node.")
    assert state.phases == [PhaseSpan("pending", T - 60, T + 1), PhaseSpan("loading", T + 1, None)]
    for item in a_run(begin=2):
        state.feed(item)
    assert state.state == "Running", "that it has succeeded is for the backend to say"
    state.apply(Status("Running", created=T - 60, started=T - 5))
    assert (state.state, state.ended, state.started) == ("Running", None, T - 5)
    assert state.phases[-1].ended is not None, "the trainer has ended, so its last phase has"
    state.apply(Status("Succeeded", created=T - 60, started=T - 5, ended=T + 20))
    assert (state.state, state.ended, state.elapsed(T + 999)) == ("Succeeded", T + 20, 25)
    assert state.phases[-1].ended == T + 20


def test_pending_is_a_phase_with_a_duration():
    state = RunState()
    state.apply(Status("Pending", "0/3 nodes have a free GPU", created=T))
    assert state.phases == [PhaseSpan("pending", T, None)]
    assert state.phases[0].seconds(T + 30) == 30
    assert state.describe(T + 30) == "pending · 0/3 nodes have a free GPU"


def test_the_trainers_word_on_its_failure_comes_first():
    state = folded(a_run()[:6])
    state.feed(
        line(ev.Error(kind="out-of-memory", message="CUDA out of memory", remedy="Less.", details=["a", "b"]), 20)
    )
    assert state.state == "Failed"
    assert state.failure == Failure("out-of-memory", "CUDA out of memory", "Less.", ("a", "b"))
    state.apply(Status("Running", created=T))
    assert (state.state, state.failure.kind) == ("Running", "out-of-memory"), "told before the backend knows"
    assert "out-of-memory" in state.describe(T)
    state.apply(Status("Failed", "exit code 1", kind="crash", ended=T + 22))
    assert state.failure.message == "CUDA out of memory"
    assert state.describe(T) == "failed while training at step 1/4 · out-of-memory: CUDA out of memory"


@pytest.mark.parametrize(
    ("kind", "reason", "words"),
    [
        ("killed", "Ended by SIGKILL.", "last checkpoint"),
        ("reboot", "The machine was restarted.", "Start the run again"),
        ("", "", "last lines"),
    ],
)
def test_the_backend_says_why_when_the_trainer_could_not(kind, reason, words):
    state = folded([*a_run()[:6], "step 1 done", "<script>alert(1)</script>"])
    state.apply(Status("Failed", reason, kind=kind, ended=T + 30))
    assert state.failure.kind == (kind or "crash")
    assert state.failure.message == reason or not reason
    assert words in state.failure.remedy
    assert state.failure.details == ("step 1 done", "<script>alert(1)</script>")
    assert (state.ended, state.phases[-1].ended) == (T + 30, T + 30)


def test_a_crash_that_the_backend_saw_better_gets_its_kind():
    state = folded([line(ev.Error(kind="crash", message="DataLoader worker was killed"), 1)])
    state.apply(Status("Failed", "OOMKilled", kind="out-of-memory"))
    assert (state.failure.kind, state.failure.message) == ("out-of-memory", "DataLoader worker was killed")
    assert "batch" in state.failure.remedy


def test_a_traceback_explains_a_failure_that_no_event_tells_of():
    lines = [
        "Traceback (most recent call last):",
        '  File "x.py", line 1',
        "OSError: [Errno 28] No space left on device",
    ]
    state = folded([*a_run()[:6], *lines], status=Status("Failed", "exit code 1", kind="crash"))
    assert (state.failure.kind, state.failure.message) == ("disk-full", "OSError: [Errno 28] No space left on device")


def test_a_cancelled_run_has_no_failure():
    lines = [*a_run()[:7], line(ev.TrainEnd(status="cancelled", global_step=2, adapter="/mnt/results"), 9)]
    state = folded(lines)
    assert (state.state, state.failure, state.adapter) == ("Cancelled", None, "/mnt/results")
    state.feed(line(ev.Error(kind="crash", message="late"), 10))
    state.apply(Status("Cancelled", "by its user"))
    assert (state.state, state.failure) == ("Cancelled", None)


def test_an_early_end_that_was_asked_for_is_a_success_and_says_why():
    end = ev.TrainEnd(
        status="completed", global_step=4, stopped_early="no better in 3 evaluations", best_step=2, adapter_step=2
    )
    state = folded([*a_run()[:-1], line(ev.TrainBegin(max_steps=20, told_to=4, global_step=4), 18), line(end, 19)])
    assert state.state == "Succeeded"
    said = state.describe(0)
    assert said.startswith("succeeded · 4/20 steps")
    assert "stopped early, no better in 3 evaluations · adapter of step 2, the best" in said


def test_lines_that_come_twice_change_nothing():
    once, twice = folded(a_run()), folded([item for item in a_run() for _ in range(2)] + a_run())
    assert curve(once) == curve(twice)
    assert once.revision == twice.revision
    assert list(once.saves) == list(twice.saves)
    assert once.phases == twice.phases


def test_lines_in_any_order_give_the_same_run():
    straight, mixed = folded(a_run()), folded(a_run()[::-1])
    assert curve(straight) == curve(mixed)
    assert (mixed.state, mixed.phase, mixed.global_step) == ("Succeeded", "saving", 4)
    assert straight.phases == mixed.phases
    assert mixed.max_steps == 4


def test_a_run_resumed_from_a_checkpoint_takes_its_later_rows_back():
    first = [line(ev.TrainBegin(max_steps=8), 1)]
    first += [line(ev.Log(global_step=i, loss=float(i)), 1 + i) for i in range(1, 7)]
    state = folded([*first, line(ev.Evaluate(global_step=6, eval_loss=6.0), 8)])
    assert state.series.rewrites == 0
    state.feed(line(ev.TrainBegin(max_steps=8, global_step=4), 20))
    assert (state.global_step, list(curve(state)), len(state.evaluations)) == (4, [1, 2, 3, 4], 0)
    state.feed(line(ev.Log(global_step=5, loss=50.0), 21))
    assert curve(state) == {1: 1.0, 2: 2.0, 3: 3.0, 4: 4.0, 5: 50.0}
    assert state.series.rewrites == 1


def test_a_run_that_makes_steps_once_more_in_silence_keeps_what_was_told_of_them():
    state = folded([line(ev.TrainBegin(max_steps=8), 1)])
    for i in range(1, 7):
        state.feed(line(ev.Log(global_step=i, loss=float(i)), 1 + i))
    state.feed(line(ev.Evaluate(global_step=6, eval_loss=6.0), 8))
    state.feed(line(ev.TrainBegin(max_steps=8, global_step=4, told_to=6), 20))
    assert (state.global_step, list(curve(state)), len(state.evaluations)) == (4, [1, 2, 3, 4, 5, 6], 1)
    state.feed(line(ev.Log(global_step=7, loss=7.0), 21))
    assert (state.global_step, list(curve(state))) == (7, [1, 2, 3, 4, 5, 6, 7])
    assert state.series.rewrites == 0


def test_a_trainer_that_begins_to_count_again_is_a_new_attempt():
    state = folded([*a_run()[:8], line(ev.Error(kind="crash", message="gone"), 9)])
    assert state.state == "Failed"
    state.feed(line(ev.Phase(phase="loading"), 1, T + 500))
    assert (state.state, state.failure, state.phase) == ("Running", None, "loading")
    state.feed(line(ev.TrainBegin(max_steps=4), 2, T + 501))
    state.feed(line(ev.Log(global_step=1, loss=9.0), 3, T + 502))
    assert curve(state) == {1: 9.0}
    assert [p.name for p in state.phases] == ["loading", "tokenizing", "training", "loading", "training"]


def test_a_late_reader_gets_the_curve_from_a_summary():
    columns = {"global_step": [10, 20, 30], "loss": [3.0, 2.5, 2.0], "learning_rate": [1e-4, 1e-4, None]}
    history = ev.History(columns=columns, evaluations={"global_step": [0.0], "eval_loss": [4.0]}, max_steps=100)
    state = folded(
        [line(ev.Log(global_step=31, loss=1.9), 90), line(history, 92), line(ev.Log(global_step=32, loss=1.8), 93)]
    )
    assert curve(state) == {10: 3.0, 20: 2.5, 30: 2.0, 31: 1.9, 32: 1.8}
    assert (state.max_steps, state.phase, state.eval_loss, state.state) == (100, "training", 4.0, "Running")
    for i, step in enumerate(range(1, 31)):  # then somebody brings the old lines
        state.feed(line(ev.Log(global_step=step, loss=step / 10), 10 + i))
    assert len(state.series) == 32
    assert curve(state)[30] == 3.0


def test_a_summary_alone_is_a_curve():
    state = folded([line(ev.History(columns={"global_step": [1, 2], "loss": [2.0, 1.0]}), 50)])
    assert (curve(state), state.global_step, state.phase) == ({1: 2.0, 2: 1.0}, 2, "training")


@pytest.mark.parametrize(
    "before", ["  3%|▎         | 31/1024 [00:12<06:31, 2.53it/s]", "2026-01-01T00:00:00Z ", "\x1b[32mok"]
)
def test_an_event_behind_other_text_counts_and_the_text_is_kept(before):
    state = folded([before + line(ev.Log(global_step=1, loss=2.0), 1)])
    assert curve(state) == {1: 2.0}
    assert list(state.output) == [text for text in (before.replace("\x1b[32m", "").rstrip(),) if "%|" not in text]


def test_lines_glued_to_each_other_are_taken_apart():
    one, two = line(ev.Log(global_step=1, loss=2.0), 1), line(ev.Log(global_step=2, loss=1.5), 2)
    state = folded([f"hello {one}{two} and {{'loss': '9'}}"])
    assert curve(state) == {1: 2.0, 2: 1.5}
    assert list(state.output) == ["hello", " and {'loss': '9'}"]


def test_half_a_line_is_output_and_its_event_a_gap():
    whole = line(ev.Log(global_step=2, loss=1.5), 3)
    state = folded([line(ev.Log(global_step=1, loss=2.0), 2), whole[:40], line(ev.Log(global_step=3, loss=1.0), 4)])
    assert list(curve(state)) == [1, 3]
    assert list(state.output) == [whole[:40]]
    state.feed(whole)
    assert list(curve(state)) == [1, 2, 3]


@pytest.mark.parametrize("loss", ["2.5", 2.5])
def test_a_number_may_be_text(loss):
    state = folded(
        [json.dumps({"kaito_event": 1, "type": "log", "seq": 1, "time": T, "global_step": "7", "loss": loss})]
    )
    assert curve(state) == {7: 2.5}


@pytest.mark.parametrize("odd", [None, True, "x", [], {}, -1, 1.5, 1e400, 10**30])
@pytest.mark.parametrize("kind", sorted(ev.PAYLOADS))
def test_a_field_of_a_wrong_type_is_no_reason_to_raise(kind, odd):
    fields = dict.fromkeys(ev.PAYLOADS[kind].__dataclass_fields__, odd)
    for wrong in (fields, {"global_step": odd}, {"global_step": 3, "columns": {"global_step": odd, "loss": odd}}):
        state = folded(a_run()[:6])
        record = {"kaito_event": 1, "type": kind, "seq": 90, "time": T} | wrong
        state.feed(json.dumps(record))
        state.describe(T)
        assert state.phases[0].name == "loading"
        assert curve(state)[1] == 3.5
        assert math.isfinite(state.global_step)


def test_unknown_events_and_keys_do_no_harm():
    state = folded([*a_run()[:6], '{"kaito_event":1,"type":"weather","seq":70,"time":1,"sun":true}'])
    state.feed(line(ev.Log(global_step=2, loss=1.0), 71).replace('"loss"', '"entropy":0.25,"note":"x","loss"'))
    assert state.series["entropy"][1] == 0.25
    assert "note" not in state.series


def test_foreign_output_is_bounded_and_clean():
    state = RunState()
    for i in range(5000):
        state.feed(f"line {i} " + "x" * 5000)
    state.feed("\x1b[31mred\x1b[0m\tand \x07bell")
    state.feed("\r  0%|          | 0/10 [00:00<?, ?it/s]\r 10%|█         | 1/10 [00:01<00:09,  1.00s/it]")
    state.feed("   ")
    assert len(state.output) == 2000
    assert max(map(len, state.output)) == 2000
    assert state.output[-1] == "red    and bell"


def test_a_foreign_line_may_be_applied_as_text():
    state = RunState()
    state.apply("Downloading model.safetensors")
    assert (state.phase, list(state.output)) == ("downloading", ["Downloading model.safetensors"])


def test_an_event_ends_the_reading_of_foreign_dicts():
    state = folded([*a_run()[:6], "{'loss': '9.0', 'learning_rate': '1', 'epoch': '1'}"])
    assert curve(state) == {1: 3.5}
    assert state.output[-1].startswith("{'loss'")


def test_the_stock_trainers_log_folds_into_the_same_state():
    dicts = [
        f"{{'loss': '{3 - i / 4}', 'grad_norm': '1.5', 'learning_rate': '2e-05', 'epoch': '{i / 4}'}}"
        for i in range(1, 5)
    ]
    end = "{'train_runtime': '8.0', 'train_samples_per_second': '2', 'train_loss': '2.1', 'epoch': '1'}"
    state = folded(["INFO Model Loaded", *dicts, end], reader=Reader(logging_steps=5, max_steps=20, clock=lambda: T))
    assert curve(state) == {5: 2.75, 10: 2.5, 15: 2.25, 20: 2.0}
    assert (state.state, state.max_steps, state.train_end["train_loss"]) == ("Succeeded", 20, 2.1)


def test_bars_of_the_stock_trainer_move_the_step_between_logs():
    state = folded(["\r  0%|          | 0/40 [00:00<?, ?it/s]\r 20%|██        | 8/40 [00:08<00:32,  1.00it/s]"])
    assert (state.global_step, state.max_steps, state.phase) == (8, 40, "training")


def test_the_time_left_is_that_of_the_latest_steps_without_pauses():
    lines = [line(ev.TrainBegin(max_steps=100), 1, T)]
    lines.append(line(ev.Evaluate(global_step=0, eval_loss=3.0), 2, T + 50))
    time, seq = T + 50, 2
    for step in range(10, 60, 10):
        time, seq = time + 20, seq + 1  # two seconds a step
        lines.append(line(ev.Log(global_step=step, loss=2.0), seq, time))
        if step == 30:
            time, seq = time + 500, seq + 1
            lines.append(line(ev.Evaluate(global_step=step, eval_loss=2.0), seq, time))
    state = folded(lines)
    assert state.seconds_left(time) == pytest.approx(100)
    assert state.seconds_left(time + 5) == pytest.approx(95)
    assert state.seconds_left(time + 9999) == pytest.approx(80), "a trainer that hangs comes no nearer to its end"
    assert state.seconds_left(time - 9999) == pytest.approx(100), "another clock does no harm"
    assert folded(lines[:3]).seconds_left(T + 70) == pytest.approx(180), "one log after the beginning is enough"
    assert folded(lines[:2]).seconds_left(T + 50) is None


def test_a_lone_slow_step_does_not_spoil_the_time_left():
    lines, time = [line(ev.TrainBegin(max_steps=100), 1, T)], T
    for step in range(1, 41):
        time += 600 if step == 37 else 1
        lines.append(line(ev.Log(global_step=step), step + 1, time))
    assert folded(lines).seconds_left(time) == pytest.approx(60)


def test_amounts_tell_how_far_a_phase_is():
    state = folded(
        [
            line(
                ev.Phase(phase="downloading", detail="weights", done=1_200_000_000, total=7_600_000_000, unit="bytes"),
                1,
            )
        ]
    )
    assert state.describe(T + 1) == "downloading · weights · 1.2 GB of 7.6 GB"
    state.feed(line(ev.Phase(phase="tokenizing", done=200, total=4000, unit="rows"), 2))
    assert state.describe(T + 11) == "tokenizing · 200 of 4,000 rows · 10s"
    assert (state.phase_detail, state.phase_done, state.phase_total, state.phase_unit) == ("", 200, 4000, "rows")


def test_a_pushed_adapter_is_found_by_its_image():
    pushed = ev.Push(image="registry/adapter:1", digest="sha256:abc")
    state = folded([*a_run(), line(ev.Phase(phase="pushing"), 1, T + 90), line(pushed, 2, T + 91)])
    assert state.adapter == "registry/adapter:1@sha256:abc"
    assert (state.state, state.phase) == ("Succeeded", "pushing")


def test_samples_are_by_step_and_bounded():
    state = RunState()
    for i in range(300):
        state.feed(line(ev.Generate(global_step=i % 250, samples=[{"prompt": str(i), "completion": 3}]), i + 1))
    assert len(state.samples) == 100
    assert state.samples[0] == (0, [{"prompt": "250"}])
    assert [s.global_step for s in state.samples] == sorted({s.global_step for s in state.samples})


def test_what_stands_beside_the_trainer_makes_no_steps_and_drives_nothing_out():
    state = RunState(Reader(logging_steps=1, max_steps=4))
    bar = "data.parquet:  50%|█████     | 2/4 [00:01<00:01,  1.00it/s]"
    state.feed_beside([bar, "100%|██████████| 4/4 [00:02<00:00,  2.00it/s]"], "downloading", T)
    assert (state.phase, state.global_step, len(state.series)) == ("downloading", 0, 0)
    waiting = ["+ [ -e /mnt/results/fine_tuning_completed.txt ]", "+ sleep 1"]
    state.feed_many(["Traceback: no such thing", "{'loss': '2.5', 'learning_rate': '1e-4', 'epoch': '0.5'}"])
    state.feed_beside(waiting * 3000, "pushing", T + 5)
    assert (state.phase, list(state.series["loss"])) == ("training", [2.5]), "what waits does not push yet"
    assert list(state.output)[-2:] == waiting
    assert "Traceback: no such thing" in state.output
    state.feed_many(["{'train_runtime': '2', 'train_loss': '2', 'epoch': '1'}"])
    state.feed_beside(["Uploading adapter"], "pushing", T + 9)
    assert (state.phase, state.phases[-1].began) == ("pushing", T + 9)


def test_events_of_what_stands_beside_the_trainer_count():
    state = folded([line(ev.Phase(phase="loading"), 2)])
    state.feed_beside(["pulling", line(ev.Phase(phase="pushing"), 3)], "downloading")
    assert state.phase == "pushing"
    assert list(state.output) == ["pulling"]
