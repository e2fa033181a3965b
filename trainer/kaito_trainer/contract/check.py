"""What is wrong with a tuning configuration, found without torch: before it is sent, and again before it is trained.

KAITO's webhook checks section names, 4/8-bit against the method and `output_dir`; all else it lets fail in the GPU pod.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, Final

from .combinations import combinations
from .config import ALL_SECTIONS, SECTION_NAMES, Option, TrainingConfig, options
from .fields import Image
from .names import MOUNT_ROOT
from .problems import Problem, close_match, listing, one_line, shown
from .unexplained import meant, texts, unexplained

DEVICES_DEFAULT: Final = 1
EPOCHS_DEFAULT: Final = 3.0
"""Hugging Face's `num_train_epochs`, which KAITO leaves alone."""
BATCH_DEFAULT: Final = 1
"""KAITO's `per_device_train_batch_size`, and our trainer's (Hugging Face's own is 8)."""
FEW: Final = 16
"""Allowed texts that a message lists although one of them is near."""
SPLIT_DEFAULT: Final = 0.8
"""KAITO's `train_test_split` where the section omits it; its default ConfigMap says 1."""


def check(config: TrainingConfig, method: str | None = None, image: Image = "ours") -> list[Problem]:
    """All problems of a configuration; with a method, also whether its quantisation fits it.

    `image`: who is to read it. What KAITO's parser makes of a value is not told here: see `kaito_jupyter.spec.stock`.
    """
    found = [*_sections(config), *_values(config, image), *_output_dir(config), *combinations(config, image)]
    return found + list(_bits(config, method))


def _sections(config: TrainingConfig) -> Iterator[Problem]:
    known = [s.NAME for s in ALL_SECTIONS]
    for key, value in config.unknown.items():
        name = one_line(str(key))
        if name in known:
            first = next(o.name for o in options() if o.section == name)
            yield Problem(
                f"config.{name}",
                f"a section holds keys and values, this one is {shown(value)}.",
                f"Write it as a mapping, for example {name}: {{{first}: …}}.",
            )
        else:
            near = close_match(name, known)
            yield Problem(
                f"config.{name}",
                "KAITO knows no such section.",
                f"{near} The sections are {listing(SECTION_NAMES, 'and')}.".strip(),
            )


def _values(config: TrainingConfig, image: Image) -> Iterator[Problem]:
    table = {o.path: o for o in options()}
    for section in config.sections():
        for name, value in section.to_dict().items():
            path = f"{section.NAME}.{name}"
            if path in table:
                yield from judged(table[path], value, texts(table[path]))
                continue
            wrong, field = unexplained(section.NAME, one_line(str(name)), value, image)
            yield from wrong
            if field is not None:
                yield from judged(field.option(), value, field.choices)


def judged(option: Option, value: Any, choices: tuple[str, ...]) -> Iterator[Problem]:
    """What is wrong with one value: its type, its range, or that it is not among the texts that are allowed."""
    asked = f"Give {_kind(option.types)}{_range(option)}."
    if value == [] and list in option.types:
        yield Problem(option.path, "the list is empty.", "Name at least one, or leave it out.")
    elif not _is_a(value, option.types):
        yield Problem(
            option.path,
            f"{shown(value)} is not {_kind(option.types)}.",
            f"{asked} {_hint(option, value)}".strip(),
            fix=_meant(option, value),
        )
    elif choices and isinstance(value, str) and value not in choices:
        (near, sure), allowed = meant(value, choices), listing(choices) if len(choices) <= FEW else ""
        say = f'Did you mean "{near}"? ' if near else ""
        more = f"Use {allowed}." if allowed else "" if near else f"Use one of {listing(choices)}."
        yield Problem(
            option.path,
            f"{shown(value)} is not allowed.",
            f"{say}{more}".strip(),
            fix=((option.path, near),) if sure else (),
        )
    elif isinstance(value, int | float) and not isinstance(value, bool):
        low = (option.minimum is not None and value < option.minimum) or (
            option.above is not None and value <= option.above
        )
        high = option.maximum is not None and value > option.maximum
        if low or high or not _finite(value):
            yield Problem(option.path, f"{shown(value)} is out of range.", asked)


def _meant(option: Option, value: Any) -> tuple[tuple[str, Any], ...]:
    """What was meant by a value of the wrong type, where that is beyond doubt."""
    meant: Any = None
    if isinstance(value, bool) and not value and "no" in option.choices:
        meant = "no"
    elif isinstance(value, float) and int in option.types and value.is_integer():
        meant = int(value)
    elif isinstance(value, str) and bool in option.types and (word := _WORDS.get(value.lower())):
        meant = word == "true"
    elif isinstance(value, str) and (number := _number(value)) is not None:
        if float in option.types:
            meant = number
        elif int in option.types and number.is_integer():
            meant = int(number)
    return ((option.path, meant),) if meant is not None else ()


def _hint(option: Option, value: Any) -> str:
    """What is probably meant by a value of the wrong type; mostly what YAML made of it."""
    types = option.types
    if isinstance(value, bool) and ("no" in option.choices or "off" in option.choices) and not value:
        return 'YAML reads a bare no as false: write "no" in quotes.'
    if isinstance(value, float) and int in types and value.is_integer():
        return f"Write {int(value)}."
    if not isinstance(value, str) or option.choices:
        return ""
    if bool in types and (meant := _WORDS.get(value.lower())):
        return f"Write {meant}, without quotes."
    number = _number(value)
    if number is None or (float not in types and not number.is_integer()):
        return ""
    if float in types and "e" in value.lower():
        return f"YAML reads {shown(value)[1:-1]} as text: write {_as_yaml(number)}."
    return "Leave out the quotes." if int in types or float in types else ""


def _as_yaml(number: float) -> str:
    """As YAML 1.1 reads it back as a number: with a point, even before an exponent."""
    mantissa, e, exponent = repr(number).partition("e")
    return (mantissa if "." in mantissa else f"{mantissa}.0") + e + exponent


_WORDS: Final = {"true": "true", "yes": "true", "on": "true", "false": "false", "no": "false", "off": "false"}


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond a float's range
        return False


def _output_dir(config: TrainingConfig) -> Iterator[Problem]:
    """KAITO v0.12, `api/v1beta1/tuning_config_validation.go`: a folder below /mnt.

    The webhook takes a relative one too, but KAITO's trainer then writes outside of the volume.
    """
    value = config.TrainingArguments.output_dir
    if not isinstance(value, str):
        return  # unset is fine, and a wrong type is told already
    folder = PurePosixPath(value)
    inside = folder.is_absolute() and ".." not in folder.parts and folder.parts[:2] == ("/", MOUNT_ROOT[1:])
    if not inside or len(folder.parts) < 3:
        yield Problem(
            "TrainingArguments.output_dir",
            f"{shown(value)} is not a folder below {MOUNT_ROOT}.",
            f"KAITO writes results only there: use {MOUNT_ROOT}/results.",
            fix=(("TrainingArguments.output_dir", f"{MOUNT_ROOT}/results"),),
        )


def _bits(config: TrainingConfig, method: str | None) -> Iterator[Problem]:
    """KAITO v0.12, `api/v1beta1/tuning_config_validation.go`: lora refuses quantised weights, qlora asks for them."""
    q = config.QuantizationConfig
    four, eight = q.load_in_4bit is True, q.load_in_8bit is True
    if method == "lora" and (four or eight):
        which = "load_in_4bit" if four else "load_in_8bit"
        yield Problem(
            f"QuantizationConfig.{which}",
            "true does not go with the method lora.",
            'Use the method "qlora", or set it to false.',
            fix=(("tuning.method", "qlora"),),
        )
    if method != "lora" and four and eight:  # `BitsAndBytesConfig` refuses it, too
        yield Problem(
            "QuantizationConfig",
            "load_in_4bit and load_in_8bit are both true.",
            "Set one of them to false.",
            fix=(("QuantizationConfig.load_in_8bit", False),),
        )
    odd = any(not isinstance(bits, bool | None) for bits in (q.load_in_4bit, q.load_in_8bit))  # told already
    if method == "qlora" and not four and not eight and not odd:
        yield Problem(
            "QuantizationConfig",
            "qlora needs quantised weights.",
            'Set load_in_4bit: true, or use the method "lora".',
            fix=(("QuantizationConfig.load_in_4bit", True),),
        )


def total_steps(config: TrainingConfig, rows: int, devices: int = DEVICES_DEFAULT) -> int:
    """Optimiser steps of a run: epochs × ⌈rows / (batch × accumulation × devices)⌉, cut by `max_steps`.

    `rows` are those trained on, after the split. Rounded as Hugging Face's Trainer rounds: batches an epoch up, then
    optimiser steps an epoch up, then epochs times that up. The configuration must be one that `check` finds no error in.

    Source: KAITO's tuning document, "Time for job completion", and `transformers.Trainer.set_initial_training_values`.
    """
    t = config.TrainingArguments
    if t.max_steps is not None and t.max_steps > 0:
        return t.max_steps
    batch = (t.per_device_train_batch_size or BATCH_DEFAULT) * devices
    batches = rows // batch if t.extra.get("dataloader_drop_last") is True else -(-rows // batch)
    per_epoch = max(1, -(-batches // (t.gradient_accumulation_steps or 1)))
    epochs = EPOCHS_DEFAULT if t.num_train_epochs is None else t.num_train_epochs
    return math.ceil(epochs * per_epoch)


def train_rows(config: TrainingConfig, rows: int) -> int:
    """Rows trained on: KAITO's `train_test_split` of all rows (0.8 when the section omits it), the rest held out.

    Rounded as `datasets.Dataset.train_test_split(test_size=1 - share)`, which KAITO's trainer calls: held-out rows up.
    Both sides keep at least one row when there are two.
    """
    share = config.DatasetConfig.train_test_split
    share = SPLIT_DEFAULT if share is None else share
    if share >= 1 or rows < 2:
        return rows
    held_out = math.ceil((1 - share) * rows)
    return min(max(1, rows - held_out), rows - 1)


def _is_a(value: Any, types: tuple[type, ...]) -> bool:
    if isinstance(value, bool):
        return bool in types
    if isinstance(value, int) and float in types:
        return True
    if isinstance(value, list) and list in types:
        return all(isinstance(v, str) for v in value)
    if isinstance(value, Mapping) and dict in types:
        return True
    return isinstance(value, types)


def _kind(types: tuple[type, ...]) -> str:
    words = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "text",
        list: "a list of names",
        dict: "a mapping",
    }
    return " or ".join(words[t] for t in types if t in words)


def _range(option: Option) -> str:
    low = (
        f" of at least {option.minimum:g}"
        if option.minimum is not None
        else f" above {option.above:g}"
        if option.above is not None
        else ""
    )
    high = f" up to {option.maximum:g}" if option.maximum is not None else ""
    choices = f": {listing(option.choices)}" if option.choices else ""
    return low + (" and" if low and high else "") + high + choices
