"""Rows of like length together, all of them once, in an order that a restart finds again."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.usefixtures("libraries")


def test_every_row_comes_once_in_steps_of_like_length() -> None:
    from kaito_trainer.grouping import Grouped

    lengths = [7 * i % 101 + 1 for i in range(402)]
    order = list(Grouped(lengths, 4, 42))
    assert sorted(order) == list(range(402))
    steps = [[lengths[i] for i in order[a : a + 4]] for a in range(0, len(order), 4)]
    assert sum(max(s) - min(s) for s in steps) / len(steps) < 5
    assert max(lengths) in steps[0], "what does not fit is found out at once"
    tops = [max(s) for s in steps]
    assert tops != sorted(tops, reverse=True), "long and short steps come in turn"


def test_the_order_follows_from_seed_and_epoch_alone() -> None:
    from kaito_trainer.grouping import Grouped

    lengths = [i % 13 for i in range(100)]
    first, again, other = Grouped(lengths, 8, 1), Grouped(lengths, 8, 1), Grouped(lengths, 8, 2)
    begun = list(first)
    assert begun == list(first) == list(again) != list(other)
    again.set_epoch(1)
    assert list(again) != begun
    again.set_epoch(0)
    assert list(again) == begun
    assert len(again) == 100
    assert list(Grouped([], 8, 1)) == []
