"""What a user gets wrong, and the one message for it, word by word."""

from pathlib import Path

import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell

from kaito_jupyter.errors import DatasetError, InputError, KaitoError, SpecError

MODELS = "Give a KAITO preset (phi-4-mini-instruct), a Hugging Face id (owner/name), or a folder with a model."
ROWS = "Give a pandas DataFrame, a pyarrow Table, a Hugging Face Dataset, or a quoted path."


def message(shell: InteractiveShell, cell: str) -> str:
    """The message of the cell's failure."""
    result = shell.run_cell(cell)
    assert isinstance(result.error_in_exec, KaitoError), result.error_in_exec
    return str(result.error_in_exec)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("df --presett a/b", '--presett: %kaito_tune has no such option. Did you mean "--preset"?'),
        ("df --preset a/b --zzz 3", "--zzz: %kaito_tune has no such option. See %kaito_tune? for all."),
        ("df --preset a/b --pre x", '--pre: %kaito_tune has no such option. Did you mean "--preset"?'),
        ("df --preset", "--preset: its value is missing. Write --preset MODEL."),
        ("df --preset --wait", "--preset: its value is missing. Write --preset MODEL."),
        ("df", f"--preset: it is not said which model to train. {MODELS}"),
        ("df --preset nonesuch", f'--preset: "nonesuch" is no preset, no Hugging Face id and no folder. {MODELS}'),
        (
            "df --preset phi-4-mini",
            (
                '--preset: "phi-4-mini" is no preset, no Hugging Face id and no folder. '
                'Did you mean "phi-4-mini-instruct"?\n--fix mends it: --preset "phi-4-mini-instruct".'
            ),
        ),
        ("df --preset a/b --preset a/c", '--preset: given twice, "a/b" and "a/c". Keep one of them.'),
        (
            "df --preset a/b --method lora8",
            '--method: "lora8" is not allowed. Did you mean "lora"? Use "lora" or "qlora".',
        ),
        (
            "df --preset a/b --backend k8s",
            '--backend: "k8s" is not allowed. Use "auto", "local", "job" or "kaito".',
        ),
        ("df --preset a/b --epochs three", '--epochs: "three" is not a number. Give a number above 0.'),
        ("df --preset a/b --epochs=0", "--epochs: 0 is out of range. Give a number above 0."),
        ("df --preset a/b --rank 2.5", "--rank: 2.5 is not a whole number. Give a whole number of at least 1."),
        ("df --preset a/b --max-steps -5", "--max-steps: -5 is out of range. Give a whole number of at least -1."),
        ("df --preset a/b --learning-rate", "--learning-rate: its value is missing. Write --learning-rate N."),
        ("df --preset a/b --wait=yes", "--wait: it takes no value. Leave out the = and what follows."),
        ("df extra --preset a/b", "extra: nothing more is expected here. Put a value with spaces in quotes."),
        ("df --preset a/b --name Bad_Name", "--name: "),
        ("df --preset a/b --set LoraConfig.r", '--set: "LoraConfig.r" is no assignment. Write Section.field=value.'),
        (
            "df --preset a/b --set LoraConfig.bias=some",
            'LoraConfig.bias: "some" is not allowed. Use "none", "all" or "lora_only".',
        ),
        (
            "df --preset a/b --rank 4 --set LoraConfig.r=8",
            "--set: LoraConfig.r is set twice, by --rank too. Keep one of them.",
        ),
        (
            "df --preset a/b --set r=4 --set LoraConfig.r=8",
            "--set: LoraConfig.r is set twice, by --set r too. Keep one of them.",
        ),
        (
            "df --preset a/b --epochs {n_epochs}",
            (
                "--epochs: {n_epochs} cannot be evaluated: NameError: name 'n_epochs' is not defined. "
                "Write {{ and }} for braces that are meant."
            ),
        ),
        (
            "df --preset a/b --config no.yaml",
            "no.yaml: the file cannot be read: No such file or directory. Give a YAML file.",
        ),
        (
            "df --preset a/b --context c",
            (
                "--backend: cannot log in to a cluster: there is no kubeconfig that could hold the context 'c' "
                "(/nowhere/kubeconfig)."
            ),
        ),
        ("df --preset a/b --name 'x", "%kaito_tune: ' is not closed. Close it."),
        ("df[1 --preset a/b", "%kaito_tune: [ is not closed. Close it."),
        (
            "3df --preset a/b",
            'DF: "3df" is neither a name nor an expression. Give a DataFrame\'s name, or a quoted path.',
        ),
        ("frme --preset a/b", 'DF: frme is not defined. Did you mean "frame"?'),
        ("other --preset a/b", 'DF: other is not defined. DataFrames here: "df" and "frame".'),
        ("number --preset a/b", f"DF: number is of type int. {ROWS}"),
        ('df["prompt"] --preset a/b', f'DF: df["prompt"] is of type Series. {ROWS}'),
        (
            "df.nonesuch --preset a/b",
            (
                "DF: df.nonesuch cannot be evaluated: AttributeError: 'DataFrame' object has no attribute 'nonesuch'. "
                "Try it in a cell of its own."
            ),
        ),
        (
            '"nowhere.csv" --preset a/b',
            'DF: there is no file "nowhere.csv". Give the path of a csv, json, jsonl or parquet file.',
        ),
        (
            "--preset a/b",
            "DF: there is no data. Give a DataFrame's name or a quoted path, or name with --input where it is.",
        ),
        ("df --preset a/b --input data.csv", "--input: DF names the data already. Keep one of them."),
    ],
)
def test_each_mistake_on_a_line_has_its_message(shell: InteractiveShell, line: str, told: str) -> None:
    shell.user_ns.update(number=3, frame=shell.user_ns["df"])
    Path("data.csv").write_text("text\nhello\n")
    found = message(shell, f"%kaito_tune {line}")
    if told.endswith(": "):
        assert found.startswith(told)
    else:
        assert found == told


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "stop",
            '%kaito: "stop" is no verb. The verbs are "runs", "watch", "logs", "yaml", "cancel", "delete", "diagnose", "resume", "compare", "note", "tag", "report" and "doctor".',
        ),
        (
            "cancell x",
            (
                '%kaito: "cancell" is no verb. Did you mean "cancel"? '
                'The verbs are "runs", "watch", "logs", "yaml", "cancel", "delete", "diagnose", "resume", "compare", "note", "tag", "report" and "doctor".'
            ),
        ),
        ("runs 'x", "%kaito: ' is not closed. Close it."),
        ("runs x", "x: nothing more is expected here. Put a value with spaces in quotes."),
        ("logs --tial 5", '--tial: %kaito logs has no such option. Did you mean "--tail"?'),
        ("logs --tail many", '--tail: "many" is not a number of lines. Give a whole number of at least 1.'),
        ("logs -n 50", "-n: it is the namespace, as in kubectl. Write --tail 50."),
        ("logs", "there is no run yet. Start one: %kaito_tune df --preset …"),
        ("watch nope", "run nope: there is no such run on this machine. There is none yet."),
        ("cancel", "%kaito cancel: no run is alive. %kaito runs lists them all."),
        ("delete", "%kaito delete: which run? Give its name; %kaito runs lists them."),
    ],
)
def test_each_mistake_with_a_verb_has_its_message(shell: InteractiveShell, line: str, told: str) -> None:
    assert message(shell, f"%kaito {line}") == told


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("LoraConfig:\n  r: ]", "cell: this is no YAML: expected the node content, but found ']' (line 3, column 6)."),
        ("LoraConfig:\n  r: 'a\n\n", "cell: this is no YAML: "),
        ("LoraConfig:\n  r: 1\n  r: 2", 'cell: this is no YAML: "r" is given twice (line 4, column 3).'),
        ("just text", 'cell: "just text" is no configuration.'),
        ("LoraConfg:\n  r: 1", 'config.LoraConfg: KAITO knows no such section. Did you mean "LoraConfig"?'),
        ("LoraConfig: 3", "config.LoraConfig: a section holds keys and values, this one is 3."),
        ("LoraConfig:\n  r: many", 'LoraConfig.r: "many" is not a whole number. Give a whole number of at least 1.'),
        (
            "QuantizationConfig:\n  load_in_4bit: true",
            "QuantizationConfig.load_in_4bit: true does not go with the method lora.",
        ),
        ("TrainingArguments:\n  output_dir: /tmp", 'TrainingArguments.output_dir: "/tmp" is not a folder below /mnt.'),
    ],
)
def test_each_mistake_in_a_body_has_its_message(shell: InteractiveShell, body: str, told: str) -> None:
    assert message(shell, f"%%kaito_tune df --preset a/b\n{body}\n").startswith(told)


def test_all_mistakes_come_in_one_message(shell: InteractiveShell) -> None:
    shell.user_ns["bad"] = pd.DataFrame({"prompt": ["a", None], "completion": ["", "b"]})
    result = shell.run_cell("%%kaito_tune bad --epochs 0 --wiat --preset x y\nLoraConfig:\n  r: 0\nNonesuch: {}\n")
    error = result.error_in_exec
    assert type(error) is InputError
    text = str(error)
    assert text.splitlines()[0] == f"{len(error.problems)} problems in the input:"
    for part in (
        '--wiat: %kaito_tune has no such option. Did you mean "--wait"?',
        "y: nothing more is expected here.",
        "--epochs: 0 is out of range.",
        '--preset: "x" is no preset',
        "LoraConfig.r: 0 is out of range.",
        "config.Nonesuch: KAITO knows no such section.",
        "prompt: 1 row holds nothing (None or NaN) (row 1).",
        "completion: 1 row is empty text (row 0).",
    ):
        assert part in text


def test_who_is_at_fault_is_the_class_of_the_error(shell: InteractiveShell) -> None:
    shell.user_ns["bad"] = pd.DataFrame({"prompt": ["a", None], "completion": ["b", "c"]})
    assert type(shell.run_cell("%kaito_tune df --preset x").error_in_exec) is SpecError
    assert type(shell.run_cell("%kaito_tune bad --preset a/b").error_in_exec) is DatasetError
    assert type(shell.run_cell("%kaito_tune nope --preset a/b").error_in_exec) is DatasetError
    assert type(shell.run_cell("%kaito_tune bad --preset x").error_in_exec) is InputError


def test_a_mistake_shows_no_traceback_and_starts_nothing(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    shell.run_cell("%kaito_tune df --preset x --epochs 0")
    written = capsys.readouterr()
    assert "Traceback" not in written.out + written.err
    assert written.out.count("kaito: ") == 1
    assert "2 problems in the spec:" in written.out
    shell.run_line_magic("tb", "")
    assert "Traceback" not in capsys.readouterr().out
    assert not list(tmp_path.glob("state/**/run.json"))


def test_strict_takes_warnings_for_errors(shell: InteractiveShell) -> None:
    shell.user_ns["twice"] = pd.DataFrame({"prompt": ["a", "a", "b"], "completion": ["x", "x", "y"]})
    assert shell.run_cell("%kaito_tune twice --preset a/b --dry-run").success
    assert message(shell, "%kaito_tune twice --preset a/b --dry-run --strict").startswith(
        "twice: 1 row repeats an earlier one (row 1)."
    )
