"""What the model answered to the held-out prompts, shown so that a person sees what was learnt."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import Any, Final

from ..state import Samples

_HEADS: Final = ("prompt", "before", "after", "in the data")


class Answers(list[Samples]):
    """One entry each time that the model was asked: before the first step, and after the last. Shows as a comparison."""

    def rows(self) -> Iterator[tuple[str, str, str, str]]:
        """Prompt, the first answer, the latest one, and the data's own, for each prompt."""
        if not self:
            return
        first = {s.get("prompt", ""): s.get("completion", "") for s in self[0].samples}
        for sample in self[-1].samples:
            prompt = sample.get("prompt", "")
            after = sample.get("completion", "") if len(self) > 1 else "…"
            yield prompt, first.get(prompt, ""), after, sample.get("reference", "")

    def __repr__(self) -> str:
        texts = [
            f"{prompt}\n  before  {_line(before)}\n  after   {_line(after)}\n  data    {_line(reference)}"
            for prompt, before, after, reference in self.rows()
        ]
        return "\n\n".join(texts) or "No prompts were answered (yet): there are no held-out rows, or samples is 0."

    def _repr_html_(self) -> str:
        if not self:
            return f"<p>{html.escape(repr(self))}</p>"
        cell = "style='text-align:left;vertical-align:top;white-space:pre-wrap;max-width:22em'"
        head = "".join(f"<th scope='col' {cell}>{name}</th>" for name in _HEADS)
        lines = ("".join(f"<td {cell}>{html.escape(text)}</td>" for text in row) for row in self.rows())
        body = "".join(f"<tr>{line}</tr>" for line in lines)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))


def _line(text: str) -> str:
    return " ".join(text.split())
