"""Every defect of a configuration has its path and its exact message; several are told at once."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito_trainer.contract import METHODS, TrainingConfig, check, kaito_defaults, options
from kaito_trainer.contract.problems import SHOWN_LENGTH, close_match, listing, shown

BAD = [
    ({"LoraConfig": {"r": 0}}, None, "LoraConfig.r: 0 is out of range. Give a whole number of at least 1."),
    (
        {"LoraConfig": {"r": 8.0}},
        None,
        "LoraConfig.r: 8.0 is not a whole number. Give a whole number of at least 1. Write 8.",
    ),
    ({"LoraConfig": {"r": 8.5}}, None, "LoraConfig.r: 8.5 is not a whole number. Give a whole number of at least 1."),
    (
        {"LoraConfig": {"r": "8"}},
        None,
        'LoraConfig.r: "8" is not a whole number. Give a whole number of at least 1. Leave out the quotes.',
    ),
    ({"LoraConfig": {"r": True}}, None, "LoraConfig.r: true is not a whole number. Give a whole number of at least 1."),
    ({"LoraConfig": {"r": [8]}}, None, "LoraConfig.r: [8] is not a whole number. Give a whole number of at least 1."),
    (
        {"LoraConfig": {"r": 10**400}},
        None,
        "LoraConfig.r: 10000000000000000000000000000000000000000000000000000000000… is out of range. Give a whole number of at least 1.",
    ),
    (
        {"LoraConfig": {"lora_dropout": 1.5}},
        None,
        "LoraConfig.lora_dropout: 1.5 is out of range. Give a number of at least 0 and up to 1.",
    ),
    (
        {"LoraConfig": {"lora_dropout": 10**400}},
        None,
        "LoraConfig.lora_dropout: 10000000000000000000000000000000000000000000000000000000000… is out of range. Give a number of at least 0 and up to 1.",
    ),
    (
        {"LoraConfig": {"target_modules": []}},
        None,
        "LoraConfig.target_modules: the list is empty. Name at least one, or leave it out.",
    ),
    (
        {"LoraConfig": {"target_modules": ["q_proj", 3]}},
        None,
        "LoraConfig.target_modules: ['q_proj', 3] is not a list of names or text. Give a list of names or text.",
    ),
    (
        {"LoraConfig": {"target_modules": {"q_proj": 1}}},
        None,
        "LoraConfig.target_modules: {'q_proj': 1} is not a list of names or text. Give a list of names or text.",
    ),
    ({"LoraConfig": {"rank": 8}}, None, "LoraConfig.rank: there is no such field (any more). Write r."),
    (
        {"LoraConfig": {"lora_alhpa": 8}},
        None,
        'LoraConfig.lora_alhpa: there is no such field. Did you mean "lora_alpha"?',
    ),
    (
        {"LoraConfig": {"bias": "some"}},
        None,
        'LoraConfig.bias: "some" is not allowed. Use "none", "all" or "lora_only".',
    ),
    (
        {"TrainingArguments": {"learning_rate": "2e-4"}},
        None,
        'TrainingArguments.learning_rate: "2e-4" is not a number. Give a number above 0. YAML reads 2e-4 as text: write 0.0002.',
    ),
    (
        {"TrainingArguments": {"learning_rate": "1E-5"}},
        None,
        'TrainingArguments.learning_rate: "1E-5" is not a number. Give a number above 0. YAML reads 1E-5 as text: write 1.0e-05.',
    ),
    (
        {"TrainingArguments": {"learning_rate": "0.001"}},
        None,
        'TrainingArguments.learning_rate: "0.001" is not a number. Give a number above 0. Leave out the quotes.',
    ),
    (
        {"TrainingArguments": {"learning_rate": "fast"}},
        None,
        'TrainingArguments.learning_rate: "fast" is not a number. Give a number above 0.',
    ),
    (
        {"TrainingArguments": {"learning_rate": 0}},
        None,
        "TrainingArguments.learning_rate: 0 is out of range. Give a number above 0.",
    ),
    (
        {"TrainingArguments": {"learning_rate": math.nan}},
        None,
        "TrainingArguments.learning_rate: nan is out of range. Give a number above 0.",
    ),
    (
        {"TrainingArguments": {"learning_rate": math.inf}},
        None,
        "TrainingArguments.learning_rate: inf is out of range. Give a number above 0.",
    ),
    (
        {"TrainingArguments": {"learning_rate": "nan"}},
        None,
        'TrainingArguments.learning_rate: "nan" is not a number. Give a number above 0.',
    ),
    (
        {"TrainingArguments": {"bf16": "yes"}},
        None,
        'TrainingArguments.bf16: "yes" is not true or false. Give true or false. Write true, without quotes.',
    ),
    ({"TrainingArguments": {"bf16": 1}}, None, "TrainingArguments.bf16: 1 is not true or false. Give true or false."),
    (
        {"TrainingArguments": {"bf16": True, "fp16": True}},
        None,
        "TrainingArguments.fp16: bf16 and fp16 are both true. Keep one of them.",
    ),
    (
        {"TrainingArguments": {"save_strategy": False}},
        None,
        'TrainingArguments.save_strategy: false is not text. Give text: "no", "steps", "epoch" or "best". YAML reads a bare no as false: write "no" in quotes.',
    ),
    (
        {"TrainingArguments": {"save_strategy": "epochs"}},
        None,
        'TrainingArguments.save_strategy: "epochs" is not allowed. Did you mean "epoch"? Use "no", "steps", "epoch" or "best".',
    ),
    (
        {"TrainingArguments": {"save_strategy": ["no"]}},
        None,
        'TrainingArguments.save_strategy: [\'no\'] is not text. Give text: "no", "steps", "epoch" or "best".',
    ),
    (
        {"TrainingArguments": {"max_steps": 0}},
        None,
        "TrainingArguments.max_steps: 0 steps would train nothing. Give 1 or more, or -1 for no limit.",
    ),
    (
        {"TrainingArguments": {"max_steps": -5}},
        None,
        "TrainingArguments.max_steps: -5 is out of range. Give a whole number of at least -1.",
    ),
    (
        {"TrainingArguments": {"max_seq_length": 512}},
        None,
        "TrainingArguments.max_seq_length: there is no such field (any more). Write max_length.",
    ),
    (
        {"TrainingArguments": {"warmup_ratio": 0.1}},
        None,
        "TrainingArguments.warmup_ratio: there is no such field (any more). Write warmup_steps: a number below 1 is a share of all steps.",
    ),
    (
        {"TrainingArguments": {"learnign_rate": 0.0001}},
        None,
        'TrainingArguments.learnign_rate: there is no such field. Did you mean "learning_rate"?',
    ),
    (
        {"TrainingArguments": {"gradient_chekpointing_kwargs": {}}},
        None,
        'TrainingArguments.gradient_chekpointing_kwargs: there is no such field. Did you mean "gradient_checkpointing_kwargs"?',
    ),
    (
        {"TrainingArguments": {"quantum_mode": True}},
        None,
        "TrainingArguments.quantum_mode: this field is in no release of Hugging Face's libraries that we know. It is passed on as it is; the trainer ends on it when it is not known there either.",
    ),
    (
        {"TrainingArguments": {7: 8}},
        None,
        "TrainingArguments.7: this field is in no release of Hugging Face's libraries that we know. It is passed on as it is; the trainer ends on it when it is not known there either.",
    ),
    (
        {"TrainingArguments": {"output_dir": "/mnt"}},
        None,
        'TrainingArguments.output_dir: "/mnt" is not a folder below /mnt. KAITO writes results only there: use /mnt/results.',
    ),
    (
        {"TrainingArguments": {"output_dir": "/mnt/../etc"}},
        None,
        'TrainingArguments.output_dir: "/mnt/../etc" is not a folder below /mnt. KAITO writes results only there: use /mnt/results.',
    ),
    (
        {"TrainingArguments": {"output_dir": "results"}},
        None,
        'TrainingArguments.output_dir: "results" is not a folder below /mnt. KAITO writes results only there: use /mnt/results.',
    ),
    ({"TrainingArguments": {"output_dir": 5}}, None, "TrainingArguments.output_dir: 5 is not text. Give text."),
    (
        {"TrainingArguments": {"eval_strategy": "steps"}, "DatasetConfig": {"train_test_split": 1}},
        None,
        'TrainingArguments.eval_strategy: "steps" needs held-out rows, and DatasetConfig.train_test_split is 1. Set train_test_split below 1, for example 0.9.',
    ),
    (
        {"DatasetConfig": {"train_test_split": 0}},
        None,
        "DatasetConfig.train_test_split: 0 is out of range. Give a number above 0 and up to 1.",
    ),
    (
        {"DatasetConfig": {"train_test_split": 80}},
        None,
        "DatasetConfig.train_test_split: 80 is out of range. Give a number above 0 and up to 1.",
    ),
    (
        {"DatasetConfig": {"shuffle": True}},
        None,
        'DatasetConfig.shuffle: there is no such field. The fields are "dataset_path", "dataset_extension", "shuffle_dataset", "shuffle_seed", "context_column", "response_column", "messages_column" and "train_test_split".',
    ),
    (
        {"DatasetConfig": {"dataset_extension": "jsonl"}},
        None,
        'DatasetConfig.dataset_extension: "jsonl" is not allowed. Did you mean "json"? Use "csv", "json", "parquet", "arrow" or "webdataset".',
    ),
    (
        {"TrainerOptions": {"hats": 2}},
        None,
        'TrainerOptions.hats: there is no such field. The fields are "compat", "samples", "sample_tokens", "checkpoint_minutes", "loss_head", "threads", "tokenize_rows", "early_stopping_patience" and "early_stopping_threshold".',
    ),
    (
        {"TrainerOptions": {"checkpoint_minutes": -1}},
        None,
        "TrainerOptions.checkpoint_minutes: -1 is out of range. Give a number of at least 0.",
    ),
    (
        {"TrainerOptions": {"loss_head": "liger"}},
        None,
        'TrainerOptions.loss_head: "liger" is not allowed. Use "plain" or "fused".',
    ),
    (
        {"TrainerOptions": {"threads": 0}},
        None,
        "TrainerOptions.threads: 0 is out of range. Give a whole number of at least 1.",
    ),
    (
        {"TrainerOptions": {"tokenize_rows": 0}},
        None,
        "TrainerOptions.tokenize_rows: 0 is out of range. Give a whole number of at least 1.",
    ),
    (
        {"TrainerOptions": {"early_stopping_patience": 0}},
        None,
        "TrainerOptions.early_stopping_patience: 0 is out of range. Give a whole number of at least 1.",
    ),
    (
        {"TrainerOptions": {"early_stopping_patience": 2}, "TrainingArguments": {"eval_strategy": "no"}},
        None,
        "TrainerOptions.early_stopping_patience: it follows the held-out loss, and nothing is evaluated (eval_strategy). Set eval_strategy: steps (and train_test_split below 1), or leave this out.",
    ),
    (
        {"TrainerOptions": {"early_stopping_patience": 2}, "DatasetConfig": {"train_test_split": 1}},
        None,
        "TrainerOptions.early_stopping_patience: it follows the held-out loss, and DatasetConfig.train_test_split is 1. Set train_test_split below 1, for example 0.9.",
    ),
    (
        {"TrainerOptions": {"early_stopping_threshold": 0.1}},
        None,
        "TrainerOptions.early_stopping_threshold: it means nothing without early_stopping_patience. Set early_stopping_patience, for example 3, or leave this out.",
    ),
    (
        {"TrainingArguments": {"load_best_model_at_end": True}, "DatasetConfig": {"train_test_split": 1}},
        None,
        "TrainingArguments.load_best_model_at_end: the best model is found by evaluating, and DatasetConfig.train_test_split is 1. Set train_test_split below 1, for example 0.9.",
    ),
    (
        {"TrainingArguments": {"load_best_model_at_end": True, "save_strategy": "no", "eval_strategy": "epoch"}},
        None,
        'TrainingArguments.load_best_model_at_end: the best model is kept as a checkpoint, and save_strategy is "no". Set save_strategy: best.',
    ),
    (
        {"TrainingArguments": {"load_best_model_at_end": True, "metric_for_best_model": "accuracy"}},
        None,
        'TrainingArguments.metric_for_best_model: "accuracy" is not measured on the held-out rows. Use "eval_loss" or "eval_mean_token_accuracy".',
    ),
    (
        {"ModelConfig": {"dtype": "bfloat16"}},
        None,
        "ModelConfig.dtype: there is no such field (any more). Write torch_dtype.",
    ),
    (
        {"ModelConfig": {"torch_dtype": "bf16"}},
        None,
        'ModelConfig.torch_dtype: "bf16" is not allowed. Did you mean "bfloat16"? Use "bfloat16", "float16", "float32" or "auto".',
    ),
    (
        {"QuantizationConfig": {"load_in_4bit": "true"}},
        "qlora",
        'QuantizationConfig.load_in_4bit: "true" is not true or false. Give true or false. Write true, without quotes.',
    ),
    (
        {"QuantizationConfig": {"load_in_4bit": True}},
        "lora",
        'QuantizationConfig.load_in_4bit: true does not go with the method lora. Use the method "qlora", or set it to false.',
    ),
    (
        {"QuantizationConfig": {"load_in_8bit": True}},
        "lora",
        'QuantizationConfig.load_in_8bit: true does not go with the method lora. Use the method "qlora", or set it to false.',
    ),
    (
        {"QuantizationConfig": {"load_in_4bit": True, "load_in_8bit": True}},
        "qlora",
        "QuantizationConfig: load_in_4bit and load_in_8bit are both true. Set one of them to false.",
    ),
    (
        {},
        "qlora",
        'QuantizationConfig: qlora needs quantised weights. Set load_in_4bit: true, or use the method "lora".',
    ),
    (
        {"LoraConfg": {"r": 8}},
        None,
        'config.LoraConfg: KAITO knows no such section. Did you mean "LoraConfig"? The sections are "ModelConfig", "QuantizationConfig", "LoraConfig", "TrainingArguments", "DataCollator" and "DatasetConfig".',
    ),
    (
        {"Optimizer": {"r": 8}},
        None,
        'config.Optimizer: KAITO knows no such section. The sections are "ModelConfig", "QuantizationConfig", "LoraConfig", "TrainingArguments", "DataCollator" and "DatasetConfig".',
    ),
    (
        {"LoraConfig": 8},
        None,
        "config.LoraConfig: a section holds keys and values, this one is 8. Write it as a mapping, for example LoraConfig: {r: …}.",
    ),
    (
        {5: 8},
        None,
        'config.5: KAITO knows no such section. The sections are "ModelConfig", "QuantizationConfig", "LoraConfig", "TrainingArguments", "DataCollator" and "DatasetConfig".',
    ),
]


@pytest.mark.parametrize(("sections", "method", "message"), BAD, ids=[m[:60] for _, _, m in BAD])
def test_a_defect_has_its_path_and_message(sections, method, message):
    assert [str(p) for p in check(TrainingConfig.from_dict(sections), method)] == [message]


def test_all_defects_are_told_at_once():
    config = TrainingConfig.from_dict(
        {
            "LoraConfig": {"r": 0, "lora_dropout": 2},
            "TrainingArguments": {"output_dir": "/tmp", "learning_rate": "2e-4"},
            "Lora": {},
        }
    )
    assert [p.path for p in check(config, "qlora")] == [
        "config.Lora",
        "LoraConfig.r",
        "LoraConfig.lora_dropout",
        "TrainingArguments.learning_rate",
        "TrainingArguments.output_dir",
        "QuantizationConfig",
    ]


@pytest.mark.parametrize("method", METHODS)
def test_kaitos_defaults_are_sound(method):
    assert check(kaito_defaults(method), method) == []


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"LoraConfig": None},
        {"LoraConfig": {"target_modules": "all-linear", "modules_to_save": ["lm_head"]}},
        {"TrainingArguments": {"gradient_checkpointing_kwargs": {"use_reentrant": False}, "report_to": "none"}},
        {"TrainingArguments": {"learning_rate": 1, "warmup_steps": 0.03, "max_steps": -1}},
        {"TrainingArguments": {"output_dir": "/mnt/results/deep/er"}},
        {"ModelConfig": {"max_memory": {0: "10GiB"}, "device_map": {"": 0}}},
        {"LoraConfig": {"layers_to_transform": [1, 2], "rank_pattern": {}}},
        {"QuantizationConfig": {"load_in_4bit": True, "bnb_4bit_quant_storage": "uint8"}},
    ],
    ids=str,
)
def test_what_hugging_face_takes_passes(sections):
    assert check(TrainingConfig.from_dict(sections)) == []


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=3) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
PATHS = st.sampled_from([o.path for o in options()]) | st.tuples(
    st.sampled_from(["LoraConfig", "TrainingArguments", "ModelConfig", "Foo"]), st.text(max_size=8)
).map(".".join)


@given(st.dictionaries(PATHS, ODD, max_size=6), st.sampled_from([*METHODS, None, "other", 5]))
def test_any_value_is_told_about_and_none_breaks_the_check(values, method):
    sections = {}
    for path, value in values.items():
        section, name = path.split(".", 1)
        sections.setdefault(section, {})[name] = value
    for problem in check(TrainingConfig.from_dict(sections), method):
        assert problem.path
        assert problem.message.endswith(".")
        assert "\n" not in str(problem)


@given(st.dictionaries(st.integers() | st.text(max_size=4), ODD, max_size=4))
def test_any_sections_are_told_about(sections):
    assert all(p.path for p in check(TrainingConfig.from_dict(sections)))


class Broken:
    def __repr__(self):
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", '"a"'),
        ("line\none", '"line\\none"'),
        (None, "null"),
        (True, "true"),
        (1.5, "1.5"),
        ([1, 2], "[1, 2]"),
        (Broken(), "<Broken without a repr: RuntimeError>"),
        (10**5000, "<int without a repr: ValueError>"),
        ("x" * 500, '"' + "x" * (SHOWN_LENGTH - 3) + '…"'),
    ],
    ids=["text", "newline", "none", "bool", "float", "list", "broken", "huge", "long"],
)
def test_a_value_is_shown_on_one_short_line(value, text):
    assert shown(value) == text


def test_words_are_listed_as_a_person_would():
    assert listing(["a"]) == '"a"'
    assert listing(["a", "b", "c"], "and") == '"a", "b" and "c"'
    assert listing([1, 2]) == "1 or 2"


def test_a_close_match_ignores_case():
    assert close_match("LORA", ["lora", "qlora"]) == 'Did you mean "lora"?'
    assert close_match("zzz", ["lora", "qlora"]) == ""
