from __future__ import annotations

import pytest
from IPython.core.interactiveshell import InteractiveShell

KAITO = "--backend kaito --preset phi-4-mini-instruct --instance-type Standard_NC24ads_A100_v4 --output pvc:adapters --dry-run"


def test_a_dataframe_and_an_input_say_what_goes_where(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    result = shell.run_cell(f"%kaito_tune df {KAITO} --input image:r.io/data:1 --pull-secret pull --private-urls")
    result.raise_error()
    spec = result.result.spec
    assert (spec.input.image, spec.input.image_pull_secrets) == ("r.io/data:1", ("pull",))
    assert spec.placement.private_urls
    assert "kaito: The data goes into the image r.io/data:1." in capsys.readouterr().out


def test_data_that_is_small_is_said_to_travel_in_a_config_map(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.run_cell(f"%kaito_tune df {KAITO}").raise_error()
    assert "kaito: The data (1 kB) travels in a ConfigMap." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--input https://example.com/train.parquet", "--input: nothing can be put at an http address."),
        ("--input pvc:data/../other", "--input: ../other leads out of the claim."),
        ("--pull-secret pull", "--pull-secret: there is no image to pull."),
    ],
)
def test_a_place_that_cannot_take_data_is_told_by_its_option(shell: InteractiveShell, words: str, told: str) -> None:
    error = shell.run_cell(f"%kaito_tune df {KAITO} {words}").error_in_exec
    assert str(error).startswith(told)
