"""`spec.check` says all in one place: words, memory, and what the model will see of the data."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tiny import CHATML

from kaito_jupyter import Dataset, TuningSpec
from kaito_jupyter.spec import Findings, build_spec
from kaito_jupyter.spec.fixed import mended
from kaito_trainer.contract import Problem

ANSWER = "what it returns and what it does "


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tokenizer of words and the shape of a small model that reads 64 tokens."""
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

    folder = tmp_path_factory.mktemp("words")
    words = ["<unk>", "user", "assistant", *dict.fromkeys(ANSWER.split())]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in ("<|im_start|>", "<|im_end|>")])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|im_end|>", "chat_template": CHATML}))
    shape = {
        "model_type": "llama", "vocab_size": 64, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 64,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(shape))
    return folder


def talks(*answers: str) -> Dataset:
    turns = [
        [{"role": "user", "content": f"what {i}"}, {"role": "assistant", "content": a}] for i, a in enumerate(answers)
    ]
    return Dataset.read(pd.DataFrame({"messages": turns}))


def spec_of(model: Path | str, **arguments: Any) -> TuningSpec:
    config = TuningSpec(preset="x").config.merged({"TrainingArguments": arguments})
    return TuningSpec(preset=str(model), config=config)


def test_it_tells_what_the_data_comes_to_and_how_to_mend_it(model: Path) -> None:
    spec, data = spec_of(model, max_length=16), talks(*[ANSWER] * 9, ANSWER * 4)
    found = spec.check("local", dataset=data)
    (cut,) = found.at("TrainingArguments.max_length")
    assert cut.severity == "warning"
    assert cut.message.startswith("1 row of 10 is longer than 16 tokens, and cut there.")
    assert found.seen is not None
    assert found.size is not None
    assert found.changes == {"TrainingArguments.max_length": found.seen.figures.lengths.max}
    again = spec.fixed(found).check("local", dataset=data)
    assert list(again) == []
    assert repr(again) == "Nothing found."
    assert list(spec.check("local", seen=found.seen)) == list(found), "a preview that is at hand does as well"


def test_a_longer_limit_than_the_model_takes_is_not_advised(model: Path) -> None:
    long = talks(*[ANSWER * 30] * 4)
    (cut,) = spec_of(model, max_length=16).check("local", dataset=long).at("TrainingArguments.max_length")
    assert cut.fix == (("TrainingArguments.max_length", 64),)
    assert "Set it to 64, the most that " in cut.remedy
    (cut,) = spec_of(model, max_length=64).check("local", dataset=long).at("TrainingArguments.max_length")
    assert cut.fix == ()
    assert "shorten or split these rows" in cut.remedy


def test_rows_that_ask_the_same_and_rows_that_are_mostly_padding_are_noted(model: Path) -> None:
    uneven = Dataset.read(
        pd.DataFrame(
            {"prompt": ["what", "it"] * 8, "completion": [ANSWER * (1 + 7 * (i % 2)) + str(i) for i in range(16)]}
        )
    )
    found = spec_of(model, max_length=64, per_device_train_batch_size=8).check("local", dataset=uneven)
    assert [(p.severity, p.path) for p in found] == [
        ("note", "data"), ("note", "TrainingArguments.per_device_train_batch_size"),
    ]  # fmt: skip
    assert found[0].message == "14 rows with the prompt of an earlier row."
    assert found[1].fix == (("TrainingArguments.packing", True),)
    assert found.fixable == []


def test_no_data_is_looked_at_before_the_words_are_right(model: Path) -> None:
    found = spec_of(model, learning_rate=-1).check("local", dataset=talks(ANSWER))
    assert [p.path for p in found.errors] == ["TrainingArguments.learning_rate"]
    assert found.seen is found.size is None


def test_a_template_that_fails_leaves_the_check_standing(model: Path) -> None:
    broken = replace(
        spec_of(model), config=spec_of(model).config.merged({"ModelConfig": {"chat_template": "{% for %}"}})
    )
    found = broken.check("local", dataset=talks(ANSWER))
    assert [p.severity for p in found] in (["error"], ["note"])
    assert all(p.remedy for p in found)
    unreadable = talks(ANSWER)
    object.__setattr__(unreadable, "_source", None)
    object.__setattr__(unreadable, "_head", ())
    (note,) = spec_of(model).check("local", dataset=unreadable)
    assert (note.severity, note.path) == ("note", "data")


def test_findings_are_grouped_by_path_the_worst_first(model: Path) -> None:
    spec = build_spec(
        preset="phi-4-mini-instruct", instance_type="Standard_NV36ads_A10_v5", input="https://example.com/train.parquet",
        output="image:reg.io/a/b:1", push_secret="login", target="kaito",
        config={"TrainingArguments": {"max_length": 8192}, "LoraConfig": {"target_modules": "all-linear"}},
    )  # fmt: skip
    found = spec.check("kaito")
    assert {path: [p.severity for p in ps] for path, ps in found.by_path().items()} == {
        "resource.instanceType": ["warning"],
        "LoraConfig.target_modules": ["note"],
    }
    assert found.at("resource") == found.warnings
    assert spec.check("kaito", strict=True).errors[0].path == "resource.instanceType"


def test_mending_goes_on_until_nothing_is_left_to_mend(model: Path) -> None:
    spec = spec_of(model, max_seq_length=8, learning_rat=1e-4)
    new, changes, left = spec.mended("local", dataset=talks(*[ANSWER] * 5))
    assert list(left) == []
    arguments = new.config.TrainingArguments
    assert (arguments.max_length, arguments.learning_rate) == (15, 1e-4)
    assert [(c.path, c.before, c.after) for c in changes if c.path.endswith("max_length")] == [
        ("TrainingArguments.max_length", None, 8),
        ("TrainingArguments.max_length", 8, 15),
    ]
    assert all(c.why for c in changes)
    assert "TrainingArguments.max_seq_length: 8 → left out, since " in "\n".join(map(str, changes))


def test_two_findings_do_not_push_a_value_to_and_fro() -> None:
    def check(spec: TuningSpec) -> Findings:
        r = 4 if spec.config.LoraConfig.r == 8 else 8
        return Findings([Problem("LoraConfig.r", "another one.", "Set it.", fix=(("LoraConfig.r", r),))])

    _, changes, left = mended(TuningSpec(preset="x"), check)
    assert [(c.before, c.after) for c in changes] == [(None, 8), (8, 4)]
    assert len(left) == 1
