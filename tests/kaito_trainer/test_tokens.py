"""Which tokens are trained on, token by token."""

from __future__ import annotations

from typing import Any

import pytest
from tiny import make_tokenizer

from kaito_trainer.contract import TrainingConfig
from kaito_trainer.data import Example, Format
from kaito_trainer.failures import Failure
from kaito_trainer.tokens import IGNORED, LossOn, Tokenizing, loss_on

pytestmark = pytest.mark.usefixtures("libraries")


def tokenizing(
    format: Format, on: LossOn | None = None, max_length: int | None = None, tokenizer: Any = None
) -> Tokenizing:
    default: dict[Format, LossOn] = {"conversational": "assistant", "instruction": "completion", "text": "text"}
    tokenizer = tokenizer or make_tokenizer()
    return Tokenizing(tokenizer, format, on or default[format], max_length, {tokenizer.eos_token_id})


def shown(t: Tokenizing, example: Example) -> list[tuple[str, bool]]:
    """Each token as text, and whether it is trained on; a label is its own token or -100."""
    ids, labels = t.tokens([example])[0]
    assert len(ids) == len(labels)
    assert all(label in (IGNORED, token) for token, label in zip(ids, labels, strict=True))
    return [(t.tokenizer.decode([i]), label != IGNORED) for i, label in zip(ids, labels, strict=True)]


def parts(t: Tokenizing, example: Example) -> list[tuple[str, bool]]:
    """The text in stretches that are trained on and not."""
    joined: list[tuple[str, bool]] = []
    for text, trained in shown(t, example):
        if joined and joined[-1][1] == trained:
            joined[-1] = (joined[-1][0] + text, trained)
        else:
            joined.append((text, trained))
    return joined


def talk(*contents: str, system: str | None = None) -> Example:
    roles = ["user", "assistant"] * len(contents)
    turns = [{"role": r, "content": c} for r, c in zip(roles, contents, strict=False)]
    return Example(messages=[*([{"role": "system", "content": system}] if system else []), *turns])


def test_one_turn_token_by_token() -> None:
    assert shown(tokenizing("conversational"), talk("what", "it does")) == [
        ("<|im_start|>", False),
        ("u", False),
        ("se", False),
        ("r", False),
        ("\n", False),
        ("what", False),
        ("<|im_end|>", False),
        ("\n", False),
        ("<|im_start|>", False),
        ("a", False),
        ("s", False),
        ("s", False),
        ("is", False),
        ("t", False),
        ("a", False),
        ("n", False),
        ("t", False),
        ("\n", False),
        ("it", True),
        (" does", True),
        ("<|im_end|>", True),
    ]


def test_every_turn_of_the_assistant_is_trained_on_and_nothing_else() -> None:
    example = talk("what", "it", "why", "because of you", system="you do numbers")
    assert parts(tokenizing("conversational"), example) == [
        (
            "<|im_start|>system\nyou do numbers<|im_end|>\n<|im_start|>user\nwhat<|im_end|>\n<|im_start|>assistant\n",
            False,
        ),
        ("it<|im_end|>", True),
        ("\n<|im_start|>user\nwhy<|im_end|>\n<|im_start|>assistant\n", False),
        ("because of you<|im_end|>", True),
    ]


def test_a_conversation_that_ends_with_the_user_gets_no_end_of_ours() -> None:
    assert parts(tokenizing("conversational"), talk("what", "it", "why"))[-1] == (
        "\n<|im_start|>user\nwhy<|im_end|>\n",
        False,
    )


def test_a_conversation_without_assistant_has_nothing_to_train_on() -> None:
    assert not any(trained for _, trained in shown(tokenizing("conversational"), talk("what")))


def test_turns_of_a_prompt_are_context_only() -> None:
    example = Example(messages=talk("what", "it", "why", "because").messages, trained_from=3)
    assert [text for text, trained in parts(tokenizing("conversational"), example) if trained] == ["because<|im_end|>"]


def test_characters_of_several_tokens_are_whole() -> None:
    trained = [text for text, on in shown(tokenizing("conversational"), talk("why", "né 🙂"))[-12:] if on]
    t = tokenizing("conversational")
    ids, labels = t.tokens([talk("why", "né 🙂")])[0]
    assert t.tokenizer.decode([x for x in labels if x != IGNORED]) == "né 🙂<|im_end|>"
    assert len(trained) > len("né 🙂")
    assert ids[-1] == t.eos


def test_the_completion_and_its_end_are_trained_on_token_by_token() -> None:
    example = Example(prompt="what does it do ", completion="it returns")
    assert shown(tokenizing("instruction"), example) == [
        ("what", False),
        (" does", False),
        (" it", False),
        (" do", False),
        (" ", False),
        ("it", True),
        (" returns", True),
        ("<|im_end|>", True),
    ]


def test_a_prompts_tokens_are_those_that_inference_will_see() -> None:
    """`do` + `es` would become one token `does`: then the model would be trained on a prompt that nobody asks."""
    t = tokenizing("instruction")
    ids, labels = t.tokens([Example(prompt="what does it do", completion="es")])[0]
    prompt = t.tokenizer("what does it do")["input_ids"]
    assert ids[: len(prompt)] == prompt
    assert labels[: len(prompt)] == [IGNORED] * len(prompt)
    assert t.tokenizer.decode(ids[len(prompt) :]) == "es<|im_end|>"


def test_plain_text_is_trained_on_whole_and_ends() -> None:
    assert parts(tokenizing("text"), Example(completion="hello world")) == [("hello world<|im_end|>", True)]


@pytest.mark.parametrize("format", ["instruction", "text"])
def test_an_end_that_is_there_is_not_doubled(format: Format) -> None:
    t = tokenizing(format)
    ids, labels = t.tokens([Example(completion="hello<|im_end|>")])[0]
    assert ids.count(t.eos) == 1
    assert labels[-1] == t.eos


@pytest.mark.parametrize(
    "example",
    [talk("what", "it"), Example(prompt="what", completion="it"), Example(completion="what it")],
    ids=["conversation", "instruction", "text"],
)
def test_everything_is_trained_on_when_that_is_wanted(example: Example) -> None:
    format: Format = "conversational" if example.messages else "instruction" if example.prompt else "text"
    assert all(trained for _, trained in shown(tokenizing(format, "text"), example))


def test_a_closing_token_that_is_no_end_is_followed_by_one() -> None:
    """A base model given ChatML: `<|im_end|>` is a token of it, but generation stops at another."""
    tokenizer = make_tokenizer(eos_token="</s>", pad_token="</s>")
    t = tokenizing("conversational", tokenizer=tokenizer)
    assert parts(t, talk("what", "it"))[-1] == ("it<|im_end|></s>", True)


def test_rows_are_cut_counted_and_left_out_when_nothing_remains() -> None:
    t = tokenizing("instruction", max_length=4)
    heard: list[int] = []
    examples = [
        Example(prompt="what", completion="it"),
        Example(prompt="what", completion="it returns a list of numbers"),
        Example(prompt="what does the function do", completion="it"),
    ]
    result = t.dataset(examples, heard.append)
    assert (result.truncated, result.dropped, result.longest, heard) == (2, 1, 4, [3])
    assert [len(ids) for ids in result.dataset["input_ids"]] == [3, 4]
    assert result.dataset["labels"][0][0] == IGNORED


def test_held_out_rows_are_sorted_by_length() -> None:
    examples = [Example(completion="hello " * n) for n in (3, 1, 2)]
    lengths = [
        len(i) for i in tokenizing("text").dataset(examples, lambda _: None, by_length=True).dataset["input_ids"]
    ]
    assert lengths == sorted(lengths)


def test_a_batch_is_padded_by_place_so_that_an_end_that_also_pads_is_trained() -> None:
    """Field notes K2 and K3: batch 2, unequal lengths, pad token = end token."""
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    t = tokenizing("instruction")
    rows = t.dataset(
        [Example(prompt="what", completion="it"), Example(prompt="a", completion="it returns a list")], print
    )
    batch = DataCollatorForLanguageModeling(pad_token_id=t.eos)(list(rows.dataset))
    for ids, labels, mask in zip(batch["input_ids"], batch["labels"], batch["attention_mask"], strict=True):
        length = int(mask.sum())
        assert int(labels[length - 1]) == t.eos == int(ids[length - 1])
        assert labels[length:].tolist() == [IGNORED] * (len(labels) - length)


@pytest.mark.parametrize(
    ("format", "arguments", "expected"),
    [
        ("conversational", {}, "assistant"),
        ("conversational", {"assistant_only_loss": True}, "assistant"),
        ("conversational", {"assistant_only_loss": False}, "text"),
        ("instruction", {}, "completion"),
        ("instruction", {"completion_only_loss": False}, "text"),
        ("instruction", {"assistant_only_loss": False}, "completion"),
        ("text", {}, "text"),
    ],
)
def test_the_answers_are_trained_on_unless_the_config_says_otherwise(
    format: Format, arguments: dict[str, Any], expected: LossOn
) -> None:
    assert loss_on(format, TrainingConfig.from_dict({"TrainingArguments": arguments})) == expected


def test_a_loss_that_the_data_has_no_place_for_is_refused() -> None:
    with pytest.raises(Failure) as caught:
        loss_on("text", TrainingConfig.from_dict({"TrainingArguments": {"assistant_only_loss": True}}))
    assert (caught.value.kind, str(caught.value)) == (
        "config",
        "TrainingArguments.assistant_only_loss: true needs conversational data, and this is text data. Leave it out.",
    )


def test_a_conversation_that_the_template_refuses_is_a_defect_of_the_data() -> None:
    strict = (
        "{% if messages[0].role != 'user' %}{{ raise_exception('user first') }}{% endif %}"
        + make_tokenizer().chat_template
    )
    t = tokenizing("conversational", tokenizer=make_tokenizer(strict))
    with pytest.raises(Failure, match=r"refuses a conversation \(system → user\): user first") as caught:
        t.tokens([talk("what", system="you")])
    assert caught.value.kind == "dataset"
