"""The live panel of a run in a notebook, and its stills.

::

    feed    what is sent to the page: only what is new       bundle  what the notebook's outputs hold
    widget  carries it (anywidget)                           still   an ended run as HTML that needs nothing
    live    who sends what, when, from which thread          lines   a log's lines for people
    text    a run in a terminal                              js/     the page's side, built into static/
"""

from __future__ import annotations

from typing import Any

from .feed import Shown
from .live import Panel
from .text import follow, print_summary, terminal

__all__ = ["Panel", "follow", "show"]

_PANELS: dict[int, Panel] = {}
"""Panels by `id` of their run, which they keep alive: a run that is shown twice has one feed and one thread."""


def show(run: Shown, places: tuple[Any, Any] | None = None) -> None:
    """Show a run in the cell that runs now: live in a notebook, its state in some lines in a terminal.

    Returns at once. What is shown updates itself until the run has ended, and is then replaced by a picture and a text
    that need no kernel. `places` are two display handles, one below the other, to show it there instead.
    """
    if terminal():
        print_summary(run)
        return
    panel = _PANELS.get(id(run))
    if panel is None:
        panel = _PANELS[id(run)] = Panel(run)
    panel.show(places)
