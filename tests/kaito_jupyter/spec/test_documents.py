"""The spec as KAITO's documents and as YAML, there and back."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kaito_jupyter.errors import SpecError
from kaito_jupyter.spec import TARGETS, DataDestination, DataSource, ResourceSpec, TuningSpec, build_spec
from kaito_trainer.contract import METHODS, TrainingConfig, options

GOLDEN = Path(__file__).parent / "golden"

WORDS = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
SOME = WORDS.filter(bool)
VALUES = st.booleans() | st.integers() | st.floats(allow_nan=False) | WORDS | st.lists(WORDS, min_size=1, max_size=2)
VOLUMES = st.sampled_from(
    [{"persistentVolumeClaim": {"claimName": "c"}}, {"emptyDir": {}}, {"configMap": {"name": "x"}}]
)
SOURCES = (
    st.builds(DataSource, name=st.none() | SOME, path=st.none() | SOME)
    | st.builds(DataSource, urls=st.lists(WORDS, min_size=1, max_size=2).map(tuple))
    | st.builds(DataSource, image=WORDS, image_pull_secrets=st.lists(WORDS, max_size=2).map(tuple))
    | st.builds(DataSource, volume_source=VOLUMES, path=st.none() | SOME)
)
DESTINATIONS = (
    st.builds(DataDestination, image=WORDS, image_push_secret=st.none() | WORDS)
    | st.builds(DataDestination, volume_source=VOLUMES)
    | st.builds(DataDestination, path=st.none() | WORDS)
)
CONFIGS = st.dictionaries(
    st.sampled_from(["ModelConfig", "LoraConfig", "TrainingArguments", "DatasetConfig", "TrainerOptions"]),
    st.dictionaries(st.sampled_from([o.name for o in options()]) | SOME, VALUES, min_size=1, max_size=3),
    max_size=3,
).map(TrainingConfig.from_dict)
SPECS = st.builds(
    TuningSpec,
    preset=SOME,
    method=st.sampled_from(METHODS),
    name=st.none() | SOME,
    namespace=SOME,
    input=SOURCES,
    output=DESTINATIONS,
    resource=st.builds(
        ResourceSpec,
        instance_type=st.none() | WORDS,
        label_selector=st.dictionaries(st.just("matchLabels"), st.dictionaries(WORDS, WORDS, max_size=2)),
        count=st.integers(0, 9),
    ),
    model_access_secret=st.none() | SOME,
    config=CONFIGS,
    labels=st.dictionaries(WORDS, WORDS, max_size=2),
    annotations=st.dictionaries(WORDS, WORDS, max_size=2),
)


@given(SPECS)
def test_a_spec_comes_back_from_its_yaml_as_it_was_said(spec):
    assert TuningSpec.from_yaml(spec.to_yaml()) == spec


@given(SPECS)
def test_a_spec_comes_back_from_its_documents(spec):
    assert TuningSpec.from_documents(spec.to_documents()) == spec


@given(
    name=st.none() | st.just("run"),
    preset=st.sampled_from(["phi-4", "owner/model", "microsoft/phi-4"]),
    method=st.sampled_from(METHODS),
    source=SOURCES,
    target=st.sampled_from(TARGETS),
    rows=st.none() | st.integers(0, 5000),
)
def test_what_will_run_comes_back_all_filled_in(name, preset, method, source, target, rows):
    spec = TuningSpec(preset=preset, method=method, name=name, input=source)
    back = TuningSpec.from_yaml(spec.to_yaml(target, rows))
    assert back == spec.resolved(target, rows=rows)
    assert back.effective_config(target, rows=rows) == spec.effective_config(target, rows=rows)


@given(SPECS)
def test_any_other_reader_of_yaml_reads_the_same(spec):
    """KAITO's trainer reads with PyYAML's own loader, where `no` is false and `1e5` is text."""
    for ours, theirs in zip(spec.to_documents(), yaml.safe_load_all(spec.to_yaml()), strict=True):
        assert theirs == ours
    for document in spec.to_documents():
        if document["kind"] == "ConfigMap":
            text = document["data"]["training_config.yaml"]
            assert yaml.safe_load(text) == spec.config.to_document()


def kaito(**more):
    return build_spec(
        preset="phi-4-mini-instruct",
        method="qlora",
        name="support",
        namespace="team-a",
        output="image:registry.example.com/team/support:1",
        push_secret="registry-login",
        instance_type="Standard_NC24ads_A100_v4",
        target="kaito",
        **more,
    )


@pytest.mark.parametrize(
    ("name", "spec", "target", "rows"),
    [
        ("kaito", kaito(config="LoraConfig: {r: 16}", options={"epochs": 2, "learning_rate": 1e-5}), "kaito", 5000),
        (
            "kaito-url",
            kaito(input="https://example.com/train.parquet", options={"max_steps": 200}),
            "kaito",
            None,
        ),
        ("local", build_spec(preset="owner/model", options={"batch_size": 4, "epochs": 1, "samples": 3}), "local", 400),
        ("said", build_spec(preset="owner/model", output="./adapters", options={"epochs": 1}), None, None),
    ],
)
def test_the_yaml_is_this(name, spec, target, rows):
    """Golden: a change here changes what users see and what KAITO gets; say why in the commit."""
    file = GOLDEN / f"{name}.yaml"
    assert spec.to_yaml(target, rows) == file.read_text(encoding="utf-8")


def test_no_part_of_a_spec_can_break_out_of_the_yamls_comments():
    text = TuningSpec(preset="x\nkind: Secret", name="a").to_yaml("local", 5)
    assert [d["kind"] for d in yaml.safe_load_all(text)] == ["ConfigMap", "Workspace"]


def test_kaitos_image_gets_no_options_of_ours():
    spec = kaito(options={"samples": 3})
    assert "kaito_trainer" not in spec.to_documents("kaito")[0]["data"]["training_config.yaml"]
    assert "kaito_trainer" in spec.to_documents("job")[0]["data"]["training_config.yaml"]


def test_a_dataframe_is_named_as_the_volume_in_which_it_will_come():
    workspace = kaito().to_documents("kaito")[-1]
    assert workspace["tuning"]["input"] == {"volumeSource": {"configMap": {"name": "support-data"}}}
    assert TuningSpec.from_documents(kaito().to_documents("kaito")).input == DataSource()


def test_a_configmap_of_the_users_own_stays_the_users():
    source = DataSource(volume_source={"configMap": {"name": "support-data"}})
    spec = replace(kaito(), input=source)
    assert TuningSpec.from_documents(spec.to_documents("kaito")).input == source


def test_a_workspace_from_kaitos_own_documentation_is_read():
    text = """
apiVersion: kaito.sh/v1beta1
kind: Workspace
metadata:
  name: workspace-tuning-falcon
resource:
  instanceType: "Standard_NC24ads_A100_v4"
  labelSelector:
    matchLabels:
      app: tuning-falcon
tuning:
  preset:
    name: falcon-7b
  method: qlora
  input:
    image: pullregistry.io/data:0.0.1
    imagePullSecrets:
      - pull-secret
  output:
    image: pushregistry.io/adapter:0.0.1  # Tuning Output
    imagePushSecret: push-secret
"""
    assert TuningSpec.from_yaml(text) == TuningSpec(
        preset="falcon-7b",
        method="qlora",
        name="workspace-tuning-falcon",
        input=DataSource(image="pullregistry.io/data:0.0.1", image_pull_secrets=("pull-secret",)),
        output=DataDestination(image="pushregistry.io/adapter:0.0.1", image_push_secret="push-secret"),
        resource=ResourceSpec("Standard_NC24ads_A100_v4", {"matchLabels": {"app": "tuning-falcon"}}),
    )


WORKSPACE = "apiVersion: kaito.sh/v1beta1\nkind: Workspace\n"


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("", ["spec: 0 Workspaces are given. Give one."]),
        (f"{WORKSPACE}---\n{WORKSPACE}", ["spec: 2 Workspaces are given. Give one."]),
        (
            f"{WORKSPACE}---\nkind: Pod",
            [
                'document 2: "Pod" is no kind that belongs to a spec. Give a Workspace and its ConfigMap.',
                "tuning: it is not said what to train. Write tuning: with preset, method, input and output.",
            ],
        ),
        (
            "kind: Workspace\napiVersion: v1\ntuning: {}",
            ['apiVersion: "v1" is not KAITO\'s. Use kaito.sh/v1beta1.'],
        ),
        (
            f"{WORKSPACE}spec: {{}}\ninference: {{}}",
            [
                "inference: a Workspace is for tuning or for inference, not for both. Leave it out.",
                'spec: there is no such field. The fields are "apiVersion", "kind", "metadata", "resource", "tuning", "status" and "inference".',
            ],
        ),
        (
            f"{WORKSPACE}resource: {{instancetype: x, partition: {{mode: mig}}, count: two}}\ntuning: {{inputs: 1}}",
            [
                "resource.partition: KAITO does not tune on a part of a GPU. Leave it out.",
                'resource.instancetype: there is no such field. Did you mean "instanceType"?',
                'tuning.inputs: there is no such field. Did you mean "input"?',
                'resource.count: "two" is no whole number. Write one, without quotes.',
            ],
        ),
        (
            f"{WORKSPACE}tuning: {{method: 5, preset: phi-4, input: {{urls: x, image: 3}}, output: []}}",
            [
                'tuning.preset: "phi-4" is no mapping. Write keys and values.',
                "tuning.method: 5 is not text. Put it in quotes.",
                'tuning.input.urls: "x" is no list of texts. Write one text a line, each after a dash.',
                "tuning.input.image: 3 is not text. Put it in quotes.",
                "tuning.output: [] is no mapping. Write keys and values.",
            ],
        ),
        (
            f"{WORKSPACE}tuning: {{config: mine}}",
            ['tuning.config: the ConfigMap "mine" is not among the documents. Add it, or leave out config.'],
        ),
        (
            f"{WORKSPACE}tuning: {{config: c}}\n---\nkind: ConfigMap\nmetadata: {{name: c}}\ndata: {{}}",
            ["training_config.yaml: it has no training_config with sections in it. Write training_config: {TrainingArguments: {…}}."],
        ),
        (
            f"{WORKSPACE}tuning: {{config: c}}\n---\nkind: ConfigMap\nmetadata: {{name: c}}\ndata: {{training_config.yaml: 'a: {{'}}",
            ["training_config.yaml: this is no YAML: expected the node content, but found '<stream end>' (line 1, column 5). Correct that line."],
        ),
        ("a: b: c", ["spec: this is no YAML: mapping values are not allowed here (line 1, column 5). Correct that line."]),
        ("- 1", ['document 1: null is no kind that belongs to a spec. Give a Workspace and its ConfigMap.',
                 "spec: 0 Workspaces are given. Give one."]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_a_spec_cannot_hold_is_told_with_its_path(text, messages):
    with pytest.raises(SpecError) as raised:
        TuningSpec.from_yaml(text)
    assert [str(p) for p in raised.value.problems] == messages


def test_two_specs_are_compared_field_by_field():
    one = kaito(options={"epochs": 1, "rank": 8})
    other = replace(kaito(options={"epochs": 2}), name="other", namespace="team-a")
    assert one.diff(other) == [
        ("metadata.name", "support", "other"),
        ("LoraConfig.r", 8, None),
        ("TrainingArguments.num_train_epochs", 1, 2),
    ]
    assert one.diff(one) == []


@pytest.mark.parametrize(
    ("preset", "method", "taken", "name"),
    [
        ("phi-4-mini-instruct", "qlora", (), "phi-4-mini-instruct-qlora"),
        ("microsoft/Phi-4-mini-instruct", "lora", (), "phi-4-mini-instruct-lora"),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", "lora", (), "smollm2-135m-instruct-lora"),
        ("/models/My Model/", "lora", (), "my-model-lora"),
        ("phi-4", "lora", ("phi-4-lora",), "phi-4-lora-2"),
        ("phi-4", "lora", ("phi-4-lora", "phi-4-lora-2"), "phi-4-lora-3"),
        ("o/" + "x" * 90, "lora", (), "x" * 57),
        ("…", "", (), "tuning"),
    ],
)
def test_a_run_without_a_name_gets_one_that_is_free(preset, method, taken, name):
    assert TuningSpec(preset=preset, method=method).named(taken).name == name


def test_a_name_that_was_given_stays():
    assert TuningSpec(preset="phi-4", name="mine").named({"mine"}).name == "mine"
