"""A finding's fix is data: a path and a value, which a spec takes."""

from dataclasses import replace

import pytest
from deaths import FORESEEN

from kaito_jupyter.spec import TuningSpec, build_spec
from kaito_jupyter.spec.fixed import applicable
from kaito_trainer.contract import Problem

GOOD = {
    "kaito": build_spec(
        preset="phi-4-mini-instruct", input="https://example.com/train.parquet", output="image:reg.io/a/b:1",
        push_secret="login", instance_type="Standard_NC24ads_A100_v4", target="kaito",
    ),
    "job": build_spec(preset="owner/model", output="pvc:results", target="job"),
}  # fmt: skip
YAML = """
apiVersion: kaito.sh/v1beta1
kind: Workspace
metadata: {name: My Run}
resource: {instanceType: Standard_NC24ads_A100_v5}
tuning:
  preset: {name: phi4-mini-instruct}
  method: lroa
  config: my-config
  input: {urls: ["https://example.com/train.parquet"]}
  output: {image: "reg.io/a/b:1", imagePushSecret: login}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: my-config}
data:
  training_config.yaml: |
    training_config:
      LoraConfig: {rank: 16}
      TrainingArguments:
        max_seq_length: 512
        evaluation_strategy: "no"
        per_device_train_batch_size: 4
        packing: true
        learning_rat: 0.0001
        gradient_checkpointing_kwargs: {use_reentrant: false}
        optim: adamw
        logging_steps: 2.5
"""


def errors(spec: TuningSpec, target: str = "kaito") -> list[str]:
    return [str(p) for p in spec.check(target) if p.severity == "error"]


def test_a_whole_spec_is_mended_by_its_findings():
    spec = TuningSpec.from_yaml(YAML)
    found = spec.check("kaito")
    assert len(errors(spec)) == 13
    mended = spec.fixed(found)
    assert errors(mended) == []
    assert (mended.preset, mended.method, mended.name) == ("phi-4-mini-instruct", "lora", "my-run")
    assert mended.config.LoraConfig.r == 16
    assert mended.config.TrainingArguments.to_dict() == {
        "max_length": 512,
        "eval_strategy": "no",
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 4,
        "learning_rate": 0.0001,
        "gradient_checkpointing_kwargs": '{"use_reentrant": false}',
        "optim": "adamw_torch_fused",
        "logging_steps": 2,
    }
    assert spec == TuningSpec.from_yaml(YAML), "a copy was mended"


@pytest.mark.parametrize("death", [d for d in FORESEEN if "config" in d.given], ids=lambda d: d.name)
def test_a_fix_leaves_nothing_wrong_at_its_path(death):
    good = GOOD[death.target]
    spec = replace(good, config=good.config.merged(death.given["config"]), method=death.given.get("method", "lora"))
    found = [p for p in spec.check(death.target) if p.path == death.path and p.fix]
    if not found:
        return
    assert death.path not in [p.path for p in spec.fixed(found).check(death.target) if p.severity != "note"]


def test_the_first_of_two_fixes_counts_and_unknown_paths_are_passed_over():
    found = [
        Problem("a", "b.", fix=(("LoraConfig.r", 4), ("tuning.input.urls[0]", "x"))),
        Problem("a", "b.", fix=(("LoraConfig.r", 8),)),
        Problem("a", "b."),
    ]
    assert applicable(found) == {"LoraConfig.r": 4, "tuning.input.urls[0]": "x"}
    spec = GOOD["job"].fixed(found)
    assert spec.diff(GOOD["job"]) == [("LoraConfig.r", 4, None)]


def test_strict_takes_warnings_for_errors():
    spec = replace(GOOD["job"], config=GOOD["job"].config.merged({"TrainingArguments": {"use_cpu": True}}))
    assert [p.severity for p in spec.check("job")] == ["warning"]
    assert [p.severity for p in spec.check("job", strict=True)] == ["error"]


@pytest.mark.parametrize(
    "said",
    [{}, {"save_strategy": "epoch"}, {"eval_strategy": "epoch"}, {"save_steps": 15}, {"eval_steps": 7}],
    ids=lambda said: ", ".join(said) or "nothing",
)
def test_the_best_model_is_kept_where_we_choose_the_steps(said):
    wanted = {"TrainingArguments": {"load_best_model_at_end": True, **said}}
    spec = replace(GOOD["job"], config=GOOD["job"].config.merged(wanted))
    arguments = spec.effective_config("job", rows=1000).TrainingArguments
    assert arguments.save_strategy == arguments.eval_strategy
    assert arguments.save_strategy == "epoch" or arguments.save_steps == arguments.eval_steps
    assert [str(p) for p in spec.check("job", rows=1000)] == []
    assert [str(p) for p in spec.check("job")] == []
