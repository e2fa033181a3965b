"""The six sections: written, read, merged, and explained by one table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito_trainer.contract import METHODS, TrainingConfig, kaito_defaults, options
from kaito_trainer.contract.fields import gone, gone_paths, known
from kaito_trainer.contract.sections import ALL_SECTIONS, SECTIONS

SCALARS = st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
NAMES = st.sampled_from([o.name for o in options()]) | st.text(max_size=5)
CONFIGS = st.dictionaries(
    st.sampled_from([s.NAME for s in ALL_SECTIONS]), st.dictionaries(NAMES, SCALARS, min_size=1, max_size=4)
)


@given(CONFIGS)
def test_sections_come_back_as_they_went_in(sections):
    assert TrainingConfig.from_dict(sections).to_dict() == sections


@given(CONFIGS)
def test_a_document_comes_back_as_it_went_in(sections):
    config = TrainingConfig.from_dict(sections)
    assert TrainingConfig.from_document(config.to_document()) == config


def test_our_own_options_stand_beside_kaitos_sections():
    config = TrainingConfig.from_dict({"LoraConfig": {"r": 4}, "TrainerOptions": {"samples": 2}})
    assert config.to_document() == {"training_config": {"LoraConfig": {"r": 4}}, "kaito_trainer": {"samples": 2}}
    assert config.to_document(stock=True) == {"training_config": {"LoraConfig": {"r": 4}}}


@given(CONFIGS, CONFIGS)
def test_the_others_keys_win_in_a_merge(mine, theirs):
    merged = TrainingConfig.from_dict(mine).merged(theirs).to_dict()
    for section in {*mine, *theirs}:
        assert merged[section] == {**mine.get(section, {}), **theirs.get(section, {})}


def test_a_merge_leaves_both_sides_as_they_were():
    mine = TrainingConfig.from_dict({"LoraConfig": {"r": 4}})
    assert mine.merged({"LoraConfig": {"r": None, "lora_alpha": 8}}).to_dict() == {"LoraConfig": {"lora_alpha": 8}}
    assert mine.to_dict() == {"LoraConfig": {"r": 4}}


def test_odd_sections_are_kept_for_the_check():
    config = TrainingConfig.from_dict({"LoraConfig": 8, "Foo": {"a": 1}, "ModelConfig": None})
    assert config.unknown == {"LoraConfig": 8, "Foo": {"a": 1}}
    assert config.to_dict() == {"LoraConfig": 8, "Foo": {"a": 1}}


@pytest.mark.parametrize("document", [{}, {"training_config": None}, {"training_config": 5}, {"kaito_trainer": 5}])
def test_an_odd_document_is_an_empty_configuration(document):
    assert TrainingConfig.from_document(document) == TrainingConfig()


@pytest.mark.parametrize("option", options(), ids=lambda o: o.path)
def test_every_option_is_explained(option):
    assert option.help.endswith(".")
    assert option.source.startswith("https://") or option.source == "kaito_trainer"
    assert set(option.types) <= {bool, int, float, str, list, dict}
    assert not option.choices or str in option.types


def test_flags_are_unique():
    flags = [o.flag for o in options() if o.flag]
    assert len(flags) == len(set(flags))
    assert {"--epochs", "--max-steps", "--batch-size", "--learning-rate", "--rank"} <= set(flags)


def test_the_methods_differ_in_their_bits_only():
    lora, qlora = (kaito_defaults(m).to_dict() for m in METHODS)
    assert lora.pop("QuantizationConfig") == {"load_in_4bit": False}
    assert qlora.pop("QuantizationConfig")["bnb_4bit_quant_type"] == "nf4"
    assert lora == qlora
    assert list(lora) == ["ModelConfig", "LoraConfig", "TrainingArguments", "DataCollator", "DatasetConfig"]


def test_a_renamed_field_is_not_one_of_todays_and_says_what_to_do():
    today = {o.path for o in options()} | {f"{s.NAME}.{n}" for s in SECTIONS for n in known("ours", s.NAME)}
    assert not today & set(gone_paths())
    for path in gone_paths():
        now, remedy = gone(path)
        assert remedy.endswith(".")
        assert not now or (now if "." in now else f"{path.partition('.')[0]}.{now}") in today


@pytest.mark.train
@pytest.mark.filterwarnings("ignore")
def test_the_names_of_fields_are_hugging_faces_own():
    """A new release may add fields: then `trainer/tools/write_fields.py` is to run again."""
    import dataclasses
    import inspect

    from peft import LoraConfig
    from transformers import BitsAndBytesConfig, DataCollatorForLanguageModeling
    from trl import SFTConfig

    theirs = {
        "TrainingArguments": {f.name for f in dataclasses.fields(SFTConfig)},
        "LoraConfig": {f.name for f in dataclasses.fields(LoraConfig)},
        "QuantizationConfig": {*inspect.signature(BitsAndBytesConfig.__init__).parameters, "quant_method"}
        - {"self", "kwargs"},
        "DataCollator": {f.name for f in dataclasses.fields(DataCollatorForLanguageModeling)} - {"tokenizer"},
    }
    for section in SECTIONS:
        if section.NAME in theirs:
            assert set(known("ours", section.NAME)) == theirs[section.NAME], section.NAME
