"""A run's own steps say how long the whole takes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kaito_jupyter.run import Run


def test_hours_and_price_come_from_the_runs_own_steps(start: Callable[..., Run]) -> None:
    run = start("--seconds", "0.01", name="timed")
    run.wait(180)
    found = run.estimate(price_per_hour=2.0)
    assert found is not None
    assert found.steps == 20
    pace = run.state.seconds_per_step
    assert pace is not None
    assert found.hours == pytest.approx(20 * pace / 3600)
    assert found.price == pytest.approx(2 * 20 * pace / 3600)
    run.close()


def test_of_an_unknown_model_nothing_is_estimated(start: Callable[..., Run]) -> None:
    run = start("--seconds", "0.01", name="unknown", preset="owner/unknown")
    run.wait(180)
    assert run.estimate() is None
    run.close()
