"""A preview as plain text, in several lines or in one. The sentences are those of the card, too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .histogram import histogram
from .words import facts, heading, learnt, model, rows, share, share_of, spread, stretches

if TYPE_CHECKING:
    from .ahead import Lookahead
    from .drawn import Drawn

BLOCKS: Final = "▁▂▃▄▅▆▇█"
OPEN, CLOSE = "⟦", "⟧"


def line(seen: Lookahead) -> str:
    """All in one line."""
    f = seen.figures
    parts = [f"{spread(seen)} tokens a row", f"{share(f.trained, f.kept)} of them trained on"]
    if f.truncated:
        parts.append(f"{share(f.truncated, f.rows)} of the rows cut at {f.max_length:,}")
    if f.untrained:
        parts.append(f"{rows(f.untrained)} without a token to train on")
    if f.refused:
        parts.append(f"{rows(f.refused)} refused by the chat template")
    if f.batch > 1 and f.padding >= 0.01 and not seen.packing:
        parts.append(f"{share_of(f.padding)} padding")
    sample = f" (of {f.rows:,} rows)" if f.rows < seen.total else ""
    guess = "" if seen.exact else " (estimated: tokenizer or chat template are not on this machine)"
    return f"The model sees {', '.join(parts)}{sample}{guess}."


def text(seen: Lookahead) -> str:
    """Several lines."""
    bars = histogram(seen.figures)
    lines = [f"{seen.name} as {model(seen)} sees it: {rows(seen.total)} ({seen.format}), {learnt(seen)}"]
    lines.append(f"  {'tokens a row':<14}{spread(seen)}")
    if bars.counts:
        top = max(bars.counts)
        drawn = "".join(BLOCKS[round(7 * (c / top) ** 0.5)] if c else " " for c in bars.counts)
        lines.append(f"  {'':<14}{bars.first:,} {drawn} {bars.last:,}")
    lines += [f"  {name:<14}{value}" for name, value in facts(seen)]
    lines += [f"  {p.severity:<14}{p}" for p in seen.problems]
    lines += [f"  {'note':<14}{note}" for note in seen.notes]
    for row in seen.rows:
        lines += ["", f"{heading(row)}:", *(f"  {part}".rstrip() for part in _row(row).splitlines())]
    if any(row.tokens for row in seen.rows):
        lines += ["", f"{OPEN}trained on{CLOSE}; the rest is only read."]
    return "\n".join(lines)


def _row(row: Drawn) -> str:
    if row.refusal:
        return row.refusal
    parts = []
    for part in stretches(row):
        if isinstance(part, str):
            parts.append(f"\n[{part}]\n")
            continue
        trained = False
        for token in (row.tokens[i] for i in part):
            if token.trained != trained:
                parts.append(OPEN if token.trained else CLOSE)
                trained = token.trained
            parts.append(token.text)
        parts.append(CLOSE if trained else "")
    return "".join(parts)
