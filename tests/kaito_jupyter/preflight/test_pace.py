"""Hours and price from earlier runs of the same model, method and node."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from kaito_jupyter import estimate, tune
from kaito_jupyter.history import Archive, Entry
from kaito_jupyter.spec import ResourceSpec, TuningSpec
from kaito_trainer.contract import TrainingConfig

A100 = "Standard_NC24ads_A100_v4"


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    monkeypatch.setenv("KAITO_HISTORY", str(tmp_path / "history.sqlite"))
    return Archive(tmp_path / "history.sqlite")


def ran(name: str, rate: float | None = 1000.0, **facts: object) -> Entry:
    told = {
        "backend": "job", "preset": "phi-4-mini-instruct", "method": "lora", "instance_type": A100, "ended": 1.0,
        "state": "Succeeded", "tokens_per_second": rate,
    }  # fmt: skip
    return Entry(key=name, name=name, namespace="default", location="here", **{**told, **facts})  # type: ignore[arg-type]


def spec_of(**arguments: object) -> TuningSpec:
    config = TrainingConfig.from_dict({"TrainingArguments": arguments})
    return TuningSpec(preset="phi-4-mini-instruct", resource=ResourceSpec(instance_type=A100), config=config)


def test_hours_are_those_of_the_latest_run_of_the_same_model_method_and_node(shelf: Archive) -> None:
    shelf.keep(ran("older", 500.0))
    shelf.keep(ran("tickets-3", ended=2.0))
    for other in (
        {"method": "qlora"},
        {"instance_type": "Standard_NV36ads_A10_v5"},
        {"backend": "kaito"},
        {"devices": 8},
    ):
        shelf.keep(ran(f"other-{next(iter(other))}", 9e9, ended=3.0, **other))
    found = estimate(spec_of(num_train_epochs=2), 40_000, target="job", tokens=100.0, price_per_hour=3.5)
    assert found is not None
    assert found.hours == pytest.approx(2.0)  # a tenth of the rows is held out
    assert found.price == pytest.approx(7.0)
    assert (
        f"steps, about 2.0 hours, 7.00 at 3.5 an hour, as measured in run tickets-3 on the same {A100} (1,000 tokens/s)."
        in repr(found)
    )
    assert "about 2.0 hours" in found.short()
    assert "tickets-3" in found._repr_html_()


def test_steps_that_are_limited_count_by_their_rows(shelf: Archive) -> None:
    shelf.keep(ran("before"))
    limited = spec_of(max_steps=360, per_device_train_batch_size=5, gradient_accumulation_steps=2)
    found = estimate(limited, None, target="job", tokens=100.0)
    assert found is not None
    assert found.tokens == 360_000
    assert found.hours == pytest.approx(0.1)


def test_a_runs_own_steps_go_before(shelf: Archive) -> None:
    shelf.keep(ran("before"))
    found = estimate(spec_of(), 1000, target="job", tokens=100.0, seconds_per_step=3.6)
    assert found is not None
    assert found.steps is not None
    assert found.hours == pytest.approx(found.steps / 1000)
    assert "at 3.6 s a step" in repr(found)


def test_a_log_without_rates_tells_them_by_steps_and_tokens(shelf: Archive) -> None:
    shelf.keep(ran("stock", None, backend="kaito", steps=10, tokens=20_000.0, seconds_per_step=2.0))
    found = estimate(spec_of(), 36_000, target="kaito", tokens=100.0)
    assert found is not None
    assert found.earlier is not None
    assert found.earlier.tokens_per_second == 1000.0


def test_without_one_it_says_when_hours_will_be_known(shelf: Archive) -> None:
    found = estimate(spec_of(), 1000, target="job", tokens=100.0)
    assert found is not None
    assert found.hours is None
    assert "Hours are told after the first steps, or when a run of this model, method and node has ended." in repr(
        found
    )


def test_a_plan_counts_its_datas_tokens(shelf: Archive) -> None:
    shelf.keep(ran("before"))
    rows = pd.DataFrame({"prompt": ["What is it?"] * 40, "completion": [f"It is {i}." for i in range(40)]})
    plan = tune(rows, preset="phi-4-mini-instruct", backend="job", instance_type=A100, output="pvc:o", dry_run=True)
    assert plan.seen is not None
    found = plan.estimate()
    assert found is not None
    config = plan.spec.effective_config("job", rows=40)
    rows_seen = plan.dataset.split(config)[0] * config.TrainingArguments.num_train_epochs
    assert found.hours == pytest.approx(plan.seen.mean * rows_seen / 1000 / 3600)
    assert "as measured in run before" in repr(plan)
