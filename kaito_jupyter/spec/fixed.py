"""Findings' remedies, applied: each is a change of a path's value, so that a form, a magic and YAML do the same with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kaito_trainer.contract import Problem
from kaito_trainer.contract.problems import shown
from kaito_trainer.contract.sections import ALL_SECTIONS

if TYPE_CHECKING:
    from .findings import Findings
    from .model import TuningSpec

ROUNDS: Final = 5
"""How often a mended spec is checked and mended anew: one fix may bring another finding to light."""

_SECTIONS: Final = tuple(s.NAME for s in ALL_SECTIONS)
_SPEC: Final = {
    "tuning.preset.name": "preset",
    "tuning.method": "method",
    "metadata.name": "name",
    "metadata.namespace": "namespace",
    "tuning.preset.presetOptions.modelAccessSecret": "model_access_secret",
}
_PARTS: Final = {
    "resource.instanceType": ("resource", "instance_type"),
    "resource.count": ("resource", "count"),
    "tuning.input.image": ("input", "image"),
    "tuning.output.image": ("output", "image"),
    "tuning.output.imagePushSecret": ("output", "image_push_secret"),
}
"""KAITO's path -> the spec's field, or a field of one of its parts."""


def fixed(spec: TuningSpec, findings: Iterable[Problem]) -> TuningSpec:
    """A copy with the fixes of the findings. Of two fixes for one path the first one counts; findings without are passed over."""
    sections: dict[str, dict[str, Any]] = {}
    for path, value in applicable(findings).items():
        section, _, name = path.partition(".")
        if section in _SECTIONS and name:
            sections.setdefault(section, {})[name] = value
        elif path in _SPEC:
            spec = replace(spec, **{_SPEC[path]: value})
        elif path in _PARTS:
            part, field = _PARTS[path]
            spec = replace(spec, **{part: replace(getattr(spec, part), **{field: value})})
    return replace(spec, config=spec.config.merged(sections)) if sections else spec


def applicable(findings: Iterable[Problem]) -> Mapping[str, Any]:
    """Path -> value of all that `fixed` would change: what a face shows before it does so."""
    changes: dict[str, Any] = {}
    for finding in findings:
        for path, value in finding.fix:
            changes.setdefault(path, value)
    return changes


class Mended(NamedTuple):
    """One change that a fix has made."""

    path: str
    before: Any
    """What the user had said; None: nothing."""
    after: Any
    """None: it is left out now."""
    why: str
    """The finding's message."""

    def __str__(self) -> str:
        before, after = ("nothing said" if v is None else shown(v) for v in (self.before, self.after))
        return f"{self.path}: {before} → {'left out' if self.after is None else after}, since {self.why}"


def mended(
    spec: TuningSpec, check: Callable[[TuningSpec], Findings]
) -> tuple[TuningSpec, tuple[Mended, ...], Findings]:
    """The spec with the fixes of all errors and warnings, what was changed, and what is left to say of it.

    What is mended is checked again, since one fix may show another fault. No path gets back a value that it has had, so
    that two findings cannot push it to and fro.
    """
    done: list[Mended] = []
    found = check(spec)
    for _ in range(ROUNDS):
        had = {(m.path, repr(m.before)) for m in done}
        open_ = [p for p in found.fixable if not any((path, repr(value)) in had for path, value in p.fix)]
        new = fixed(spec, open_)
        if not (changes := spec.diff(new)):
            break
        reasons = {path: p.message for p in reversed(open_) for path, _ in p.fix}
        done += [Mended(*change, reasons.get(change[0], "another value asks for it.")) for change in changes]
        spec, found = new, check(new)
    return spec, tuple(done), found


__all__ = ["Mended", "applicable", "fixed", "mended"]
