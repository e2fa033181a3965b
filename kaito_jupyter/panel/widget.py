"""The live panel's widget. Imported late, when a front end is there to show it: it needs anywidget.

The built front end is read here, once; `hatch_build.py` makes it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import anywidget
import traitlets

STATIC: Final = Path(__file__).parent / "static"
if not (STATIC / "panel.js").is_file():
    raise FileNotFoundError(
        f"{STATIC}: the panel's front end is not built. Run `pip install -e .` (or `python hatch_build.py`) in the repository."
    )


class RunWidget(anywidget.AnyWidget):
    """Carries messages between a run's panel on the page and its `live.Panel` in the kernel."""

    _esm = STATIC / "panel.js"
    _css = STATIC / "panel.css"

    run = traitlets.Unicode().tag(sync=True)
    """Which panel this is: the still text of an ended run finds its panel on the page by it."""
    snapshot = traitlets.Dict().tag(sync=True)
    """What `Feed.snapshot` gave at the end, so that a stored widget state shows the run without a kernel; else empty."""
