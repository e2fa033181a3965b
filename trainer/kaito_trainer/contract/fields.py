"""All fields of Hugging Face's classes: in the releases that our trainer runs with, and in those of KAITO's image.

They stand in `fields.json`, which `trainer/tools/write_fields.py` writes. It is read when it is first asked for: importing
the contract takes no file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

from .config import Option, options

Image = Literal["ours", "stock"]
"""Who reads the configuration: our trainer, or KAITO's own (its "stock" image)."""

DATA: Final = Path(__file__).with_name("fields.json")
_TYPES: Final[dict[str, type]] = {"bool": bool, "int": int, "float": float, "str": str, "list": list, "dict": dict}


@dataclass(frozen=True, slots=True)
class Field:
    """One field as a class declares it."""

    section: str
    name: str
    types: tuple[type, ...]
    """Types that a value may have; empty: any."""
    default: Any
    """The class's own, when it is plain."""
    choices: tuple[str, ...]
    """The only texts that are allowed; empty: any."""
    minimum: float | None
    maximum: float | None
    many: bool
    """For KAITO's parser: whether it takes several values."""
    readable: bool
    """For KAITO's parser: whether it can read any value at all."""
    deprecated: bool
    trl: bool
    """Whether it is TRL's own. KAITO's image may hold a newer TRL than the one that was asked."""

    def option(self) -> Option:
        """The same as the check of explained fields takes it."""
        return Option(
            self.section, self.name, self.types, "", "", "", self.choices, self.minimum, None, self.maximum, "", False
        )


@cache
def _data() -> dict[str, Any]:
    return dict(json.loads(DATA.read_text(encoding="utf-8")))


@cache
def known(image: Image, section: str) -> Mapping[str, Field]:
    """The fields of a section by their names; none for a section that is not Hugging Face's."""
    return {
        name: Field(
            section=section,
            name=name,
            types=tuple(_TYPES[t] for t in facts.get("types", ())),
            default=facts.get("default"),
            choices=tuple(facts.get("choices", ())),
            minimum=facts.get("minimum"),
            maximum=facts.get("maximum"),
            many=facts.get("many", False),
            readable=not facts.get("unreadable", False),
            deprecated=facts.get("deprecated", False),
            trl=facts.get("of") == "trl",
        )
        for name, facts in _data()[image].get(section, {}).items()
    }


def releases(image: Image) -> Mapping[str, str]:
    """Package -> the release that the fields were read off."""
    return dict(_data()["releases"][image])


def gone(path: str) -> tuple[str, str] | None:
    """Of a name that Hugging Face knew once, or that people try: the field to use (or empty), and what to do in words."""
    facts = _data()["gone"].get(path)
    if facts is None:
        return None
    now, why = facts.get("now", ""), facts.get("why", "")
    if not now:
        return "", f"Leave it out{': ' + why if why else ''}."
    say = f"Write it as {now}" if "." in now else f"Write {now}"
    if why:
        say += f", {why}" if why.startswith(("with", "true")) else f": {why}"
    return now, f"{say}."


def gone_paths() -> tuple[str, ...]:
    """All names that are gone, as paths."""
    return tuple(_data()["gone"])


def explained(section: str) -> tuple[str, ...]:
    """Names of the fields of a section that `sections` explains."""
    return tuple(o.name for o in options() if o.section == section)


__all__ = ["Field", "Image", "explained", "gone", "gone_paths", "known", "releases"]
