"""A spec against the Workspace of its name that is there: what cannot change, what KAITO runs again, what it passes over. Pure.

Source: KAITO v0.12, `api/v1beta1/workspace_validation.go` (`validateUpdate`) and `pkg/workspace/controllers`, where a new hash of
`resource` and `tuning` has the Job deleted and made anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from kaito_trainer.contract import Problem
from kaito_trainer.contract.problems import shown

from ..cluster import pods as p
from ..errors import BackendError, SpecError
from ..spec import Difference
from ..spec.documents import MANAGED_BY
from ..status import TERMINAL
from . import marks
from .base import TuningJob
from .workspace_judge import of_workspace, run_revision

Json = Mapping[str, Any]

FIXED: Final = (
    "tuning.preset.name",
    "tuning.preset.presetOptions",
    "tuning.method",
    "tuning.input.name",
    "resource.instanceType",
    "resource.count",
    "resource.labelSelector",
)
"""What KAITO's webhook does not let change in a live Workspace."""
RERUN: Final = ("tuning.input", "tuning.output")
"""What has the operator delete the Job and make a new one: the same run, its next revision."""
_UNSAID: Final[Mapping[str, Any]] = {"resource.count": 1}
"""What the server fills in where nothing was said."""


def against(live: Json, wanted: Json, difference: Difference, *, delivers: bool = False) -> Iterator[Problem]:
    """What stands against that Workspace, with errors, or the notes that it will be run again.

    `wanted` is the Workspace as it would be sent. `delivers`: where the data will be is not known yet, so that it may be another place.
    """
    name = p.name(live)
    elsewhere = f"Choose another name, or remove that run first with `%kaito delete {name}`."
    if taken := _taken(live):
        yield Problem("metadata.name", taken, "Choose another name.")
        return
    if live["metadata"].get("deletionTimestamp"):
        yield Problem(
            "metadata.name",
            f'"{name}" is the name of a Workspace that is being deleted.',
            "Try again in a moment, or choose another name.",
        )
        return
    fixed = [path for path in FIXED if value(live, path) != value(wanted, path)]
    for path in fixed:
        mine, theirs = _words(live, path), _words(wanted, path)
        yield Problem(
            path,
            f"the Workspace {name} runs with {mine}, and KAITO lets no live Workspace change to {theirs}.",
            elsewhere,
        )
    if fixed:
        return
    changed = [path for path in RERUN if value(live, path) != value(wanted, path)]
    if delivers:
        changed = [path for path in changed if path != "tuning.input"]
    if changed:
        yield from _again(live, changed)
    elif delivers:
        yield Problem(
            "metadata.name",
            f'"{name}" is the name of a Workspace that is there already, with the same output.',
            f"With other data it becomes revision {run_revision(live) + 1} of the same run; with the same it is refused.",
            "note",
        )
    else:
        also = (
            f" It would change {difference.brief()}: KAITO does not look at that in a live Workspace."
            if difference
            else ""
        )
        yield Problem(
            "metadata.name",
            f'"{name}" is the name of a Workspace that is there already, with the same input and output.{also}',
            f"Choose another name, watch that run with `%kaito watch {name}`, or remove it with `%kaito delete {name}`. "
            "With another output it would be run again.",
        )


def _words(document: Json, path: str) -> str:
    found = value(document, path)
    if found is None:
        return shown(_UNSAID[path]) if path in _UNSAID else "none"
    return shown(found)


def _again(live: Json, changed: Sequence[str]) -> Iterator[Problem]:
    state = of_workspace(live).state
    ends = "" if state in TERMINAL else f" It is {state} now, and is ended for it."
    for path in changed:
        yield Problem(
            path,
            f"differs from the Workspace {p.name(live)} that is there: KAITO will run it again.{ends}",
            f"It becomes revision {run_revision(live) + 1} of the same run.",
            "note",
        )


def _taken(live: Json) -> str:
    """Why a Workspace of that name is not one that we may change."""
    name = p.name(live)
    if not live.get("tuning"):
        return f'"{name}" is the name of a Workspace for inference, and KAITO lets none become one for tuning.'
    labels = live["metadata"].get("labels") or {}
    if labels.get(MANAGED_BY[0]) != MANAGED_BY[1]:
        return f'"{name}" is the name of a Workspace that was not made from a notebook.'
    return ""


def difference(live: Json, job: TuningJob, wanted: Json) -> Difference:
    """Where the two differ, in the words in which they were said where those are known."""
    try:
        return marks.difference(live, job)
    except (SpecError, BackendError):
        old, new = leaves(live), leaves(wanted)
        return Difference(
            [(path, old.get(path), new.get(path)) for path in {**old, **new} if old.get(path) != new.get(path)]
        )


def leaves(document: Json) -> dict[str, Any]:
    """Path -> value of all that KAITO looks at, without what the server filled in."""
    found: dict[str, Any] = {}

    def walk(path: str, at: Any) -> None:
        if isinstance(at, Mapping) and at:
            for key, inner in at.items():
                walk(f"{path}.{key}", inner)
        elif value(document, path) not in (None, {}, [], ""):
            found[path] = at

    for part in ("resource", "tuning"):
        walk(part, document.get(part) or {})
    return found


def value(document: Json, path: str) -> Any:
    """What stands at a path of dots; None where there is nothing, or only what the server fills in."""
    found: Any = document
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    if found in ({}, [], "") or found == _UNSAID.get(path):
        return None
    return found
