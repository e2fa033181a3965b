"""tqdm's progress bars in text, and a line as a terminal would show it."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

ESCAPES: Final = re.compile(r"\x1b(?:\[[0-?]{0,16}[ -/]{0,4}[@-~]|\][^\x07\x1b]{0,200}(?:\x07|\x1b\\)?|[@-_])")
"""Colours, cursor movements, titles."""
BAR: Final = re.compile(
    r"(?:(?P<percent>\d{1,3})%\|[^|\r\n]{0,300}\|)\s?(?P<done>\d[\d.]{0,15}[kMGT]?)/(?P<total>\d[\d.]{0,15}[kMGT]?)i?B?"
    r" \[(?P<spent>[\d:]{1,12})<(?P<left>[\d:?]{1,12}),\s{0,12}(?P<rate>[^\]\r\n]{0,200})\]"
)
"""`  3%|▎  | 31/1024 [00:12<06:31, 2.53it/s]`, without the description before it."""
_UNITS: Final = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f]")


class Bar(NamedTuple):
    """What a bar says."""

    done: float
    total: float
    spent: int
    """Whole seconds since the bar was made."""
    rate: str
    """`2.53it/s`, `1.20s/it`, `812.31 examples/s`, and what else the program wrote there."""

    @property
    def counts_steps(self) -> bool:
        """Whether it counts in tqdm's default unit, as the training's bar does."""
        rate = self.rate.split(",")[0].strip()
        return rate.endswith(("it/s", "s/it"))

    @property
    def unit(self) -> str:
        """The plural word before `/s`, or nothing."""
        rate = self.rate.split(",")[0].strip()
        word = rate.removesuffix("/s").lstrip("0123456789.? ")
        if rate.endswith("/s") and word.endswith("B"):
            return "bytes"
        return word if rate.endswith("/s") and word.isalpha() and word != "it" else ""


def bar(match: re.Match[str]) -> Bar | None:
    """The bar that `BAR` matched; None when its numbers are none."""
    done, total = _count(match["done"]), _count(match["total"])
    if done is None or total is None or total <= 0:
        return None
    return Bar(done, total, _clock(match["spent"]), match["rate"])


def visible(line: str) -> str:
    """The line without escape codes and progress bars, and of what carriage returns redraw only the last text."""
    if "\x1b" in line:
        line = ESCAPES.sub("", line)
    if "\r" in line:
        shown = [text for part in line.split("\r") if (text := BAR.sub("", part).strip()) and not text.endswith("%|")]
        line = shown[-1] if shown else ""
    elif "%|" in line:
        line = BAR.sub("", line).strip()
    if not line.isprintable():
        line = _CONTROLS.sub("", line.replace("\t", "    "))
    return line.rstrip()


def _count(text: str) -> float | None:
    try:
        return float(text[:-1]) * _UNITS[text[-1]] if text[-1] in _UNITS else float(text)
    except ValueError:
        return None


def _clock(text: str) -> int:
    """`06:31` or `1:06:31` in seconds."""
    seconds = 0
    for part in text.split(":"):
        seconds = seconds * 60 + (int(part) if part.isdecimal() else 0)
    return seconds
