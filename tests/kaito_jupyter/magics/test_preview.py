"""`%kaito_tune … --preview`, and the line before every start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from kaito_jupyter import runs
from kaito_jupyter.lookahead import Lookahead


def test_a_preview_starts_nothing(
    shell: InteractiveShell, shown: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    result = shell.run_cell("%kaito_tune df[:5] --preset a/b --preview --set TrainingArguments.max_length=8")
    assert isinstance(result.result, Lookahead)
    assert (result.result.figures.rows, result.result.figures.max_length, result.result.on) == (5, 8, "completion")
    assert shown == []
    assert list(runs()) == []
    assert "as a/b sees it" in capsys.readouterr().out


def test_a_preview_of_data_that_is_elsewhere_says_so(shell: InteractiveShell) -> None:
    line = "--input image:r.io/d:1 --preset phi-4 --backend job --output pvc:c --preview"
    error = shell.run_cell(f"%kaito_tune {line}").error_in_exec
    assert "--preview: the data is not on this machine." in str(error)


def test_a_line_tells_what_the_model_sees_before_a_start(
    shell: InteractiveShell, shown: list[Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    shell.run_cell("run = %kaito_tune df --preset a/b --max-steps 1 --wait")
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("kaito: The model sees ")]
    assert len(told) == 1
    assert told[0].endswith("(estimated: tokenizer or chat template are not on this machine).")
