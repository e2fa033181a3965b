"""Options by any of their names, configurations in any of their shapes: which wins, and what a value becomes."""

from pathlib import Path

import numpy as np
import pytest

from kaito_jupyter.errors import SpecError
from kaito_jupyter.spec import DataSource, build_spec, find_option, read_config
from kaito_trainer.contract import TrainingConfig

HERE = {"preset": "owner/model"}


def config_of(**more):
    return build_spec(**HERE, **more).config.to_dict()


def test_later_sources_win_over_earlier_ones(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text(
        "training_config:\n  LoraConfig: {r: 1, lora_alpha: 1, lora_dropout: 0.1}\nkaito_trainer: {samples: 3}"
    )
    assert config_of(
        config=[file, "LoraConfig: {r: 2, lora_alpha: 2}"],
        options={"rank": 3, "learning_rate": 1e-3, "bf16": None},
        assignments=["LoraConfig.r=4", "LoraConfig.r=5"],
    ) == {
        "LoraConfig": {"r": 5, "lora_alpha": 2, "lora_dropout": 0.1},
        "TrainingArguments": {"learning_rate": 0.001},
        "TrainerOptions": {"samples": 3},
    }


@pytest.mark.parametrize(
    "text",
    [
        "LoraConfig:\n  r: 4",
        "training_config:\n  LoraConfig:\n    r: 4",
        "r: 4",
        "rank: 4",
        "LoraConfig.r: 4",
        "kind: ConfigMap\ndata:\n  training_config.yaml: |\n    training_config:\n      LoraConfig: {r: 4}",
        'LoraConfig: {r: "4"}',
        "LoraConfig: {r: 4.0}",
        "LoraConfig: {r: 4}\nTrainingArguments:",
    ],
)
def test_a_configuration_is_read_in_each_of_its_shapes(text):
    assert read_config(text) == {"LoraConfig": {"r": 4}}


def test_a_configuration_comes_as_object_or_mapping_too():
    assert read_config(TrainingConfig.from_dict({"LoraConfig": {"r": 4}})) == {"LoraConfig": {"r": 4}}
    assert read_config({"LoraConfig": {"r": 4}, "epochs": 2}) == {
        "LoraConfig": {"r": 4},
        "TrainingArguments": {"num_train_epochs": 2},
    }
    assert read_config("") == {}


def test_a_file_that_cannot_be_read_says_why(tmp_path):
    with pytest.raises(SpecError, match=r"nowhere\.yaml: the file cannot be read: No such file or directory\. Give"):
        read_config(tmp_path / "nowhere.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="cannot be read: it is no UTF-8 text"):
        read_config(tmp_path / "binary.yaml")


@pytest.mark.parametrize(
    ("assignment", "value"),
    [
        ("TrainingArguments.learning_rate=2e-4", 0.0002),
        ("learning_rate=1E-5", 1e-05),
        ("epochs=3.0", 3.0),
        ("epochs=3", 3),
        ("LoraConfig.r = 16", 16),
        ("LoraConfig.r=16.0", 16),
        ("TrainingArguments.save_strategy=no", "no"),
        ("bf16=yes", True),
        ("bf16=off", False),
        ("ModelConfig.revision=0123", "0123"),
        ("ModelConfig.revision=2024-01-01", "2024-01-01"),
        ("target_modules=all-linear", "all-linear"),
        ("target_modules=q_proj, v_proj", ["q_proj", "v_proj"]),
        ("target_modules=[q_proj]", ["q_proj"]),
        ("target_modules=.*q_proj{1,2}", ".*q_proj{1,2}"),
        ("modules_to_save=lm_head", ["lm_head"]),
        ('ModelConfig.device_map={"": 0}', {"": 0}),
        ("TrainingArguments.report_to=none", "none"),
        ("TrainingArguments.run_name='12'", "12"),
        ("TrainingArguments.adam_beta1=8e-1", 0.8),
        ("ModelConfig.chat_template={{ messages[0]['content'] }}", "{{ messages[0]['content'] }}"),
    ],
)
def test_a_value_is_read_as_its_fields_type(assignment, value):
    ((_, keys),) = config_of(assignments=[assignment]).items()
    ((_, read),) = keys.items()
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("value", "read"), [(np.float64(1e-3), 1e-3), (np.float32(0.5), 0.5), ("1e-3", 0.001), (1, 1)], ids=str
)
def test_a_python_value_is_taken_where_nothing_is_lost(value, read):
    assert config_of(options={"learning_rate": value}) == {"TrainingArguments": {"learning_rate": read}}


def test_numpys_whole_numbers_and_tuples_are_taken():
    options = {"rank": np.int64(4), "modules_to_save": ("a",), "target_modules": {"b", "a"}}
    assert config_of(options=options) == {
        "LoraConfig": {"r": 4, "modules_to_save": ["a"], "target_modules": ["a", "b"]}
    }


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("epochs", "TrainingArguments.num_train_epochs"),
        ("--batch-size", "TrainingArguments.per_device_train_batch_size"),
        ("batch_size", "TrainingArguments.per_device_train_batch_size"),
        ("rank", "LoraConfig.r"),
        ("r", "LoraConfig.r"),
        ("LoraConfig.r", "LoraConfig.r"),
        ("learning_rate", "TrainingArguments.learning_rate"),
        ("learning-rate", "TrainingArguments.learning_rate"),
        ("seed", "TrainingArguments.seed"),
    ],
)
def test_an_option_is_found_by_any_of_its_names(name, path):
    assert find_option(name).path == path


@pytest.mark.parametrize("name", ["", "epoch", "LoraConfig", "LoraConfig.rank", "lora.r"])
def test_what_is_no_option_is_not_found(name):
    assert find_option(name) is None


def test_paths_are_taken_as_paths(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "data.csv").write_text("text\na")
    spec = build_spec(preset=tmp_path / "model", input=tmp_path / "data.csv", output=Path("adapters"))
    assert spec.input == DataSource(path=str(tmp_path / "data.csv"))
    assert spec.output.path == "adapters"
    assert spec.preset == str(tmp_path / "model")


def test_an_output_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SpecError, match=r'^tuning\.output: ".*" is a file\. Give a folder\.$'):
        build_spec(**HERE, output=tmp_path / "file")
