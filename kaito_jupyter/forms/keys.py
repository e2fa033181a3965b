"""The form's only script: it keeps a notebook's shortcuts from the keys that are meant for the form."""

from __future__ import annotations

from pathlib import Path

import anywidget


class Keys(anywidget.AnyWidget):
    """Shows nothing. Stands somewhere in the form."""

    _esm = Path(__file__).with_name("keys.js")
