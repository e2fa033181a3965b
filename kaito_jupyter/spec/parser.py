"""What the parser of KAITO's trainer makes of the configuration: it turns each key into a command-line option.

A name that its classes lack, a value that its option cannot read: either ends the trainer in the GPU pod. Source: KAITO
v0.12, `presets/workspace/tuning/text-generation/{cli,parser}.py`, and transformers' `HfArgumentParser`, which was asked
for each field (`kaito_trainer/contract/fields.json`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from kaito_trainer.contract import Problem, TrainingConfig
from kaito_trainer.contract.fields import Field, explained, known, releases
from kaito_trainer.contract.problems import close_match, listing, shown
from kaito_trainer.contract.sections import TrainerSection

OWN: Final = ("ModelConfig", "DatasetConfig")
"""Sections that KAITO reads with classes of its own, so short that all their fields can be named."""
PACKAGES: Final = {"LoraConfig": "peft", "TrainingArguments": "trl", "QuantizationConfig": "bitsandbytes"}
ELSEWHERE: Final = "Leave it out, or train with our trainer (backend job or local)."
_WORDS: Final = {bool: "true or false", int: "a whole number", float: "a number"}


def problems(config: TrainingConfig) -> Iterator[Problem]:
    """Keys and values that KAITO's parser ends on."""
    for section in config.sections():
        if section.NAME == TrainerSection.NAME:
            continue
        for name, value in section.to_dict().items():
            field = known("stock", section.NAME).get(name)
            if field is None:
                yield from _absent(section.NAME, str(name))
            elif not field.readable:
                path = f"{section.NAME}.{name}"
                yield Problem(
                    path,
                    "KAITO's trainer reads its options from a command line, on which this one cannot be written.",
                    ELSEWHERE,
                    fix=((path, None),),
                )
            else:
                yield from _unread(field, value)


def _absent(section: str, name: str) -> Iterator[Problem]:
    """A field of our releases that KAITO's image lacks. What no release has is told by `check`."""
    path, fields = f"{section}.{name}", known("stock", section)
    ours = known("ours", section).get(name)
    if ours is None and name not in explained(section):
        return
    if section in OWN:
        what = "KAITO's trainer has no such field, and would end with an error."
        say = f"{close_match(name, fields)} Leave it out. The fields are {listing(fields, 'and')}.".strip()
        yield Problem(path, what, say, fix=((path, None),))
    elif ours is not None and ours.trl:
        what = f"KAITO's image may hold a TRL that lacks it (it asks for {releases('stock')['trl']} or newer)."
        yield Problem(path, what, ELSEWHERE, "warning", fix=((path, None),))
    else:
        package = PACKAGES.get(section, "transformers")
        package = "transformers" if section == "TrainingArguments" else package
        what = f"KAITO's image holds {package} {releases('stock')[package]}, which has no such field: the trainer would end with an error."
        yield Problem(path, what, ELSEWHERE, fix=((path, None),))


def _unread(field: Field, value: Any) -> Iterator[Problem]:
    path = f"{field.section}.{field.name}"
    wanted = field.types[0] if field.types else str
    if isinstance(value, Mapping) or value in ([], ()):
        return  # told by shape
    if isinstance(value, list | tuple):
        if not field.many:
            single = value[0] if len(value) == 1 else None
            say = f"Write {field.name}: {shown(single)[1:-1] if isinstance(single, str) else shown(single)}."
            yield Problem(
                path,
                f"KAITO's trainer takes one value here, and this is a list of {len(value)}.",
                say if single is not None else "Give one value, or train with our trainer (backend job or local).",
                fix=((path, single),),
            )
        elif wanted in _WORDS and (odd := [v for v in value if not _reads(wanted, v)]):
            what = f"KAITO's trainer reads {_WORDS[wanted]} in each place here, and not {shown(odd[0])}."
            yield Problem(path, what, ELSEWHERE, fix=((path, None),))
        return
    if isinstance(value, str) and value.startswith("-") and wanted is str:
        what = f"{shown(value)} begins with -, and KAITO's trainer takes it for an option."
        bare = value.lstrip("-")
        yield Problem(path, what, "Let it begin with another letter.", fix=((path, bare),) if bare else ())
    elif wanted in _WORDS and isinstance(value, str) and field.name in explained(field.section):
        return  # `check` wants the same type
    elif wanted in _WORDS and not _reads(wanted, value):
        what = f"KAITO's trainer reads {_WORDS[wanted]} here, and not {shown(value)}."
        yield Problem(path, what, ELSEWHERE, fix=((path, None),))
    elif field.choices and isinstance(value, str) and value not in field.choices:
        ours = known("ours", field.section).get(field.name)
        if ours is None or not ours.choices or value in ours.choices:  # else told by `check`
            what = f"KAITO's image (transformers {releases('stock')['transformers']}) does not know {shown(value)}."
            near = close_match(value, field.choices)
            yield Problem(path, what, near or f"Use one of {listing(field.choices)}.", fix=((path, None),))


def _reads(wanted: type, value: Any) -> bool:
    """Whether the option's type can be read from what the value looks like as text."""
    text = str(value).lower()
    if wanted is bool:
        return text in ("yes", "true", "t", "y", "1", "no", "false", "f", "n", "0")
    try:
        wanted(str(value))
    except ValueError:
        return False
    return True
