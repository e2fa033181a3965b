"""What a person gives (options, config files, strings) -> a checked TuningSpec, with every problem said at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kaito_trainer.contract import Problem, TrainingConfig
from kaito_trainer.contract.names import CONFIG_FILE
from kaito_trainer.contract.problems import listing, shown
from kaito_trainer.contract.sections import SECTION_NAMES, TRAINER_KEY, TrainerSection

from ..errors import SpecError
from ..tilde import expanded
from .model import Target, TuningSpec
from .options import NAMES, Sections, assigned, coerced, find_option, sections_of, unknown
from .placement import PATH as PLACEMENT
from .placement import Placement
from .sources import DataDestination, DataSource, ResourceSpec, parse_destination, parse_source
from .text import load

ConfigLike = Mapping[str, Any] | TrainingConfig | Path | str
"""Sections as a mapping, a configuration, a file, or YAML text."""


def build_spec(
    *,
    preset: str | Path,
    method: str = "lora",
    name: str | None = None,
    namespace: str | None = None,
    input: str | Path | DataSource | None = None,
    output: str | Path | DataDestination | None = None,
    pull_secret: str | None = None,
    push_secret: str | None = None,
    instance_type: str | None = None,
    label_selector: Mapping[str, Any] | None = None,
    model_access_secret: str | None = None,
    placement: Placement | Mapping[str, Any] | None = None,
    config: ConfigLike | Sequence[ConfigLike] | None = None,
    options: Mapping[str, Any] | None = None,
    assignments: Sequence[str] = (),
    target: Target = "local",
) -> TuningSpec:
    """A spec that can run on `target`. Raises `SpecError` with all errors, the configuration's and the options' included.

    All is taken as `gather_spec` takes it.
    """
    spec, found = gather_spec(
        preset=preset, method=method, name=name, namespace=namespace, input=input, output=output,
        pull_secret=pull_secret, push_secret=push_secret, instance_type=instance_type, label_selector=label_selector,
        model_access_secret=model_access_secret, placement=placement, config=config, options=options, assignments=assignments,
    )  # fmt: skip
    found += [p for p in spec.problems(target) if p.severity == "error"]
    if found:
        raise SpecError(found)
    return spec


def gather_spec(
    *,
    preset: str | Path,
    method: str = "lora",
    name: str | None = None,
    namespace: str | None = None,
    input: str | Path | DataSource | None = None,
    output: str | Path | DataDestination | None = None,
    pull_secret: str | None = None,
    push_secret: str | None = None,
    instance_type: str | None = None,
    label_selector: Mapping[str, Any] | None = None,
    model_access_secret: str | None = None,
    placement: Placement | Mapping[str, Any] | None = None,
    config: ConfigLike | Sequence[ConfigLike] | None = None,
    options: Mapping[str, Any] | None = None,
    assignments: Sequence[str] = (),
) -> tuple[TuningSpec, list[Problem]]:
    """What was given as a spec, right or wrong (`spec.check` tells), and what no spec can hold. Raises nothing.

    Later wins: `config` (a later one over an earlier one), then `options` (`Section.field`, the bare name of a field,
    or a shortcut such as `epochs`), then `assignments` (`Section.field=value`, as `--set` takes them). Values that come
    as text are read as YAML and turned into the field's type where nothing is lost.
    """
    found: list[Problem] = []
    merged = TrainingConfig()
    texts, wrong = assigned(assignments)
    parts = [*map(_read, _listed(config)), sections_of(options or {}), sections_of(texts)]
    for sections, problems in parts:
        merged = merged.merged(sections)
        found += problems
    destination = parse_destination(str(output)) if isinstance(output, str | Path) else output or DataDestination()
    if push_secret is not None:
        destination = replace(destination, image_push_secret=push_secret)
        if destination.image is None:
            wrong.append(Problem("--push-secret", "there is no image to push.", "Give --output image:REF with it."))
    source = parse_source(str(input)) if isinstance(input, str | Path) else input or DataSource()
    if pull_secret is not None:
        source = replace(source, image_pull_secrets=(*source.image_pull_secrets, pull_secret))
        if source.image is None:
            wrong.append(Problem("--pull-secret", "there is no image to pull.", "Give --input image:REF with it."))
    try:
        placed = Placement.of(placement)
    except TypeError as error:
        placed = Placement()
        wrong.append(Problem(PLACEMENT, str(error), ""))
    spec = TuningSpec(
        preset=str(preset) if isinstance(preset, str | Path) else "",
        method=method,  # type: ignore[arg-type]  # checked below
        name=name,
        namespace=namespace or "default",
        input=source,
        output=destination,
        resource=ResourceSpec(instance_type=instance_type, label_selector=label_selector or {}),
        model_access_secret=model_access_secret,
        config=merged,
        placement=placed,
    )
    return spec, [*found, *wrong]


def read_config(given: ConfigLike, path: str = "config") -> Sections:
    """Section name -> keys, from `training_config.yaml`, a ConfigMap with it, bare sections, or bare options.

    Text is YAML; a `Path` is a file. `path` names the input in messages. Raises `SpecError`.
    """
    sections, found = _read(given, path)
    if found:
        raise SpecError(found)
    return sections


def _listed(config: ConfigLike | Sequence[ConfigLike] | None) -> list[ConfigLike]:
    if config is None:
        return []
    if isinstance(config, str) or not isinstance(config, Sequence):
        return [config]
    return list(config)


def _read(given: ConfigLike, path: str = "config") -> tuple[Sections, list[Problem]]:
    """The same as `read_config`, with what is right kept beside what is wrong."""
    if isinstance(given, TrainingConfig):
        return given.to_dict(), []
    path = str(given) if isinstance(given, Path) else path
    try:
        document = _document(given, path)
    except SpecError as error:
        return {}, list(error.problems)
    sections = document.get("training_config", document)
    if not isinstance(sections, Mapping):
        why = f"{shown(sections)} is no mapping."
        return {}, [Problem(f"{path}.training_config", why, "Write sections below it.")]
    ours = document.get(TRAINER_KEY)
    whole = {**sections, **({TrainerSection.NAME: ours} if ours is not None else {})}
    whole.pop(TRAINER_KEY, None)
    loose = {str(k): v for k, v in whole.items() if not isinstance(v, Mapping | None) and k not in NAMES}
    found = [unknown(k) for k in loose if find_option(k) is None]
    single, _ = sections_of({k: v for k, v in loose.items() if find_option(k) is not None})
    rest = coerced({k: v for k, v in whole.items() if str(k) not in loose and v is not None})
    return TrainingConfig.from_dict(rest).merged(single).to_dict(), found


def _document(given: ConfigLike, path: str) -> Mapping[str, Any]:
    """The mapping in a file, a text or a ConfigMap. Raises `SpecError`."""
    if isinstance(given, Path):
        try:
            given = expanded(given).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = (error.strerror if isinstance(error, OSError) else None) or "it is no UTF-8 text"
            raise SpecError([Problem(path, f"the file cannot be read: {why}.", "Give a YAML file.")]) from error
    document = load(given, path) if isinstance(given, str) else given
    if isinstance(document, Mapping) and document.get("kind") == "ConfigMap":
        data = document.get("data")
        text = data.get(CONFIG_FILE) if isinstance(data, Mapping) else None
        if not isinstance(text, str):
            raise SpecError([Problem(path, f"the ConfigMap has no {CONFIG_FILE}.", "Put it below data.")])
        document = load(text, path)
    if document is None:
        return {}
    if not isinstance(document, Mapping):
        remedy = f"Write sections: {listing(SECTION_NAMES, 'and')}."
        raise SpecError([Problem(path, f"{shown(document)} is no configuration.", remedy)])
    return document
