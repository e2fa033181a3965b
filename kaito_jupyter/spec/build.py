"""What a person gives (options, config files, strings) -> a checked TuningSpec, with every problem said at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kaito_trainer.contract import Option, Problem, TrainingConfig
from kaito_trainer.contract import options as option_table
from kaito_trainer.contract.problems import close_match, listing, shown
from kaito_trainer.contract.sections import ALL_SECTIONS, SECTION_NAMES, TRAINER_KEY, TrainerSection

from ..errors import SpecError
from .model import Target, TuningSpec
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
    push_secret: str | None = None,
    instance_type: str | None = None,
    label_selector: Mapping[str, Any] | None = None,
    model_access_secret: str | None = None,
    config: ConfigLike | Sequence[ConfigLike] | None = None,
    options: Mapping[str, Any] | None = None,
    assignments: Sequence[str] = (),
    target: Target = "local",
) -> TuningSpec:
    """A spec that can run on `target`. Raises `SpecError` with all errors, the configuration's and the options' included.

    Later wins: `config` (a later one over an earlier one), then `options` (`Section.field`, the bare name of a field,
    or a shortcut such as `epochs`), then `assignments` (`Section.field=value`, as `--set` takes them). Values that come
    as text are read as YAML and turned into the field's type where nothing is lost.
    """
    found: list[Problem] = []
    merged = TrainingConfig()
    for one in _listed(config):
        merged = merged.merged(_collected(found, lambda one=one: read_config(one), {}))
    given = {**(options or {})}
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            found.append(Problem("--set", f"{shown(text)} is no assignment.", "Write Section.field=value."))
        else:
            given[key.strip()] = value.strip()
    sections, unknown = _sections(given)
    found += unknown
    merged = merged.merged(sections)
    destination = parse_destination(str(output)) if isinstance(output, str | Path) else output or DataDestination()
    if push_secret is not None:
        destination = _with_secret(found, destination, push_secret)
    spec = TuningSpec(
        preset=str(preset) if isinstance(preset, Path) else preset,
        method=method,  # type: ignore[arg-type]  # checked below
        name=name,
        namespace=namespace or "default",
        input=parse_source(str(input)) if isinstance(input, str | Path) else input or DataSource(),
        output=destination,
        resource=ResourceSpec(instance_type=instance_type, label_selector=label_selector or {}),
        model_access_secret=model_access_secret,
        config=merged,
    )
    found += [p for p in spec.problems(target) if p.severity == "error"]
    if found:
        raise SpecError(found)
    return spec


def _listed(config: ConfigLike | Sequence[ConfigLike] | None) -> list[ConfigLike]:
    if config is None:
        return []
    if isinstance(config, str) or not isinstance(config, Sequence):
        return [config]
    return list(config)


def _collected(found: list[Problem], read: Any, otherwise: Any) -> Any:
    try:
        return read()
    except SpecError as error:
        found += error.problems
        return otherwise


def _with_secret(found: list[Problem], destination: DataDestination, secret: str) -> DataDestination:
    if destination.image is None:
        found.append(Problem("--push-secret", "there is no image to push.", "Give --output image:REF with it."))
    return DataDestination(
        image=destination.image,
        image_push_secret=secret,
        volume_source=destination.volume_source,
        path=destination.path,
    )


def read_config(given: ConfigLike, path: str = "config") -> dict[str, Any]:
    """Section name -> keys, from `training_config.yaml`, a ConfigMap with it, bare sections, or bare options.

    Text is YAML; a `Path` is a file. Raises `SpecError`.
    """
    if isinstance(given, TrainingConfig):
        return given.to_dict()
    if isinstance(given, Path):
        path = str(given)
        try:
            given = given.expanduser().read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is no UTF-8 text"
            raise SpecError([Problem(path, f"the file cannot be read: {why}.", "Give a YAML file.")]) from error
    document = load(given, path) if isinstance(given, str) else given
    if document is None:
        return {}
    if isinstance(document, Mapping) and document.get("kind") == "ConfigMap":
        data = document.get("data")
        text = data.get("training_config.yaml") if isinstance(data, Mapping) else None
        document = load(text, path) if isinstance(text, str) else None
    if not isinstance(document, Mapping):
        raise SpecError(
            [
                Problem(
                    path, f"{shown(document)} is no configuration.", f"Write sections: {listing(SECTION_NAMES, 'and')}."
                )
            ]
        )
    if "training_config" in document:
        sections = document["training_config"]
        if not isinstance(sections, Mapping):
            raise SpecError(
                [Problem(f"{path}.training_config", f"{shown(sections)} is no mapping.", "Write sections below it.")]
            )
        ours = document.get(TRAINER_KEY)
        return _coerced({**sections, **({TrainerSection.NAME: ours} if ours is not None else {})})
    bare = {k: v for k, v in document.items() if not isinstance(v, Mapping) and find_option(str(k)) is not None}
    return _merged(_coerced({k: v for k, v in document.items() if k not in bare}), _sections(bare)[0])


def find_option(name: str) -> Option | None:
    """The option by its path (`LoraConfig.r`), its flag (`epochs`, `--epochs`) or its bare name, when that is one only."""
    table = option_table()
    flag = "--" + name.lstrip("-").replace("_", "-")
    for option in table:
        if name == option.path or (option.flag and flag == option.flag):
            return option
    named = [o for o in table if o.name == name.lstrip("-").replace("-", "_")]
    return named[0] if len(named) == 1 else None


def _sections(given: Mapping[str, Any]) -> tuple[dict[str, dict[str, Any]], list[Problem]]:
    """Options by any of their names -> sections, and a problem for every name that is none."""
    found: list[Problem] = []
    sections: dict[str, dict[str, Any]] = {}
    names = [s.NAME for s in ALL_SECTIONS]
    for key, value in given.items():
        if value is None:
            continue
        option = find_option(key)
        section, dot, name = (option.section, ".", option.name) if option else key.partition(".")
        if dot and section in names and name:
            read = load(value, key) if isinstance(value, str) and option is None else value
            sections.setdefault(section, {})[name] = coerce(option, value) if option else read
        else:
            found.append(_unknown(key, names))
    return sections, found


def _unknown(key: str, sections: Sequence[str]) -> Problem:
    section, dot, name = key.partition(".")
    table = option_table()
    if dot and section not in sections:
        own = [s for s in sections if any(o.section == s and o.name == name for o in table)]
        near = f'Did you mean "{own[0]}.{name}"?' if own else close_match(section, sections)
        return Problem(
            key, f"KAITO knows no section {shown(section)}.", near or f"The sections are {listing(sections, 'and')}."
        )
    words = {o.path for o in table} | {o.name for o in table} | {o.flag.lstrip("-") for o in table if o.flag}
    near = close_match(key, sorted(words))
    return Problem(
        key, "there is no such option.", near or "Write Section.field, for example TrainingArguments.max_steps."
    )


def _coerced(sections: Mapping[str, Any]) -> dict[str, Any]:
    """Text in a configuration turned into its field's type, where nothing is lost."""
    table = {o.path: o for o in option_table()}
    return {
        section: {k: coerce(table.get(f"{section}.{k}"), v) for k, v in keys.items()}
        if isinstance(keys, Mapping)
        else keys
        for section, keys in sections.items()
    }


def coerce(option: Option | None, value: Any) -> Any:
    """The value as the option's type when that loses nothing ("2e-4" -> 0.0002, 3.0 -> 3), else as it came, for `check`."""
    if option is None:
        return value
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()  # a numpy scalar
    types = option.types
    if isinstance(value, str):
        if str in types and (list not in types or not value.lstrip().startswith("[")):
            return value
        try:
            read = load(value, option.path)
        except SpecError:
            return value
        if list in types and isinstance(read, str):
            return [part.strip() for part in read.split(",") if part.strip()]
        if bool in types and isinstance(read, str) and read.lower() in _WORDS:
            return _WORDS[read.lower()]
        value = value if isinstance(read, str) else read
    if isinstance(value, float) and float not in types and int in types and value.is_integer():
        return int(value)
    if isinstance(value, tuple | set | frozenset) and list in types:
        return sorted(value) if isinstance(value, set | frozenset) else list(value)
    return value


_WORDS = {"yes": True, "on": True, "no": False, "off": False}


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    both = dict(one)
    for section, keys in other.items():
        mine = both.get(section, {})
        both[section] = {**mine, **keys} if isinstance(mine, Mapping) else mine
    return both
