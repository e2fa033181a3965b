"""A log's lines as people read them. Pure."""

from __future__ import annotations

import re
from typing import Any, Final

from kaito_trainer.contract import decode

LOG_WIDTH: Final = 600
LOG_FACTS: Final = ("global_step", "epoch", "loss", "learning_rate")
"""What a `log` event says in the list of log lines; the rest is shown better elsewhere."""
_ERROR: Final = re.compile(r"\b(?:ERROR|CRITICAL|FATAL)\b|\bTraceback \(most|^\w*(?:\.\w+)*(?:Error|Exception)\b")
_WARNING: Final = re.compile(r"\bWARN(?:ING)?\b|\w*Warning\b|^warning:")
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


def level(line: str) -> str:
    """What a line is, in one letter: `e` an error, `w` a warning, `o` the trainer's own event, a space for all else."""
    event = decode(line)
    if event is not None:
        return "e" if event.type == "error" else "o"
    text = _UNSEEN.sub("", line[-LOG_WIDTH:])
    return "e" if _ERROR.search(text) else "w" if _WARNING.search(text) else " "


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.5g}"
    return f"({len(value)})" if isinstance(value, list | dict) else str(value)
