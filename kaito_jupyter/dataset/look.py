"""How a dataset looks: as text, and as a card of HTML that follows the notebook's theme and needs no other file.

Everything that comes from the data is escaped. Without its style sheet (an untrusted notebook, GitHub) the card is still
a heading, a list of figures, notes and the example.
"""

from __future__ import annotations

import re
from functools import cache
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from .preview import Piece, Preview, first

if TYPE_CHECKING:
    from .dataset import Dataset

SHOWN: Final = 1600
"""Characters of the example that are shown at once; the rest of it is counted."""

_TOKEN: Final = re.compile(r"&lt;\|[^|&]{1,40}\|&gt;|&lt;/?s&gt;|&lt;(?:start|end)_of_turn&gt;|\[/?INST\]")
"""Special tokens of the usual chat templates, in escaped text."""

_WORDS: Final = {"conversational": "conversations", "instruction": "instructions", "text": "plain text"}


def text(dataset: Dataset) -> str:
    """Several lines of plain text."""
    lengths, example = dataset.lengths, _cut(first(dataset, dataset.template))
    rows = [
        f"Dataset {dataset.name}: {_rows(dataset.rows)}, {dataset.format} ({', '.join(dataset.columns)})",
        f"  lengths      p50 {lengths.p50:,} · p95 {lengths.p95:,} · max {lengths.max:,} characters",
    ]
    if dataset.config is not None:
        train, held_out = dataset.split(dataset.config)
        rows.append(f"  split        {train:,} trained on, {held_out:,} held out")
    rows += [f"  {'note' if i == 0 else '':<12} {n}" for i, n in enumerate(dataset.notes)]
    rows += [f"  {'warning' if i == 0 else '':<12} {p}" for i, p in enumerate(dataset.warnings)]
    rows.append(f"  fingerprint  {dataset.fingerprint[:16]}")
    rows.append(f"First example, {example.caption}:")
    return "\n".join([*rows, *(f"  {line}".rstrip() for line in str(example).splitlines())])


def html(dataset: Dataset) -> str:
    """The card."""
    parts = [
        f"<style>{_style()}</style>",
        f'<section class="kaito-data" aria-label="Dataset {escape(dataset.name)}">',
        _heading(dataset),
        _figures(dataset),
        _remarks(dataset),
        _example(_cut(first(dataset, dataset.template))),
        f'<footer>fingerprint <code title="{dataset.fingerprint}">{dataset.fingerprint[:16]}</code></footer>',
        "</section>",
    ]
    return "".join(parts)


def _heading(dataset: Dataset) -> str:
    columns = ", ".join(f"<code>{c}</code>" for c in dataset.columns)
    return (
        f'<header><h4>{escape(dataset.name)}</h4><span class="k-format">{_WORDS[dataset.format]}</span>'
        f'<span class="k-columns">{columns}</span></header>'
    )


def _figures(dataset: Dataset) -> str:
    lengths = dataset.lengths
    cells = [_figure(f"{dataset.rows:,}", "row" if dataset.rows == 1 else "rows")]
    if dataset.config is not None:
        train, held_out = dataset.split(dataset.config)
        cells += [_figure(f"{train:,}", "trained on"), _figure(f"{held_out:,}", "held out")]
    spread = " · ".join(f"{name} <b>{value:,}</b>" for name, value in (("p50", lengths.p50), ("p95", lengths.p95)))
    scale = f"<span>min {lengths.shortest:,}</span><span>{spread}</span><span>max {lengths.max:,}</span>"
    cells.append(
        f'<div class="k-lengths"><dt>characters a row</dt><dd>{_bars(dataset)}<span class="k-scale">{scale}</span></dd></div>'
    )
    return f"<dl>{''.join(cells)}</dl>"


def _figure(value: str, word: str) -> str:
    return f"<div><dt>{word}</dt><dd>{value}</dd></div>"


def _bars(dataset: Dataset) -> str:
    """How many rows have which length, as a small picture; its words are in the label."""
    bins, lengths = dataset.lengths.histogram, dataset.lengths
    top = max(bins, default=0) or 1
    # The root keeps a few long rows visible beside many short ones.
    heights = [(count / top) ** 0.5 * 30 if count else 0.0 for count in bins]
    bars = "".join(
        f'<rect x="{10 * i}" y="{32 - max(h, 2):.1f}" width="8" height="{max(h, 2):.1f}" rx="1"/>'
        for i, h in enumerate(heights)
        if h
    )
    label = (
        f"Rows by length: median {lengths.p50:,}, 95th percentile {lengths.p95:,}, longest {lengths.max:,} characters"
    )
    return f'<svg viewBox="0 0 {10 * len(bins)} 32" preserveAspectRatio="none" role="img" aria-label="{label}">{bars}</svg>'


def _remarks(dataset: Dataset) -> str:
    notes = [f'<li class="k-note">{_marked_up(n)}</li>' for n in dataset.notes]
    warnings = [
        f'<li class="k-warning"><b>{escape(p.path)}</b> {_marked_up(f"{p.message} {p.remedy}".strip())}</li>'
        for p in dataset.warnings
    ]
    return f"<ul>{''.join(warnings + notes)}</ul>" if notes or warnings else ""


def _example(example: Preview) -> str:
    learnt = any(p.kind == "learnt" for p in example.pieces) and any(p.kind == "given" for p in example.pieces)
    legend = '<span class="k-legend"><mark>learnt</mark> the rest is only read</span>' if learnt else ""
    body = "".join(map(_piece, example.pieces))
    return (
        f"<figure><figcaption><span><b>First example</b>, {escape(example.caption)}</span>{legend}</figcaption>"
        f"<pre>{body}</pre></figure>"
    )


def _piece(piece: Piece) -> str:
    if piece.kind == "role":
        return f'<span class="k-role">{escape(piece.text)}</span>'
    body = _TOKEN.sub(lambda m: f'<span class="k-token">{m[0]}</span>', escape(piece.text))
    return f"<mark>{body}</mark>" if piece.kind == "learnt" else body


def _cut(example: Preview) -> Preview:
    """At most `SHOWN` characters of it."""
    more = len(str(example)) - SHOWN
    if more <= 0:
        return example
    left, pieces = SHOWN, []
    for piece in example.pieces:
        if left > 0:
            pieces.append(piece._replace(text=piece.text[:left]))
        left -= len(piece.text)
    return Preview(example.caption, (*pieces, Piece(f"\n… {more:,} more characters", "role")), example.exact)


def _marked_up(sentence: str) -> str:
    """Escaped, with `names` as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(sentence))


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


@cache
def _style() -> str:
    sheet = files(__package__).joinpath("look.css").read_text(encoding="utf-8")
    return re.sub(r"\s+", " ", re.sub(r"/\*.*?\*/", "", sheet, flags=re.DOTALL)).strip()
