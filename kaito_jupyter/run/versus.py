"""How a comparison shows: a picture with tables in a notebook, text in a terminal."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Final

from ..plots.text import sparkline
from ..state import duration
from ..state.words import amount, shown

if TYPE_CHECKING:
    from .comparison import Comparison

_BOX: Final = "kaito-compare"


def text(versus: Comparison) -> str:
    """Curves as characters, then the tables."""
    parts = []
    width = max(map(len, versus.labels))
    for label, run in zip(versus.labels, versus.runs, strict=True):
        with run.lock:
            values = [v for v in run.state.series["loss"] if v == v]
        curve = f"{shown(values[0])} {sparkline(values)} {shown(values[-1])}" if values else "no step yet"
        parts.append(f"{label.ljust(width)}  {curve}")
    parts += ["", _metrics_text(versus), "", "What differs in their specs", str(versus.specs), *versus.notes()]
    return "\n".join(parts)


def html(versus: Comparison) -> str:
    """Picture and tables. The picture follows the page's theme; where a page takes no drawings, a PNG stands in its place."""
    return (
        f"<div class='{_BOX}'><style>{style(f'.{_BOX}')}</style>{picture(versus)}"
        f"<div class='tables'><div>{metrics(versus)}</div>"
        f"<div><p><strong>What differs in their specs</strong></p>{versus.specs._repr_html_()}</div></div>"
        f"{''.join(f'<p>{escape(note)}</p>' for note in versus.notes())}</div>"
    )


def style(box: str) -> str:
    """The look. A page that does not trust us drops it together with the drawing, and then shows the PNG."""
    from ..plots.vector import themes

    return (
        f"{themes(box)}{box} svg~img{{display:none}}{box} .tables{{display:flex;flex-wrap:wrap;gap:4px 40px;margin-top:10px}}"
        f"{box} .tables>div{{max-width:100%;overflow-x:auto}}{box} table{{margin:4px 0;border-collapse:collapse}}"
        f"{box} td,{box} th{{border:0}}{box} p{{margin:6px 0 2px}}"
    )


def picture(versus: Comparison) -> str:
    from ..plots.drawing import RunFigure
    from ..plots.vector import svg

    figure = versus.plot()
    assert isinstance(figure, RunFigure)
    png = base64.b64encode(figure._repr_png_()).decode("ascii")
    alt = alt_text(versus)
    return f'{svg(figure, alt)}<img alt="{escape(alt)}" width="800" src="data:image/png;base64,{png}">'


def alt_text(versus: Comparison) -> str:
    """The picture for those who cannot see it."""
    ends = []
    for label, run in zip(versus.labels, versus.runs, strict=True):
        loss, held = run.state.loss, run.state.eval_loss
        said = [f"loss {shown(loss)}"] if loss is not None else ["no step yet"]
        ends.append(f"{label}: {', '.join([*said, *([f'held-out loss {shown(held)}'] if held is not None else [])])}")
    return f"Loss of {len(ends)} runs by {versus.by}. At the end, {'; '.join(ends)}."


def metrics(versus: Comparison) -> str:
    """The table of figures, the best of each kind in bold."""
    heads, rows = _metrics(versus)
    cell = "style='text-align:right;padding:2px 0 2px 18px;white-space:nowrap'"
    left = "style='text-align:left;padding:2px 0;white-space:nowrap'"
    head = f"<th {left}></th>" + "".join(f"<th scope='col' {cell}>{escape(h)}</th>" for h in heads)
    body = "".join(
        f"<tr><th scope='row' {left}>{escape(name)}</th>"
        + "".join(f"<td {cell}>{f'<strong>{escape(v)}</strong>' if best else escape(v)}</td>" for v, best in values)
        + "</tr>"
        for name, values in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


_METRICS: Final[tuple[tuple[str, str, Callable[[Any], str]], ...]] = (
    ("state", "state", str),
    ("step", "step", lambda v: f"{v:,.0f}"),
    ("tokens", "tokens", lambda v: f"{v:,.0f}"),
    ("loss", "loss, last", shown),
    ("best_loss", "loss, best", shown),
    ("eval_loss_before", "held-out loss, before", shown),
    ("eval_loss", "held-out loss, last", shown),
    ("best_eval_loss", "held-out loss, best", shown),
    ("tokens_per_second", "tokens/s", lambda v: f"{v:,.0f}"),
    ("seconds", "duration", duration),
    ("cost", "cost", lambda v: f"{v:,.2f}"),
    ("adapter_bytes", "adapter", lambda v: amount(v, "bytes")),
)
"""A metric, what it is called, and how a figure of it is written."""
_LOWEST: Final = ("loss", "best_loss", "eval_loss", "best_eval_loss")


def _metrics(versus: Comparison) -> tuple[tuple[str, ...], list[tuple[str, list[tuple[str, bool]]]]]:
    found = [versus.metrics(run) for run in versus.runs]
    rows = []
    for name, title, write in _METRICS:
        values: list[Any] = [one[name] for one in found]
        if all(v is None for v in values):
            continue
        known = [v for v in values if v is not None]
        best = min(known) if name in _LOWEST else max(known) if name == "tokens_per_second" else None
        best = None if len(set(known)) < 2 else best
        texts = ["–" if v is None else write(v) for v in values]
        if name == "step":
            texts = [
                f"{t}/{one['max_steps']:,}" if one["max_steps"] else t for t, one in zip(texts, found, strict=True)
            ]
        marked = [(t, best is not None and v == best) for t, v in zip(texts, values, strict=True)]
        rows.append((title, marked))
    return versus.labels, rows


def _metrics_text(versus: Comparison) -> str:
    heads, rows = _metrics(versus)
    return columns(["", *heads], [[name, *(text for text, _ in values)] for name, values in rows])


def columns(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as text."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    lines = [heads, *rows]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in lines)


__all__ = ["alt_text", "columns", "html", "metrics", "picture", "style", "text"]
