"""All that is wrong with a spec on a target, at once: KAITO's webhook rules, the configuration, and what the target cannot do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from kaito_trainer.contract import METHODS, Problem, Severity, check
from kaito_trainer.contract.problems import close_match, listing, nearest, shown

from .. import presets
from ..tilde import expanded
from . import fit, rules, stock
from .sources import SOURCE_FORMS

if TYPE_CHECKING:
    from .model import Target, TuningSpec

POD_DESTINATIONS: Final = (
    "Give image:REGISTRY/NAME:TAG (an image, with a push secret) or pvc:CLAIM (a volume of the cluster)."
)
POD_FOLDERS: Final = ("/mnt/", "/workspace/")
"""Where a pod's image or volume may hold a model, so that a folder unknown here can be meant."""


def problems(spec: TuningSpec, target: Target, rows: int | None = None) -> list[Problem]:
    """Errors, warnings and notes in the spec's order. Takes any values; never raises."""
    config = spec.effective_config(target, rows=rows)
    found = [
        *_preset(spec, target),
        *_names(spec),
        *_input(spec, target),
        *_output(spec, target),
        *_resource(spec, target),
        *check(config, spec.method, "stock" if target == "kaito" else "ours"),
        *fit.problems(spec, config, target),
    ]
    if target == "kaito":
        told = {p.path for p in found if p.severity == "error"}
        found += [p for p in stock.problems(spec) if p.path not in told]
    if target == "job":
        found += spec.placement.problems()
    return found


def _told(path: str, wrong: rules.Wrong, severity: Severity = "error", near: str = "") -> Iterator[Problem]:
    if wrong:
        yield Problem(path, *wrong, severity=severity, fix=((path, near),) if near else ())


def _near(path: str, word: Any, allowed: Iterable[str]) -> tuple[tuple[str, Any], ...]:
    """The fix for a typo: the word that is near."""
    near = nearest(word, allowed) if isinstance(word, str) else ""
    return ((path, near),) if near else ()


def _preset(spec: TuningSpec, target: Target) -> Iterator[Problem]:
    path, preset, known = "tuning.preset.name", spec.preset, presets.PRESETS
    if not isinstance(preset, str) or not preset:
        yield Problem(path, f"{shown(preset)} is no model.", _models(target))
    elif target == "kaito":
        yield from _kaito_preset(path, preset)
    elif preset in known:
        return
    elif presets.is_path(preset):
        yield from _model_folder(path, preset, target)
    elif not presets.is_hugging_face_id(preset):
        what = f"{shown(preset)} is no preset, no Hugging Face id and no folder."
        yield Problem(path, what, close_match(preset, known) or _models(target), fix=_near(path, preset, known))


def _models(target: Target) -> str:
    if target == "kaito":
        return f"KAITO tunes {', '.join(p.name for p in presets.PRESETS.values() if not p.retired)}."
    return "Give a KAITO preset (phi-4-mini-instruct), a Hugging Face id (owner/name)" + (
        ", or a folder with a model." if target == "local" else "."
    )


def _kaito_preset(path: str, preset: str) -> Iterator[Problem]:
    found = presets.find(preset)
    if found is None:
        folder = " is a folder, and KAITO tunes its presets only." if presets.is_path(preset) else ""
        near = "" if folder else close_match(preset, presets.PRESETS)
        what = folder or " is no preset that KAITO can tune."
        fix = _near(path, preset, presets.PRESETS) if near else ()
        yield Problem(path, f"{shown(preset)}{what}", near or _models("kaito"), fix=fix)
    elif found.retired:
        what = f"{shown(preset)} can be tuned by older releases of KAITO only."
        yield Problem(path, what, _models("kaito"), "warning")
    elif preset != found.name:
        yield Problem(path, f"{shown(preset)} is sent under KAITO's name.", f"That is {found.name}.", "note")


def _model_folder(path: str, preset: str, target: Target) -> Iterator[Problem]:
    folder = expanded(preset)
    here = folder.is_dir()
    if target == "job":
        if here or not preset.startswith(POD_FOLDERS):
            yield Problem(
                path,
                f"{shown(preset)} is a folder of this machine, which a pod does not see.",
                "Give a Hugging Face id, or a folder that the pod's image or volume holds (below /mnt or /workspace).",
            )
        else:
            yield Problem(
                path, f"{shown(preset)} is not here.", "The pod's image or volume must hold it.", severity="note"
            )
    elif not here:
        yield Problem(path, f"{shown(preset)} does not exist, or is no folder.", "Give the folder with config.json.")
    elif not (folder / "config.json").is_file():
        yield Problem(
            path, f"{shown(preset)} holds no config.json.", "Give the folder that `save_pretrained` of a model wrote."
        )


def _names(spec: TuningSpec) -> Iterator[Problem]:
    if spec.method not in METHODS:
        near = close_match(spec.method, METHODS) if isinstance(spec.method, str) else ""
        path, what = "tuning.method", f"{shown(spec.method)} is not a tuning method."
        yield Problem(path, what, f"{near} Use {listing(METHODS)}.".strip(), fix=_near(path, spec.method, METHODS))
    if spec.name is not None:
        yield from _told("metadata.name", rules.label(spec.name, "a run's name"), near=rules.near_label(spec.name))
    yield from _told("metadata.namespace", rules.label(spec.namespace, "a namespace"))
    if spec.model_access_secret is not None:
        yield from _told(
            "tuning.preset.presetOptions.modelAccessSecret",
            rules.subdomain(spec.model_access_secret, "a Secret's name"),
        )
    for key, value in spec.labels.items():
        yield from _told("metadata.labels", rules.label_pair(key, value))


def _input(spec: TuningSpec, target: Target) -> Iterator[Problem]:
    source, path = spec.input, "tuning.input"
    kinds = {
        "urls": bool(source.urls),
        "image": source.image is not None,
        "volumeSource": source.volume_source is not None,
    }
    given = [kind for kind, there in kinds.items() if there]
    if len(given) > 1:
        yield Problem(path, f"{listing(given, 'and')} are given.", "Give one of them.")
    if target == "local" and given:
        yield Problem(
            f"{path}.{given[0]}",
            "the local backend trains on data of this machine.",
            "Give a DataFrame or a file: pandas reads most addresses, for example pd.read_parquet(url).",
        )
    public = target == "kaito" and not spec.placement.private_urls
    for i, url in enumerate(source.urls if source.store is None else ()):
        yield from _told(f"{path}.urls[{i}]", rules.url(url, public=public))
    if source.image is not None:
        yield from _told(f"{path}.image", rules.image(source.image))
    for i, secret in enumerate(source.image_pull_secrets):
        yield from _told(f"{path}.imagePullSecrets[{i}]", rules.subdomain(secret, "a Secret's name"))
    if source.image_pull_secrets and source.image is None:
        yield Problem(
            f"{path}.imagePullSecrets", "there is no image to pull with them.", "Leave them out.", severity="warning"
        )
    if source.volume_source is not None:
        yield from _volume(f"{path}.volumeSource", source.volume_source)
    if source.name is not None:
        yield from _told(f"{path}.name", rules.label(source.name, "a name for the data"))
    if source.path is not None and source.delivered and not expanded(source.path).exists():
        yield Problem(path, f"{shown(source.path)} does not exist here.", f"Give {SOURCE_FORMS}.")


def _output(spec: TuningSpec, target: Target) -> Iterator[Problem]:
    output, path = spec.output, "tuning.output"
    kinds = {"image": output.image is not None, "volumeSource": output.volume_source is not None}
    given = [kind for kind, there in kinds.items() if there]
    if len(given) > 1:
        yield Problem(path, f"{listing(given, 'and')} are given.", "Give one of them.")
    if output.image is not None:
        yield from _told(f"{path}.image", rules.image(output.image))
    if output.volume_source is not None:
        yield from _volume(f"{path}.volumeSource", output.volume_source)
    if output.image_push_secret is not None:
        yield from _told(f"{path}.imagePushSecret", rules.subdomain(output.image_push_secret, "a Secret's name"))
    if target == "local":
        if given:
            yield Problem(
                f"{path}.{given[0]}",
                "the local backend keeps the adapter on this machine and pushes it nowhere.",
                "run.adapter tells where it is.",
                severity="note",
            )
        if output.path is not None and expanded(output.path).is_file():
            yield Problem(path, f"{shown(output.path)} is a file.", "Give a folder.")
        return
    if output.path is not None:
        yield Problem(
            path,
            f"{shown(output.path)} is a folder of this machine, which a pod does not see.",
            POD_DESTINATIONS,
        )
    elif not given:
        yield Problem(path, "it is not said where the adapter goes.", POD_DESTINATIONS)
    if output.image is not None and output.image_push_secret is None:
        yield Problem(
            f"{path}.imagePushSecret",
            "an image is pushed with the login of a Secret, and none is named.",
            "Name one (--push-secret); `kubectl create secret docker-registry` makes such a Secret.",
        )


def _volume(path: str, volume: Mapping[str, Any]) -> Iterator[Problem]:
    """A core/v1 VolumeSource: one kind of volume, and for claims their name."""
    if not isinstance(volume, Mapping) or len(volume) != 1:
        yield Problem(
            path,
            f"{shown(volume)} is not one kind of volume.",
            "Write it like {persistentVolumeClaim: {claimName: NAME}}.",
        )
        return
    kind, facts = next(iter(volume.items()))
    if kind == "persistentVolumeClaim":
        claim = facts.get("claimName") if isinstance(facts, Mapping) else facts
        yield from _told(f"{path}.persistentVolumeClaim.claimName", rules.subdomain(claim, "a claim's name"))


def _resource(spec: TuningSpec, target: Target) -> Iterator[Problem]:
    resource = spec.resource
    if resource.count != 1:
        path, what = "resource.count", f"{shown(resource.count)} nodes are asked for."
        yield Problem(path, what, "KAITO tunes on one node: use 1.", fix=((path, 1),))
    selector = resource.label_selector
    if not isinstance(selector, Mapping) or set(selector) - {"matchLabels", "matchExpressions"}:
        yield Problem(
            "resource.labelSelector",
            f"{shown(selector)} is not a label selector.",
            "Write it like {matchLabels: {app: tuning}}.",
        )
    else:
        labels = selector.get("matchLabels") or {}
        for key, value in labels.items() if isinstance(labels, Mapping) else [(labels, None)]:
            yield from _told("resource.labelSelector.matchLabels", rules.label_pair(key, value))
    if target == "kaito":
        yield from _instance_type(resource.instance_type)


def _instance_type(name: Any) -> Iterator[Problem]:
    path, one = "resource.instanceType", presets.SKUS["Standard_NC24ads_A100_v4"]
    example = f"{one.name} ({one.gpus} GPU, {one.memory_gib} GiB)"
    if not name:
        yield Problem(path, "KAITO has to know which GPU node to train on.", f"Name a size, for example {example}.")
    elif name in presets.SKUS:
        return
    elif isinstance(name, str) and not name.startswith("Standard_") and "." in name:
        yield Problem(
            path,
            f"{shown(name)} is not in KAITO's table for Azure.",
            "On another cloud KAITO may know it; if not, it says Unsupported SKU.",
            severity="warning",
        )
    else:
        near = close_match(name, presets.SKUS) if isinstance(name, str) else ""
        what = f"{shown(name)} is no GPU node size that KAITO knows."
        yield Problem(path, what, near or f"Use {example}.", fix=_near(path, name, presets.SKUS))
