from __future__ import annotations

from itertools import count

import pytest

from kaito_jupyter.delivery import progress
from kaito_jupyter.delivery.progress import Transfer


def test_a_transfer_says_its_share_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = count(0, 0.2)
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    told: list[str] = []
    transfer = Transfer(told.append, 1_000_000, "the claim data")
    for _ in range(10):
        transfer(100_000)
    transfer(-300_000)
    shares = [int(text.removesuffix("%").rpartition(" ")[2]) for text in told]
    assert told[0] == "The data (1.0 MB) is on its way to the claim data: 0%"
    assert shares == sorted(shares)
    assert len(shares) == 4  # of eleven


def test_a_retry_takes_back_what_has_to_go_again() -> None:
    told: list[str] = []
    transfer = Transfer(told.append, 0, "x")
    transfer._size = 10
    transfer(8)
    transfer(-8)
    transfer._next = 0.0
    transfer(2)
    assert told[-1].endswith("20%")
