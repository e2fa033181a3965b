"""Options by any of their names -> sections of a configuration, with values turned into each field's type."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from kaito_trainer.contract import Option, Problem
from kaito_trainer.contract import options as option_table
from kaito_trainer.contract.problems import close_match, listing, one_line, shown
from kaito_trainer.contract.sections import ALL_SECTIONS

from ..errors import SpecError
from .text import load

Sections = dict[str, Any]
"""Section name -> keys (or whatever came instead of keys: `check` says so)."""

NAMES: Final = tuple(s.NAME for s in ALL_SECTIONS)
_WORD = re.compile(r"[\w.-]+")
_SWITCH: Final = {"yes": True, "on": True, "no": False, "off": False}


def find_option(name: str) -> Option | None:
    """The option by its path (`LoraConfig.r`), its flag (`epochs`, `--epochs`) or its bare name, when that is one only."""
    table = option_table()
    flag = "--" + name.lstrip("-").replace("_", "-")
    for option in table:
        if name == option.path or (option.flag and flag == option.flag):
            return option
    named = [o for o in table if o.name == name.lstrip("-").replace("-", "_")]
    return named[0] if len(named) == 1 else None


def sections_of(given: Mapping[str, Any]) -> tuple[Sections, list[Problem]]:
    """Values by option name, and a problem for every name that is none. Without a value (None) an option is left alone."""
    sections: Sections = {}
    found: list[Problem] = []
    for key, value in given.items():
        option = find_option(key)
        section, dot, name = (option.section, ".", option.name) if option else key.partition(".")
        if value is None:
            continue
        if dot and name and section in NAMES:
            sections.setdefault(section, {})[name] = coerce(option, value)
        else:
            found.append(unknown(key))
    return sections, found


def assigned(texts: Sequence[str]) -> tuple[dict[str, Any], list[Problem]]:
    """`Section.field=value` as `--set` takes them -> values by option name. A field that we don't know is read as YAML."""
    values: dict[str, Any] = {}
    found: list[Problem] = []
    for text in texts:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not key:
            found.append(Problem("--set", f"{shown(text)} is no assignment.", "Write Section.field=value."))
        elif find_option(key) is not None:
            values[key] = value
        else:
            try:
                values[key] = load(value, key)
            except SpecError as error:
                found += error.problems
    return values, found


def unknown(key: str) -> Problem:
    """What to say of a name that is no option."""
    path = one_line(key)
    section, dot, name = key.partition(".")
    table = option_table()
    if dot and section not in NAMES:
        own = [o.path for o in table if o.name == name]
        near = f'Did you mean "{own[0]}"?' if own else close_match(section, NAMES)
        sections = f"The sections are {listing(NAMES, 'and')}."
        return Problem(path, f"there is no section {shown(section)}.", near or sections)
    words = {o.path for o in table} | {o.name for o in table} | {o.flag.lstrip("-") for o in table if o.flag}
    example = "Write Section.field, for example TrainingArguments.max_steps."
    return Problem(path, "there is no such option.", close_match(key.lstrip("-"), sorted(words)) or example)


def coerced(sections: Mapping[str, Any]) -> Sections:
    """Every value turned into its field's type."""
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
    if isinstance(value, str):
        return _from_text(option, value)
    types = option.types
    if isinstance(value, float) and float not in types and int in types and value.is_integer():
        return int(value)
    if isinstance(value, set | frozenset) and list in types:
        return sorted(value, key=str)
    return list(value) if isinstance(value, tuple) and list in types else value


def _from_text(option: Option, text: str) -> Any:
    types, first = option.types, text.lstrip()[:1]
    words = [part.strip() for part in text.split(",")]
    if list in types and first != "[" and (str not in types or len(words) > 1) and all(map(_WORD.fullmatch, words)):
        return words
    if str in types and not (list in types and first == "[") and not (dict in types and first == "{"):
        return text
    try:
        value = load(text, option.path)
    except SpecError:
        return text
    if isinstance(value, str):
        return _SWITCH.get(value.lower(), text) if bool in types else text
    return value if value is None else coerce(option, value)
