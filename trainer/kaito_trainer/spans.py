"""A conversation as the model's chat template renders it, and which stretches of that text the assistant said.

A template that marks them itself (`{% generation %}`) is believed. For any other, the assistant's contents are wrapped
in two characters that no text holds, rendered, and looked for: exact for every template that prints contents as they
are. Templates that rewrite contents (or drop earlier thinking) are rendered turn by turn instead, and what both
renderings share is taken. A stretch reaches to the end of what closes a turn (`<|im_end|>`), and not into the white
space behind it.

Pure: who renders is given. The trainer and the notebook's preview mark by this one code, so that they cannot differ.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

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


class Renderer(Protocol):
    """A chat template with whatever renders it: Transformers in the trainer, the notebook's own Jinja in a preview."""

    marks_itself: bool
    """Whether the template says by itself what the assistant generates."""
    added: Sequence[str]
    """Tokens that the tokenizer has beside its vocabulary's own, such as `<|im_end|>`."""

    def render(
        self, conversations: Sequence[Messages], tools: list[Any] | None, *, add_generation_prompt: bool = False
    ) -> list[str]:
        """Several conversations at once: what goes before the template itself costs as much as the template."""
        ...

    def marked(self, messages: Messages, tools: list[Any] | None) -> tuple[str, list[Span]]:
        """One conversation, with the stretches that its template marks."""
        ...


def marks_itself(source: str) -> bool:
    """Whether a template's text has `{% generation %}` blocks."""
    return bool(_GENERATION.search(source))


class Template:
    """A chat template. Raises jinja2's errors for conversations that the template refuses."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self._added = sorted((token for token in renderer.added if token.strip()), key=len, reverse=True)
        self.closer = self._closer()
        """What the template writes after the assistant's content, up to the token that ends the turn."""

    def render(self, messages: Messages, tools: list[Any] | None = None, *, add_generation_prompt: bool = False) -> str:
        """The conversation as text."""
        return self._renderer.render([messages], tools, add_generation_prompt=add_generation_prompt)[0]

    def assistant(self, messages: Messages, tools: list[Any] | None = None, trained_from: int = 0) -> Rendered:
        """The conversation with the assistant's stretches, from the message `trained_from` on."""
        trained = [i for i, m in enumerate(messages) if m["role"] == "assistant" and i >= trained_from]
        ends = bool(trained) and trained[-1] == len(messages) - 1
        if self._renderer.marks_itself and not trained_from:
            text, marked = self._renderer.marked(messages, tools)
            return Rendered(text, tuple(self._closed(text, (start, end)) for start, end in marked), ends)
        text, spans = self._by_marks(messages, tools, trained)
        if spans is None:
            spans = self._by_turns(text, messages, tools, trained)
        return Rendered(text, tuple(self._closed(text, span) for span in spans), ends)

    def once(self, messages: Messages) -> Rendered | None:
        """The same by one rendering instead of two, for who counts many; None where it takes `assistant` to tell.

        What a template does to a content for the marks' sake alone does not show; who relies on it compares now and then.
        """
        trained = [i for i, m in enumerate(messages) if m["role"] == "assistant"]
        if self._renderer.marks_itself:
            return None
        for i in trained:
            content = messages[i].get("content")
            # White space may be trimmed, and what looks like a tag may be looked for at the beginning.
            plain = isinstance(content, str) and content[:1].strip(" \t\n\r<[{") and content[-1:].strip()
            if not plain or messages[i].get("tool_calls"):
                return None
        (text,) = self._renderer.render([_wrapped(messages, trained, str)], None)
        if (found := _unwrapped(text, len(trained))) is None:
            return None
        ends = bool(trained) and trained[-1] == len(messages) - 1
        return Rendered(found[0], tuple(self._closed(found[0], span) for span in found[1]), ends)

    def _by_marks(
        self, messages: Messages, tools: list[Any] | None, trained: list[int]
    ) -> tuple[str, list[Span] | None]:
        """The text, and the contents' stretches, or None when the template does not print the contents as they are."""
        if any(not isinstance(messages[i].get("content"), str) or messages[i].get("tool_calls") for i in trained):
            return self.render(messages, tools), None
        text = ""
        for trim in (str, str.strip):  # some templates trim: then what they print is the trimmed content
            text, with_marks = self._renderer.render([messages, _wrapped(messages, trained, trim)], tools)
            found = _unwrapped(with_marks, len(trained))
            if found is not None and found[0] == text:
                return found
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


def _wrapped(messages: Messages, trained: list[int], trim: Callable[[str], str]) -> Messages:
    """The conversation with marks around what is trained on."""
    return [m | {"content": f"{START}{trim(m['content'])}{END}"} if i in trained else m for i, m in enumerate(messages)]


def _unwrapped(text: str, count: int) -> tuple[str, list[Span]] | None:
    """The text without so many pairs of marks, and where they stood; None when they did not come through."""
    first, *marked = text.split(START)
    if len(marked) != count or END in first:
        return None
    parts, spans, at = [first], [], len(first)
    for part in marked:
        inside, *behind = part.split(END)
        if len(behind) != 1:
            return None
        spans.append((at, at + len(inside)))
        parts += inside, behind[0]
        at += len(inside) + len(behind[0])
    return "".join(parts), spans


def _shared(a: str, b: str) -> int:
    """How many letters both begin with."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


__all__ = ["Messages", "Rendered", "Renderer", "Span", "Template", "marks_itself"]
