"""What KAITO's own trainer cannot take is told before the GPU is rented; our trainer takes it."""

import pytest

from kaito_jupyter.spec import DataDestination, DataSource, ResourceSpec, TuningSpec
from kaito_trainer.contract import TrainingConfig


def spec(sections=None, **fields):
    return TuningSpec(
        preset="phi-4-mini-instruct",
        output=DataDestination(volume_source={"persistentVolumeClaim": {"claimName": "claim"}}),
        resource=ResourceSpec(instance_type="Standard_NC24ads_A100_v4"),
        config=TrainingConfig.from_dict(sections or {}),
        **fields,
    )


TRAPS = [
    ({"TrainingArguments": {"per_device_train_batch_size": 2}}, "error"),
    ({"TrainingArguments": {"packing": True}}, "error"),
    ({"TrainingArguments": {"padding_free": True}}, "error"),
    ({"TrainingArguments": {"lr_scheduler_kwargs": {"min_lr": 1e-6}}}, "error"),
    ({"LoraConfig": {"rank_pattern": {"q_proj": 4}}}, "error"),
    ({"LoraConfig": {"layers_pattern": []}}, "error"),
    ({"LoraConfig": {"layer_replication": [[0, 4], [2, 6]]}}, "error"),
    ({"LoraConfig": {"target_modules": ".*_proj"}}, "error"),
    ({"ModelConfig": {"attn_implementation": "sdpa"}}, "error"),
    ({"ModelConfig": {"device_map": {"": 0}}}, "error"),
    ({"DatasetConfig": {"dataset_path": "/mnt/data/a.csv"}}, "error"),
    ({"TrainingArguments": {"assistant_only_loss": True}}, "warning"),
    ({"TrainingArguments": {"completion_only_loss": True}}, "warning"),
    ({"DatasetConfig": {"messages_column": "chat"}}, "warning"),
    ({"LoraConfig": {"target_modules": "all-linear"}}, "note"),
    ({"TrainerOptions": {"samples": 2}}, "note"),
]


@pytest.mark.parametrize(("sections", "severity"), TRAPS, ids=str)
def test_a_trap_of_kaitos_trainer_is_told_for_kaito_only(sections, severity):
    ((section, keys),) = sections.items()
    (found,) = spec(sections).problems("kaito")
    assert found.severity == severity
    assert found.path in (section, f"{section}.{next(iter(keys))}")
    assert spec(sections).problems("job") == []


@pytest.mark.parametrize(
    "sections",
    [
        {"TrainingArguments": {"gradient_checkpointing_kwargs": '{"use_reentrant": false}'}},
        {"LoraConfig": {"layers_to_transform": [1, 2], "target_modules": ["qkv_proj"]}},
        {"LoraConfig": {"target_modules": "qkv_proj"}},
        {"TrainingArguments": {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 8}},
        {"DatasetConfig": {"dataset_path": "data/a.csv"}},
        {"ModelConfig": {"cache_dir": "/mnt/cache"}},
    ],
    ids=str,
)
def test_what_it_takes_passes(sections):
    assert spec(sections).problems("kaito") == []


def test_all_linear_is_sent_as_the_presets_layers():
    config = spec({"LoraConfig": {"target_modules": "all-linear"}}).effective_config("kaito")
    assert config.LoraConfig.target_modules == ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]


def test_all_linear_of_an_unknown_preset_is_an_error():
    other = TuningSpec(preset="x", config=TrainingConfig.from_dict({"LoraConfig": {"target_modules": "all-linear"}}))
    assert '"all-linear" is not understood by KAITO\'s trainer.' in [p.message for p in other.problems("kaito")]


def test_a_null_is_never_sent():
    config = TrainingConfig.from_dict({"TrainingArguments": {"optim_args": None, "bf16": None}})
    kept = TuningSpec(preset="phi-4", config=config).effective_config("kaito").to_dict()["TrainingArguments"]
    assert not {"optim_args", "bf16"} & set(kept)


@pytest.mark.parametrize(
    ("url", "sections", "problems"),
    [
        ("https://example.com/train.parquet?download=true", {}, 0),
        ("https://example.com/train.jsonl", {}, 0),
        ("https://example.com/data", {}, 1),
        ("https://example.com/csv_as.json", {}, 1),
        ("https://example.com/csv_as.json", {"DatasetConfig": {"dataset_extension": "json"}}, 0),
        ("https://example.com/data", {"DatasetConfig": {"dataset_path": "data/data", "dataset_extension": "csv"}}, 0),
    ],
)
def test_a_files_name_tells_its_format(url, sections, problems):
    assert len(spec(sections, input=DataSource(urls=(url,))).problems("kaito")) == problems
