"""Where the time between two logs went."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito_trainer.clock import Clock, rows


class Hand:
    """A clock's hand, moved by the test."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at

    def spend(self, seconds: float) -> None:
        self.at += seconds


def test_time_is_told_apart_and_each_log_begins_anew() -> None:
    hand = Hand()
    clock = Clock(hand)
    hand.spend(2)
    with clock.on("save"):
        hand.spend(3)
    with clock.on("eval"):
        hand.spend(5)
    with clock.on("data"):
        hand.spend(1)
    assert clock.split() == (3, 1, 3, 5, 0)
    hand.spend(4)
    assert clock.split() == (4, 0, 0, 0, 0)


def test_what_is_done_within_something_counts_once() -> None:
    hand = Hand()
    clock = Clock(hand)
    with clock.on("eval"):
        hand.spend(1)
        with clock.on("eval"):
            hand.spend(2)
    assert clock.split().eval == 3


def test_a_failure_leaves_the_clock_going() -> None:
    hand = Hand()
    clock = Clock(hand)

    def fail() -> None:
        with clock.on("save"):
            hand.spend(2)
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fail()
    with clock.on("save"):
        hand.spend(1)
    assert clock.split() == (0, 0, 3, 0, 0)


def test_waiting_for_batches_is_counted_and_working_on_them_is_not() -> None:
    hand = Hand()
    clock = Clock(hand)

    def slow() -> Iterator[int]:
        for i in range(3):
            hand.spend(0.5)
            yield i

    source = slow()
    taken = []
    for _ in range(2):  # a step takes its batches, and leaves the rest to the next one
        for batch in itertools.islice(clock.waiting(source), 2):
            taken.append(batch)
            hand.spend(10)
    assert taken == [0, 1, 2]
    assert clock.split().data == 1.5


@given(st.lists(st.integers(2, 9), min_size=1, max_size=6), st.integers(0, 5))
def test_rows_are_counted_below_each_other_and_end_to_end(lengths: list[int], padding: int) -> None:
    torch = pytest.importorskip("torch")

    ids = torch.zeros(len(lengths), max(lengths), dtype=torch.long)
    assert rows({"input_ids": ids}) == len(lengths)
    places = torch.cat([*(torch.arange(n) for n in lengths), torch.zeros(padding, dtype=torch.long)])
    assert int(rows({"input_ids": places[None], "position_ids": places[None]})) == len(lengths)


def test_rows_of_all_a_steps_batches_add_up() -> None:
    torch = pytest.importorskip("torch")

    clock = Clock()
    packed = torch.tensor([[0, 1, 2, 0, 1]])
    clock.count([{"input_ids": torch.zeros(3, 4)}, {"input_ids": packed, "position_ids": packed}])
    clock.count([{"input_ids": torch.zeros(1, 4)}])
    assert clock.split().samples == 6.0
    assert clock.split().samples == 0.0
