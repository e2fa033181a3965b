"""What a run's outputs in the notebook hold: MIME bundles for two places, one below the other.

========  ========================================  ==================================================
place     while the run lives                       when it has ended
========  ========================================  ==================================================
picture   {widget view, image/png, text/plain}      {image/png, text/plain}
facts     empty                                     {text/html, text/plain}
========  ========================================  ==================================================

Nothing of the end needs a kernel, a script, a network or trust: the picture is a PNG and the facts are HTML with
inline styles, so that a saved notebook, nbconvert and GitHub show it. In a page whose kernel still knows the run, the
element around the facts takes the live panel in again and hides the picture (see `js/panel.js`).
"""

from __future__ import annotations

import base64
from typing import Any, Final, NamedTuple

WIDGET_VIEW: Final = "application/vnd.jupyter.widget-view+json"
WIDTH: Final = 640
"""Width of a picture on the page, in its pixels, however many the file has."""
TAIL: Final = 48
"""Characters at the end of a picture's base64 by which the front end knows it again."""


class Bundle(NamedTuple):
    """Data and metadata of one output, by MIME type."""

    data: dict[str, Any]
    metadata: dict[str, Any]


def picture(summary: str, alt: str, png: bytes | None, model_id: str | None = None) -> Bundle:
    """The upper output: the widget when there is one, else the picture when there is one, else the summary."""
    data: dict[str, Any] = {"text/plain": summary}
    metadata: dict[str, Any] = {}
    if png:
        data["image/png"] = encoded(png)
        metadata["image/png"] = {"alt": alt, "width": WIDTH}
    if model_id:
        data[WIDGET_VIEW] = {"version_major": 2, "version_minor": 0, "model_id": model_id}
    return Bundle(data, metadata)


def facts(summary: str, html: str | None = None) -> Bundle:
    """The lower output; without `html` it is there but shows nothing."""
    if html is None:
        return Bundle({"text/html": "", "text/plain": ""}, {})
    return Bundle({"text/html": html, "text/plain": summary}, {})


def encoded(png: bytes) -> str:
    return base64.b64encode(png).decode("ascii")
