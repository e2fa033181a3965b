"""`%kaito_tune … --fix`: what the check advises is done, and the cell says what was changed and why."""

from __future__ import annotations

import pytest
from IPython.core.interactiveshell import InteractiveShell

from kaito_jupyter.run import Plan

ON = "--backend kaito --output pvc:adapters --dry-run --instance-type Standard_NV36ads_A10_v5"
WRONG = "--preset phi4-mini-instruct --set TrainingArguments.max_seq_length=512 --set TrainingArguments.packing=true"


def test_faults_with_a_fix_come_with_a_word_about_it(shell: InteractiveShell) -> None:
    error = shell.run_cell(f"%kaito_tune df {ON} {WRONG}").error_in_exec
    assert str(error).splitlines()[-1] == (
        '--fix mends all of it: --preset "phi-4-mini-instruct", TrainingArguments.max_seq_length left out, '
        "TrainingArguments.max_length 512, TrainingArguments.packing left out."
    )


def test_with_fix_it_is_done_and_said(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    plan = shell.run_line_magic("kaito_tune", f"df {ON} {WRONG} --fix")
    assert isinstance(plan, Plan)
    assert (plan.spec.preset, plan.spec.config.TrainingArguments.to_dict()) == (
        "phi-4-mini-instruct",
        {"max_length": 512},
    )
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("kaito: fixed: ")]
    assert (
        told[0]
        == 'kaito: fixed: --preset: "phi4-mini-instruct" → "phi-4-mini-instruct", since "phi4-mini-instruct" is no preset that KAITO can tune.'
    )
    assert any(
        "TrainingArguments.packing: true → left out, since KAITO's trainer makes its batches itself" in t for t in told
    )
    assert len(told) == 4 == len(plan.fixes)


def test_a_step_that_does_not_fit_is_made_to_fit(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    line = f"df --preset phi-4-mini-instruct {ON} --set TrainingArguments.max_length=8192"
    plan = shell.run_line_magic("kaito_tune", line)
    offer = next(p for p in plan.problems if p.path == "resource.instanceType")
    ((path, tokens),) = offer.fix
    assert f"kaito: --fix mends it: {path} {tokens}." in capsys.readouterr().out
    mended = shell.run_line_magic("kaito_tune", f"{line} --fix")
    assert mended.estimate().fits
    assert f"kaito: fixed: {path}: 8192 → {tokens}, since a training step takes about " in capsys.readouterr().out


def test_strict_has_the_last_word_after_fix(shell: InteractiveShell) -> None:
    line = "%kaito_tune df --preset phi-4-mini-instruct {} --set TrainingArguments.max_length=8192 --strict {}"
    assert "--instance-type: " in str(shell.run_cell(line.format(ON, "")).error_in_exec)
    assert shell.run_cell(line.format(ON, "--fix")).success
