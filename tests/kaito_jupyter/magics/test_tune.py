from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from IPython.core.interactiveshell import InteractiveShell

from kaito_jupyter.errors import KaitoError, RunFailed
from kaito_jupyter.run import Plan, Run


def value(shell: InteractiveShell, cell: str) -> Any:
    """The value of a cell that succeeds."""
    result = shell.run_cell(cell)
    result.raise_error()
    return result.result


def planned(shell: InteractiveShell, words: str, body: str | None = None) -> Plan:
    """The plan of `%kaito_tune … --dry-run`."""
    cell = f"%kaito_tune {words} --dry-run" if body is None else f"%%kaito_tune {words} --dry-run\n{body}"
    return value(shell, cell)  # type: ignore[no-any-return]


def test_a_run_is_started_shown_once_and_given_back(
    shell: InteractiveShell, shown: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    run = value(shell, "%kaito_tune df --preset a/b --max-steps 5")
    assert isinstance(run, Run)
    assert shown == [run]
    assert run.wait().state.global_step == 5
    assert capsys.readouterr().out.splitlines()[0] == (
        "kaito: lora on a/b: 40 rows (instruction), 4 of them held out, 5 steps, on this machine "
        "(no kubeconfig or service account here names a cluster)."
    )


def test_an_assigned_run_shows_its_panel_where_it_is_started(shell: InteractiveShell, shown: list[Any]) -> None:
    value(shell, "run = %kaito_tune df --preset a/b --max-steps 2;")
    assert shown == [shell.user_ns["run"]]
    shell.user_ns["run"].wait()


def test_a_run_as_the_value_of_a_cell_shows_its_panel(shell: InteractiveShell, shown: list[Any]) -> None:
    run = value(shell, "run = %kaito_tune df --preset a/b --max-steps 2\nrun")
    assert shown == [run]
    value(shell, "run")
    assert shown == [run, run]
    value(shell, "display(run, run)")
    assert len(shown) == 4
    value(shell, "[run]")
    assert len(shown) == 4
    run.wait()


def test_wait_returns_when_the_run_has_succeeded(shell: InteractiveShell, shown: list[Any]) -> None:
    run = value(shell, "%kaito_tune df --preset a/b --max-steps 3 --wait")
    assert run.done
    assert run.state.state == "Succeeded"


def test_wait_fails_when_the_run_does(shell: InteractiveShell, shown: list[Any], trainer: Callable[..., None]) -> None:
    trainer("--fail", "out-of-memory")
    result = shell.run_cell("%kaito_tune df --preset a/b --max-steps 4 --wait --name bad")
    assert type(result.error_in_exec) is RunFailed
    assert str(result.error_in_exec).startswith("run bad failed: out-of-memory: ")
    assert len(shown) == 1


def test_interrupting_the_wait_does_not_end_the_run(
    shell: InteractiveShell, shown: list[Any], trainer: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer("--hang")

    def interrupted(run: Run, timeout: float | None = None) -> Run:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Run, "wait", interrupted)
        error = shell.run_cell("%kaito_tune df --preset a/b --name r --wait").error_in_exec
    assert type(error) is KaitoError
    assert str(error) == (
        "the wait was interrupted, the run r goes on. %kaito watch r shows it, %kaito cancel r ends it."
    )
    (run,) = shown
    assert not run.done
    run.delete()


def test_a_dry_run_gives_the_plan_and_starts_nothing(shell: InteractiveShell, shown: list[Any], tmp_path: Path) -> None:
    plan = planned(shell, "df --preset a/b --epochs 2 --batch-size 4")
    assert isinstance(plan, Plan)
    assert plan.total_steps == 18
    assert not shown
    assert not list(tmp_path.glob("state/**/run.json"))


def test_flags_settings_body_and_file_set_the_configuration(shell: InteractiveShell) -> None:
    Path("base.yaml").write_text(
        "training_config:\n  LoraConfig: {r: 2, lora_alpha: 2, lora_dropout: 0.1}\n  TrainingArguments: {seed: 1}\n"
    )
    plan = planned(
        shell,
        "df --preset a/b --config base.yaml --rank 8 --learning-rate=1e-4 "
        "--set LoraConfig.target_modules=[q_proj, v_proj] --set ModelConfig.device_map={'': 0} --set warmup_steps=3",
        "LoraConfig:\n  r: 4\n  lora_alpha: 16\nTrainingArguments:\n  save_strategy: no\n",
    )
    assert plan.spec.config.to_dict() == {
        "ModelConfig": {"device_map": {"": 0}},
        "LoraConfig": {"r": 8, "lora_alpha": 16, "lora_dropout": 0.1, "target_modules": ["q_proj", "v_proj"]},
        "TrainingArguments": {"learning_rate": 1e-4, "warmup_steps": 3, "save_strategy": "no", "seed": 1},
    }


def test_every_option_reaches_the_spec(shell: InteractiveShell) -> None:
    plan = planned(
        shell,
        "df --preset phi-4-mini-instruct --method qlora --name r1 --namespace team --backend kaito "
        "--instance-type Standard_NC24ads_A100_v4 --output image:host/repo:1 --push-secret s "
        "--prompt-column completion --completion-column prompt",
    )
    spec = plan.spec
    assert (spec.preset, spec.method, spec.name, spec.namespace) == ("phi-4-mini-instruct", "qlora", "r1", "team")
    assert (plan.target, spec.resource.instance_type) == ("kaito", "Standard_NC24ads_A100_v4")
    assert (spec.output.image, spec.output.image_push_secret) == ("host/repo:1", "s")
    assert plan.dataset is not None
    assert plan.dataset.sample(1) == [{"prompt": "It is 0.", "completion": "What is 0?"}]


def test_defaults_come_from_config_and_the_line_wins(shell: InteractiveShell) -> None:
    for name, default in (("preset", "a/b"), ("method", "qlora"), ("namespace", "team"), ("push_secret", "s")):
        shell.run_line_magic("config", f"KaitoMagics.{name} = {default!r}")
    spec = planned(shell, "df").spec
    assert (spec.preset, spec.method, spec.namespace) == ("a/b", "qlora", "team")
    spec = planned(shell, "df --preset c/d --method lora -n mine").spec
    assert (spec.preset, spec.method, spec.namespace) == ("c/d", "lora", "mine")


def test_variables_are_put_in_on_the_line_but_not_in_the_body(shell: InteractiveShell) -> None:
    shell.user_ns.update(n=3, model="a/b", lr=1e-5)
    plan = planned(
        shell,
        "df --preset $model --epochs {n} --learning-rate {lr * 2} --name run-{{n}}-$n".replace("{{n}}", "{n}"),
        "ModelConfig:\n  chat_template: '{% for m in messages %}{{ m.content }} $n{% endfor %}'\n",
    )
    assert plan.spec.preset == "a/b"
    assert plan.spec.name == "run-3-3"
    assert plan.spec.config.TrainingArguments.num_train_epochs == 3
    assert plan.spec.config.TrainingArguments.learning_rate == pytest.approx(2e-5)
    template = "{% for m in messages %}{{ m.content }} $n{% endfor %}"
    assert plan.spec.config.ModelConfig.chat_template == template


@pytest.mark.parametrize(
    ("word", "rows"),
    [
        ("df", 40),
        ("$df", 40),
        ("{df}", 40),
        ("df[:10]", 10),
        ('df[df["prompt"].str.contains("What is 1")]', 11),
        ("frames['a']", 40),
        ("holder.frame", 40),
        ('"my data.csv"', 40),
        ("plain.csv", 40),
        ("path", 40),
        ("{path}", 40),
        ("table", 40),
        ("checked", 40),
    ],
)
def test_the_data_may_be_a_name_an_expression_or_a_path(shell: InteractiveShell, word: str, rows: int) -> None:
    import pyarrow as pa

    from kaito_jupyter import Dataset

    frame = shell.user_ns["df"]
    for name in ("my data.csv", "plain.csv"):
        frame.to_csv(name, index=False)
    holder = type("Holder", (), {"frame": frame})
    shell.user_ns.update(
        frames={"a": frame}, holder=holder, path=Path("plain.csv"), table=pa.Table.from_pandas(frame),
        checked=Dataset.read(frame),
    )  # fmt: skip
    assert planned(shell, f"{word} --preset a/b").rows == rows


def test_a_frame_in_a_function_is_found(shell: InteractiveShell) -> None:
    shell.user_ns.pop("df")
    assert (
        value(
            shell,
            "import pandas as pd\n"
            "def plan_of(local):\n"
            "    plan = %kaito_tune local --preset a/b --dry-run\n"
            "    return plan\n"
            "plan_of(pd.DataFrame({'text': ['a', 'b']})).rows",
        )
        == 2
    )


def test_input_may_be_a_file_of_this_machine(shell: InteractiveShell) -> None:
    pd.DataFrame({"text": ["a", "b", "c"]}).to_parquet("here.parquet")
    assert planned(shell, "--input here.parquet --preset a/b").rows == 3


def test_yaml_gives_documents_that_can_be_copied(shell: InteractiveShell, tmp_path: Path) -> None:
    text = value(
        shell,
        "%kaito_tune df --preset phi-4-mini-instruct --instance-type Standard_NC24ads_A100_v4 "
        "--output pvc:adapters --rank 16 --yaml",
    )
    assert repr(text) == text.text.rstrip("\n")
    config, workspace = yaml.safe_load_all(text.text)
    assert (config["kind"], workspace["kind"]) == ("ConfigMap", "Workspace")
    assert yaml.safe_load(config["data"]["training_config.yaml"])["training_config"]["LoraConfig"]["r"] == 16
    assert text.write(tmp_path / "w.yaml").read_text() == text.text


def test_yaml_of_what_kaito_would_refuse_is_refused_here(shell: InteractiveShell) -> None:
    error = shell.run_cell("%kaito_tune df --preset phi-4 --yaml").error_in_exec
    assert "--output: it is not said where the adapter goes." in str(error)
    assert "--instance-type: KAITO has to know which GPU node to train on." in str(error)


def test_choices_and_warnings_are_told_before_the_start(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.user_ns["qa"] = pd.DataFrame({"question": ["a", "a", "b"], "answer": ["x", "x", "y"]})
    planned(shell, "qa --preset a/b")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("kaito: lora on a/b: 3 rows (instruction)")
    assert any("`question` → prompt" in line for line in lines)
    assert any(line.startswith("kaito: warning: qa: 1 row repeats an earlier one") for line in lines)


def test_a_name_that_is_taken_is_refused_under_its_option(
    shell: InteractiveShell, shown: list[Any], trainer: Callable[..., None]
) -> None:
    trainer("--hang")
    run = value(shell, "%kaito_tune df --preset a/b --name r")
    error = shell.run_cell("%kaito_tune df --preset a/b --name r").error_in_exec
    assert str(error).startswith("--name: ")
    run.delete()


def test_a_dry_run_says_what_would_stand_against_the_start(
    shell: InteractiveShell, shown: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    value(shell, "%kaito_tune df --preset a/b --name r --max-steps 2 --wait")
    planned(shell, "df --preset a/b --name r")
    assert "kaito: error: --name: " in capsys.readouterr().out
    planned(shell, "df --preset a/b --backend job --output pvc:adapters")
    assert "kaito: error: --backend: cannot log in to a cluster: " in capsys.readouterr().out


def test_a_terminal_follows_in_one_line_and_then_sums_up(
    shell: InteractiveShell, shown: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import kaito_jupyter
    from kaito_jupyter.magics.kaito_magics import KaitoMagics

    followed: list[Any] = []
    monkeypatch.setattr(KaitoMagics, "terminal", True)
    monkeypatch.setattr(kaito_jupyter, "follow", followed.append, raising=False)
    run = value(shell, "%kaito_tune df --preset a/b --max-steps 2 --wait")
    assert followed == shown == [run]


def test_help_is_the_same_text_as_the_question_marks(shell: InteractiveShell) -> None:
    assert repr(value(shell, "%kaito_tune --help")) == shell.find_line_magic("kaito_tune").__doc__.rstrip("\n")
