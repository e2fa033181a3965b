"""The first example as the model sees it, in pieces that a face can colour: what is learnt, and what only leads there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ..chat import ChatTemplate, RenderError

if TYPE_CHECKING:
    from .dataset import Dataset

Kind = Literal["given", "learnt", "role"]


class Piece(NamedTuple):
    """A stretch of the example."""

    text: str
    kind: Kind
    """Whether the loss counts it (`learnt`) or not (`given`); `role` is a mark of ours, which the model never sees."""


@dataclass(frozen=True)
class Preview:
    """One example."""

    caption: str
    """How it is shown, as a sentence without its stop."""
    pieces: tuple[Piece, ...]
    exact: bool = True
    """Whether the pieces, put together, are the very text that is trained on."""

    def __str__(self) -> str:
        return "".join(p.text for p in self.pieces)


def first(dataset: Dataset, template: ChatTemplate | None) -> Preview:
    """The dataset's first row."""
    row = dataset.sample(1)[0]
    if dataset.format == "conversational":
        return _conversation(row["messages"], template, dataset.model)
    end = template.tokens.get("eos_token", "") if template else ""
    if dataset.format == "instruction":
        pieces = (Piece(row["prompt"], "given"), Piece(row["completion"] + end, "learnt"))
        return Preview("one text: the completion follows the prompt, no chat template around them", pieces)
    return Preview("one text, all of it learnt", (Piece(row["text"] + end, "learnt"),))


def _conversation(messages: Sequence[Mapping[str, Any]], template: ChatTemplate | None, model: str | None) -> Preview:
    if template is None:
        why = f"{model} has no chat template on this machine" if model else "no chat template, as no model is chosen"
        return Preview(f"{why}: the roles are marked instead", _marked(messages), exact=False)
    try:
        text = template.render(messages)
        spans = template.learnt(messages)
    except RenderError as error:
        why = f"the chat template of {template.origin} refuses this conversation ({error})"
        return Preview(f"{why}: the roles are marked instead", _marked(messages), exact=False)
    if spans is None:
        return Preview(f"as the chat template of {template.origin} renders it", (Piece(text, "given"),))
    pieces, end = [], 0
    for low, high in spans:
        pieces += [Piece(text[end:low], "given"), Piece(text[low:high], "learnt")]
        end = high
    pieces.append(Piece(text[end:], "given"))
    return Preview(f"as the chat template of {template.origin} renders it", tuple(p for p in pieces if p.text))


def _marked(messages: Sequence[Mapping[str, Any]]) -> tuple[Piece, ...]:
    pieces = []
    for i, message in enumerate(messages):
        kind: Kind = "learnt" if message["role"] == "assistant" else "given"
        break_ = "\n" if i < len(messages) - 1 else ""
        pieces += [Piece(f"[{message['role']}]\n", "role"), Piece(f"{message['content']}{break_}", kind)]
    return tuple(pieces)
