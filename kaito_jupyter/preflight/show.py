"""An estimate as a bar: a line, a text, and HTML that stands alone."""

from __future__ import annotations

import html
from typing import Final

from .estimating import Estimate, gib

WIDTH: Final = 48
"""Letters of the text's bar."""
PARTS: Final = {
    "weights": ("model", "█", "#0072b2"),
    "adapter": ("adapter", "▓", "#009e73"),
    "gradients": ("gradients", "▓", "#56b4e9"),
    "optimizer": ("optimiser", "▒", "#cc79a7"),
    "activations": ("activations", "▒", "#e69f00"),
    "logits": ("logits", "░", "#d55e00"),
    "overhead": ("CUDA, Python", "░", "#8c959f"),
}
"""Part -> its word, its letter in the bar, and its colour (Okabe and Ito's, for all eyes)."""


def line(e: Estimate) -> str:
    """`memory: about 5.6 GiB of 24.0 GiB on each GPU; …`"""
    total, have = gib(e.memory.total), e.device.memory
    on = "on each GPU" if e.load.gpu and e.device.count > 1 else "on the GPU" if e.load.gpu else "on this machine's CPU"
    time = f" {_hours(e)}." if e.hours is not None else ""
    if have is None:
        smallest = e.smallest_sku
        fits = f"; the smallest GPU node that fits is {smallest.name}" if smallest and e.load.gpu else ""
        return f"memory: about {total} {on}{fits}.{time}"
    batch = e.largest_batch
    more = f"a batch of up to {batch} fits" if batch else "not even one row fits"
    return f"memory: about {total} of {gib(have)} {on}; {more}.{time}"


def text(e: Estimate) -> str:
    """Several lines, for a terminal."""
    scale = max(e.memory.total, e.device.memory or 0)
    bar = "".join(letter * round(WIDTH * getattr(e.memory, part) / scale) for part, (_, letter, _) in PARTS.items())
    parts = [f"  {word:<13} {gib(getattr(e.memory, part)):>10}" for part, (word, _, _) in PARTS.items()]
    return "\n".join([_head(e), f"[{bar[:WIDTH]:<{WIDTH}}] {_of(e)}", *parts, *_notes(e)])


def page(e: Estimate) -> str:
    """The same as HTML, without scripts or files of its own."""
    scale = max(e.memory.total, e.device.memory or 0)
    cells, rows = [], []
    for part, (word, _, colour) in PARTS.items():
        count = getattr(e.memory, part)
        share = 100 * count / scale
        cells.append(f"<span title='{word}: {gib(count)}' style='background:{colour};width:{share:.2f}%'></span>")
        mark = f"<i style='background:{colour}'></i>"
        rows.append(f"<span style='white-space:nowrap;margin-right:14px'>{mark}{word} {gib(count)}</span>")
    limit = ""
    if e.device.memory is not None and e.device.memory < e.memory.total:
        limit = f"<b style='left:{100 * e.device.memory / scale:.2f}%' title='{gib(e.device.memory)}'></b>"
    alone = "kaito-estimate"
    style = (
        f".{alone}{{max-width:820px;margin:4px 0;font:13px/1.5 var(--jp-ui-font-family,system-ui,sans-serif);"
        f"color:var(--jp-ui-font-color1,inherit)}}.{alone} .bar{{display:flex;position:relative;height:18px;margin:6px 0;"
        f"background:rgba(140,149,159,.25);border-radius:3px}}.{alone} .bar b{{position:absolute;top:-3px;bottom:-3px;"
        f"border-left:2px solid #b3261e}}.{alone} i{{display:inline-block;width:9px;height:9px;margin-right:4px}}"
    )
    alternative = html.escape(
        f"{_of(e)}: " + ", ".join(f"{w} {gib(getattr(e.memory, p))}" for p, (w, _, _) in PARTS.items())
    )
    notes = "".join(f"<div>{html.escape(note.strip())}</div>" for note in _notes(e))
    return (
        f"<div class='{alone}'><style>{style}</style><div>{html.escape(_head(e))}</div>"
        f"<div class='bar' role='img' aria-label=\"{alternative}\">{''.join(cells)}{limit}</div>"
        f"<div>{''.join(rows)}</div><div><strong>{html.escape(_of(e))}</strong></div>{notes}</div>"
    )


def _head(e: Estimate) -> str:
    again = ", activations computed twice" if e.load.checkpointing else ""
    about = "" if e.shape.exact else "about "
    return (
        f"{e.method} on {e.preset} ({about}{e.parameters / 1e9:.2f} billion parameters, {e.trainable / 1e6:.1f} million trained): "
        f"batch {e.load.batch}, {e.load.length:,} tokens{again}"
    )


def _of(e: Estimate) -> str:
    if e.device.memory is None:
        return f"about {gib(e.memory.total)}; the memory of {e.device.shown} is not known"
    one = f"one {e.device.gpu} of {e.device.name}" if e.load.gpu and not e.device.here else e.device.shown
    return f"about {gib(e.memory.total)} of the {gib(e.device.memory)} that {one} has"


def _notes(e: Estimate) -> list[str]:
    notes = []
    if e.fits is False:
        notes += [f"{p}" for p in e.problems()]
    elif e.largest_batch:
        notes.append(f"The largest batch that fits is {e.largest_batch}.")
    if e.load.gpu:
        sku = e.smallest_sku
        size = f"{sku.name} ({sku.gpus} × {sku.gpu}, {sku.memory_gib} GiB)" if sku else "none that KAITO knows"
        notes.append(f"The smallest GPU node that fits: {size}.")
    if e.steps is not None:
        later = ""
        if e.hours is None and e.seconds_per_step is None:
            later = " Hours are told after the first steps, or when a run of this model, method and node has ended."
        notes.append(f"{e.steps:,} steps{f', {_hours(e)}' if e.hours is not None else ''}.{later}")
    notes.append(f"By a formula, checked on a CPU and on no GPU; the model's numbers are from {e.source}.")
    return notes


def _hours(e: Estimate) -> str:
    price = "" if e.price is None else f", {e.price:,.2f} at {e.price_per_hour:g} an hour"
    return f"{_time(e.hours or 0)}{price}, {e.measured}"


def _time(hours: float) -> str:
    return f"about {hours:,.1f} hours" if hours >= 1 else f"about {max(1, round(60 * hours))} min"


__all__ = ["line", "page", "text"]
