"""Which places to train there are, and which one a run goes to."""

from __future__ import annotations

from collections.abc import Sequence

from kaito_trainer.contract import Problem
from kaito_trainer.contract.problems import close_match, listing

from ..errors import SpecError
from ..spec import TARGETS, Target
from .base import Backend
from .local import LocalBackend

_OF_A_CLUSTER = ("job", "kaito")


def target_of(wanted: str | Backend) -> Target:
    """The place that a spec is checked and written for. Raises `SpecError` when there is no such word."""
    if not isinstance(wanted, str):
        return wanted.name
    if wanted == "auto":
        return "local"
    for target in TARGETS:
        if wanted == target:
            return target
    words = ("auto", *TARGETS)
    raise SpecError(
        [Problem("backend", f'"{wanted}" is no backend.', close_match(wanted, words) or f"Use {listing(words)}.")]
    )


def choose_backend(wanted: str | Backend = "auto") -> tuple[Backend, str]:
    """The backend, and why it is this one, as a sentence. Raises `SpecError` when it cannot be had."""
    if not isinstance(wanted, str):
        return wanted, "This backend was given."
    target = target_of(wanted)
    if target in _OF_A_CLUSTER:
        message = f'"{target}" needs a cluster, and this version trains on this machine only.'
        remedy = 'Use "local"; the YAML of a dry run can be applied to a cluster by hand.'
        raise SpecError([Problem("backend", message, remedy)])
    why = "It was asked for." if wanted == target else "This version trains on this machine only."
    return LocalBackend(), why


def all_backends() -> Sequence[Backend]:
    """Where runs may be, for lists and for finding one by its name."""
    return (LocalBackend(),)
