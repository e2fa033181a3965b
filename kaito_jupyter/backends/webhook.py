"""What KAITO's webhook says against a Workspace, a finding at a time, under the spec's own paths. Pure.

It answers with one text, a line a message, each with the fields that it is about: `message: tuning.Output.Image, …`. The names are
those of KAITO's Go types, which nobody who writes YAML has seen. Source: KAITO v0.12, `api/v1beta1/workspace_validation.go`,
and knative's `FieldError`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from kaito_trainer.contract import Problem

from ..cluster.refusals import ClusterError

WHOLE: Final = "Workspace"
"""The path of what is about no single field."""
PATHS: Final[Mapping[str, str]] = {
    "name": "metadata.name",
    "spec": WHOLE,
    "spec.inference": "inference",
    "spec.tuning": "tuning",
    "spec.instanceType": "resource.instanceType",
    "spec.resource.instanceType": "resource.instanceType",
    "resource.instanceType": "resource.instanceType",
    "resource.count": "resource.count",
    "resource.partition": "resource.partition",
    "resource.labelSelector": "resource.labelSelector",
    "load_in_4bit": "QuantizationConfig.load_in_4bit",
    "load_in_8bit": "QuantizationConfig.load_in_8bit",
    "QuantizationConfig": "QuantizationConfig",
    "output_dir": "TrainingArguments.output_dir",
    "training_config.yaml": "tuning.config",
    "config": "tuning.config",
    "tuning.Config": "tuning.config",
    "tuning.Method": "tuning.method",
    "tuning.Preset": "tuning.preset",
    "tuning.presetName": "tuning.preset.name",
    "tuning.Input": "tuning.input",
    "tuning.Input.Name": "tuning.input.name",
    "tuning.Input.URLs": "tuning.input.urls",
    "tuning.Input.Image": "tuning.input.image",
    "tuning.Input.Volume": "tuning.input.volumeSource",
    "tuning.Output": "tuning.output",
    "tuning.Output.Image": "tuning.output.image",
    "tuning.Output.Volume": "tuning.output.volumeSource",
}
"""Go's name of a field, as the webhook spells it -> ours."""
_WRAPPED: Final = ("validation failed: ", "Failed to evaluate validateConfigMap: ", "invalid value: ")
_MISSING: Final = "missing field(s): "
_SEVERAL: Final = ("Exactly one of URLs, Volume, or Image", "Exactly one of Volume or Image")


def problems(error: ClusterError) -> list[Problem]:
    """A server's refusal, a problem for each of its findings."""
    lines = error.causes or (error.said.partition("denied the request: ")[2] or error.said,)
    return [finding(line, error.remedy) for line in lines]


def finding(line: str, remedy: str = "") -> Problem:
    """One line of a refusal. What it is about is found in the line; else it is about the whole Workspace."""
    text, again = line.strip().rstrip("."), True
    while again:
        text, again = _unwrapped(text)
    if text.startswith(_MISSING):
        path, message = _missing(text.removeprefix(_MISSING))
    else:
        message, fields = _parted(text)
        path = PATHS[fields[0]] if fields else WHOLE
        if message.startswith(_SEVERAL):
            path = path.rpartition(".")[0]
        elif not fields and (named := re.match(r"(?:\\.)?([A-Za-z][\w.\[\]]*): (.+)", text)):
            path, message = named[1], named[2]
    return Problem(path, f"{message.rstrip('.')}.", remedy or "The cluster refuses it: change the spec accordingly.")


def _unwrapped(text: str) -> tuple[str, bool]:
    for words in _WRAPPED:
        if text.startswith(words):
            return text.removeprefix(words), True
    return text, False


def _parted(text: str) -> tuple[str, list[str]]:
    """The message, and the fields behind it, the innermost first."""
    fields: list[str] = []
    while True:
        message, colon, last = text.rpartition(": ")
        named = [f.strip() for f in last.split(",")]
        if not colon or any(f not in PATHS for f in named):
            return text, fields
        text, fields = message, named + fields


def _missing(text: str) -> tuple[str, str]:
    """What is missing: a field, or a sentence that stands where a field should."""
    text, fields = _parted(text)
    path = PATHS[fields[0]] if fields else WHOLE
    for name in sorted(PATHS, key=len, reverse=True):
        if text == name or text.startswith(f"{name}, "):
            return PATHS[name], "it is missing"
        if text.startswith((f"{name}.", f"{name} ")):
            told = text.removeprefix(name).lstrip(". ")
            return PATHS[name], told.partition(f", {name}")[0] if told[:1].isupper() else f"it {told}".split(",")[0]
    return path, text.split(", ")[0]
