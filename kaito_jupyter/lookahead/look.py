"""A preview as a card of HTML that follows the notebook's theme and needs no other file.

Everything that comes from the data, the template and the tokenizer is escaped. Colour is never alone: what is trained on
is underlined too, and the words say it. Without its style sheet the card is still a heading, figures, notes and rows.
"""

from __future__ import annotations

import re
from functools import cache
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from .histogram import histogram
from .words import facts, heading, learnt, model, rows, spread, stretches

if TYPE_CHECKING:
    from .ahead import Lookahead
    from .drawn import Drawn, Token

WIDTH, HEIGHT = 400, 44
BREAK: Final = re.compile(r"\n")


def html(seen: Lookahead) -> str:
    """The card."""
    exact = "" if seen.exact else '<b class="k-about">estimated</b>'
    parts = [
        f"<style>{_style()}</style>",
        f'<section class="kaito-look" aria-label="{escape(seen.name)} as the model sees it">',
        f"<header><h4>{escape(seen.name)} <span>as {escape(model(seen))} sees it</span></h4>{exact}",
        f"<p>{rows(seen.total)} ({seen.format}); {learnt(seen)}</p></header>",
        _lengths(seen),
        f"<table>{''.join(map(_fact, facts(seen)))}</table>",
        _remarks(seen),
        _legend(seen),
        *map(_row, seen.rows),
        "</section>",
    ]
    return "".join(parts)


def _lengths(seen: Lookahead) -> str:
    bars = histogram(seen.figures)
    if not bars.counts:
        return ""
    top, width = max(bars.counts), WIDTH / len(bars.counts)
    # The root keeps a few long rows visible beside many short ones.
    drawn = "".join(
        f'<rect x="{i * width:.1f}" y="{HEIGHT - h:.1f}" width="{max(width - 1, 1):.1f}" height="{h:.1f}"/>'
        for i, h in enumerate(max((c / top) ** 0.5 * (HEIGHT - 4), 2) if c else 0 for c in bars.counts)
        if h
    )
    limit = seen.figures.max_length
    cut = ""
    if bars.cut is not None:
        at = bars.cut * width
        cut = f'<line x1="{at:.1f}" x2="{at:.1f}" y1="0" y2="{HEIGHT}"/>'
    label = f"Rows by length: {spread(seen)} tokens" + (f", cut at {limit:,}" if cut else "")
    picture = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{label}">{drawn}{cut}</svg>'
    told = f"<i>cut at {limit:,}</i>" if cut else ""
    scale = f"<span>{bars.first:,}</span>{told}<span>{bars.last:,}</span>"
    return f"<figure><figcaption><b>{spread(seen)}</b> tokens a row</figcaption>{picture}<div>{scale}</div></figure>"


def _fact(fact: tuple[str, str]) -> str:
    return f"<tr><th>{fact[0]}</th><td>{escape(fact[1])}</td></tr>"


def _remarks(seen: Lookahead) -> str:
    items = [f'<li class="k-{p.severity}"><b>{p.severity}</b> {escape(str(p))}</li>' for p in seen.problems] + [
        f"<li>{escape(note)}</li>" for note in seen.notes
    ]
    return f"<ul>{''.join(items)}</ul>" if items else ""


def _legend(seen: Lookahead) -> str:
    if not any(row.tokens for row in seen.rows):
        return ""
    cut = "<s>cut off</s>" if any(token.cut for row in seen.rows for token in row.tokens) else ""
    return (
        f'<p class="k-legend"><mark>trained on</mark><span class="k-read">only read</span>'
        f'<b class="k-special">special token</b>{cut}</p>'
    )


def _row(row: Drawn) -> str:
    if row.refusal:
        return f"<h5>{escape(heading(row))}</h5><pre>{escape(row.refusal)}</pre>"
    body = []
    for part in stretches(row):
        if isinstance(part, str):
            body.append(f'<span class="k-cut">{escape(part)}</span>')
        else:
            body += [_token(row.tokens[i]) for i in part]
    return f"<h5>{escape(heading(row))}</h5><pre>{''.join(body)}</pre>"


def _token(token: Token) -> str:
    tag, names = ("mark" if token.trained else "s" if token.cut else "span"), ["k-t"]
    names += [name for name, on in (("k-special", token.special), ("k-off", token.cut)) if on]
    text = BREAK.sub('<i class="k-break">↵</i>\n', escape(token.text)) or '<i class="k-break">∅</i>'
    many = f' title="{token.many} tokens"' if token.many > 1 else ""
    return f'<{tag} class="{" ".join(names)}"{many}>{text}</{tag}>'


@cache
def _style() -> str:
    sheet = files(__package__).joinpath("look.css").read_text(encoding="utf-8")
    return re.sub(r"\s+", " ", re.sub(r"/\*.*?\*/", "", sheet, flags=re.DOTALL)).strip()
