"""What `--fix` changes, step by step, and that each changed spec is one that can run."""

from __future__ import annotations

from typing import Any

import pytest

from kaito_jupyter.diagnose import Fix, diagnose
from kaito_jupyter.spec import Target, TuningSpec, build_spec
from kaito_jupyter.state import RunState
from kaito_jupyter.status import Status
from kaito_trainer.contract import encode
from kaito_trainer.contract import events as ev

BATCH, ADDED = "TrainingArguments.per_device_train_batch_size", "TrainingArguments.gradient_accumulation_steps"
TWICE, LENGTH = "TrainingArguments.gradient_checkpointing", "TrainingArguments.max_length"


def fixed(
    spec: TuningSpec, target: Target, kind: str = "out-of-memory", *, trained: bool = True, **begun: Any
) -> Fix | None:
    state = RunState()
    state.feed(encode(ev.Phase(phase="loading"), seq=1, time=1.0))
    if trained:
        state.feed(encode(ev.TrainBegin(max_steps=10, **begun), seq=2, time=2.0))
    state.feed(encode(ev.Error(kind=kind, message="CUDA out of memory"), seq=3, time=3.0))
    state.apply(Status("Failed"))
    return diagnose(state, spec, target, name="x", now=9.0).fix


def changes(fix: Fix | None) -> dict[str, Any]:
    return {} if fix is None else {c.path: c.after for c in fix.changes}


@pytest.mark.parametrize(
    ("batch", "added", "after"),
    [(8, None, (4, 2)), (4, 3, (2, 6)), (6, 1, (3, 2)), (5, 1, (1, 5)), (3, 2, (1, 6)), (2, 1, (1, 2))],
)
def test_a_batch_becomes_smaller_and_what_a_step_learns_from_stays(batch: int, added: int | None, after: Any) -> None:
    options = {"per_device_train_batch_size": batch, "gradient_checkpointing": True}
    options |= {} if added is None else {"gradient_accumulation_steps": added}
    spec = build_spec(preset="a/b", options=options)
    found = fixed(spec, "local")
    assert found is not None
    assert changes(found) == {BATCH: after[0], ADDED: after[1]}
    arguments = found.spec.config.TrainingArguments
    assert after == (arguments.per_device_train_batch_size, arguments.gradient_accumulation_steps)
    assert found.spec.total_steps(100) in (spec.total_steps(100), spec.total_steps(100) + 1)


def test_where_the_estimate_knows_the_gpu_it_goes_at_once_to_the_batch_that_fits() -> None:
    options = {"per_device_train_batch_size": 32, "max_length": 2048, "gradient_checkpointing": True}
    spec = build_spec(
        preset="mistral-7b-v0.3", method="qlora", instance_type="Standard_NV36ads_A10_v5", output="pvc:o",
        options=options, target="job",
    )  # fmt: skip
    found = fixed(spec, "job")
    assert found is not None
    assert changes(found) == {BATCH: 16, ADDED: 2}
    kaito = fixed(spec, "kaito")  # its trainer makes all logits at once
    assert kaito is not None
    assert changes(kaito)[BATCH] == 8
    assert changes(kaito)[ADDED] == 4
    reasons = {c.path: c.reason for c in kaito.changes}
    assert reasons[BATCH].startswith("fewer examples in memory at once, about ")
    assert reasons[BATCH].endswith(" of 24.0 GiB")


@pytest.mark.parametrize(
    ("sku", "told"),
    [
        ("Standard_NV36ads_A10_v5", "--instance-type Standard_NC24ads_A100_v4"),
        ("Standard_ND96isr_H200_v5", "--instance-type)"),
    ],
)
def test_the_larger_gpu_that_would_do_is_named_where_there_is_one(sku: str, told: str) -> None:
    spec = build_spec(preset="mistral-7b-v0.3", output="pvc:o", input="pvc:i/x.csv", instance_type=sku, target="kaito")
    state = RunState()
    state.feed(encode(ev.Error(kind="out-of-memory", message="CUDA out of memory"), seq=1, time=3.0))
    state.apply(Status("Failed"))
    assert told in diagnose(state, spec, "kaito", name="x", now=9.0).remedy


def test_step_by_step_until_nothing_is_left_that_a_spec_can_do() -> None:
    spec = build_spec(preset="a/b", options={"per_device_train_batch_size": 4, "max_length": 600})
    seen = []
    while (found := fixed(spec, "local")) is not None:
        seen.append(changes(found))
        spec = found.spec
        assert not [p for p in spec.problems("local") if p.severity == "error"]
    assert seen == [
        {BATCH: 2, ADDED: 2, TWICE: True},
        {BATCH: 1, ADDED: 4},
        {"tuning.method": "qlora"},
        {LENGTH: 300},
    ]


def test_kaitos_trainer_takes_one_example_at_a_time_and_checkpoints_already() -> None:
    spec = build_spec(
        preset="phi-4", output="pvc:o", input="pvc:i/x.csv", instance_type="Standard_NC24ads_A100_v4", target="kaito"
    )
    found = fixed(spec, "kaito")
    assert changes(found) == {"tuning.method": "qlora"}
    assert found is not None
    assert not [p for p in found.spec.problems("kaito") if p.severity == "error"]
    assert changes(fixed(found.spec, "kaito")) == {LENGTH: 1024}


def test_a_model_that_does_not_even_load_needs_fewer_bits_not_smaller_batches() -> None:
    spec = build_spec(preset="a/b", options={"per_device_train_batch_size": 8})
    assert changes(fixed(spec, "job", trained=False)) == {"tuning.method": "qlora"}
    assert fixed(build_spec(preset="a/b", method="qlora"), "job", trained=False) is None


def test_what_the_trainer_chose_itself_counts() -> None:
    spec = build_spec(preset="a/b")
    assert changes(fixed(spec, "job")) == {TWICE: True}
    assert changes(fixed(spec, "job", choices={"gradient_checkpointing": True})) == {"tuning.method": "qlora"}


def test_from_qlora_of_eight_bits_nothing_of_the_old_bits_stays() -> None:
    spec = build_spec(preset="a/b", options={"load_in_4bit": False, "gradient_checkpointing": True})
    found = fixed(spec, "local")
    assert found is not None
    assert found.spec.effective_config("local").QuantizationConfig.load_in_4bit is True
    assert not [p for p in found.spec.problems("local") if p.severity == "error"]


@pytest.mark.parametrize(
    ("preset", "target", "after"),
    [
        ("phi-4", "kaito", ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]),
        ("mistral-7b-v0.3", "local", ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]),
        ("a/b", "job", "all-linear"),
    ],
)
def test_target_modules_are_named_by_the_preset_or_found_by_the_trainer(
    preset: str, target: Target, after: Any
) -> None:
    spec = build_spec(preset=preset, options={"target_modules": ["query_key_value"]})
    found = fixed(spec, target, "target-modules", trained=False)
    assert changes(found) == {"LoraConfig.target_modules": after}
    assert found is not None
    assert fixed(found.spec, target, "target-modules", trained=False) is None


@pytest.mark.parametrize(("before", "after"), [("96Mi", "192Mi"), ("1.5Gi", "3Gi"), ("1000000000", "2000000000")])
def test_a_memory_limit_of_the_specs_own_is_doubled(before: str, after: str) -> None:
    limits = {"memory": before, "cpu": "1"}
    template = {"spec": {"containers": [{"name": "trainer", "resources": {"limits": limits}}]}}
    spec = build_spec(
        preset="a/b", placement={"pod_template": template, "image": "r/t:1"}, output="pvc:o", target="job"
    )
    found = oom_killed(spec, "job")
    assert found is not None
    assert [str(c) for c in found.changes] == [
        f"placement.memory limit: {before} → {after}   (twice the limit that it went beyond)"
    ]
    assert found.spec.placement.pod_template["spec"]["containers"][0]["resources"]["limits"] == {
        **limits,
        "memory": after,
    }
    assert limits["memory"] == before


def test_the_machines_memory_is_spared_where_the_model_is_in_it() -> None:
    options = {"per_device_train_batch_size": 4}
    assert changes(oom_killed(build_spec(preset="a/b", options=options), "local"))[BATCH] == 2
    on_gpu = build_spec(
        preset="a/b", placement={"gpus": 1, "image": "r/t:1"}, options=options, output="pvc:o", target="job"
    )
    assert oom_killed(on_gpu, "job") is None


def oom_killed(spec: TuningSpec, target: Target) -> Fix | None:
    state = RunState()
    state.feed(encode(ev.TrainBegin(max_steps=10), seq=1, time=2.0))
    state.apply(Status("Failed", "trainer needed more memory than its limit allows (OOMKilled)", "killed"))
    found = diagnose(state, spec, target, name="x", now=9.0)
    assert found.cause == "oom-killed"
    return found.fix


def test_no_spec_helps_against_what_is_not_in_the_spec() -> None:
    assert fixed(build_spec(preset="a/b"), "local", "gated-model") is None


def test_a_fix_shows_as_the_difference() -> None:
    found = fixed(build_spec(preset="a/b", options={"per_device_train_batch_size": 2, TWICE: True}), "local")
    assert repr(found).splitlines() == [
        f"{BATCH}: 2 → 1   (fewer examples in memory at once)",
        f"{ADDED}: 1 → 2   (the same step size)",
    ]
    assert found is not None
    assert "<strong>1</strong>" in found._repr_html_()
