import pandas as pd
import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell

from kaito_jupyter.presets import PRESETS, SKUS


def completed(shell: InteractiveShell, cell: str) -> list[str]:
    """What the cell's last word becomes, by the API that ipykernel uses, with the cursor at the end."""
    with provisionalcompleter():
        found = list(shell.Completer.completions(cell, len(cell)))
    return [cell[: c.start] + c.text for c in found]


def offered(shell: InteractiveShell, cell: str) -> list[str]:
    """The choices alone."""
    with provisionalcompleter():
        return [c.text for c in shell.Completer.completions(cell, len(cell))]


@pytest.fixture(autouse=True)
def _names(shell: InteractiveShell) -> None:
    shell.user_ns.update(
        df=pd.DataFrame({"question": ["a"], "the answer": ["b"]}), df_eval=pd.DataFrame(), dx=3, _df=pd.DataFrame()
    )


def test_data_frames_come_first_and_nothing_else_does(shell: InteractiveShell) -> None:
    assert offered(shell, "%kaito_tune ") == ["df", "df_eval"]
    assert offered(shell, "%kaito_tune d") == ["df", "df_eval"]
    assert offered(shell, "%%kaito_tune df_") == ["df_eval"]


def test_options_are_offered_once_the_data_is_named(shell: InteractiveShell) -> None:
    found = offered(shell, "%kaito_tune df ")
    assert {"--preset", "--epochs", "--set", "--wait"} <= set(found)
    assert not [c for c in found if not c.startswith("--")]
    assert offered(shell, "%kaito_tune df --me") == ["--messages-column", "--method"]


def test_an_option_that_is_given_is_not_offered_again(shell: InteractiveShell) -> None:
    assert "--preset" not in offered(shell, "%kaito_tune df --preset x --")
    assert "--set" in offered(shell, "%kaito_tune df --set LoraConfig.r=1 --")


@pytest.mark.parametrize(
    ("cell", "choices"),
    [
        ("%kaito_tune df --method ", ["lora", "qlora"]),
        ("%kaito_tune df --method=q", ["qlora"]),
        ("%kaito_tune df --backend l", ["local"]),
        ("%kaito_tune df --preset phi-4-m", ["phi-4-mini-instruct"]),
        ("%kaito_tune df --preset=phi-4-m", ["phi-4-mini-instruct"]),
        ("%kaito_tune df --instance-type Standard_NC24", ["Standard_NC24ads_A100_v4"]),
        ("%kaito_tune df --prompt-column ", ['"the answer"', "question"]),
        ("%kaito_tune df --set Lo", ["LoraConfig."]),
        ("%kaito_tune df --set LoraConfig.lora_", ["LoraConfig.lora_alpha=", "LoraConfig.lora_dropout="]),
        ("%kaito_tune df --set LoraConfig.bias=", ["all", "lora_only", "none"]),
        ("%kaito_tune df --set TrainingArguments.packing=t", ["true"]),
        ("%kaito_tune df[:10] --method ", ["lora", "qlora"]),
        ("run = %kaito_tune df --method ", ["lora", "qlora"]),
        ("x = 1\n%kaito_tune df --method ", ["lora", "qlora"]),
        (
            "%kaito ",
            "cancel compare delete diagnose doctor logs note report resume runs tag watch yaml".split(),
        ),
        ("%kaito wa", ["watch"]),
        ("%kaito logs --", ["--backend", "--events", "--follow", "--help", "--namespace", "--tail"]),
        ("%kaito logs --backend ", ["auto", "job", "kaito", "local"]),
    ],
)
def test_values_are_offered(shell: InteractiveShell, cell: str, choices: list[str]) -> None:
    assert sorted(offered(shell, cell)) == sorted(choices)


@pytest.mark.parametrize(
    ("cell", "choices"),
    [
        ("%%kaito_tune df\nLo", ["LoraConfig:"]),
        ("%%kaito_tune df\nLoraConfig:\n  lora_", ["lora_alpha: ", "lora_dropout: "]),
        ("%%kaito_tune df\nLoraConfig:\n  lora_alpha: 3\n  lora_", ["lora_dropout: "]),
        ("%%kaito_tune df\nLoraConfig:\n  bias: lo", ["lora_only"]),
        ("%%kaito_tune df\nTrainingArguments:\n  packing: ", ["false", "true"]),
        ("%%kaito_tune df\ntraining_config:\n  LoraConfig:\n    use_r", ["use_rslora: "]),
        ("%%kaito_tune df\ntraining_config:\n  Quant", ["QuantizationConfig:"]),
    ],
)
def test_sections_and_fields_of_a_body_are_offered(shell: InteractiveShell, cell: str, choices: list[str]) -> None:
    assert sorted(offered(shell, cell)) == choices


def test_only_the_fragment_is_replaced(shell: InteractiveShell) -> None:
    assert completed(shell, "%kaito_tune df --preset=phi-4-m") == ["%kaito_tune df --preset=phi-4-mini-instruct"]
    assert completed(shell, "%kaito_tune df --set LoraConfig.lora_a") == ["%kaito_tune df --set LoraConfig.lora_alpha="]
    assert completed(shell, "%kaito_tune df --instance-type Standard_NC24") == [
        "%kaito_tune df --instance-type Standard_NC24ads_A100_v4"
    ]


@pytest.mark.parametrize("cell", ["kait", "df.colu", "print(d", "%timei", "%%kaito logs x\n", "x = df_e"])
def test_other_lines_are_left_to_ipython(shell: InteractiveShell, cell: str) -> None:
    with_us = offered(shell, cell)
    shell.run_line_magic("unload_ext", "kaito_jupyter")
    without = offered(shell, cell)
    shell.run_line_magic("load_ext", "kaito_jupyter")
    assert [c for c in with_us if "kaito" not in c] == [c for c in without if "kaito" not in c]


def test_all_presets_and_nodes_are_offered(shell: InteractiveShell) -> None:
    assert set(offered(shell, "%kaito_tune df --preset ")) == {p for p in PRESETS if not PRESETS[p].retired}
    assert set(offered(shell, "%kaito_tune df --instance-type ")) == set(SKUS)


def test_unloading_takes_the_completion_away(shell: InteractiveShell) -> None:
    shell.run_line_magic("unload_ext", "kaito_jupyter")
    assert "--preset" not in offered(shell, "%kaito_tune df --pre")
    shell.run_line_magic("load_ext", "kaito_jupyter")
