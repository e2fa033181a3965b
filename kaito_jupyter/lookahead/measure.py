"""All rows as tokens, by the trainer's own labelling: how long they are, what is cut, what is trained on, what is padded."""

from __future__ import annotations

import gc
import random
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from kaito_trainer.data import Example
from kaito_trainer.failures import Failure
from kaito_trainer.tokens import IGNORED, Tokenizing

from ..dataset.measure import Lengths, lengths
from .quick import CHECKED, TRIED, Quick
from .stock import StockTokenizing

WORKERS: Final = 2
"""Batches at work at once: while one is tokenised (which leaves the interpreter free), another is rendered."""
SEED: Final = 0
BARS: Final = 40
"""Bars of the picture at most."""
FAR: Final = 6
"""How many times the median length the longest row may be for bars of equal steps."""


class Row(NamedTuple):
    """What is kept of a row."""

    length: int
    """Tokens before the cut."""
    trained: int
    """Tokens trained on, after the cut."""
    lost: int
    """Tokens that would be trained on and are cut off."""
    prompt: int
    """A hash of what is asked."""
    stops: bool = True
    """Whether an end of it is trained on, or cut off. Ours trains every end; KAITO's trainer may not."""


Numbered = tuple[int, Example]
"""A row and its place in the data, from 0."""


@dataclass
class _Counted:
    """A batch."""

    rows: list[Row] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    odd: dict[str, Numbered] = field(default_factory=dict)

    def take(self, row: Row, one: Numbered, limit: int | None) -> None:
        """Add a row, and keep it itself when it is odd."""
        if limit is not None and row.length > limit:
            self.odd.setdefault("the first that is cut", one)
        if not row.trained:
            self.odd.setdefault("nothing in it is trained on", one)
        self.rows.append(row)


@dataclass
class Figures:
    """What the rows come to, as the trainer will see them."""

    rows: int = 0
    """Rows looked at."""
    max_length: int | None = None
    lengths: Lengths = field(default_factory=Lengths)
    """Tokens of a row, before the cut."""
    edges: tuple[int, ...] = ()
    """Lengths at which the bars of the picture begin, and the end of the last."""
    bars: tuple[int, ...] = ()
    """Rows in each."""
    tokens: int = 0
    """Tokens of all rows, before the cut."""
    kept: int = 0
    """Tokens of the rows that are trained on, after the cut."""
    trained: int = 0
    """Tokens of them that count in the loss."""
    truncated: int = 0
    """Rows longer than `max_length`."""
    lost: int = 0
    """Tokens that would have counted, and are cut off."""
    untrained: int = 0
    """Rows without a token to train on, which are left out."""
    refused: int = 0
    """Rows that the chat template refuses: the trainer stops at the first."""
    refusal: str = ""
    """What it says of the first."""
    endless: int = 0
    """Rows of which no end is trained on, though it is there: the model does not learn to stop."""
    repeated: int = 0
    """Rows that ask what an earlier row has asked."""
    batch: int = 1
    """Rows that are computed together on one GPU."""
    padding: float = 0.0
    """Share of a step's tokens that only fill up shorter rows."""
    packed: int = 0
    """Sequences of `max_length` tokens that all rows would fit into."""

    @property
    def never_stops(self) -> bool:
        """Whether no row teaches the model to stop, of those that are not cut."""
        return 0 < self.endless == self.rows - self.refused - self.truncated

    @property
    def left(self) -> int:
        """Rows that are trained on."""
        return self.rows - self.untrained - self.refused


class Differs(Exception):
    """A row that was counted by its words comes to something else by the tokenizer: all are to be counted by that."""


def figures(
    batches: Iterable[Sequence[Numbered]], tokenizing: Tokenizing, batch: int, quick: Quick | None = None
) -> tuple[Figures, dict[str, Numbered]]:
    """Tokenise and count. `batch` is the number of rows that are padded to one length. Raises `Differs` with `quick` only.

    Comes with the first row of each kind that a person wants to see: why -> row.
    """
    result = Figures(max_length=tokenizing.max_length, batch=batch)
    found: list[Row] = []
    odd: dict[str, Numbered] = {}
    for counted in _ahead(batches, tokenizing, quick):
        found += counted.rows
        result.rows += len(counted.rows) + len(counted.refused)
        result.refused += len(counted.refused)
        result.refusal = result.refusal or (counted.refused[0] if counted.refused else "")
        for why, example in counted.odd.items():
            odd.setdefault(why, example)
    if not found:
        return result, odd
    import numpy as np

    length, trained, lost, prompt, stops = (np.array(column) for column in zip(*found, strict=True))
    limit = tokenizing.max_length
    kept = length if limit is None else np.minimum(length, limit)
    result.lengths = lengths([length])
    result.edges, result.bars = _bars(length)
    result.tokens = int(length.sum())
    result.truncated = int((length > kept).sum())
    result.lost = int(lost.sum())
    result.untrained = int((trained == 0).sum())
    result.trained = int(trained.sum())
    result.endless = int((~stops).sum())
    result.repeated = len(prompt) - len(np.unique(prompt))
    remaining = kept[trained > 0]
    result.kept = int(remaining.sum())
    result.padding = padding(remaining.tolist(), batch)
    result.packed = packed(remaining.tolist(), limit) if limit else 0
    return result, odd


def _bars(length: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Edges and counts: equal steps, or, when the longest row is far off the others, steps that grow."""
    import numpy as np

    low, high = int(length.min()), int(length.max()) + 1
    even = high <= FAR * float(np.median(length))
    edges = np.linspace(low, high, BARS + 1) if even else np.geomspace(max(low, 1), high, BARS + 1)
    edges = np.unique(np.round(edges).astype(np.int64))
    edges[0] = low
    return tuple(edges.tolist()), tuple(np.histogram(length, edges)[0].tolist())


def padding(lengths: list[int], batch: int) -> float:
    """Share of the tokens that is padding when rows come in random order, each batch as wide as its longest row."""
    if batch < 2 or not lengths:
        return 0.0
    shuffled = lengths.copy()
    random.Random(SEED).shuffle(shuffled)
    parts = [shuffled[i : i + batch] for i in range(0, len(shuffled), batch)]
    whole = sum(max(part) * len(part) for part in parts)
    return 1 - sum(lengths) / whole


def packed(lengths: list[int], size: int) -> int:
    """Sequences of `size` tokens that the rows take when each goes where the least room remains (TRL's `bfd`)."""
    room: list[int] = []  # in order, of the sequences begun; how many have as much
    count: dict[int, int] = {}
    sequences = 0
    for length in sorted(lengths, reverse=True):
        at = bisect_left(room, length)
        if at == len(room):
            sequences += 1
            left = size - length
        else:
            before = room[at]
            count[before] -= 1
            if not count[before]:
                del room[at]
            left = before - length
        if left and not count.get(left):
            insort(room, left)
        count[left] = count.get(left, 0) + 1
    return sequences


def _ahead(batches: Iterable[Sequence[Numbered]], tokenizing: Tokenizing, quick: Quick | None) -> Iterator[_Counted]:
    """The batches' rows in order, a few batches ahead of who takes them."""
    if quick is not None:  # Python's own work: a second thread would only wait for the first
        gc.freeze()  # of many small objects the collector would look through all that was there before, again and again
        try:
            yield from (_quickly(tokenizing, examples, quick) for examples in batches)
        finally:
            gc.unfreeze()
        return
    waiting: deque[Future[_Counted]] = deque()
    with ThreadPoolExecutor(WORKERS, "kaito-preview") as hands:
        for examples in batches:
            waiting.append(hands.submit(_counted, tokenizing, examples))
            if len(waiting) > WORKERS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _quickly(tokenizing: Tokenizing, numbered: Sequence[Numbered], quick: Quick) -> _Counted:
    """By words, with the rows that they don't tell by the tokenizer, and the first and every `CHECKED`th by both."""
    from jinja2 import TemplateError

    try:
        counts = quick.count([example for _, example in numbered])
    except TemplateError:  # one is refused: the tokenizer's way tells which
        return _counted(tokenizing, numbered)
    asked = [i for i, c in enumerate(counts) if c is None or i % CHECKED == 0 or numbered[i][0] < TRIED]
    told = _counted(tokenizing, [numbered[i] for i in asked])
    if told.refused:
        return _counted(tokenizing, numbered)
    exact = dict(zip(asked, told.rows, strict=True))
    result = _Counted()
    for i, (one, count) in enumerate(zip(numbered, counts, strict=True)):
        if count is None:
            result.take(exact[i], one, tokenizing.max_length)
            continue
        row = Row(count.length, count.trained, count.wanted - count.trained, _asked(one[1]), count.stops)
        if exact.get(i, row) != row:
            raise Differs
        result.take(row, one, tokenizing.max_length)
    return result


def _counted(tokenizing: Tokenizing, numbered: Sequence[Numbered]) -> _Counted:
    result = _Counted()
    try:
        tokens = tokenizing.tokens([example for _, example in numbered])
    except Failure:
        tokens, kept = [], []
        for number, example in numbered:  # one of them: which?
            try:
                tokens += tokenizing.tokens([example])
                kept.append((number, example))
            except Failure as failure:
                result.refused.append(failure.message)
                result.odd.setdefault("refused by the chat template", (number, example))
        numbered = kept
    limit = tokenizing.max_length
    for one, (ids, labels) in zip(numbered, tokens, strict=True):
        # The first token is never predicted.
        first = labels[:1] != [IGNORED]
        wanted = trained = len(ids) - labels.count(IGNORED) - first
        if limit is not None and len(ids) > limit:
            trained = limit - labels[:limit].count(IGNORED) - first
        cut = limit is not None and len(ids) > limit
        stops = cut or not isinstance(tokenizing, StockTokenizing) or not tokenizing.ends.isdisjoint(labels)
        result.take(Row(len(ids), trained, wanted - trained, _asked(one[1]), stops), one, limit)
    return result


def _asked(example: Example) -> int:
    """A hash of what stands before the last answer, or of the text."""
    messages: list[dict[str, Any]] = example.messages
    if not messages:
        return hash(example.prompt or example.completion)
    last = next((i for i in reversed(range(len(messages))) if messages[i]["role"] == "assistant"), len(messages))
    return hash(tuple((m["role"], str(m.get("content"))) for m in messages[:last]))
