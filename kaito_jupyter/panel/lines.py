"""A log's lines as people read them. Pure."""

from __future__ import annotations

import re
from typing import Any, Final

from kaito_trainer.contract import decode

LOG_WIDTH: Final = 600
LOG_FACTS: Final = ("global_step", "epoch", "loss", "learning_rate")
"""What a `log` event says in the list of log lines; the rest is shown better elsewhere."""
_UNSEEN: Final = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def readable(line: str) -> str:
    """A log line as people read it: an event as its type and what counts, a progress bar's last stand; never long.

    Colours, cursor movements and marks that turn the direction of writing are left out.
    """
    event = decode(line)
    if event is not None:
        facts = {key: value for key, value in event.data.items() if event.type != "log" or key in LOG_FACTS}
        line = f"[{event.type}] {' '.join(f'{key}={_value(value)}' for key, value in facts.items())}"
    line = _UNSEEN.sub("", line.rstrip("\r\n").rpartition("\r")[2])
    return line if len(line) <= LOG_WIDTH else f"{line[:LOG_WIDTH]} …"


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.5g}"
    return f"({len(value)})" if isinstance(value, list | dict) else str(value)
