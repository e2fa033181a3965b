"""One row as the model will see it: every token with its text, and whether it is trained on, special, or cut off."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from kaito_trainer.data import Example
from kaito_trainer.failures import Failure
from kaito_trainer.tokens import IGNORED, Tokenizing

from .tokenizer import Tokens

BROKEN: Final = "\ufffd"
"""What a decoder writes for the bytes of a letter that further tokens complete."""
LONGEST_LETTER: Final = 8
"""Tokens after which bytes that make no letter are shown as they are."""


class Token(NamedTuple):
    """A token, or the few that only together make a letter."""

    text: str
    many: int
    """Tokens that it stands for."""
    trained: bool
    special: bool
    """Whether no text makes it by itself, such as `<|im_end|>`."""
    cut: bool
    """Whether it stands behind `max_length`, and is never seen."""


@dataclass(frozen=True)
class Drawn:
    """One row."""

    number: int
    """Its place in the data, from 0."""
    ids: tuple[int, ...] = ()
    """All tokens, before the cut."""
    labels: tuple[int, ...] = ()
    """What is trained on, a label a token: the token itself, or -100."""
    tokens: tuple[Token, ...] = ()
    max_length: int | None = None
    why: str = ""
    """Why it is shown, when it is not one of the first."""
    refusal: str = ""
    """Why the chat template does not take it; then there are no tokens."""

    @property
    def seen(self) -> int:
        """Tokens that the model sees."""
        return len(self.ids) if self.max_length is None else min(len(self.ids), self.max_length)

    @property
    def trained(self) -> int:
        """Tokens that count in the loss. The first token is never predicted."""
        return sum(label != IGNORED for label in self.labels[1 : self.seen])


def draw(number: int, example: Example, tokenizing: Tokenizing, tokenizer: Tokens, why: str = "") -> Drawn:
    """Label a row by the trainer's own code, and take it apart."""
    try:
        ids, labels = tokenizing.tokens([example])[0]
    except Failure as failure:
        return Drawn(number, why=why, refusal=failure.message)
    limit = tokenizing.max_length
    tokens, at = [], 0
    for text, count in _texts(ids, tokenizer):
        trained = any(label != IGNORED for label in labels[max(at, 1) : at + count])
        cut = limit is not None and at >= limit
        tokens.append(Token(text, count, trained, tokenizer.special(ids[at]), cut))
        at += count
    return Drawn(number, tuple(ids), tuple(labels), tuple(tokens), limit, why)


def _texts(ids: list[int], tokenizer: Tokens) -> Iterator[tuple[str, int]]:
    """Each token's text and how many tokens it took.

    What a token looks like depends on the one before it (a space, half a letter), so both are decoded together.
    """
    before, at = 0, 0
    for end in range(1, len(ids) + 1):
        known, new = tokenizer.decode(ids[before:at]), tokenizer.decode(ids[before:end])
        if new.endswith(BROKEN) and end < len(ids) and end - at < LONGEST_LETTER:
            continue
        yield new[len(known) :] if new.startswith(known) else tokenizer.decode(ids[at:end]), end - at
        before, at = at, end
