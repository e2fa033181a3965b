"""Rows by length, in bars that a picture of a few lines or of a few pixels can show."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .measure import Figures


class Bars(NamedTuple):
    """Rows by length, in steps that grow with the length."""

    counts: tuple[int, ...]
    first: int
    """Tokens of the shortest row."""
    last: int
    """Tokens of the longest."""
    cut: float | None
    """Where `max_length` stands, in bars from the left; None when no row reaches it."""


def histogram(figures: Figures) -> Bars:
    """The bars of a preview."""
    lengths, limit = figures.lengths, figures.max_length
    edges, counts = figures.edges, figures.bars
    cut = None
    if limit is not None and lengths.max > limit and len(counts):
        place = sum(edge <= limit for edge in edges) - 1
        cut = 0.0 if place < 0 else place + (limit - edges[place]) / (edges[place + 1] - edges[place])
    return Bars(counts, lengths.shortest, lengths.max, cut)
