"""The event protocol: what is written comes back, and what is no event never raises."""

import json
import math
import string
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito_trainer.contract import decode, encode
from kaito_trainer.contract.events import MARK, PAYLOADS, Error, Evaluate, Log, Phase, TrainBegin

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
VALUES = {"global_step": st.integers(0), "max_steps": st.integers(0)}


def payloads():
    return st.sampled_from(sorted(PAYLOADS)).flatmap(
        lambda name: st.builds(PAYLOADS[name], **{f.name: VALUES.get(f.name, JSON) for f in fields(PAYLOADS[name])})
    )


@given(payload=payloads(), seq=st.integers(0), time=st.floats(0, 1e12))
def test_what_is_encoded_is_decoded_again(payload, seq, time):
    event = decode(encode(payload, seq=seq, time=time))
    assert event == (payload.TYPE, seq, round(time, 3), payload.to_dict())


@given(payload=payloads())
def test_an_event_is_one_line_of_ascii_that_begins_with_the_mark(payload):
    line = encode(payload, seq=1, time=0.0)
    assert line.startswith(MARK)
    assert line.isascii()
    assert not set(line) & {"\n", "\r"}


@given(st.text() | st.binary())
def test_reading_any_line_never_raises(line):
    assert decode(line) is None or MARK in (line if isinstance(line, str) else line.decode("utf-8", "replace"))


@given(st.text(string.printable), payloads())
def test_a_prefix_of_foreign_output_is_skipped(prefix, payload):
    assert decode(prefix + encode(payload, seq=3, time=1.0)) == decode(encode(payload, seq=3, time=1.0))


@given(payloads(), st.data())
def test_a_cut_line_is_no_event(payload, data):
    line = encode(payload, seq=3, time=1.0)
    assert decode(line[: data.draw(st.integers(0, len(line) - 1))]) is None


@pytest.mark.parametrize(
    "line",
    [
        "",
        "training",
        '{"kaito_event":1}',
        '{"kaito_event":1,"type":"log","seq":1}',
        '{"kaito_event":2,"type":"log","seq":1,"time":1}',
        '{"kaito_event":1,"type":5,"seq":1,"time":1}',
        '{"kaito_event":1,"type":"log","seq":"1","time":1}',
        '{"kaito_event":1,"type":"log","seq":true,"time":1}',
        '{"kaito_event":1,"type":"log","seq":1,"time":null}',
        '{"kaito_event":1,"type":"log","seq":1,"time":1} and more',
        '{"kaito_event":' + "[" * 100_000,
        '[{"kaito_event":1,"type":"log","seq":1,"time":1}]',
    ],
    ids=lambda line: line[:60] or "empty",
)
def test_what_is_no_event_stays_a_log_line(line):
    assert decode(line) is None


def test_an_unknown_type_and_unknown_keys_are_kept():
    event = decode('{"kaito_event":1,"type":"weather","seq":4,"time":2.5,"sun":true}')
    assert event == ("weather", 4, 2.5, {"sun": True})


def test_numbers_without_a_json_word_become_null():
    line = encode(Log(global_step=1, loss=math.nan, grad_norm=math.inf, learning_rate=1e-5), seq=1, time=1.0)
    assert json.loads(line)["loss"] is None
    assert decode(line).data == {"global_step": 1, "loss": None, "grad_norm": None, "learning_rate": 1e-5}
    nested = encode(Evaluate(global_step=0, eval_loss=1.0, metrics={"a": math.nan}), seq=1, time=1.0)
    assert decode(nested).data["metrics"] == {"a": None}


def test_unset_fields_are_not_written():
    assert decode(encode(Phase(phase="loading"), seq=0, time=0.0)).data == {"phase": "loading"}
    assert decode(encode(TrainBegin(max_steps=4), seq=0, time=0.0)).data == {"max_steps": 4, "global_step": 0}


def test_a_message_may_hold_markup_and_newlines():
    error = Error(kind="crash", message='<script>alert("1")</script>\nline two \u2028 \ud800')
    assert decode(encode(error, seq=9, time=0.0)).data["message"] == error.message
