"""What batches cost by how their rows lie, on rows that can be counted by hand."""

from __future__ import annotations

import pytest

from kaito_trainer.batching import Costs, costs


def test_one_row_a_batch_wastes_nothing() -> None:
    assert costs([10, 20, 30], 1, 64) == Costs()
    assert costs([], 4, 64) == Costs() == costs([5] * 8, 4, 0)


def test_rows_of_one_length_are_never_padded_and_only_compared_with_more_when_end_to_end() -> None:
    found = costs([100] * 64, 4, 1000)
    assert (found.padded, found.grouped) == (1.0, 1.0)
    assert found.flat == pytest.approx((6000 + 400) / (6000 + 100))


def test_grouping_saves_what_chance_pads() -> None:
    found = costs([10, 1000] * 400, 4, 4096)
    assert found.padded > 1.7
    assert found.grouped == pytest.approx(1.0, abs=0.02)
    assert 1.0 < found.flat < 1.2, "a wide model hardly notices that tokens are compared with more"


def test_a_narrow_model_notices_long_sequences() -> None:
    lengths = [200, 300, 400, 500] * 100
    assert costs(lengths, 8, 256).flat > costs(lengths, 8, 4096).flat > 1


def test_of_many_rows_a_sample_says_the_same() -> None:
    lengths = [10 + i % 90 for i in range(40_000)]
    few, many = costs(lengths[:4000], 4, 512), costs(lengths, 4, 512)
    assert many.padded == pytest.approx(few.padded, rel=0.02)
    assert costs(lengths, 4, 512) == many
