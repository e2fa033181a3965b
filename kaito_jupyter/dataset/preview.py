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
        example = _conversation(row["messages"], template, dataset)
    else:
        end = template.tokens.get("eos_token", "") if template else ""
        if dataset.format == "instruction":
            pair = (Piece(row["prompt"], "given"), Piece(row["completion"] + end, "learnt"))
            example = Preview("one text: the completion follows the prompt, no chat template around them", pair)
        else:
            example = Preview("one text, all of it learnt", (Piece(row["text"] + end, "learnt"),))
    if dataset.everything and dataset.format != "text":
        pieces = tuple(p if p.kind == "role" else p._replace(kind="learnt") for p in example.pieces)
        example = Preview(f"{example.caption}; all of it is learnt", pieces, example.exact)
    return example


def _conversation(messages: Sequence[Mapping[str, Any]], template: ChatTemplate | None, dataset: Dataset) -> Preview:
    def unrendered(why: str) -> Preview:
        return Preview(f"{why}: the roles are marked instead", _marked(messages), exact=False)

    if template is None:
        model = f"{dataset.model} has no chat template on this machine" if dataset.model else ""
        return unrendered(dataset.trouble or model or "no chat template, as no model is chosen")
    try:
        text = template.render(messages)
        spans = template.learnt(messages)
    except RenderError as error:
        return unrendered(f"the chat template of {template.origin} refuses this conversation ({error})")
    caption = f"as the chat template of {template.origin} renders it"
    pieces, end = [], 0
    for low, high in spans:
        pieces += [Piece(text[end:low], "given"), Piece(text[low:high], "learnt")]
        end = high
    pieces.append(Piece(text[end:], "given"))
    return Preview(caption, tuple(p for p in pieces if p.text))


def _marked(messages: Sequence[Mapping[str, Any]]) -> tuple[Piece, ...]:
    pieces = []
    for i, message in enumerate(messages):
        kind: Kind = "learnt" if message["role"] == "assistant" else "given"
        break_ = "\n" if i < len(messages) - 1 else ""
        pieces += [Piece(f"[{message['role']}]\n", "role"), Piece(f"{message['content']}{break_}", kind)]
    return tuple(pieces)
