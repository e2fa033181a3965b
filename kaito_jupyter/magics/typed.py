"""Findings in the words of the line that was typed: the option behind each path, and what `--fix` makes of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from kaito_trainer.contract import Problem
from kaito_trainer.contract.problems import shown

if TYPE_CHECKING:
    from ..spec import Mended

PRESET: Final = "tuning.preset.name"
TYPED: Final[Mapping[str, str]] = {
    PRESET: "--preset",
    "tuning.method": "--method",
    "tuning.input": "--input",
    "tuning.input.imagePullSecrets[0]": "--pull-secret",
    "tuning.output": "--output",
    "tuning.output.imagePushSecret": "--push-secret",
    "metadata.name": "--name",
    "metadata.namespace": "--namespace",
    "resource.instanceType": "--instance-type",
    "backend": "--backend",
    "dry_run": "--dry-run",
    "tuning.preset.presetOptions.modelAccessSecret": "--model-access-secret",
    "placement.image": "--image",
    "placement.gpus": "--gpus",
    "placement.queue": "--queue",
    "placement.priority_class": "--priority-class",
    "placement.pod_template": "--pod-template",
}
"""Paths of the spec's problems -> the option behind each. What stands below a path counts as the path."""


def renamed(problem: Problem) -> Problem:
    """The problem under the option behind its path, if there is one."""
    return replace(problem, path=typed(problem.path))


def typed(path: str) -> str:
    """The option behind a path, else the path."""
    parent = next((p for p in TYPED if path.startswith((f"{p}.", f"{p}["))), "")
    return TYPED.get(path) or TYPED.get(parent) or path


def mended(fixes: Iterable[Mended]) -> Iterator[str]:
    """What `--fix` has changed and why, a line each."""
    return (f"fixed: {change._replace(path=typed(change.path))}" for change in fixes)


def hint(problems: Sequence[Problem]) -> str:
    """What `--fix` would change, as a sentence; empty when it can do nothing."""
    from ..spec import Findings

    found = Findings(problems)
    if not (changes := found.changes):
        return ""
    faults = len(found) - len(found.notes)
    which = "it" if faults == 1 else "all of it" if len(found.fixable) == faults else f"{len(found.fixable)} of these"
    told = (f"{typed(path)} {'left out' if value is None else shown(value)}" for path, value in changes.items())
    return f"--fix mends {which}: {', '.join(told)}."


__all__ = ["PRESET", "TYPED", "hint", "mended", "renamed", "typed"]
