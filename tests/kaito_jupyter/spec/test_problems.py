"""What is wrong depends on where the run goes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito_jupyter.spec import TARGETS, DataDestination, DataSource, ResourceSpec, TuningSpec
from kaito_trainer.contract import TrainingConfig

PVC = {"persistentVolumeClaim": {"claimName": "claim"}}
NODE = ResourceSpec(instance_type="Standard_NC24ads_A100_v4")


def found(target, **fields):
    spec = TuningSpec(**{"preset": "phi-4-mini-instruct", **fields})
    return [(p.severity, p.path) for p in spec.problems(target)]


@pytest.mark.parametrize(
    ("target", "fields", "problems"),
    [
        ("local", {}, []),
        ("local", {"preset": "owner/model"}, []),
        ("local", {"preset": "gpt2"}, []),
        ("local", {"output": DataDestination(path="adapters")}, []),
        ("local", {"output": DataDestination(image="reg.io/a:1")}, [("note", "tuning.output.image")]),
        ("local", {"output": DataDestination(volume_source=PVC)}, [("note", "tuning.output.volumeSource")]),
        ("local", {"input": DataSource(volume_source=PVC)}, [("error", "tuning.input.volumeSource")]),
        ("local", {"input": DataSource(image="reg.io/a:1")}, [("error", "tuning.input.image")]),
        ("local", {"resource": ResourceSpec(count=2)}, [("error", "resource.count")]),
        ("local", {"resource": ResourceSpec(instance_type="A100")}, []),
        ("job", {"output": DataDestination(volume_source=PVC)}, []),
        ("job", {"output": DataDestination(image="reg.io/a:1", image_push_secret="login")}, []),
        ("job", {"output": DataDestination(image="reg.io/a:1")}, [("error", "tuning.output.imagePushSecret")]),
        ("job", {"preset": "/mnt/models/mine", "output": DataDestination(volume_source=PVC)}, [("note", "tuning.preset.name")]),
        ("job", {"preset": "./mine", "output": DataDestination(volume_source=PVC)}, [("error", "tuning.preset.name")]),
        ("kaito", {"output": DataDestination(volume_source=PVC), "resource": NODE}, []),
        (
            "kaito",
            {"preset": "microsoft/Phi-4-mini-instruct", "output": DataDestination(volume_source=PVC), "resource": NODE},
            [("note", "tuning.preset.name")],
        ),
        (
            "kaito",
            {"preset": "falcon-7b", "output": DataDestination(volume_source=PVC), "resource": NODE},
            [("warning", "tuning.preset.name")],
        ),
        (
            "kaito",
            {"output": DataDestination(volume_source=PVC), "resource": ResourceSpec(instance_type="p4d.24xlarge")},
            [("warning", "resource.instanceType")],
        ),
        ("kaito", {}, [("error", "tuning.output"), ("error", "resource.instanceType")]),
        (
            "kaito",
            {"output": DataDestination(image="reg.io/a:1", volume_source=PVC), "resource": NODE},
            [("error", "tuning.output"), ("error", "tuning.output.imagePushSecret")],
        ),
        (
            "kaito",
            {
                "input": DataSource(urls=("https://example.com/a.csv",), image="reg.io/a:1", volume_source=PVC),
                "output": DataDestination(volume_source=PVC),
                "resource": NODE,
            },
            [("error", "tuning.input")],
        ),
        (
            "kaito",
            {
                "input": DataSource(image="reg.io/a:1", image_pull_secrets=("a", "B")),
                "output": DataDestination(volume_source={}),
                "resource": NODE,
            },
            [("error", "tuning.input.imagePullSecrets[1]"), ("error", "tuning.output.volumeSource")],
        ),
        (
            "kaito",
            {
                "input": DataSource(image_pull_secrets=("a",), name="A name"),
                "output": DataDestination(volume_source={"persistentVolumeClaim": {}}),
                "resource": NODE,
                "model_access_secret": "my secret",
                "labels": {"a b": "c"},
            },
            [
                ("error", "tuning.preset.presetOptions.modelAccessSecret"),
                ("error", "metadata.labels"),
                ("warning", "tuning.input.imagePullSecrets"),
                ("error", "tuning.input.name"),
                ("error", "tuning.output.volumeSource.persistentVolumeClaim.claimName"),
            ],
        ),
    ],
    ids=str,
)  # fmt: skip
def test_problems_depend_on_the_target(target, fields, problems):
    assert found(target, **fields) == problems


def test_a_model_folder_must_hold_a_model_here(tmp_path):
    assert found("local", preset=str(tmp_path)) == [("error", "tuning.preset.name")]
    (tmp_path / "config.json").write_text("{}")
    assert found("local", preset=str(tmp_path)) == []
    assert found("job", preset=str(tmp_path), output=DataDestination(volume_source=PVC)) == [
        ("error", "tuning.preset.name")
    ]


ODD = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.lists(st.text(max_size=3))
SECTIONS = st.dictionaries(
    st.sampled_from(["LoraConfig", "TrainingArguments", "DatasetConfig", "QuantizationConfig", "ModelConfig", "Foo"]),
    ODD
    | st.dictionaries(
        st.sampled_from(
            """
            r max_steps num_train_epochs per_device_train_batch_size per_device_eval_batch_size load_in_8bit
            gradient_accumulation_steps train_test_split logging_strategy save_strategy eval_strategy target_modules
            dataset_path dataset_extension output_dir zzz
            """.split()
        ),
        ODD,
    ),
)


@given(
    target=st.sampled_from(TARGETS),
    preset=st.text(max_size=8) | st.sampled_from(["phi-4", "owner/model"]),
    method=st.sampled_from(["lora", "qlora", "dora"]),
    texts=st.lists(st.text(max_size=8), min_size=6, max_size=6),
    volume=ODD | st.just(PVC),
    count=st.integers() | st.none(),
    selector=ODD | st.dictionaries(st.just("matchLabels"), ODD),
    config=SECTIONS,
)
def test_any_spec_is_told_about_on_any_target(target, preset, method, texts, volume, count, selector, config):
    spec = TuningSpec(
        preset=preset,
        method=method,
        name=texts[0],
        namespace=texts[1],
        input=DataSource(urls=(texts[2],), image=texts[3], volume_source=volume),
        output=DataDestination(image=texts[4], image_push_secret=texts[5], volume_source=volume),
        resource=ResourceSpec(instance_type=texts[0], count=count, label_selector=selector),
        config=TrainingConfig.from_dict(config),
    )
    for problem in spec.problems(target):
        assert problem.message.endswith(".")
        assert "\n" not in str(problem)
