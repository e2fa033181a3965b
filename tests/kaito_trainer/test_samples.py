"""Held-out prompts, as the model is asked them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import make_tokenizer

from kaito_trainer.contract import TrainingConfig
from kaito_trainer.data import Example, Format
from kaito_trainer.samples import Question, answers, questions
from kaito_trainer.tokens import Tokenizing

pytestmark = pytest.mark.usefixtures("libraries")


def ask(format: Format, *examples: Example, **options: int) -> tuple[Tokenizing, list[Question]]:
    tokenizer = make_tokenizer()
    t = Tokenizing(tokenizer, format, "text", None, {tokenizer.eos_token_id})
    return t, questions(list(examples), t, TrainingConfig.from_dict({"TrainerOptions": options}))


def test_a_conversation_is_asked_up_to_its_last_answer() -> None:
    turns = [("system", "you do"), ("user", "what"), ("assistant", "it"), ("user", "why"), ("assistant", "because")]
    t, asked = ask("conversational", Example(messages=[{"role": r, "content": c} for r, c in turns]))
    assert t.tokenizer.decode(asked[0].ids).endswith("<|im_start|>user\nwhy<|im_end|>\n<|im_start|>assistant\n")
    assert (asked[0].prompt, asked[0].reference) == ("why", "because")


def test_an_instruction_is_asked_as_it_is() -> None:
    t, asked = ask("instruction", Example(prompt="what does it do", completion=" it returns"))
    assert t.tokenizer.decode(asked[0].ids) == "what does it do"
    assert (asked[0].prompt, asked[0].reference) == ("what does it do", " it returns")


def test_a_plain_text_is_begun() -> None:
    _, asked = ask("text", Example(completion="what does the function do it returns"))
    assert (asked[0].prompt, asked[0].reference) == ("what does the function", " do it returns")


def test_rows_without_an_answer_are_passed_over_and_no_more_are_asked_than_wanted() -> None:
    silent = Example(messages=[{"role": "user", "content": "a"}])
    spoken = Example(messages=[{"role": "user", "content": "b"}, {"role": "assistant", "content": "c"}])
    assert [q.prompt for q in ask("conversational", silent, spoken, spoken, spoken)[1]] == ["b", "b"]
    assert len(ask("conversational", spoken, spoken, spoken, samples=3)[1]) == 3
    assert ask("conversational", spoken, samples=0)[1] == []


def test_answers_do_not_depend_on_who_is_asked_along(model_folder: Path) -> None:
    """Prompts of unequal lengths are answered together, padded on the left."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(model_folder).train()
    texts = ["hello", "what does the function do", "why not because of you"]
    t, asked = ask("instruction", *(Example(prompt=x, completion="y") for x in texts), samples=3)
    config = TrainingConfig.from_dict({"TrainerOptions": {"sample_tokens": 8}})
    together = answers(model, asked, t, config, lambda: None)
    alone = [answers(model, [q], t, config, lambda: None)[0] for q in asked]
    assert together == alone
    assert model.training, "and the model is as it was"
