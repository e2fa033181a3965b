"""Findings' remedies, applied: each is a change of a path's value, so that a form, a magic and YAML do the same with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from kaito_trainer.contract import Problem
from kaito_trainer.contract.sections import ALL_SECTIONS

if TYPE_CHECKING:
    from .model import TuningSpec

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


__all__ = ["applicable", "fixed"]
