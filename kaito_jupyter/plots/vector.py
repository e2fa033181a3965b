"""A figure as SVG for an HTML page: it follows the page's theme, and needs nothing beside itself."""

from __future__ import annotations

import io
import re
import uuid
from dataclasses import asdict
from html import escape
from typing import Final

from matplotlib.figure import Figure

from .overlay import HUES_DARK, HUES_LIGHT
from .page import DARK, DPI, LIGHT

_NAMES: Final = {light: f"--kaito-{name}" for name, light in asdict(LIGHT).items()}
_HUES: Final = {light: f"--kaito-run{i}" for i, light in enumerate(HUES_LIGHT)}
_SHARED: Final = {**_HUES, **_NAMES}
"""Colour of the light theme -> the variable that stands for it in a page."""


def svg(figure: Figure, alt: str) -> str:
    """The figure, drawn for the light theme, with variables in its colours' place (see `themes`). No background."""
    out = io.StringIO()
    figure.savefig(out, format="svg", dpi=DPI, transparent=True, metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    width = figure.get_figwidth() * DPI
    view = re.search(r'viewBox="[^"]*"', text)
    head = f'<svg {view[0] if view else ""} role="img" aria-label="{escape(alt)}" xmlns="http://www.w3.org/2000/svg" '
    head += f'xmlns:xlink="http://www.w3.org/1999/xlink" style="width:100%;max-width:{width:.0f}px;height:auto;display:block">'
    text = head + text[text.index(">") + 1 :]
    # Several figures stand in one page, where ids must not meet.
    mark = uuid.uuid4().hex[:8]
    text = re.sub(r'(\bid="|href="#|url\(#)', lambda found: f"{found[0]}{mark}-", text)
    return re.sub(
        r"#[0-9a-f]{6}\b",
        lambda found: f"var({_SHARED[found[0]]},{found[0]})" if found[0] in _SHARED else found[0],
        text,
    )


def themes(element: str) -> str:
    """CSS that gives the variables their colours in `element`: by the notebook's theme, elsewhere by the system's."""
    light = ";".join(f"{name}:{value}" for value, name in _SHARED.items())
    names = {f"--kaito-{name}": value for name, value in asdict(DARK).items()}
    names |= {f"--kaito-run{i}": value for i, value in enumerate(HUES_DARK)}
    dark = ";".join(f"{name}:{value}" for name, value in names.items())
    return (
        f"{element}{{{light}}}@media (prefers-color-scheme:dark){{{element}{{{dark}}}}}"
        f"[data-jp-theme-light=true] {element},body.vscode-light {element}{{{light}}}"
        f"[data-jp-theme-light=false] {element},body.vscode-dark {element}{{{dark}}}"
        f"@media print{{{element}{{{light}}}}}"
    )


__all__ = ["svg", "themes"]
