from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from kaito_jupyter import BackendError, DatasetError, InputError, Run, SpecError, runs, tune
from kaito_jupyter.backends.local import LocalBackend
from kaito_jupyter.run import Plan

Start = Callable[..., Run]
GOOD = pd.DataFrame({"prompt": [f"q{n}" for n in range(40)], "completion": [f"a{n}" for n in range(40)]})
BAD = pd.DataFrame({"prompt": ["q", None, ""], "completion": ["a", "b", "c"]})


def test_a_run_without_a_name_gets_one_that_tells_what_it_is(start: Start) -> None:
    names = [start().name for _ in range(3)]
    assert names == ["phi-4-mini-instruct-lora", "phi-4-mini-instruct-lora-2", "phi-4-mini-instruct-lora-3"]


def test_a_name_that_somebody_took_meanwhile_is_made_anew(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    first = start()
    look = LocalBackend.runs
    blind = iter([True, True])  # for naming, and for checking: as if it had been started just after that
    monkeypatch.setattr(LocalBackend, "runs", lambda self: [] if next(blind, False) else look(self))
    monkeypatch.setattr(LocalBackend, "problems", lambda *_: [])
    second = start()
    assert (first.name, second.name) == ("phi-4-mini-instruct-lora", "phi-4-mini-instruct-lora-2")


def test_a_name_that_the_user_gave_is_never_changed(start: Start) -> None:
    start(name="mine").wait()
    with pytest.raises(SpecError, match='"mine" is the name of an earlier run here'):
        start(name="mine")


def test_everything_that_is_wrong_is_said_at_once(local: Callable[..., LocalBackend]) -> None:
    with pytest.raises(InputError) as told:
        tune(
            BAD, preset="", method="lora8", name="Bad Name", backend=local(), learning_rate="fast", epochs=0, ranks=8,
            config={"LoraConfg": {"r": 8}},
        )  # fmt: skip
    assert type(told.value) is InputError
    paths = {p.path for p in told.value.problems}
    assert {
        "tuning.preset.name", "tuning.method", "metadata.name", "TrainingArguments.learning_rate",
        "TrainingArguments.num_train_epochs", "ranks", "config.LoraConfg",
    } <= paths  # fmt: skip
    assert any("prompt" in str(p) for p in told.value.problems)
    assert all(p.severity == "error" for p in told.value.problems)
    assert len(runs(backend=local())) == 0


def test_the_error_says_whose_fault_it_is(local: Callable[..., LocalBackend]) -> None:
    with pytest.raises(DatasetError):
        tune(BAD, preset="phi-4", backend=local())
    with pytest.raises(SpecError):
        tune(GOOD, preset="phi-4", backend=local(), max_steps="many")
    with pytest.raises(SpecError, match=r'backend: "lokal" is no backend\. Did you mean "local"\?'):
        tune(GOOD, preset="phi-4", backend="lokal")
    with pytest.raises(SpecError, match="data: there is no data"):
        tune(preset="phi-4", backend=local())


@pytest.mark.parametrize("backend", ["kaito", "job"])
def test_a_cluster_is_refused_with_the_way_out(backend: str) -> None:
    options = {"instance_type": "Standard_NC24ads_A100_v4", "output": "pvc:adapters"}
    with pytest.raises(SpecError, match=r"backend: cannot log in to a cluster: .* \(backend `local`\)"):
        tune(GOOD, preset="phi-4-mini-instruct", backend=backend, **options)


def test_a_dry_run_gives_the_plan_and_starts_nothing(local: Callable[..., LocalBackend]) -> None:
    backend = local()
    plan = tune(GOOD, preset="phi-4-mini-instruct", backend=backend, dry_run=True, epochs=2, batch_size=4)
    assert isinstance(plan, Plan)
    assert (plan.rows, plan.target) == (40, "local")
    assert plan.total_steps == 2 * 9  # 36 of 40 rows are trained on
    assert len(runs(backend=backend)) == 0
    text = repr(plan)
    assert text.startswith("# lora on phi-4-mini-instruct: 40 rows (instruction), 18 steps, target local\n")
    documents = list(yaml.safe_load_all(text))
    assert [d["kind"] for d in documents] == ["ConfigMap", "Workspace"]
    run = plan.submit()
    assert run.wait().spec.config.TrainingArguments.num_train_epochs == 2


def test_a_dry_run_for_a_cluster_needs_none() -> None:
    plan = tune(
        GOOD, preset="phi-4-mini-instruct", backend="kaito", dry_run=True, name="planned",
        instance_type="Standard_NC24ads_A100_v4", output="pvc:adapters",
    )  # fmt: skip
    assert plan.target == "kaito"
    config, workspace = list(yaml.safe_load_all(plan.to_yaml()))
    assert workspace["metadata"]["name"] == "planned"
    assert workspace["tuning"]["config"] == config["metadata"]["name"]
    with pytest.raises(BackendError, match="cannot log in to a cluster"):
        plan.submit()


def test_strict_makes_warnings_errors(local: Callable[..., LocalBackend]) -> None:
    repeated = pd.concat([GOOD, GOOD.head(3)])
    run = tune(repeated, preset="phi-4-mini-instruct", backend=local("--steps", "1"), max_steps=1)
    warnings = [p for p in run.problems if p.severity == "warning"]
    assert warnings
    with pytest.raises(InputError) as told:
        tune(repeated, preset="phi-4-mini-instruct", backend=local(), strict=True)
    assert [p.path for p in told.value.problems] == [p.path for p in warnings]


def test_data_may_be_a_file_or_come_by_input(local: Callable[..., LocalBackend], tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    GOOD.to_json(file, orient="records", lines=True)
    backend = local("--steps", "1")
    by_data = tune(file, preset="phi-4-mini-instruct", backend=backend)
    by_input = tune(preset="phi-4-mini-instruct", backend=backend, input=file)
    assert by_data.dataset is not None
    assert by_input.dataset is not None
    assert by_data.dataset.fingerprint == by_input.dataset.fingerprint


def test_wait_gives_the_run_back_when_it_has_ended(start: Start) -> None:
    assert start("--seconds", "0.01", wait=True).done


def test_options_come_by_field_by_shortcut_by_path_and_as_assignments(local: Callable[..., LocalBackend]) -> None:
    def made(**options: Any) -> Any:
        return tune(GOOD, preset="phi-4-mini-instruct", backend=local(), dry_run=True, **options).spec.config

    assert made(r=16).LoraConfig.r == 16
    assert made(rank=16).LoraConfig.r == 16
    assert made(**{"LoraConfig.r": 16}).LoraConfig.r == 16
    assert made(assignments=["LoraConfig.r=16"]).LoraConfig.r == 16
    assert made(config={"LoraConfig": {"r": 16}}).LoraConfig.r == 16


def test_the_docstring_names_every_parameter_that_a_reader_must_know() -> None:
    assert re.search(r"dry_run.*Plan", tune.__doc__ or "", re.DOTALL)
