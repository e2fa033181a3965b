"""Columns by step: one row a step, in whatever order rows come."""

import math
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito_jupyter.state.series import EXTRA_COLUMNS, Series, number, whole


def rows(series, name="loss"):
    return list(zip(map(int, series["global_step"]), series[name], strict=True))


def make(*steps, order=0):
    series = Series(["loss", "time"])
    for i, step in enumerate(steps):
        series.put(step, order + i, {"global_step": step, "loss": float(step)})
    return series


def test_rows_are_appended_and_missing_numbers_are_nan():
    series = Series(["loss", "learning_rate", "time"])
    assert series.put(1, 1, {"global_step": 1, "loss": 2.5}, time=10.0)
    assert series.put(2, 2, {"global_step": 2, "learning_rate": 1e-4})
    assert rows(series)[0] == (1, 2.5)
    assert math.isnan(series["loss"][1])
    assert math.isnan(series["learning_rate"][0])
    assert series["time"][0] == 10.0
    assert series.rewrites == 0
    assert series.last("loss") == 2.5
    assert series.find(2) == 1
    assert series.find(3) is None
    assert isinstance(series["loss"], array)


def test_a_step_told_twice_is_one_row_with_the_later_numbers():
    series = make(1, 2)
    assert series.put(2, 5, {"global_step": 2, "loss": 9.0, "time": 3.0})
    assert rows(series) == [(1, 1.0), (2, 9.0)]
    assert series["time"][1] == 3.0
    assert series.rewrites == 1
    assert not series.put(2, 5, {"global_step": 2, "loss": 9.0})
    assert series.rewrites == 1


def test_an_earlier_word_on_a_step_only_fills_what_is_missing():
    series = Series(["loss", "grad_norm"])
    series.put(1, 8, {"global_step": 1, "loss": 1.0})
    series.put(1, 3, {"global_step": 1, "loss": 7.0, "grad_norm": 0.5})
    assert rows(series) == [(1, 1.0)]
    assert series["grad_norm"][0] == 0.5


def test_a_late_row_comes_into_its_place():
    series = Series(["loss"])
    series.put(1, 1, {"global_step": 1, "loss": 1.0})
    series.put(3, 3, {"global_step": 3, "loss": 3.0})
    assert series.rewrites == 0
    series.put(2, 2, {"global_step": 2, "loss": 2.0})
    assert rows(series) == [(1, 1.0), (2, 2.0), (3, 3.0)]
    assert series.rewrites == 1


def test_a_restart_takes_back_the_rows_after_it():
    series = make(1, 2, 3, 4, 5)
    assert series.restart(3, 10)
    assert rows(series) == [(1, 1.0), (2, 2.0), (3, 3.0)]
    assert series.rewrites == 1
    assert not series.put(4, 3, {"global_step": 4, "loss": 4.0}), "written before the restart"
    series.put(4, 11, {"global_step": 4, "loss": 40.0})
    assert rows(series)[-1] == (4, 40.0)


def test_a_restart_that_nobody_announced_shows_in_a_smaller_step():
    series = make(1, 2, 3, 4, 5)
    series.put(3, 20, {"global_step": 3, "loss": 30.0})
    assert rows(series) == [(1, 1.0), (2, 2.0), (3, 30.0)]
    series.put(5, 4, {"global_step": 5, "loss": 5.0})
    assert rows(series)[-1] == (3, 30.0), "the old future does not come back"


def test_a_summary_fills_gaps_and_changes_no_row():
    series = make(5, 6, order=50)
    columns = {"global_step": [1, 3, 5, "7", None], "loss": [10.0, "30", 50.0, 70.0], "entropy": [1, None, 2, 3]}
    assert series.fill(columns, 60)
    assert rows(series) == [(1, 10.0), (3, 30.0), (5, 5.0), (6, 6.0), (7, 70.0)]
    assert series["entropy"][0] == 1.0
    assert not series.fill(columns, 61)
    series.put(2, 12, {"global_step": 2, "loss": 2.0})
    series.put(3, 13, {"global_step": 3, "loss": 3.0})
    assert rows(series) == [(1, 10.0), (2, 2.0), (3, 3.0), (5, 5.0), (6, 6.0), (7, 70.0)], "real rows win"


def test_a_restart_takes_back_what_a_summary_filled_before_it():
    series = Series(["loss"])
    series.fill({"global_step": [1, 2, 3], "loss": [1.0, 2.0, 3.0]}, 5)
    series.restart(1, 6)
    assert rows(series) == [(1, 1.0)]
    assert not series.fill({"global_step": [2], "loss": [2.0]}, 4)


@pytest.mark.parametrize(
    "columns", [{}, {"global_step": None}, {"global_step": "123"}, {"global_step": [{}], "loss": 3}]
)
def test_an_odd_summary_says_nothing(columns):
    assert not make(1).fill(columns, 9)


def test_unknown_numbers_become_columns_up_to_a_limit():
    series = make(1)
    series.put(2, 2, {"global_step": 2, "loss": 1.0, "entropy": 0.5, "note": "text", "flag": True, "nothing": None})
    assert set(series.columns) == {"global_step", "loss", "time", "entropy"}
    assert math.isnan(series["entropy"][0])
    series.put(3, 3, {"global_step": 3} | {f"metric{i}": i for i in range(100)})
    assert len(series.columns) == 3 + EXTRA_COLUMNS
    assert {len(c) for c in series.columns.values()} == {3}


def test_many_rows_at_once_are_as_many_rows_one_by_one():
    series = make(1, 2)
    assert series.follows(3)
    series.extend(
        {"global_step": array("d", [3, 4]), "loss": array("d", [3, 4]), "extra": array("d", [7, 8])}, array("q", [5, 6])
    )
    assert rows(series) == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)]
    assert math.isnan(series["time"][3])
    assert list(series["extra"][2:]) == [7, 8]
    assert not series.follows(4)
    assert series.put(5, 7, {"global_step": 5, "loss": 5.0})


def test_the_latest_value_is_looked_for_only_so_far_back():
    series = Series(["loss", "grad_norm"])
    series.put(0, 0, {"global_step": 0, "grad_norm": 1.0})
    for step in range(1, 1500):
        series.put(step, step, {"global_step": step, "loss": 1.0})
    assert series.last("grad_norm") is None
    assert series.last("grad_norm", within=1500) == 1.0
    assert series.last("no such column") is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1, 1.0), (1.5, 1.5), ("2.5e-3", 0.0025), (True, None), (None, None), (math.nan, None), (math.inf, None),
     ("inf", None), ("nan", None), ("", None), ("1_0", 10.0), (10**400, None), ([1], None), ({}, None)],
)  # fmt: skip
def test_numbers_are_finite_or_none(value, expected):
    assert number(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0),
        (7, 7),
        (7.0, 7),
        ("7", 7),
        (7.5, None),
        (-1, None),
        (True, None),
        (2**53, None),
        (1e300, None),
        ("x", None),
    ],
)
def test_steps_are_whole_and_not_negative(value, expected):
    assert whole(value) == expected


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 40)), max_size=30, unique_by=lambda r: r[1]), st.randoms())
def test_what_stands_does_not_depend_on_the_order_in_which_rows_came(written, random):
    """The rule itself: a row stands unless one written later has a smaller step, or is of the same step."""
    stands = {
        step: order
        for step, order in sorted(written, key=lambda r: r[1])
        if not any(o > order and s <= step for s, o in written)
    }
    random.shuffle(written)
    series = Series(["loss"])
    for step, order in written:
        series.put(step, order, {"global_step": step, "loss": float(order)})
        assert list(series["global_step"]) == sorted(set(series["global_step"]))
    assert dict(rows(series)) == {step: float(order) for step, order in stands.items()}


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("put"), st.integers(0, 9), st.integers(0, 99), st.floats()),
            st.tuples(st.just("restart"), st.integers(0, 9), st.integers(0, 99), st.none()),
            st.tuples(st.just("fill"), st.lists(st.integers(-2, 9), max_size=4), st.integers(0, 99), st.floats()),
        ),
        max_size=30,
    )
)
def test_columns_stay_even_and_steps_sorted_whatever_happens(actions):
    series = Series(["loss"])
    for action, step, order, value in actions:
        if action == "put":
            series.put(step, order, {"global_step": step, "loss": value})
        elif action == "restart":
            series.restart(step, order)
        else:
            series.fill({"global_step": step, "loss": [value] * len(step)}, order)
        steps = list(series["global_step"])
        assert steps == sorted(set(steps))
        assert {len(c) for c in series.columns.values()} == {len(series)}
        assert not any(map(math.isinf, series["loss"]))
