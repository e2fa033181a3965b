"""The last words of the programs around a trainer: curl, skopeo, oras and KAITO's own scripts, which raise no exception."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from kaito_trainer.contract.events import Error

from .bars import ESCAPES
from .errors import LONGEST, REMEDIES

_FATAL: Final = re.compile(
    r"level=fatal |^FATA\[|^Error(?: response from registry)?: |^curl: \(\d+\)|^Failed to download .{1,2000} after \d+ attempts?"
)
"""How such a program begins the line that it ends with."""
_RULES: Final = (
    (
        "registry-auth",
        re.compile(
            r"unauthorized|authentication required|requested access .{0,60}denied|\b40[13]\b|invalid username/password"
            r"|no basic auth credentials|failed to (?:authenticate|authorize)",
            re.IGNORECASE,
        ),
    ),
    ("disk-full", re.compile(r"no space left on device|disk quota exceeded", re.IGNORECASE)),
    ("push", re.compile(r"\bdestination\b|\bpush|writing (?:blob|manifest)|uploading", re.IGNORECASE)),
    (
        "download",
        re.compile(r"^curl: |failed to download|\bsource\b|reading (?:blob|manifest)|\bpull|not found", re.IGNORECASE),
    ),
)
"""Kind -> what a line says of it; the first that fits counts."""
_MESSAGE: Final = re.compile(r'level=fatal msg="((?:[^"\\]|\\.){1,2000})"')


def explain_tool(lines: Iterable[str]) -> Error | None:
    """Why curl, skopeo or oras ended, by the last such line; None when there is none."""
    found = None
    for line in lines:
        text = ESCAPES.sub("", line[: 2 * LONGEST]).strip()
        if not _FATAL.search(text):
            continue
        if kind := next((kind for kind, pattern in _RULES if pattern.search(text)), ""):
            said = _MESSAGE.search(text)
            message = said[1].replace('\\"', '"') if said else text
            if kind == "registry-auth" and text.startswith(("curl", "Failed to download")):
                kind = "download"  # a web server's no, not a registry's
            found = Error(kind=kind, message=message[:LONGEST], remedy=REMEDIES[kind])
    return found
