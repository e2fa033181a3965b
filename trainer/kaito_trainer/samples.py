"""What the model answers to a few held-out prompts, greedily, so that a person sees what was learnt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from .contract import TrainingConfig
from .data import Example
from .tokens import IGNORED, Tokenizing

COUNT: Final = 2
LENGTH: Final = 48
"""Tokens of an answer at most."""
AT_ONCE: Final = 8
"""Questions that are answered together: two take hardly longer than one."""
BEGINNING: Final = 0.5
"""Share of a plain text that is given; the model goes on from there."""


@dataclass(frozen=True)
class Question:
    """One held-out prompt."""

    ids: list[int]
    prompt: str
    """For people: the last question alone, without the template around it."""
    reference: str


def questions(examples: list[Example], tokenizing: Tokenizing, config: TrainingConfig) -> list[Question]:
    """The first held-out prompts that have an answer, as many as the config wants."""
    wanted = config.TrainerOptions.samples
    wanted = COUNT if wanted is None else wanted
    found = (_question(example, tokenizing) for example in examples[: 10 * wanted])
    return [question for question in found if question is not None][:wanted]


def answers(
    model: Any, asked: list[Question], tokenizing: Tokenizing, config: TrainingConfig, check: Callable[[], None]
) -> list[dict[str, str]]:
    """Each question with the model's own answer. `check` is called now and then, and may end it by raising."""
    import torch
    from transformers import GenerationConfig

    tokenizer, pad = tokenizing.tokenizer, tokenizing.eos
    generation = GenerationConfig(
        max_new_tokens=config.TrainerOptions.sample_tokens or LENGTH,
        do_sample=False,
        use_cache=True,
        eos_token_id=sorted(tokenizing.ends),
        pad_token_id=pad,
    )
    was_training, answered = model.training, []
    model.eval()
    for start in range(0, len(asked), AT_ONCE):
        check()
        some = asked[start : start + AT_ONCE]
        width = max(len(question.ids) for question in some)
        padding = [width - len(question.ids) for question in some]
        ids = torch.tensor([[pad] * n + question.ids for n, question in zip(padding, some, strict=True)])
        mask = torch.tensor([[0] * n + [1] * (width - n) for n in padding])
        with torch.no_grad(), torch.autocast(model.device.type, torch.bfloat16, model.dtype == torch.bfloat16):
            written = model.generate(
                input_ids=ids.to(model.device), attention_mask=mask.to(model.device), generation_config=generation
            )
        texts = tokenizer.batch_decode(written[:, width:], skip_special_tokens=True)
        answered += [
            {"prompt": question.prompt, "completion": text.strip(), "reference": question.reference}
            for question, text in zip(some, texts, strict=True)
        ]
    model.train(was_training)
    return answered


def _question(example: Example, tokenizing: Tokenizing) -> Question | None:
    """The example up to its last answer, or None when it has none."""
    tokenizer = tokenizing.tokenizer
    if tokenizing.template is not None:
        last = next((i for i, m in reversed(list(enumerate(example.messages))) if m["role"] == "assistant"), 0)
        if not last:
            return None
        text = tokenizing.template.render(example.messages[:last], example.tools, add_generation_prompt=True)
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        return Question(ids, _content(example.messages[last - 1]), _content(example.messages[last]))
    tokens = tokenizing.tokens([example])[0]
    if example.prompt:
        trained = [label != IGNORED for label in tokens.labels]
        ids = tokens.ids[: trained.index(True)] if not all(trained) else tokenizer(example.prompt)["input_ids"]
        return Question(ids, example.prompt, example.completion) if ids else None
    ids = tokens.ids[: max(1, int(len(tokens.ids) * BEGINNING))]
    beginning = tokenizer.decode(ids, skip_special_tokens=True)
    rest = tokenizer.decode(tokens.ids[len(ids) :], skip_special_tokens=True)
    return Question(ids, beginning, rest)


def _content(message: dict[str, Any]) -> str:
    content = message.get("content", "")
    return content if isinstance(content, str) else str(content)


__all__ = ["Question", "answers", "questions"]
