"""Rows counted as the trainer labels them, by words that are tokenised once each: some ten times as fast as row by row.

Sound where a tokenizer never makes one token of what stands on both sides of a space between two words: then the tokens of a
text are those of its words, each with the space before it, and most words are met again. Whether a tokenizer is so is
read from its vocabulary, tried on the first rows (`TRIED`), and tried again on every 64th of all (`CHECKED`): a single row that
comes out otherwise ends it, and all rows are counted by the tokenizer itself.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Final, NamedTuple

from kaito_trainer.data import Example
from kaito_trainer.spans import Rendered
from kaito_trainer.tokens import Tokenizing

from .stock import StockTokenizing
from .tokenizer import ModelTokenizer

CHECKED: Final = 64
"""One row in so many is counted both ways."""
TRIED: Final = 200
"""Rows at the beginning that all are."""
KEPT: Final = 1_000_000
"""Words that are remembered at most: then all are forgotten."""
LONGEST: Final = 80
"""Characters of a word that is remembered: longer ones hardly come again."""
BETWEEN: Final = re.compile(r"(?<=[!-~])(?= [!-~])")
"""Where a text is cut: before the space between two words."""
ACROSS: Final = re.compile(r"[!-~][ \u0120\u2581]")
"""The end of a word with a space behind it, as vocabularies write it: a token that holds this reaches into the next."""

Interval = tuple[int, int]


class Count(NamedTuple):
    """What a row comes to."""

    length: int
    """Tokens before the cut."""
    trained: int
    """Tokens trained on, after the cut."""
    wanted: int
    """Tokens that would be trained on without it."""
    stops: bool = True
    """Whether an end of it is trained on, or cut off."""


class Text:
    """A text cut into words, with the place of each in characters and in tokens."""

    def __init__(self, words: list[str], counts: Sequence[int]) -> None:
        self.words = words
        self.at = [0, *accumulate(map(len, words))]
        self.tokens = [0, *accumulate(counts)]

    @property
    def count(self) -> int:
        return self.tokens[-1]


class Quick:
    """Counts examples. One for each pass over the data."""

    def __init__(self, tokenizing: Tokenizing, tokenizer: ModelTokenizer) -> None:
        self._tokenizing, self._tokenizer = tokenizing, tokenizer
        self._counts: dict[str, int] = {}
        self._places: dict[tuple[str, int, bool], int] = {}
        self._ends: dict[str, int | None] = {}
        special = sorted(filter(None, tokenizer.added), key=len, reverse=True)
        self._special = re.compile(f"({'|'.join(map(re.escape, special))})") if special else None
        self._before, self._behind = tokenizer.around
        self._stock = isinstance(tokenizing, StockTokenizing)
        self._pad = tokenizer.decode([tokenizer.pad_token_id]) if self._stock else ""
        self._stops = {tokenizer.decode([i]) for i in tokenizing.ends} - {self._pad}

    @classmethod
    def of(cls, tokenizing: Tokenizing, tokenizer: object) -> Quick | None:
        """For that tokenizer; None for one whose tokens are not its words'."""
        if not isinstance(tokenizer, ModelTokenizer):
            return None
        if isinstance(tokenizing, StockTokenizing) and not tokenizer.special(tokenizer.pad_token_id):
            return None  # text may make it, too
        both, one, other = tokenizer.counts(["a b", "a", " b"])
        apart = tokenizer.apart and both == one + other and not any(map(ACROSS.search, tokenizer.vocabulary))
        return cls(tokenizing, tokenizer) if apart and tokenizer.around[1] in ([], [tokenizing.eos]) else None

    def count(self, examples: Sequence[Example]) -> list[Count | None]:
        """What each comes to; None for one that only the tokenizer itself can tell. Raises what a chat template raises."""
        make = self._conversation if self._tokenizing.template else self._plain
        made = [make(example) for example in examples]
        self._learn(words for texts in made if texts is not None for words in texts[0])
        return [None if one is None else self._of(example, *one) for example, one in zip(examples, made, strict=True)]

    def _of(self, example: Example, cut: list[list[str]], rendered: Rendered | None) -> Count | None:
        whole = self._text(cut[-1])
        if rendered is not None:
            return self._talk(whole, rendered)
        return self._answer(example, self._text(cut[0]), whole)

    def _talk(self, text: Text, rendered: Rendered) -> Count:
        length, t = text.count, self._tokenizing
        trained = [(self._token(text, a, False), self._token(text, b, True)) for a, b in rendered.spans]
        if rendered.ends and self._last(text) not in t.ends:
            length, trained = length + 1, [*trained, (length, length + 1)]
        return self._masked(text, length) if self._stock else self._figures(length, trained)

    def _answer(self, example: Example, prompt: Text, whole: Text) -> Count | None:
        """A prompt and what follows, or a text alone."""
        length = len(self._before) + whole.count + len(self._behind)
        if example.prompt and not self._begins(prompt, whole):
            return None
        last = self._behind[-1] if self._behind else self._last(whole)
        length += last != self._tokenizing.eos
        if self._stock:
            return self._masked(whole, length)
        return self._figures(length, [(len(self._before) + prompt.count, length)])

    def _masked(self, text: Text, length: int) -> Count:
        """What KAITO's trainer makes of it: all of it is trained on, but what it takes for padding."""
        found = self._figures(length, [(0, length)])
        limit, before = self._tokenizing.max_length, len(self._before)
        pad, eos = self._tokenizer.pad_token_id, self._tokenizing.eos
        places = [i for i, token in enumerate(self._before) if token == pad]
        places += [before + text.tokens[i] for i, word in enumerate(text.words) if word == self._pad]
        places += [length - 1] if self._behind and pad == eos else []
        masked = [at for at in places if at]  # the first token is never predicted
        kept = sum(limit is None or at < limit for at in masked)
        cut = limit is not None and length > limit
        stops = cut or not self._stops.isdisjoint(text.words) or (bool(self._behind) and pad != eos)
        return Count(length, found.trained - kept, found.wanted - len(masked), stops)

    def _figures(self, length: int, trained: Iterable[Interval]) -> Count:
        t = self._tokenizing
        if t.on == "text":
            trained = [(0, length)]
        limit = length if t.max_length is None else min(length, t.max_length)
        kept = wanted = 0
        for begin, end in trained:
            first = begin or 1  # the first token is never predicted
            wanted += max(0, end - first)
            kept += max(0, min(end, limit) - first)
        return Count(length, kept, wanted)

    def _conversation(self, example: Example) -> tuple[list[list[str]], Rendered] | None:
        template = self._tokenizing.template
        assert template is not None
        if example.tools or example.trained_from:
            return None
        if self._stock:
            rendered = Rendered(template.render(example.messages), (), False)
            return [self._words(rendered.text)], rendered
        rendered = template.once(example.messages) or template.assistant(example.messages)
        ends = rendered.ends and rendered.spans
        text = rendered.text[: rendered.spans[-1][1]] if ends else rendered.text
        return [self._words(text)], rendered

    def _plain(self, example: Example) -> tuple[list[list[str]], None] | None:
        if example.prompt.endswith(self._tokenizer.eos_token):
            return None
        text = example.prompt + example.completion
        if self._stock and not example.completion.endswith(self._tokenizer.eos_token):
            text += self._tokenizer.eos_token
        whole = self._words(text)
        return [self._words(example.prompt) if example.prompt else [], whole], None

    def _words(self, text: str) -> list[str]:
        """The text in pieces, special tokens among them."""
        if self._special is None:
            return _between(text)
        found: list[str] = []
        for i, part in enumerate(self._special.split(text)):
            if i & 1:
                found.append(part)
            elif part:
                found += _between(part)
        return found

    def _learn(self, texts: Iterable[list[str]]) -> None:
        """Tokenise the words that are not known yet, all at once."""
        if len(self._counts) > KEPT:
            self._counts.clear()
            self._places.clear()
            self._ends.clear()
        new = list(set[str]().union(*texts) - self._counts.keys())
        self._counts.update(zip(new, self._tokenizer.counts(new), strict=True))

    def _text(self, words: list[str]) -> Text:
        return Text(words, [*map(self._counts.__getitem__, words)])

    def _token(self, text: Text, character: int, behind: bool) -> int:
        """The first token that holds this character or a later one, as `kaito_trainer.tokens` finds it."""
        if character >= text.at[-1]:
            return text.count
        i = bisect_right(text.at, character) - 1
        local = character - text.at[i]
        if not local:
            return text.tokens[i]
        key = (text.words[i], local, behind)
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = self._tokenizer.place(*key)
        return text.tokens[i] + place

    def _last(self, text: Text) -> int | None:
        """The id of the last token."""
        if not text.count:
            return None
        word = text.words[-1]
        if word not in self._ends:
            ids = self._tokenizer(word, add_special_tokens=False)["input_ids"]
            self._ends[word] = ids[-1] if ids else None
        return self._ends[word]

    def _begins(self, prompt: Text, whole: Text) -> bool:
        """Whether the whole begins with the prompt's own tokens."""
        same = len(prompt.words) - 1
        if prompt.words[:same] != whole.words[:same]:
            return False
        i = bisect_right(whole.at, prompt.at[-1]) - 1
        if whole.at[i] == prompt.at[-1]:
            return prompt.words == whole.words[:i]
        if i != same:
            return False
        ids = self._tokenizer(prompt.words[same], add_special_tokens=False)["input_ids"]
        both = self._tokenizer(whole.words[same], add_special_tokens=False)["input_ids"]
        return bool(both[: len(ids)] == ids)


def _between(text: str) -> list[str]:
    """`BETWEEN.split`, at a third of the time for plain English."""
    odd = "  " in text or " \n" in text or "\n " in text or text[:1] == " " or text[-1:] == " " or not text.isascii()
    if odd or not text.replace("\n", "").isprintable():
        return BETWEEN.split(text)
    first, *rest = text.split(" ")
    return [first, *[f" {word}" for word in rest]]


__all__ = ["CHECKED", "TRIED", "Count", "Quick"]
