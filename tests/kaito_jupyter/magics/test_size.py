"""`%kaito_tune` tells what a run takes of the GPU before anything is started."""

from __future__ import annotations

import pytest
from IPython.core.interactiveshell import InteractiveShell

ON = "--backend kaito --output pvc:adapters --dry-run --instance-type"
A10, A100 = "Standard_NV36ads_A10_v5", "Standard_NC24ads_A100_v4"


def test_a_dry_run_shows_the_bar_and_where_the_price_is_known_asks_for_no_more(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.run_line_magic("config", "KaitoMagics.price_per_hour = 3.5")
    plan = shell.run_line_magic("kaito_tune", f"df --preset phi-4-mini-instruct {ON} {A100}")
    told = capsys.readouterr().out
    assert "GiB of the 80.0 GiB that one A100 of Standard_NC24ads_A100_v4 has" in told
    assert repr(plan).splitlines()[1].startswith("# memory: about ")
    found = plan.estimate(seconds_per_step=3.6, price_per_hour=3.5)
    assert found.hours == pytest.approx(plan.total_steps / 1000)
    assert found.price == pytest.approx(3.5 * found.hours)


def test_weights_that_cannot_fit_are_refused_under_the_option_that_was_typed(shell: InteractiveShell) -> None:
    with pytest.raises(Exception, match=r"--instance-type: the model's weights alone take 27\.3 GiB") as refused:
        shell.run_line_magic("kaito_tune", f"df --preset phi-4 {ON} {A10}")
    assert 'Use the method "qlora", or take Standard_NC24ads_A100_v4' in str(refused.value)


def test_a_step_that_will_hardly_fit_is_warned_of_before_it_starts(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = shell.run_line_magic(
        "kaito_tune", f"df --preset phi-4-mini-instruct {ON} {A10} --set TrainingArguments.max_length=8192"
    )
    assert [p.path for p in plan.problems if "training step takes" in p.message] == ["resource.instanceType"]
    assert "warning: resource.instanceType: a training step takes about " in capsys.readouterr().out
