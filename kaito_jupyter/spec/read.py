"""KAITO's documents -> the fields of a TuningSpec, collecting what is not as it should be instead of stopping at it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from kaito_trainer.contract import Problem, TrainingConfig
from kaito_trainer.contract.names import CONFIG_FILE
from kaito_trainer.contract.problems import close_match, listing, shown

from ..errors import SpecError
from .documents import API_VERSION, INPUT_NOTE, INPUT_PATH_NOTE, MANAGED_BY, NOTES, OUTPUT_PATH_NOTE, PLACEMENT_NOTE
from .placement import Placement
from .sources import DataDestination, DataSource, ResourceSpec
from .text import load

READABLE_VERSIONS: Final = (API_VERSION, "kaito.sh/v1alpha1")


def read_documents(documents: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The fields of a TuningSpec. Raises `SpecError` with everything that a spec cannot hold, as a strict server would."""
    r = _Reader()
    kinds: dict[str, list[Mapping[str, Any]]] = {"Workspace": [], "ConfigMap": []}
    for i, document in enumerate(documents):
        kind = document.get("kind") if isinstance(document, Mapping) else None
        if kind in kinds:
            kinds[kind].append(document)
        else:
            r.problem(
                f"document {i + 1}",
                f"{shown(kind)} is no kind that belongs to a spec.",
                "Give a Workspace and its ConfigMap.",
            )
    if len(kinds["Workspace"]) != 1:
        r.problem("spec", f"{len(kinds['Workspace'])} Workspaces are given.", "Give one.")
        raise SpecError(r.problems)
    fields = _read_workspace(r, kinds["Workspace"][0], kinds["ConfigMap"])
    if r.problems:
        raise SpecError(r.problems)
    return fields


def _read_workspace(r: _Reader, ws: Mapping[str, Any], config_maps: list[Mapping[str, Any]]) -> dict[str, Any]:
    if ws.get("apiVersion") not in READABLE_VERSIONS:
        r.problem("apiVersion", f"{shown(ws.get('apiVersion'))} is not KAITO's.", f"Use {API_VERSION}.")
    if "inference" in ws:
        r.problem("inference", "a Workspace is for tuning or for inference, not for both.", "Leave it out.")
    elif "tuning" not in ws:
        r.problem("tuning", "it is not said what to train.", "Write tuning: with preset, method, input and output.")
    r.known("", ws, ("apiVersion", "kind", "metadata", "resource", "tuning", "status", "inference"))
    meta, resource, tuning = r.mapping("metadata", ws), r.mapping("resource", ws), r.mapping("tuning", ws)
    notes = dict(r.mapping("metadata.annotations", meta))
    labels = {k: v for k, v in r.mapping("metadata.labels", meta).items() if (k, v) != MANAGED_BY}
    if "partition" in resource:
        r.problem("resource.partition", "KAITO does not tune on a part of a GPU.", "Leave it out.")
    r.known("resource", resource, ("count", "instanceType", "labelSelector", "partition"))
    r.known("tuning", tuning, ("preset", "method", "config", "input", "output"))
    preset = r.mapping("tuning.preset", tuning)
    options = r.mapping("tuning.preset.presetOptions", preset)
    r.known("tuning.preset", preset, ("name", "accessMode", "presetOptions"))
    r.known("tuning.preset.presetOptions", options, ("modelAccessSecret",))
    name = r.text("metadata.name", meta)
    return {
        "preset": r.text("tuning.preset.name", preset) or "",
        "method": r.text("tuning.method", tuning) or "lora",
        "name": name,
        "namespace": r.text("metadata.namespace", meta) or "default",
        "input": _read_input(r, r.mapping("tuning.input", tuning), notes, f"{name}-data"),
        "output": _read_output(r, r.mapping("tuning.output", tuning), notes),
        "resource": ResourceSpec(
            instance_type=r.text("resource.instanceType", resource),
            label_selector=r.mapping("resource.labelSelector", resource),
            count=r.whole("resource.count", resource, 1),
        ),
        "model_access_secret": r.text("tuning.preset.presetOptions.modelAccessSecret", options),
        "config": _read_config_map(r, r.text("tuning.config", tuning), config_maps),
        "labels": labels,
        "annotations": {k: v for k, v in notes.items() if k not in NOTES},
        "placement": _read_placement(r, notes.get(PLACEMENT_NOTE)),
    }


def _read_placement(r: _Reader, text: Any) -> Placement:
    if text is None:
        return Placement()
    try:
        return Placement.of(json.loads(text))
    except (TypeError, ValueError, AttributeError) as error:
        r.problem(f"metadata.annotations.{PLACEMENT_NOTE}", f"{error}", "Write a placement's fields as JSON.")
        return Placement()


def _read_input(r: _Reader, given: Mapping[str, Any], notes: Mapping[str, Any], delivered: str) -> DataSource:
    r.known("tuning.input", given, ("name", "urls", "image", "imagePullSecrets", "volumeSource"))
    volume = r.mapping("tuning.input.volumeSource", given) if "volumeSource" in given else None
    if INPUT_NOTE in notes and volume == {"configMap": {"name": delivered}}:
        volume = None
    return DataSource(
        urls=r.texts("tuning.input.urls", given),
        image=r.text("tuning.input.image", given),
        image_pull_secrets=r.texts("tuning.input.imagePullSecrets", given),
        volume_source=volume,
        name=r.text("tuning.input.name", given),
        path=notes.get(INPUT_PATH_NOTE),
    )


def _read_output(r: _Reader, given: Mapping[str, Any], notes: Mapping[str, Any]) -> DataDestination:
    r.known("tuning.output", given, ("image", "imagePushSecret", "volumeSource"))
    return DataDestination(
        image=r.text("tuning.output.image", given),
        image_push_secret=r.text("tuning.output.imagePushSecret", given),
        volume_source=r.mapping("tuning.output.volumeSource", given) if "volumeSource" in given else None,
        path=notes.get(OUTPUT_PATH_NOTE),
    )


def _read_config_map(r: _Reader, name: str | None, config_maps: list[Mapping[str, Any]]) -> TrainingConfig:
    if not name:
        return TrainingConfig()
    found = next((c for c in config_maps if r.mapping("metadata", c).get("name") == name), None)
    if found is None:
        r.problem(
            "tuning.config", f"the ConfigMap {shown(name)} is not among the documents.", "Add it, or leave out config."
        )
        return TrainingConfig()
    text = r.text(f"data.{CONFIG_FILE}", r.mapping("data", found), CONFIG_FILE)
    try:
        document = load(text or "", CONFIG_FILE)
    except SpecError as error:
        r.problems += error.problems
        return TrainingConfig()
    if not isinstance(document, Mapping) or not isinstance(document.get("training_config"), Mapping):
        r.problem(
            CONFIG_FILE,
            "it has no training_config with sections in it.",
            "Write training_config: {TrainingArguments: {…}}.",
        )
        return TrainingConfig()
    return TrainingConfig.from_document(document)


class _Reader:
    """Takes fields out of a mapping. Each method looks up a path's last part in the given mapping and returns a value of its type, whatever is there."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def problem(self, path: str, message: str, remedy: str) -> None:
        """Note one."""
        self.problems.append(Problem(path, message, remedy))

    def known(self, path: str, given: Mapping[str, Any], fields: Sequence[str]) -> None:
        """Every other field is a problem, as it is for a server with strict field validation."""
        for name in given:
            if name not in fields:
                near = close_match(str(name), fields)
                where = f"{path}.{name}" if path else str(name)
                self.problem(where, "there is no such field.", near or f"The fields are {listing(fields, 'and')}.")

    def mapping(self, path: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """A mapping; empty when it is missing."""
        value = given.get(path.rsplit(".", 1)[-1])
        if value is None or isinstance(value, Mapping):
            return value or {}
        self.problem(path, f"{shown(value)} is no mapping.", "Write keys and values.")
        return {}

    def text(self, path: str, given: Mapping[str, Any], key: str | None = None) -> str | None:
        """Text; None when it is missing. `key`: when the path's last part is not it."""
        value = given.get(key or path.rsplit(".", 1)[-1])
        if value is None or isinstance(value, str):
            return value
        self.problem(path, f"{shown(value)} is not text.", "Put it in quotes.")
        return None

    def texts(self, path: str, given: Mapping[str, Any]) -> tuple[str, ...]:
        """A list of texts; empty when it is missing."""
        value = given.get(path.rsplit(".", 1)[-1]) or ()
        if isinstance(value, list | tuple) and all(isinstance(v, str) for v in value):
            return tuple(value)
        self.problem(path, f"{shown(value)} is no list of texts.", "Write one text a line, each after a dash.")
        return ()

    def whole(self, path: str, given: Mapping[str, Any], default: int) -> int:
        """A whole number."""
        value = given.get(path.rsplit(".", 1)[-1], default)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        self.problem(path, f"{shown(value)} is no whole number.", "Write one, without quotes.")
        return default
