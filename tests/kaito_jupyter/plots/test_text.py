"""The plain-text twin and the picture's alternative text."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito_jupyter.plots import alt_text, sparkline, summary
from kaito_jupyter.plots.text import bar
from kaito_jupyter.state import duration
from kaito_jupyter.state.words import amount, short, shown


def test_the_summary_of_a_run_that_completed(stages):
    lines = summary(stages["succeeded"], "otter").splitlines()
    assert lines[0].startswith("otter · succeeded · 400 steps in 3m 43s · loss 1.")
    assert [line.split()[0] for line in lines[1:]] == ["loss", "held", "speed", "phases", "adapter"]
    assert lines[2] == "  held out  3.34 (step 0) → 1.75 (step 400)"
    assert lines[3] == "  speed     143 tokens/s · 1.9 GB memory"
    assert lines[4] == "  phases    pending 4s · loading 8s · tokenizing 3s · training 3m 29s"


def test_the_summary_of_a_run_that_goes_on(stages):
    lines = summary(stages["early"], "otter").splitlines()
    assert lines[1] == "  progress  █████··································· 12 %"
    assert len(lines[2].split()[2]) == 40


def test_the_summary_of_a_run_that_failed(stages):
    text = summary(stages["failed"], "otter")
    assert text.splitlines()[0] == "otter · failed while training at step 133/400"
    assert "problem   out-of-memory: CUDA <b>$out$</b> of memory\n  remedy    Take a larger GPU." in text


def test_nothing_is_a_line_too(stages):
    assert summary(stages["nothing"], "otter") == "otter · pending"
    assert summary(stages["nothing"]) == "pending"


def test_alternative_text_says_what_the_picture_shows(stages):
    assert alt_text(stages["nothing"], "otter") == "Loss curve of otter: pending."
    text = alt_text(stages["succeeded"], "otter")
    assert text.startswith("Loss curve of otter: succeeded, 400 steps in 3m 43s, loss 1.")
    assert text.endswith("over 400 logged steps. Held-out loss went from 3.34 to 1.75.")
    assert "Loss fell from 3." in text


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], ""),
        ([math.nan], ""),
        ([2.0], "▄"),
        ([1.0, 1.0], "▄▄"),
        ([8, 7, 6, 5, 4, 3, 2, 1], "█▇▆▅▄▃▂▁"),
        ([1, math.nan, 2], "▁█"),
        ([9.0] * 100 + [1.0] * 100, "█" * 20 + "▁" * 20),
    ],
)
def test_sparklines(values, expected):
    assert sparkline(values) == expected


@given(st.lists(st.floats(), max_size=300))
def test_a_sparkline_is_never_wider_than_asked(values):
    assert len(sparkline(values)) <= 40


def test_bars():
    assert bar(0, 4) == "····"
    assert bar(0.5, 4) == "██··"
    assert bar(0.53, 4) == "██▏·"
    assert bar(7, 4) == "████"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0s"),
        (-3, "0s"),
        (59.6, "1m 00s"),
        (130, "2m 10s"),
        (3600, "1h 00m"),
        (11_100, "3h 05m"),
        (187_200, "2d 4h"),
    ],
)
def test_durations(seconds, words):
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [(1.93, "1.93"), (2.0, "2"), (0.02134567, "0.02135"), (2e-5, "2e-5"), (1.775e-05, "1.78e-5"), (0.0, "0"), (880.0, "880"),
     (123456.78, "123456.8"), (3.2e7, "3.2e7"), (-1.5, "-1.5")],
)  # fmt: skip
def test_numbers(value, words):
    assert shown(value) == words


def test_amounts():
    assert amount(1_200_000_000, "bytes") == "1.2 GB"
    assert amount(12, "bytes") == "12 B"
    assert amount(12_000, "rows") == "12,000"


def test_long_messages_are_cut_to_a_line():
    assert short("\n first line \nsecond") == "first line"
    assert short("x" * 500).endswith("…")
    assert len(short("x" * 500)) == 160
