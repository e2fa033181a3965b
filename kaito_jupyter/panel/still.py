"""An ended run as HTML that needs nothing: no script, no style sheet, no trust. Every text from the run is escaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any

from ..state import RunState, duration
from ..state.spent import spent
from .advice import Advice
from .bundle import TAIL, encoded
from .feed import SHOWN_SAMPLES, SHOWN_TEXT, Shown

TAG = "kaito-run-1"
"""The custom element that the panel's front end knows; elsewhere, a box without a look."""

_QUIET = "opacity:0.65"
_CELL = "padding:3px 14px 3px 0;text-align:left;vertical-align:top;white-space:pre-wrap"
_TABLE = "border-collapse:collapse;margin:6px 0"


def html(run: Shown, now: float, *, panel: str = "", png: bytes | None = None) -> str:
    """The run's facts. `panel` is the `run` trait of its widget and `png` the picture above, both for the front end."""
    state = run.state
    with run.lock:
        parts = [_title(run), _failure(run, now), _rows(_facts(run, now)), _samples(state)]
    mark = f' data-run="{escape(panel)}" data-picture="{encoded(png)[-TAIL:]}"' if panel and png else ""
    body = "".join(part for part in parts if part)
    return f'<{TAG}{mark}><div style="max-width:960px;font-size:13px;line-height:1.45">{body}</div></{TAG}>'


def _title(run: Shown) -> str:
    method = {"lora": "LoRA", "qlora": "QLoRA"}.get(run.spec.method, run.spec.method)
    about = f"{method} · {run.spec.preset} · {run.ref.backend}"
    return (
        f'<div style="margin:8px 0 2px"><strong>{_text(run.name)}</strong> — {_text(run.state.state)}'
        f' <span style="{_QUIET}">{_text(about)}</span></div>'
    )


def _facts(run: Shown, now: float) -> Iterable[tuple[str, str]]:
    state = run.state
    yield "Summary", state.describe(now)
    spans = [(p.name, p.ended - p.began) for p in state.phases if p.began is not None and p.ended is not None]
    if spans:
        yield "Phases", " · ".join(f"{name} {duration(seconds)}" for name, seconds in spans)
    went = spent(state.series)
    if went is not None:
        yield "Time", went.describe()
    advice = Advice(run)
    advice(now)
    for note in advice.notes:
        yield "Note", str(note)
    if state.adapter and state.state in ("Succeeded", "Cancelled"):
        yield "Adapter", state.adapter
    yield "Again", f"%kaito watch {run.name}"


def _rows(facts: Iterable[tuple[str, str]]) -> str:
    rows = "".join(
        f'<tr><td style="{_CELL};{_QUIET}">{_text(name)}</td><td style="{_CELL}">{_text(value)}</td></tr>'
        for name, value in facts
    )
    return f'<table style="{_TABLE}">{rows}</table>'


def _failure(run: Shown, now: float) -> str:
    state, failure = run.state, run.state.failure
    if state.state != "Failed" or failure is None:
        return ""
    found = Advice(run)(now)
    advice = failure.remedy if found is None else found.advice
    sentence = "" if found is None else f"<div>{_text(found.sentence)}</div>"
    remedy = sentence + (f"<div><strong>What to do:</strong> {_text(advice)}</div>" if advice else "")
    details = "\n".join(failure.details[-50:])
    listing = f'<pre style="font-size:11px;white-space:pre-wrap">{_text(details)}</pre>' if details else ""
    return (
        '<div style="border-left:3px solid #D55E00;padding:2px 0 2px 10px;margin:6px 0">'
        f'<div><strong>{_text(failure.kind)}</strong>: <span style="white-space:pre-wrap">{_text(failure.message)}</span></div>'
        f"{remedy}{listing}</div>"
    )


def _samples(state: RunState) -> str:
    if not state.samples:
        return ""
    first, last = state.samples[0], state.samples[-1]
    both = first.global_step != last.global_step
    heads = ["Prompt", *(["Before"] if both else []), "After" if both else f"At step {last.global_step}", "In the data"]
    before = {_key(sample): sample for sample in first.samples}
    rows = []
    for sample in last.samples[:SHOWN_SAMPLES]:
        cells = [sample.get("prompt")]
        if both:
            cells.append(before.get(_key(sample), {}).get("completion"))
        cells += [sample.get("completion"), sample.get("reference")]
        rows.append("".join(f'<td style="{_CELL}">{_text(cell)}</td>' for cell in cells))
    head = "".join(f'<th style="{_CELL};{_QUIET}">{_text(name)}</th>' for name in heads)
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f'<table style="{_TABLE}"><tr>{head}</tr>{body}</table>'


def _key(sample: dict[str, str]) -> str:
    return str(sample.get("prompt"))


def _text(value: Any) -> str:
    text = "" if value is None else str(value)
    return escape(text if len(text) <= SHOWN_TEXT else f"{text[:SHOWN_TEXT]} …")
