"""A long log read at once gives the same state as line by line, and nothing that a log can hold raises."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaito_jupyter.hf_logs import Reader
from kaito_jupyter.state import RunState, bulk
from kaito_trainer.contract import encode
from kaito_trainer.contract import events as ev

T = 1_764_000_000.0


def logs(first, last, offset=0, **extra):
    for i in range(first, last + 1):
        yield encode(
            ev.Log(global_step=i, loss=3 - i / 1000, learning_rate=1e-4, num_tokens=i * 512, **extra),
            seq=i + offset,
            time=T + i,
        )


def history(seq, last):
    columns = {"global_step": list(range(1, last + 1)), "loss": [9.0] * last}
    return encode(ev.History(columns=columns), seq=seq, time=T + seq)


def both(lines, size=None):
    """The state line by line, and in batches."""
    one, many = RunState(Reader(clock=lambda: T)), RunState(Reader(clock=lambda: T))
    for line in lines:
        one.feed(line)
    size = size or max(1, len(lines))
    for i in range(0, len(lines), size):
        many.feed_many(lines[i : i + size])
    return one, many


def seen(state):
    """All that a view can see. NaN is not equal to itself, so columns are compared as text."""
    names = (
        "state",
        "phase",
        "phases",
        "global_step",
        "max_steps",
        "progress",
        "failure",
        "started",
        "ended",
        "adapter",
        "saves",
        "samples",
        "phase_detail",
    )
    columns = {
        name: repr(column) for s in (state.series, state.evaluations) for name, column in sorted(s.columns.items())
    }
    return (
        {name: getattr(state, name) for name in names}
        | columns
        | {"output": list(state.output), "left": state.seconds_left(T + 999)}
    )


def say(payload, seq, time=None):
    return encode(payload, seq=seq, time=T + seq if time is None else time)


BEGIN = encode(ev.TrainBegin(max_steps=3000), seq=0, time=T)
CASES = {
    "a long log": [BEGIN, *logs(1, 1000)],
    "without a beginning": [*logs(500, 1000)],
    "a missing line": [BEGIN, *logs(1, 400), *logs(402, 900)],
    "a line that came late": [BEGIN, *logs(1, 400), *logs(402, 900), *logs(401, 401)],
    "lines that came twice": [BEGIN, *logs(1, 600), *logs(300, 900)],
    "a cut line": [BEGIN, *logs(1, 400), next(logs(401, 401))[:50], *logs(402, 900)],
    "text in place of a number": [BEGIN, *logs(1, 400), next(logs(401, 401)).replace('"loss":2.599', '"loss":"2.599"'), *logs(402, 900)],
    "a number without a word": [BEGIN, *logs(1, 400), next(logs(401, 401)).replace("2.599", "Infinity"), *logs(402, 900)],
    "not a number": [BEGIN, *logs(1, 400), next(logs(401, 401)).replace("2.599", "NaN"), *logs(402, 900)],
    "two on a line": [BEGIN, *logs(1, 400), "".join(logs(401, 402)), *logs(403, 900)],
    "a step told twice": [BEGIN, *logs(1, 400), *logs(400, 400, offset=1), *logs(401, 900, offset=1)],
    "back to a checkpoint": [BEGIN, *logs(1, 600), encode(ev.TrainBegin(max_steps=9, global_step=300), seq=601, time=T + 601), *logs(301, 700, offset=301)],
    "back without a word": [BEGIN, *logs(1, 600), *logs(301, 700, offset=301)],
    "a new column": [BEGIN, *logs(1, 400), *(s.replace('"loss"', '"entropy":0.5,"loss"') for s in logs(401, 900))],
    "a new column of text": [BEGIN, *logs(1, 400), *(s.replace('"loss"', '"note":"1.5","loss"') for s in logs(401, 900))],
    "a huge time": [BEGIN, *logs(1, 400), next(logs(401, 401)).replace(str(T + 401), "1e99"), *logs(402, 900)],
    "a huge step": [BEGIN, *logs(1, 400), next(logs(401, 401)).replace('"global_step":401', f'"global_step":{2**60}'), *logs(402, 900)],
    "summaries": [BEGIN, *logs(1, 400), history(401, 400), *logs(402, 800), history(801, 500), *logs(802, 1200)],
    "summaries for a late reader": [*logs(301, 400), history(401, 400), *logs(402, 800), history(801, 500), *logs(802, 1200)],
    "evaluations and checkpoints": [BEGIN, *logs(1, 400), say(ev.Evaluate(global_step=400, eval_loss=2.5), 401), *logs(401, 700, offset=1), say(ev.Save(global_step=700, path="x", final=True), 702), say(ev.Generate(global_step=700, samples=[{"prompt": "a"}]), 703)],
    "a clock that was set back": [BEGIN, *logs(1, 400), say(ev.Evaluate(global_step=400, eval_loss=2.5), 401, T + 9999), *logs(401, 700, offset=1)],
    "foreign lines": [BEGIN, *logs(1, 300), "{'loss': '2'}", *logs(301, 900), "bye"],
    "stock lines before": ["{'loss': '2', 'epoch': '1'}", *logs(1, 900)],
}  # fmt: skip


@pytest.mark.parametrize("size", [None, 350])
@pytest.mark.parametrize("lines", CASES.values(), ids=CASES.keys())
def test_many_lines_at_once_are_as_many_lines_one_by_one(lines, size):
    one, many = both(lines, size)
    assert seen(one) == seen(many)


def test_the_shortcut_is_taken():
    lines = list(logs(1, 500))
    columns, seqs, newest = bulk.read(lines)
    assert (len(seqs), newest, columns["loss"][0], columns["num_tokens"][1]) == (500, T + 500, 2.999, 1024.0)
    assert "grad_norm" not in columns
    assert list(bulk.stretches(["a", *lines, "b", *lines[:3]])) == ["a", (lines, lines), "b", *lines[:3]]


def test_the_longest_stretch_is_bounded():
    lines = [next(logs(1, 1))] * (2 * bulk.CHUNK + 7)
    assert [len(s.logs) for s in bulk.stretches(lines) if not isinstance(s, str)] == [bulk.CHUNK] * 2


TEXT = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        [
            "Traceback (most recent call last):",
            "torch.OutOfMemoryError: CUDA out of memory.",
            "{'loss': '2.5', 'epoch': '0.5'}",
            "{'eval_loss': nan, 'epoch': 1}",
            "{'train_runtime': '1'}",
            "\r  3%|▎         | 31/1024 [00:12<06:31, 2.53it/s]",
            "Map: 100%|██████████| 400/400 [00:00<00:00, 8000.00 examples/s]",
            '{"kaito_event":',
            "Saving model checkpoint to /mnt/results/checkpoint-10",
        ]
    ),
)
VALUE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.integers(0, 12),
    st.lists(st.integers(0, 9), max_size=3),
)
KEYS = st.sampled_from(
    sorted({name for p in ev.PAYLOADS.values() for name in p.__dataclass_fields__} | {"odd", "time", "metrics"})
)


@st.composite
def event_lines(draw):
    record = {
        "kaito_event": 1,
        "type": draw(st.sampled_from([*ev.PAYLOADS, "log", "log", "weather"])),
        "seq": draw(st.integers(0, 30)),
    }
    record |= {"time": draw(st.integers(0, 60) | st.floats()), "global_step": draw(st.integers(0, 12) | VALUE)}
    record |= draw(st.dictionaries(KEYS, VALUE | st.dictionaries(KEYS, VALUE, max_size=3), max_size=4))
    return json.dumps(record, separators=(",", ":"))


@st.composite
def log_lines(draw):
    """What a log may hold: events good and odd, other text, cut and glued."""
    lines = draw(st.lists(event_lines() | TEXT, max_size=12))
    for i in range(len(lines)):
        what = draw(st.integers(0, 9))
        if what == 0:
            lines[i] = lines[i][: draw(st.integers(0, 60))]
        elif what == 1:
            lines[i] = draw(TEXT) + lines[i] + draw(TEXT)
    return lines


@settings(max_examples=400, deadline=None)
@given(log_lines())
def test_nothing_that_a_log_holds_raises_and_all_views_work(lines):
    from kaito_jupyter.plots import alt_text, summary

    one, many = both(lines, 5)
    assert seen(one).keys() == seen(many).keys()
    for state in (one, many):
        steps = list(state.series["global_step"])
        assert steps == sorted(set(steps))
        assert {len(c) for c in state.series.columns.values()} == {len(steps)}
        assert state.global_step >= 0
        assert summary(state, "run")
        assert alt_text(state, "run")
        assert all(p.seconds(T) is None or p.seconds(T) >= 0 for p in state.phases)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_run_with_restarts_is_the_same_in_any_order_and_with_lines_twice(data):
    """The newest word on each step counts, and a restart voids what was after it."""
    lines, expected, step, seq = [], {}, 0, 0
    for _ in range(data.draw(st.integers(1, 4))):
        begin = data.draw(st.integers(0, step))
        seq += 1
        lines.append(encode(ev.TrainBegin(max_steps=99, global_step=begin), seq=seq, time=T + seq))
        expected = {s: v for s, v in expected.items() if s <= begin}
        step = begin
        for _ in range(data.draw(st.integers(0, 6))):
            step, seq = step + data.draw(st.integers(1, 3)), seq + 1
            lines.append(encode(ev.Log(global_step=step, loss=float(seq)), seq=seq, time=T + seq))
            expected[step] = float(seq)
    mixed = data.draw(st.permutations(lines + data.draw(st.lists(st.sampled_from(lines)))))
    state = RunState()
    for line in mixed:
        state.feed(line)
    assert dict(zip(map(int, state.series["global_step"]), state.series["loss"], strict=True)) == expected
    assert state.global_step == step
    assert state.state == "Running"
