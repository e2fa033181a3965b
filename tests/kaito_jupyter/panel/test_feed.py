"""What is sent to the page: only what is new, the same size at any length, and never a row too many or too few."""

from __future__ import annotations

import json
from array import array
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import ScriptedRun

from kaito_jupyter.panel.feed import HELD_OUT, ROWS, SHOWN_TEXT, SNAPSHOT_ROWS, Feed, Message
from kaito_trainer.contract import events as ev


class Page:
    """The front end's side of the protocol (`js/store.js`), as a model."""

    def __init__(self) -> None:
        self.generation = -1
        self.rows: list[list[float]] = [[] for _ in ROWS]
        self.held_out: list[list[float]] = [[] for _ in HELD_OUT]
        self.status: dict[str, Any] = {}

    def take(self, message: Message) -> bool:
        content = json.loads(json.dumps(message.content, allow_nan=False))
        at, (held, more) = content["at"], content["e"]
        if content["k"] == "all":
            self.__init__()  # type: ignore[misc]
            self.generation = content["g"]
        elif content["g"] != self.generation or at != len(self.rows[0]) or held != len(self.held_out[0]):
            return False
        values = array("d", message.data)
        for columns, count in ((self.rows, content["n"]), (self.held_out, more)):
            for column in columns:
                column += values[:count]
                del values[:count]
        assert not values
        self.status |= content["s"]
        return True

    def has_all_of(self, run: ScriptedRun) -> bool:
        series, evaluations = run.state.series, run.state.evaluations
        there = [list(series[c]) for c in ROWS], [list(evaluations[c]) for c in HELD_OUT]
        return repr((self.rows, self.held_out)) == repr(there)  # NaN is no equal of itself


def size(message: Message | None) -> int:
    assert message is not None
    return len(json.dumps(message.content, separators=(",", ":"))) + len(message.data)


def news(feed: Feed, run: ScriptedRun) -> Message:
    message = feed.news(run.clock())
    assert message is not None
    return message


def test_a_run_in_trouble_says_what_to_type_and_one_that_goes_well_says_nothing() -> None:
    run = ScriptedRun()
    feed, page = Feed(run), Page()
    run.begin()
    run.train(20)
    page.take(feed.everything(run.clock()))
    assert page.status["advice"] is None
    run.status("Running", "retrying (attempt 2 of 7 follows): x was killed by SIGKILL", "killed")
    page.take(news(feed, run))
    assert page.status["advice"]["sentence"].startswith("Retrying, after this: the trainer was killed")
    assert page.status["advice"]["command"] == "%kaito resume panel-test --yes"
    run.status("Running")
    run.heard = run.clock()
    page.take(news(feed, run))
    assert page.status["advice"] is None
    page.take(feed.alive(run.clock() + 5000))
    assert "hangs after step 20 of 400" in page.status["advice"]["sentence"]
    page.take(feed.alive(run.clock() + 5000))
    assert page.status["advice"] is not None


def test_a_page_that_takes_all_messages_has_the_whole_run() -> None:
    run, page = ScriptedRun(steps=50), Page()
    feed = Feed(run)
    run.begin()
    for step in range(1, 51):
        run.train(step)
        if step % 7 == 0:
            message = feed.news(float(step))
            assert message is not None
            assert page.take(message)
    run.finish()
    last = feed.news(60.0, final=True)
    assert last is not None
    assert page.take(last)
    assert page.has_all_of(run)
    assert page.rows[0] == list(range(1, 51))
    assert page.status["state"] == "Succeeded"


@pytest.mark.parametrize("length", [100, 10_000])
def test_an_update_of_five_steps_has_the_same_size_at_any_length_of_run(length: int) -> None:
    run = ScriptedRun(steps=20_000)
    feed = Feed(run)
    run.begin()
    run.train(length, tell=False)
    feed.everything(1.0)
    run.train(length + 5)
    assert size(feed.news(2.0)) < 500


def test_nothing_is_sent_when_nothing_has_changed() -> None:
    run = ScriptedRun()
    feed = Feed(run)
    run.begin()
    assert feed.news(1.0) is not None
    assert feed.news(1.3) is None
    assert feed.news(1.6, final=True) is not None


def test_trouble_with_the_backend_is_news_though_the_state_is_the_same() -> None:
    run = ScriptedRun()
    feed = Feed(run)
    feed.news(1.0)
    run.trouble = "The cluster cannot be reached."
    message = feed.news(1.3)
    assert message is not None
    assert message.content["s"] == {"trouble": "The cluster cannot be reached."}


def test_a_step_that_is_told_again_with_another_loss_makes_the_page_take_all_rows_anew() -> None:
    run, page = ScriptedRun(), Page()
    feed = Feed(run)
    run.begin()
    run.train(10)
    page.take(feed.everything(1.0))
    run.say(ev.Log(global_step=4, loss=9.0))
    assert feed.news(1.5) is None, "rows that keep changing must not be resent at each update"
    message = feed.news(4.0)
    assert message is not None
    assert message.content["k"] == "all"
    assert page.take(message)
    assert page.has_all_of(run)


def test_a_page_that_missed_a_message_notices_and_is_whole_after_it_asked() -> None:
    run, page = ScriptedRun(), Page()
    feed = Feed(run)
    run.begin()
    run.train(3)
    page.take(feed.everything(1.0))
    run.train(5)
    feed.news(1.3)
    run.train(8)
    late = feed.news(1.6)
    assert late is not None
    assert not page.take(late)
    assert page.take(feed.everything(1.7))
    assert page.has_all_of(run)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["log", "log", "log", "evaluate", "begin", "send", "ask"]), st.integers(0, 12)),
        max_size=60,
    )
)
def test_whatever_order_rows_come_in_the_page_ends_with_the_runs_curve(script: list[tuple[str, int]]) -> None:
    run, page = ScriptedRun(), Page()
    feed = Feed(run)
    now = 0.0
    for what, step in script:
        now += 1.1
        if what == "log":
            run.say(ev.Log(global_step=step, loss=float(step), learning_rate=1e-4))
        elif what == "evaluate":
            run.say(ev.Evaluate(global_step=step, eval_loss=float(step)))
        elif what == "begin":
            run.say(ev.TrainBegin(max_steps=12, global_step=step))
        elif what == "ask" or ((message := feed.news(now)) is not None and not page.take(message)):
            page.take(feed.everything(now))
    message = feed.news(now + 5, final=True)
    assert message is not None
    if not page.take(message):
        page.take(feed.everything(now))
    assert page.has_all_of(run)


def test_what_is_stored_in_the_notebook_is_bounded_and_has_both_ends() -> None:
    run, page = ScriptedRun(steps=30_000), Page()
    run.begin()
    run.train(5_001, tell=False)
    snapshot = Feed(run).snapshot(1.0)
    data = snapshot.pop("data")
    assert page.take(Message(snapshot, data))
    assert len(page.rows[0]) <= SNAPSHOT_ROWS
    assert (page.rows[0][0], page.rows[0][-1]) == (1, 5_001)
    assert page.held_out == [[0.0], [run.state.evaluations["eval_loss"][0]]]


def test_long_texts_and_many_samples_are_cut() -> None:
    run, page = ScriptedRun(), Page()
    run.begin()
    run.generate(*({"prompt": f"{i}" * 5000, "completion": "x", "reference": "y"} for i in range(9)))
    run.say(ev.Error(kind="crash", message="m" * 5000, details=["d" * 5000] * 200))
    page.take(Feed(run).everything(1.0))
    (samples,) = page.status["samples"]
    assert [len(s["prompt"]) for s in samples["samples"]] == [SHOWN_TEXT + 2] * 3
    assert len(page.status["failure"]["message"]) == SHOWN_TEXT + 2
    assert len(page.status["failure"]["details"]) <= 50


def test_where_the_time_went_and_what_could_be_better_is_sent() -> None:
    run, page = ScriptedRun(), Page()
    feed = Feed(run)
    run.begin()
    page.take(feed.everything(run.clock()))
    assert (page.status["spent"], page.status["notes"], page.status["gpu"]) == (None, [], None)
    for step in range(1, 102):
        log = ev.Log(
            global_step=step, loss=1.0, step_seconds=1.0, data_seconds=0.25, save_seconds=0.0, eval_seconds=0.0,
            samples_per_second=8.123456789,
        )  # fmt: skip
        run.say(log, tell=False)
    page.take(feed.everything(run.clock() + 60))
    assert (page.status["spent"], page.status["step_seconds"]) == ([75, 25, 0, 0], 1.0)
    assert page.status["samples_speed"] == 8.12346
    (note,) = page.status["notes"]
    assert note["sentence"] == "25 of 100 s went to waiting for data."
    assert note["remedy"] == "Set TrainingArguments.dataloader_num_workers: 2."
