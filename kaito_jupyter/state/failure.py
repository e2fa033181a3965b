"""Why a run failed, out of what the trainer said, what the backend knows, and the log's last lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, Final, NamedTuple

from kaito_trainer.contract.events import ERROR_KINDS

from ..hf_logs import REMEDIES, explain, explain_tool
from ..status import Status

LAST_LINES: Final = 8
"""Lines of the log that stand in for an explanation."""
OUTSIDE: Final = ("killed", "reboot", "out-of-memory", "disk-full")
"""Kinds that a backend sees better than a trainer that only knows that it crashed."""

_REFINED: Final = {"registry-auth": ("download", "push"), "disk-full": ("download", "push")}
"""Kinds that a log tells more exactly than a backend, which only saw what step failed."""


class Failure(NamedTuple):
    """Why a run failed."""

    kind: str
    """One of the contract's `ERROR_KINDS`."""
    message: str
    remedy: str = ""
    """What to change, as a sentence."""
    details: tuple[str, ...] = ()
    """All problems when there were several, or the log's last lines when nobody said why."""


def from_event(data: Mapping[str, Any]) -> Failure:
    """What an `error` event says."""
    kind = _text(data.get("kind")) or "crash"
    details = data.get("details")
    return Failure(
        kind,
        _text(data.get("message")) or ERROR_KINDS.get(kind, kind),
        _text(data.get("remedy")) or REMEDIES.get(kind, ""),
        tuple(_text(d) or repr(d) for d in details) if isinstance(details, list | tuple) else (),
    )


def merge(said: Failure | None, status: Status | None, output: Iterable[str]) -> Failure | None:
    """One failure from the trainer's (None: it said nothing) and the backend's, which may both be silent.

    `output` are the foreign lines, the latest first: when nobody said why, they are searched for a known error.
    """
    failed = status is not None and status.state == "Failed"
    if said is not None:
        if failed and status is not None and said.kind == "crash" and status.kind in OUTSIDE:
            return said._replace(kind=status.kind, remedy=REMEDIES.get(status.kind, said.remedy))
        return said
    if not failed or status is None:
        return None
    tail = tuple(reversed(list(islice(output, 200))))
    known = None if status.kind in ("killed", "reboot") else explain(tail) or explain_tool(tail)
    if known is not None and status.kind in ("", "crash", known.kind, *_REFINED.get(known.kind, ())):
        return Failure(known.kind, known.message, known.remedy or REMEDIES.get(known.kind, ""), tail[-LAST_LINES:])
    kind = status.kind or "crash"
    message = status.reason or ERROR_KINDS.get(kind, kind)
    return Failure(kind, message, REMEDIES.get(kind, ""), tail[-LAST_LINES:])


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
