"""A tokenizer's chat template, rendered by Transformers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .spans import Messages, Span, marks_itself


class Rendering:
    """`spans.Renderer` of a Transformers tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._special = dict(tokenizer.special_tokens_map)
        self.added: Sequence[str] = tuple({str(token) for token in tokenizer.added_tokens_decoder.values()})
        self.marks_itself = marks_itself(tokenizer.get_chat_template())

    def render(
        self, conversations: Sequence[Messages], tools: list[Any] | None, *, add_generation_prompt: bool = False
    ) -> list[str]:
        """The conversations as text."""
        texts: list[str] = self._render(conversations, tools, add_generation_prompt=add_generation_prompt)[0]
        return texts

    def marked(self, messages: Messages, tools: list[Any] | None) -> tuple[str, list[Span]]:
        """One conversation, with what stands in its template's `{% generation %}` blocks."""
        (text,), (spans,) = self._render([messages], tools, return_assistant_tokens_mask=True)
        return text, spans

    def _render(self, conversations: Sequence[Messages], tools: list[Any] | None, **how: Any) -> tuple[Any, Any]:
        from transformers.utils.chat_template_utils import render_jinja_template

        return render_jinja_template(  # type: ignore[no-any-return]
            conversations=conversations,
            tools=tools,
            chat_template=self._tokenizer.get_chat_template(None, tools),
            **how,
            **self._special,
        )


__all__ = ["Rendering"]
