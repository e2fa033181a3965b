"""What runs where nobody said anything, why, and that the user's word always wins."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito_jupyter.presets import PRESETS
from kaito_jupyter.spec import TARGETS, DataSource, ResourceSpec, TuningSpec
from kaito_jupyter.spec.defaults import POINTS
from kaito_trainer.contract import METHODS, TrainingConfig, check, kaito_defaults, options


def effective(target="local", rows=400, preset="owner/model", method="lora", **sections):
    fields = {k: sections.pop(k) for k in ("input", "resource") if k in sections}
    spec = TuningSpec(preset=preset, method=method, config=TrainingConfig.from_dict(sections), **fields)
    return spec.effective_config(target, rows=rows)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rows", [None, 0, 1, 5, 400, 10**6])
def test_the_defaults_are_sound(target, method, rows):
    for preset in ("owner/model", *PRESETS):
        assert check(effective(target, rows, preset, method), method) == []


@pytest.mark.parametrize("method", METHODS)
def test_kaitos_own_defaults_stay_on_kaito(method):
    theirs = kaito_defaults(method).to_dict()
    ours = effective("kaito", preset="phi-4", method=method).to_dict()
    for section, keys in theirs.items():
        assert {k: ours[section][k] for k in keys} == keys


def test_the_local_configuration_is_this():
    assert effective().to_dict() == {
        "ModelConfig": {
            "pretrained_model_name_or_path": "owner/model",
            "local_files_only": False,
            "device_map": "auto",
        },
        "QuantizationConfig": {"load_in_4bit": False},
        "LoraConfig": {"r": 8, "lora_alpha": 8, "lora_dropout": 0.0, "target_modules": "all-linear"},
        "TrainingArguments": {
            "output_dir": "/mnt/results",
            "num_train_epochs": 3.0,
            "per_device_train_batch_size": 1,
            "learning_rate": 2e-4,
            "lr_scheduler_type": "cosine",
            "warmup_steps": 32,
            "logging_steps": 2,
            "save_strategy": "steps",
            "save_steps": 108,
            "save_total_limit": 2,
            "eval_strategy": "steps",
            "eval_steps": 270,
            "seed": 42,
            "ddp_find_unused_parameters": False,
        },
        "DataCollator": {"mlm": True},
        "DatasetConfig": {"shuffle_dataset": True, "train_test_split": 0.9},
    }


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("steps", [1, 2, 9, 999, 1000, 1001, 5000, 123_456, 10**7])
def test_a_run_of_any_length_shows_a_curve(target, steps):
    every = effective(target, TrainingArguments={"max_steps": steps}).TrainingArguments.logging_steps
    assert 1 <= every <= steps
    assert min(steps, POINTS / 2) <= -(-steps // every) <= POINTS


def test_a_run_of_unknown_length_logs_each_step():
    assert effective(rows=None).TrainingArguments.logging_steps == 1


@pytest.mark.parametrize(("rows", "split"), [(19, 1), (20, 0.9), (400, 0.9), (None, 0.9)])
def test_a_tenth_is_held_out_where_there_is_enough(rows, split):
    assert effective(rows=rows).DatasetConfig.train_test_split == split
    assert effective("kaito", rows=rows).DatasetConfig.train_test_split == 1


def test_nothing_is_evaluated_on_the_way_when_nothing_is_held_out():
    arguments = effective(rows=5).TrainingArguments
    assert (arguments.eval_strategy, arguments.eval_steps) == (None, None)


def test_kaitos_trainer_evaluates_row_by_row():
    arguments = effective("kaito", DatasetConfig={"train_test_split": 0.9}).TrainingArguments
    assert arguments.per_device_eval_batch_size == 1
    assert effective("local").TrainingArguments.per_device_eval_batch_size is None


def test_an_evaluation_asked_for_by_steps_is_not_done_at_each_step():
    """Hugging Face takes `logging_steps` for `eval_steps`, and ours are small."""
    asked = {"TrainingArguments": {"eval_strategy": "steps"}, "DatasetConfig": {"train_test_split": 0.9}}
    assert effective("kaito", **asked).TrainingArguments.eval_steps == 270
    assert effective("kaito", rows=None, **asked).TrainingArguments.eval_steps == 100


@pytest.mark.parametrize(
    ("sections", "path", "value"),
    [
        ({"LoraConfig": {"r": 64}}, "LoraConfig.lora_alpha", 64),
        ({"LoraConfig": {"r": 64, "lora_alpha": 16}}, "LoraConfig.lora_alpha", 16),
        ({"QuantizationConfig": {"load_in_8bit": True}}, "QuantizationConfig.load_in_4bit", False),
        ({"TrainingArguments": {"save_strategy": "no"}}, "TrainingArguments.save_steps", None),
        ({"TrainingArguments": {"save_strategy": "no"}}, "TrainingArguments.save_total_limit", None),
        ({"TrainingArguments": {"save_strategy": "epoch"}}, "TrainingArguments.save_total_limit", 2),
        ({"TrainingArguments": {"logging_strategy": "epoch"}}, "TrainingArguments.logging_steps", None),
        ({"TrainingArguments": {"lr_scheduler_type": "constant"}}, "TrainingArguments.warmup_steps", None),
        ({"TrainingArguments": {"max_steps": 10}}, "TrainingArguments.num_train_epochs", None),
        ({"TrainingArguments": {"max_steps": 10}}, "TrainingArguments.warmup_steps", None),
        ({"TrainingArguments": {"max_steps": -1}}, "TrainingArguments.num_train_epochs", 3.0),
        ({"TrainingArguments": {"eval_strategy": "no"}}, "TrainingArguments.eval_steps", None),
    ],
    ids=str,
)
def test_one_choice_follows_from_another(sections, path, value):
    section, name = path.split(".")
    assert getattr(getattr(effective(method="qlora", **sections), section), name) == value


def test_a_preset_is_loaded_by_its_hugging_face_id():
    model = effective(preset="phi-4").ModelConfig
    assert (model.pretrained_model_name_or_path, model.local_files_only) == ("microsoft/phi-4", False)
    assert effective("kaito", preset="phi-4").ModelConfig.pretrained_model_name_or_path is None


def test_a_folder_is_loaded_without_asking_the_hub(tmp_path):
    model = effective(preset=str(tmp_path)).ModelConfig
    assert (model.pretrained_model_name_or_path, model.local_files_only) == (str(tmp_path), True)


def test_no_example_is_longer_than_the_model_can_read():
    assert effective("kaito", preset="falcon-7b").TrainingArguments.max_length == 2048
    assert effective("local", preset="falcon-7b").TrainingArguments.max_length == 1024
    assert effective("local").TrainingArguments.max_length is None


def test_a_file_in_a_volume_is_named_to_the_trainer():
    source = DataSource(volume_source={"emptyDir": {}}, path="sub/train.parquet")
    assert effective("kaito", input=source).DatasetConfig.dataset_path == "data/sub/train.parquet"


def test_steps_are_shared_by_the_gpus_of_kaitos_node():
    spec = TuningSpec(preset="phi-4", resource=ResourceSpec(instance_type="Standard_NC96ads_A100_v4"))
    assert spec.total_steps(400, target="kaito") == 300
    assert spec.total_steps(400, target="local") == 1080
    assert spec.total_steps(400, 2) == 540


@pytest.mark.parametrize("target", TARGETS)
def test_every_choice_has_its_reason(target):
    spec = TuningSpec(preset="phi-4")
    base, config = kaito_defaults("lora").to_dict(), spec.effective_config(target, rows=400).to_dict()
    changed = {f"{s}.{k}" for s, keys in config.items() for k, v in keys.items() if base.get(s, {}).get(k) != v}
    chosen = spec.defaults(target, rows=400)
    assert {d.path for d in chosen} == changed
    assert all(d.reason and not d.reason.endswith(".") for d in chosen)


VALUES = {bool: st.booleans(), int: st.integers(1, 99), float: st.floats(0.01, 0.99), str: st.text(max_size=4)}


@given(data=st.data(), target=st.sampled_from(TARGETS), rows=st.none() | st.integers(0, 10**6))
def test_the_users_word_always_wins(data, target, rows):
    said: dict = {}
    for option in data.draw(st.lists(st.sampled_from(options()), unique_by=lambda o: o.path, max_size=8)):
        kind = option.types[0]
        value = data.draw(st.sampled_from(option.choices) if option.choices else VALUES.get(kind, st.just(["x"])))
        said.setdefault(option.section, {})[option.name] = value
    config = effective(target, rows, preset="phi-4", **said).to_dict()
    for section, keys in said.items():
        for name, value in keys.items():
            if (section, name, value) != ("LoraConfig", "target_modules", "all-linear"):
                assert config[section][name] == value


@given(target=st.sampled_from(TARGETS), rows=st.none() | st.integers(0, 10**5), preset=st.sampled_from(sorted(PRESETS)))
def test_what_is_resolved_stays_as_it_is(target, rows, preset):
    spec = TuningSpec(preset=preset, method="qlora").resolved(target, rows=rows)
    assert spec.resolved(target, rows=rows) == spec
    assert spec.name
