"""The preview's tokens and labels are the trainer's own, token by token: on the file that is sent, by Transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tiny import CHATML, WORDS, make_tokenizer

from kaito_jupyter import Dataset
from kaito_jupyter.chat import ChatTemplate
from kaito_jupyter.demo import smollm2
from kaito_jupyter.lookahead import Lookahead, ahead, preview
from kaito_jupyter.lookahead.quick import Quick
from kaito_jupyter.lookahead.tokenizer import ModelTokenizer
from kaito_trainer import data, model
from kaito_trainer.contract import TrainingConfig
from kaito_trainer.places import Places
from kaito_trainer.tokens import Tokenizing, Tokens, loss_on

pytest.importorskip("transformers")

ODD = [
    "né 🙂 日本",
    "a\n\n  b\t",
    " <|im_end|> <s> x",
    "1,234.5 e-4",
    "<think>\nhm\n</think>\n\nok",
    "x" * 300,
    "\ue0c0",
]
GENERATION = (
    "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {% if m.role == 'assistant' %}{% generation %}{{ m.content }}"
    "{{ eos_token }}{% endgeneration %}{% else %}{{ m.content | trim }}{% endif %}\n{% endfor %}"
)
TRIMS = (
    "{{ bos_token }}{% for m in messages %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
    "{{ m.content | trim }}<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
THINKS = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' and not loop.last %}"
    "{{ m.content.split('</think>')[-1].lstrip('\n') }}{% else %}{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def unigram(chat_template: str, **options: Any) -> Any:
    """A tokenizer as sentencepiece makes them: words with a mark for the space before, bytes for what it does not know."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["<unk>", "<s>", "</s>", "<start_of_turn>", "<end_of_turn>"]
    pieces = [(f"▁{word}", -3.0) for word in sorted(set(WORDS.split()))]
    letters = [(letter, -8.0) for letter in sorted({*WORDS, *"▁.,:?!'\n"} - {" "})]
    bytes_ = [(f"<0x{i:02X}>", -20.0) for i in range(256)]
    vocabulary = [*((token, 0.0) for token in special), *pieces, *letters, *bytes_]
    made = Tokenizer(models.Unigram(vocabulary, unk_id=0, byte_fallback=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="never", split=True)
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        extra_special_tokens=["<start_of_turn>", "<end_of_turn>"],
        **options,
    )
    tokenizer.chat_template = chat_template
    return tokenizer


def saved(made: Any, folder: Path, **files: dict[str, Any]) -> Path:
    """A model's folder; `files` are changed by these keys, as people change them by hand."""
    made.save_pretrained(folder)
    for name, changes in {"config": {"model_type": "llama"}, **files}.items():
        file = folder / f"{name}.json"
        before = json.loads(file.read_text()) if file.is_file() else {}
        file.write_text(json.dumps({**before, **changes}))
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    found = {
        "byte-level": saved(make_tokenizer(CHATML), folder / "a"),
        "byte-level, thinking": saved(make_tokenizer(THINKS), folder / "b"),
        "byte-level, other end": saved(make_tokenizer(CHATML, eos_token="</s>", pad_token="</s>"), folder / "c"),
        "byte-level, two ends": saved(
            make_tokenizer(CHATML, eos_token="</s>", pad_token="</s>"),
            folder / "g",
            generation_config={"eos_token_id": [1, 2]},
        ),
        "unigram, begins": saved(
            unigram(TRIMS, add_bos_token=True), folder / "d", tokenizer_config={"add_bos_token": False}
        ),
        "unigram, begins and ends": saved(unigram(GENERATION, add_bos_token=True, add_eos_token=True), folder / "e"),
        "unigram, neither": saved(unigram(TRIMS, add_bos_token=True), folder / "f", tokenizer={"post_processor": None}),
    }
    try:
        found["SmolLM2"] = smollm2()
    except Exception:  # noqa: BLE001 (made from a package that not every machine has)
        assert "SmolLM2" not in found
    return found


MODELS = (
    "SmolLM2",
    "byte-level",
    "byte-level, thinking",
    "byte-level, other end",
    "byte-level, two ends",
    "unigram, begins",
    "unigram, begins and ends",
    "unigram, neither",
)


def frames() -> dict[str, pd.DataFrame]:
    words = WORDS.split()
    texts = [" ".join(words[i : i + 1 + i % 7]) for i in range(len(words))] + ODD
    pairs = list(zip(texts, reversed(texts), strict=True))
    talks = []
    for i, (question, answer) in enumerate(pairs):
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        more = [{"role": "user", "content": "why"}, {"role": "assistant", "content": texts[(i * 5) % len(texts)]}]
        before = [{"role": "system", "content": "you do"}] if i % 3 == 0 else []
        talks.append([*before, *turns, *(more if i % 2 else more[: i % 4 // 2])])
    return {
        "conversational": pd.DataFrame({"messages": talks}),
        "instruction": pd.DataFrame({"prompt": [q for q, _ in pairs], "completion": [a for _, a in pairs]}),
        "text": pd.DataFrame({"text": texts}),
    }


def trained(seen: Lookahead, frame: pd.DataFrame, place: Path, config: TrainingConfig, folder: Path) -> list[Tokens]:
    """What the trainer makes of the file that is sent, with its own reader, tokenizer and template."""
    from transformers import GenerationConfig

    Dataset.read(frame).write(place / "train.parquet")
    rows = data.load(place / "train.parquet", config.merged({"DatasetConfig": {"shuffle_dataset": False}}))
    tokenizer = model.tokenizer(str(folder), config, Places(place))
    ends = {tokenizer.eos_token_id}
    if (folder / "generation_config.json").is_file():
        told = GenerationConfig.from_pretrained(folder).eos_token_id
        ends |= {told} if isinstance(told, int) else set(told)
    assert seen.figures.max_length is not None
    tokenizing = Tokenizing(tokenizer, rows.format, loss_on(rows.format, config), seen.figures.max_length, ends)
    return tokenizing.tokens([*rows.train, *rows.held_out])


@pytest.mark.parametrize("format", ["conversational", "instruction", "text"])
@pytest.mark.parametrize("name", MODELS)
def test_the_preview_s_labels_are_the_trainer_s(
    name: str, format: str, models: dict[str, Path], tmp_path: Path
) -> None:
    if name not in models:
        pytest.skip("SmolLM2 cannot be made here")
    frame = frames()[format]
    seen = preview(frame, preset=models[name], rows=len(frame), max_length=24)
    assert (seen.exact, seen.format, seen.figures.refused) == (True, format, 0)
    expected = trained(seen, frame, tmp_path, TrainingConfig(), models[name])
    assert [(list(row.ids), list(row.labels)) for row in seen.rows] == [(t.ids, t.labels) for t in expected]
    begins = (
        {"unigram, begins": 1, "unigram, begins and ends": 1, "unigram, neither": 22}.get(name)
        if format == "text"
        else None
    )
    assert begins is None or expected[0].ids[0] == begins
    assert sum(len(t.ids) > 24 for t in expected) == seen.figures.truncated > 0
    assert sum(all(label == -100 for label in t.labels[1:24]) for t in expected) == seen.figures.untrained
    assert sum(len(t.ids) for t in expected) == seen.figures.tokens
    assert sum(label != -100 for t in expected for label in t.labels[1:24]) == seen.figures.trained


def test_the_config_s_end_token_and_template_go_before_the_model_s(models: dict[str, Path], tmp_path: Path) -> None:
    frame = frames()["conversational"]
    config = {"TrainingArguments": {"eos_token": "<|im_start|>"}, "ModelConfig": {"chat_template": TRIMS}}
    seen = preview(frame, preset=models["byte-level"], rows=len(frame), config=config)
    expected = trained(seen, frame, tmp_path, TrainingConfig.from_dict(config), models["byte-level"])
    assert [(list(row.ids), list(row.labels)) for row in seen.rows] == [(t.ids, t.labels) for t in expected]


def test_what_is_drawn_is_all_of_the_tokens_in_order(models: dict[str, Path]) -> None:
    frame = frames()["conversational"]
    for name in ("byte-level", "unigram, begins"):
        for row in preview(frame, preset=models[name], rows=len(frame), max_length=24).rows:
            assert sum(token.many for token in row.tokens) == len(row.ids)
            at = 0
            for token in row.tokens:
                labels = row.labels[max(at, 1) : at + token.many]
                assert (token.trained, token.cut) == (any(label != -100 for label in labels), at >= 24)
                at += token.many
    row = preview(frame, preset=models["byte-level"], rows=len(frame)).rows[-7]
    text = "".join(token.text for token in row.tokens)
    assert "<|im_start|>assistant\n" in text
    assert "\ufffd" not in text


@pytest.mark.parametrize("format", ["conversational", "instruction", "text"])
@pytest.mark.parametrize("name", MODELS)
def test_rows_counted_by_their_words_come_to_the_same(
    name: str, format: str, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    if name not in models:
        pytest.skip("SmolLM2 cannot be made here")
    frame = pd.concat([frames()[format]] * 2, ignore_index=True)
    for options in ({}, {"assistant_only_loss": False} if format == "conversational" else {}):
        for limit in (24, 400):
            monkeypatch.setattr(ahead, "QUICK_FROM", 10**9)
            exact = preview(frame, preset=models[name], rows=0, max_length=limit, **options)
            monkeypatch.setattr(ahead, "QUICK_FROM", 1)
            quick = preview(frame, preset=models[name], rows=0, max_length=limit, **options)
            assert quick.figures == exact.figures


@pytest.mark.parametrize("format", ["conversational", "instruction", "text"])
@pytest.mark.parametrize("name", ["SmolLM2", "byte-level", "byte-level, two ends", "byte-level, thinking"])
def test_most_rows_are_counted_by_their_words_and_each_as_the_trainer_labels_it(
    name: str, format: str, models: dict[str, Path]
) -> None:
    if name not in models:
        pytest.skip("SmolLM2 cannot be made here")
    rows = Dataset.read(frames()[format])
    examples = [ahead._example(row) for row in rows.sample(rows.rows)]
    tokenizer, template = ModelTokenizer.of(models[name]), ChatTemplate.of(models[name])
    assert template is not None
    on = loss_on(rows.format, TrainingConfig())
    tokenizing = Tokenizing(tokenizer, rows.format, on, 24, set(tokenizer.ends), template.renderer)
    quick = Quick.of(tokenizing, tokenizer)
    assert quick is not None
    counts = quick.count(examples)
    assert sum(count is None for count in counts) < len(counts) / 4
    for count, (ids, labels) in zip(counts, tokenizing.tokens(examples), strict=True):
        kept = [sum(label != -100 for label in part) for part in (labels[1:24], labels[1:])]
        assert count is None or (count.length, count.trained, count.wanted) == (len(ids), *kept)


def test_a_tokenizer_whose_tokens_reach_over_a_space_counts_row_by_row(
    models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = pd.concat([frames()["text"]] * 2, ignore_index=True)
    for name, file in (("unigram, begins", None), ("byte-level", "what\u0120it")):
        folder = models[name]
        if file is not None:
            folder = saved(make_tokenizer(CHATML), tmp_path / "across")
            told = json.loads((folder / "tokenizer.json").read_text())
            told["model"]["vocab"][file] = max(told["model"]["vocab"].values()) + 1000
            (folder / "tokenizer.json").write_text(json.dumps(told))
        tokenizer = ModelTokenizer.of(folder)
        tokenizing = Tokenizing(tokenizer, "text", "text", 24, set(tokenizer.ends))
        quick = Quick.of(tokenizing, tokenizer)
        if file is not None:
            assert quick is None
    monkeypatch.setattr(ahead, "QUICK_FROM", 1)
    monkeypatch.setattr(Quick, "_last", lambda quick, text: None)  # as if it counted wrong
    seen = preview(frame, preset=models["byte-level"], rows=0)
    monkeypatch.setattr(ahead, "QUICK_FROM", 10**9)
    assert seen.figures == preview(frame, preset=models["byte-level"], rows=0).figures
