"""For KAITO's own trainer the preview shows what that trains on: TRL's preparation, and transformers' collator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tiny import CHATML, conversations, make_model, make_tokenizer

from kaito_jupyter import Dataset, TuningSpec
from kaito_jupyter.chat import ChatTemplate
from kaito_jupyter.lookahead import Lookahead, ahead
from kaito_jupyter.lookahead.measure import _counted
from kaito_jupyter.lookahead.quick import Quick
from kaito_jupyter.lookahead.stock import StockTokenizing
from kaito_jupyter.lookahead.tokenizer import ModelTokenizer

pytest.importorskip("trl")
ROWS = 6
PADS = {"its end token": "<|im_end|>", "another": "<pad>"}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny models: one whose end token also pads, one with a padding token of its own, one that names none."""
    folder, found = tmp_path_factory.mktemp("stock"), {}
    for name, pad in {**PADS, "none": None}.items():
        found[name] = make_model(folder / name.replace(" ", "-"))
        tokenizer = make_tokenizer(CHATML, pad_token=pad or "<|im_end|>")
        tokenizer.pad_token = pad
        tokenizer.save_pretrained(found[name])
    return found


def frames() -> dict[str, pd.DataFrame]:
    talks = conversations(ROWS)
    turns = [[m["content"] for m in talk["messages"]] for talk in talks]
    return {
        "conversational": pd.DataFrame({"messages": [talk["messages"] for talk in talks]}),
        "instruction": pd.DataFrame({"prompt": [t[0] for t in turns], "completion": [t[-1] for t in turns]}),
        "text": pd.DataFrame({"text": [*(t[-1] for t in turns[:-1]), "you end it<|im_end|>"]}),
    }


def stock(frame: pd.DataFrame, model: Path, folder: Path) -> list[tuple[list[int], list[int]]]:
    """Ids and labels as KAITO's `fine_tuning.py` has them made, a batch of one row each."""
    from datasets import Dataset as Rows
    from transformers import AutoModelForCausalLM, AutoTokenizer, DataCollatorForLanguageModeling
    from trl import SFTConfig, SFTTrainer

    tokenizer = AutoTokenizer.from_pretrained(model)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    collator = DataCollatorForLanguageModeling(tokenizer=tokenizer, mlm=False)
    arguments: dict[str, Any] = {
        "output_dir": str(folder),
        "max_length": 24,
        "report_to": [],
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
    }
    trainer = SFTTrainer(
        AutoModelForCausalLM.from_pretrained(model),
        args=SFTConfig(**arguments),
        train_dataset=Rows.from_pandas(frame),
        processing_class=tokenizer,
        data_collator=collator,
    )
    batches = [collator([{"input_ids": row["input_ids"]}]) for row in trainer.train_dataset]
    return [(b["input_ids"][0].tolist(), b["labels"][0].tolist()) for b in batches]


def seen(frame: pd.DataFrame, model: Path, target: Any = "kaito", length: int = 24) -> Lookahead:
    config = TuningSpec(preset="x").config.merged({"TrainingArguments": {"max_length": length}})
    return ahead.look_ahead(Dataset.read(frame), TuningSpec(preset=str(model), config=config), target, ROWS)


@pytest.mark.filterwarnings("ignore:.*:FutureWarning", "ignore:.*:UserWarning")  # TRL's own, about itself
@pytest.mark.parametrize("format", ["conversational", "instruction", "text"])
@pytest.mark.parametrize("pads", [*PADS, "none"])
def test_its_labels_are_those_of_the_real_collator(
    pads: str, format: str, models: dict[str, Path], tmp_path: Path
) -> None:
    frame = frames()[format]
    expected = stock(frame, models[pads], tmp_path)
    rows = seen(frame, models[pads]).rows
    assert [(list(r.ids[:24]), list(r.labels[:24])) for r in rows] == expected
    end = make_tokenizer().convert_tokens_to_ids("<|im_end|>")
    trained = {label for _, labels in expected for label in labels}
    assert (end in trained) == (pads == "another")


def test_an_end_that_is_never_trained_on_is_warned_of(models: dict[str, Path]) -> None:
    frame = frames()["conversational"]
    trap = seen(frame, models["its end token"], length=200)
    (problem,) = trap.problems
    assert (problem.path, problem.severity) == ("backend", "warning")
    assert problem.message.startswith("no row's end is trained on, as KAITO's own trainer takes this model's end token")
    assert "KAITO's own trainer trains on all of it, the prompts too, but no end of it" in repr(trap)
    ends = [token for row in trap.rows for token in row.tokens if token.text == "<|im_end|>"]
    assert ends
    assert not any(token.trained for token in ends)
    assert "the prompts too, but no end of it" in trap._repr_html_().replace("&#x27;", "'")
    assert seen(frame, models["its end token"], length=34).figures.never_stops
    assert seen(frame, models["another"], length=200).problems == []
    assert seen(frame, models["its end token"], "job", 200).problems == []


@pytest.mark.parametrize("format", ["conversational", "instruction", "text"])
@pytest.mark.parametrize("pads", [*PADS, "none"])
@pytest.mark.parametrize("length", [24, 34, 200])
def test_rows_counted_by_their_words_come_to_the_same(
    pads: str, format: str, length: int, models: dict[str, Path]
) -> None:
    rows = Dataset.read(frames()[format])
    examples = [ahead._example(row) for row in rows.sample(ROWS)]
    tokenizer, template = ModelTokenizer.of(models[pads]), ChatTemplate.of(models[pads])
    assert template is not None
    tokenizing = StockTokenizing(tokenizer, rows.format, length, set(tokenizer.ends), template.renderer)
    quick = Quick.of(tokenizing, tokenizer)
    assert quick is not None
    exact = _counted(tokenizing, list(enumerate(examples))).rows
    counts = quick.count(examples)
    assert None not in counts[: ROWS - 1]
    for count, row in zip(counts, exact, strict=True):
        assert count is None or (count.length, count.trained, count.wanted, count.stops) == (
            row.length, row.trained, row.trained + row.lost, row.stops,
        )  # fmt: skip
