"""When the model's tokenizer is not at hand: pieces that are about as many as its tokens would be.

Cuts a text as byte-level tokenizers first cut it (words with the space before them, numbers, signs), and long pieces
again, by how many characters of their kind make a token. Whoever shows this says that it is an estimate.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, Final

from .tokenizer import Place

CHARACTERS: Final = {"letters": 9, "digits": 3, "signs": 2, "others": 2}
"""Characters of a kind in one token at most. Measured against SmolLM2's tokenizer: docstrings 0.90 of its tokens, Markdown
0.90, Python code 1.03, a licence 1.10; other languages may be a third off."""

_PIECE: Final = re.compile(
    r"<\|[^|<>]{1,40}\|>"  # a chat template's own tokens
    rf"| ?[A-Za-z]{{1,{CHARACTERS['letters']}}}"
    rf"| ?\d{{1,{CHARACTERS['digits']}}}"
    r"|[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]"  # a syllable or more in one character
    rf"| ?[^\W\d_a-zA-Z]{{1,{CHARACTERS['others']}}}"
    rf"| ?[^\w\s]{{1,{CHARACTERS['signs']}}}"
    r"|\n+| +(?= )|\s|_+|.",
    re.DOTALL,
)
CHATML: Final = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Stands in for a chat template that is not known: most are about as long."""


class Estimate:
    """A tokenizer's stand-in."""

    is_fast = True
    exact = False
    eos_token = "<|im_end|>"
    eos_token_id = 0
    pad_token_id = 0
    added: Sequence[str] = ("<|im_start|>", "<|im_end|>")
    ends = frozenset({0})

    def __init__(self) -> None:
        self._texts = [self.eos_token]
        self._ids = {self.eos_token: 0}

    def __call__(self, texts: list[str] | str, add_special_tokens: bool = True) -> Any:
        if isinstance(texts, str):
            return {"input_ids": self._ids_of(texts)[0]}
        return _Encoded([self._ids_of(text) for text in texts])

    def decode(self, ids: list[int]) -> str:
        """The pieces as text."""
        return "".join(self._texts[i] for i in ids)

    def special(self, token: int) -> bool:
        return self._texts[token].startswith("<|")

    def _ids_of(self, text: str) -> tuple[list[int], list[int]]:
        """Pieces, and where each begins."""
        pieces = _PIECE.findall(text)
        starts, at = [], 0
        for piece in pieces:
            starts.append(at)
            at += len(piece)
        return [self._id(piece) for piece in pieces], starts

    def _id(self, piece: str) -> int:
        found = self._ids.get(piece)
        if found is None:
            found = self._ids[piece] = len(self._texts)
            self._texts.append(piece)
        return found


class _Encoded:
    def __init__(self, rows: list[tuple[list[int], list[int]]]) -> None:
        self._rows = rows

    def __getitem__(self, name: str) -> list[list[int]]:
        return {"input_ids": [ids for ids, _ in self._rows]}[name]

    def char_to_token(self, row: int, character: int) -> int | None:
        return bisect_right(self._rows[row][1], character) - 1

    def token_to_chars(self, row: int, token: int) -> Place | None:
        starts = self._rows[row][1]
        return Place(starts[token], starts[token + 1] if token + 1 < len(starts) else starts[token])
