"""A conversation as the model's chat template renders it, and which stretches of that text the assistant said.

A template that marks them itself (`{% generation %}`) is believed. For any other, the assistant's contents are wrapped
in two characters that no text holds, rendered, and looked for: exact for every template that prints contents as they
are. Templates that rewrite contents (or drop earlier thinking) are rendered turn by turn instead, and what both
renderings share is taken. A stretch reaches to the end of what closes a turn (`<|im_end|>`), and not into the white
space behind it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

START: Final = "\ue0c0"
END: Final = "\ue0c1"
_GENERATION: Final = re.compile(r"\{%-?\s*generation\s*-?%\}")

Span = tuple[int, int]
Messages = list[dict[str, Any]]


@dataclass(frozen=True)
class Rendered:
    """A conversation as text, with the stretches that are trained on."""

    text: str
    spans: tuple[Span, ...]
    ends: bool
    """Whether the assistant speaks last, so that the model has to stop after it."""


class Template:
    """The tokenizer's chat template. Raises jinja2's errors for conversations that the template refuses."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._special = dict(tokenizer.special_tokens_map)
        added = {str(token) for token in tokenizer.added_tokens_decoder.values()}
        self._added = sorted((token for token in added if token.strip()), key=len, reverse=True)
        self.marks_itself = bool(_GENERATION.search(tokenizer.get_chat_template()))
        """Whether the template says by itself what the assistant generates."""
        self.closer = self._closer()
        """What the template writes after the assistant's content, up to the token that ends the turn."""

    def render(self, messages: Messages, tools: list[Any] | None = None, *, add_generation_prompt: bool = False) -> str:
        """The conversation as text."""
        (text,), _ = self._render([messages], tools, add_generation_prompt=add_generation_prompt)
        return text

    def assistant(self, messages: Messages, tools: list[Any] | None = None, trained_from: int = 0) -> Rendered:
        """The conversation with the assistant's stretches, from the message `trained_from` on."""
        trained = [i for i, m in enumerate(messages) if m["role"] == "assistant" and i >= trained_from]
        ends = bool(trained) and trained[-1] == len(messages) - 1
        if self.marks_itself and not trained_from:
            (text,), (marked,) = self._render([messages], tools, return_assistant_tokens_mask=True)
            return Rendered(text, tuple(self._closed(text, (start, end)) for start, end in marked), ends)
        text, spans = self._by_marks(messages, tools, trained)
        if spans is None:
            spans = self._by_turns(text, messages, tools, trained)
        return Rendered(text, tuple(self._closed(text, span) for span in spans), ends)

    def _render(self, conversations: list[Messages], tools: list[Any] | None, **how: Any) -> tuple[list[str], Any]:
        """Several conversations at once: what goes before the template itself costs as much as the template."""
        from transformers.utils.chat_template_utils import render_jinja_template

        return render_jinja_template(  # type: ignore[no-any-return]
            conversations=conversations,
            tools=tools,
            chat_template=self._tokenizer.get_chat_template(None, tools),
            **how,
            **self._special,
        )

    def _by_marks(
        self, messages: Messages, tools: list[Any] | None, trained: list[int]
    ) -> tuple[str, list[Span] | None]:
        """The text, and the contents' stretches, or None when the template does not print the contents as they are."""
        if any(not isinstance(messages[i].get("content"), str) or messages[i].get("tool_calls") for i in trained):
            return self.render(messages, tools), None
        text = ""
        for trim in (str, str.strip):  # some templates trim: then what they print is the trimmed content
            marked = [
                m | {"content": f"{START}{trim(m['content'])}{END}"} if i in trained else m
                for i, m in enumerate(messages)
            ]
            (text, with_marks), _ = self._render([messages, marked], tools)
            pieces = re.split(f"([{START}{END}])", with_marks)
            if pieces[1::2] == [START, END] * len(trained) and "".join(pieces[::2]) == text:
                bounds = [0]
                for piece in pieces[::2]:
                    bounds.append(bounds[-1] + len(piece))
                return text, [(bounds[i], bounds[i + 1]) for i in range(1, len(bounds) - 2, 2)]
        return text, None

    def _by_turns(self, text: str, messages: Messages, tools: list[Any] | None, trained: list[int]) -> list[Span]:
        """What the conversation up to a turn shares with the whole, less what it shares up to the turn before."""
        from jinja2 import TemplateError

        spans = []
        for i in trained:
            try:
                before = self.render(messages[:i], tools, add_generation_prompt=True) if i else ""
                through = self.render(messages[: i + 1], tools)
            except TemplateError:  # the template refuses this piece of the conversation
                continue
            start, end = _shared(before, text), _shared(through, text)
            closer = text.rfind(self.closer, start, end) if self.closer else -1
            end = closer if closer >= 0 else start + len(text[start:end].rstrip())
            if end > start:
                spans.append((start, end))
        return spans

    def _closed(self, text: str, span: Span) -> Span:
        """The stretch with what closes the turn."""
        start, end = span
        if self.closer and text.startswith(self.closer, end):
            return start, end + len(self.closer)
        return span

    def _closer(self) -> str:
        from jinja2 import TemplateError

        probe = [{"role": "user", "content": "a"}, {"role": "assistant", "content": f"{START}b{END}"}]
        try:
            text = self.render(probe)
        except TemplateError:
            return ""
        tail = text.rpartition(END)[2] if END in text else ""
        token = re.search("|".join(map(re.escape, self._added)), tail) if self._added else None
        return tail[: token.end()] if token else tail.rstrip()


def _shared(a: str, b: str) -> int:
    """How many letters both begin with."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


__all__ = ["Rendered", "Template"]
