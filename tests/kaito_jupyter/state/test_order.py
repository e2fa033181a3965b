"""Events' places: seen ones are told from new ones, whatever is missing, late, or begun again."""

from hypothesis import given
from hypothesis import strategies as st

from kaito_jupyter.state.order import SPANS, Order


def test_an_event_is_placed_once():
    order = Order()
    assert [order.place(seq, float(seq)) for seq in (1, 2, 2, 3, 1)] == [1, 2, None, 3, None]
    assert order.whole_before(4)
    assert order.seen


def test_a_gap_is_filled_once():
    order = Order()
    assert order.place(1, 1.0) == 1
    assert order.place(5, 5.0) == 5
    assert not order.whole_before(5)
    assert order.place(3, 3.0) == 3
    assert order.place(3, 3.0) is None
    assert order.place(4, 4.0) == 4
    assert order.place(2, 2.0) == 2
    assert order.whole_before(6)


def test_an_old_number_with_a_new_time_is_a_trainer_that_began_again():
    order = Order()
    for seq in range(5):
        order.place(seq, 100.0 + seq)
    again = [order.place(seq, 200.0 + seq) for seq in range(3)]
    assert again == sorted(again)
    assert again[0] > 4
    assert order.counts == 1
    assert order.place(1, 101.0) is None, "a line of the first count, come twice, is not taken for one of the second"


def test_numbers_that_make_no_sense_are_not_placed():
    order = Order()
    assert order.place(-1, 1.0) is None
    assert order.place(2**80, 1.0) is None
    assert order.place(1, float("nan")) == 1
    assert order.place(2, 1e300) == 2


def test_an_event_without_a_number_comes_after_all_others():
    order = Order()
    order.place(7, 1.0)
    assert order.next() > 7
    assert order.place(0, 50.0) > order.next() - 2


def test_memory_stays_small_when_every_other_event_is_lost():
    order = Order()
    for seq in range(0, 6 * SPANS, 2):
        assert order.place(seq, 1.0 + seq) == seq
    assert len(order._spans) <= SPANS + 1
    assert order.place(6 * SPANS - 3, 1.0) is not None
    assert order.place(1, 1.0) is None, "the oldest gaps count as seen"


def test_many_new_events_are_placed_at_once():
    order = Order()
    order.place(1, 1.0)
    assert order.place_all([2, 3, 4, 6, 7, 9], 9.0) == 0
    assert not order.whole_before(6)
    assert order.place(9, 9.0) is None
    assert order.place_all([9, 10], 10.0) is None
    assert order.place(5, 5.0) == 5
    assert order.whole_before(8)
    assert order.place_all([20], 20.0) == 0
    assert order.place(15, 15.0) == 15


@given(st.lists(st.integers(0, 60), max_size=80))
def test_it_agrees_with_a_set_of_all_numbers(numbers):
    order, seen = Order(), set()
    for seq in numbers:
        assert order.place(seq, 1.0) == (None if seq in seen else seq)
        seen.add(seq)
    for seq in range(2, 62):
        assert order.whole_before(seq) == (set(range(1, seq)) <= seen)


@given(st.sets(st.integers(0, 60)), st.sets(st.integers(0, 60), min_size=1))
def test_placing_at_once_is_as_placing_one_by_one(before, after):
    one, many = Order(), Order()
    for seq in sorted(before):
        one.place(seq, 1.0), many.place(seq, 1.0)
    placed = [one.place(seq, 1.0) for seq in sorted(after)] if min(after) > max(before, default=-1) else None
    base = many.place_all(sorted(after), 1.0)
    assert placed == (None if base is None else [base + seq for seq in sorted(after)])
    if placed:
        assert vars(one) == vars(many)
