"""What is wrong with a tuning configuration, found without torch: before it is sent, and again before it is trained.

KAITO's webhook checks section names, 4/8-bit against the method and `output_dir`; all else it lets fail in the GPU pod.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, Final

from .config import ALL_SECTIONS, METHODS, SECTION_NAMES, Option, TrainingConfig, options
from .names import MOUNT_ROOT
from .problems import Problem, close_match, listing, shown

DEVICES_DEFAULT: Final = 1
EPOCHS_DEFAULT: Final = 3.0
"""Hugging Face's `num_train_epochs`, which KAITO leaves alone."""


def check(config: TrainingConfig, method: str | None = None) -> list[Problem]:
    """All problems of a configuration; with a method, also whether its quantisation fits it."""
    found = [*_sections(config), *_values(config), *_output_dir(config), *_combinations(config)]
    if method in METHODS:
        found += _bits(config, str(method))
    return found


def _sections(config: TrainingConfig) -> Iterator[Problem]:
    known = [s.NAME for s in ALL_SECTIONS]
    for name, value in config.unknown.items():
        if name in known:
            yield Problem(
                f"config.{name}",
                f"a section holds keys and values, this one is {shown(value)}.",
                f"Write it as a mapping, for example {name}: {{{next(o.name for o in options() if o.section == name)}: …}}.",
            )
        else:
            yield Problem(
                f"config.{name}",
                "KAITO knows no such section.",
                f"{close_match(name, known)} The sections are {listing(SECTION_NAMES, 'and')}.".strip(),
            )


def _values(config: TrainingConfig) -> Iterator[Problem]:
    table = {o.path: o for o in options()}
    for section in config.sections():
        explained = [o.name for o in options() if o.section == section.NAME]
        for name, value in section.to_dict().items():
            path = f"{section.NAME}.{name}"
            if path in table:
                yield from _value(table[path], value)
            elif near := close_match(str(name), explained):
                yield Problem(
                    path, f"not a field that we know of {section.NAME}.", f"{near} It is passed on as it is.", "warning"
                )


def _value(option: Option, value: Any) -> Iterator[Problem]:
    def wrong(message: str, remedy: str) -> Problem:
        return Problem(option.path, message, remedy)

    if not _is_a(value, option.types):
        hint = ""
        if isinstance(value, str) and not option.choices:
            hint = " Leave out the quotes." if _parses(value, option.types) else ""
            if hint and float in option.types and "e" in value.lower():
                hint = f" YAML reads {value} as text: write {float(value)!r}" + (
                    " or 1.0e-4." if "." not in value else "."
                )
        yield wrong(
            f"{shown(value)} is not {_kind(option.types)}.", f"Give {_kind(option.types)}{_range(option)}.{hint}"
        )
        return
    if option.choices and isinstance(value, str) and value not in option.choices:
        near = close_match(value, option.choices)
        yield wrong(f"{shown(value)} is not allowed.", f"{near + ' ' if near else ''}Use {listing(option.choices)}.")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        low = (option.minimum is not None and value < option.minimum) or (
            option.above is not None and value <= option.above
        )
        high = option.maximum is not None and value > option.maximum
        if low or high or not math.isfinite(value):
            yield wrong(f"{value} is out of range.", f"Give {_kind(option.types)}{_range(option)}.")


def _output_dir(config: TrainingConfig) -> Iterator[Problem]:
    """KAITO v0.12, `api/v1beta1/params_validation.go`: a folder below /mnt."""
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
        )


def _bits(config: TrainingConfig, method: str) -> Iterator[Problem]:
    """KAITO v0.12, `api/v1beta1/params_validation.go`: lora refuses quantised weights, qlora asks for them."""
    q = config.QuantizationConfig
    four, eight = q.load_in_4bit is True, q.load_in_8bit is True
    if method == "lora" and (four or eight):
        which = "load_in_4bit" if four else "load_in_8bit"
        yield Problem(
            f"QuantizationConfig.{which}",
            "true does not go with the method lora.",
            'Use the method "qlora", or set it to false.',
        )
    if method == "qlora" and four and eight:
        yield Problem("QuantizationConfig", "load_in_4bit and load_in_8bit are both true.", "Set one of them to false.")
    if method == "qlora" and not four and not eight:
        yield Problem(
            "QuantizationConfig", "qlora needs quantised weights.", 'Set load_in_4bit: true, or use the method "lora".'
        )


def _combinations(config: TrainingConfig) -> Iterator[Problem]:
    t = config.TrainingArguments
    if t.bf16 is True and t.fp16 is True:
        yield Problem("TrainingArguments.fp16", "bf16 and fp16 are both true.", "Keep one of them.")
    held_out = config.DatasetConfig.train_test_split
    if t.eval_strategy in ("steps", "epoch") and held_out == 1:
        yield Problem(
            "TrainingArguments.eval_strategy",
            f"{shown(t.eval_strategy)} needs held-out rows, and DatasetConfig.train_test_split is 1.",
            "Set train_test_split below 1, for example 0.9.",
        )


def total_steps(config: TrainingConfig, rows: int, devices: int = DEVICES_DEFAULT) -> int:
    """Optimiser steps of a run: epochs × ⌈rows / (batch × accumulation × devices)⌉, cut by `max_steps`.

    `rows` are those trained on, after the split. Source: KAITO's tuning document, "Time for job completion", with
    Hugging Face's accumulation and devices put in.
    """
    t = config.TrainingArguments
    if t.max_steps is not None and t.max_steps > 0:
        return t.max_steps
    batch = (t.per_device_train_batch_size or 1) * devices
    batches = math.ceil(rows / batch)
    per_epoch = max(1, math.ceil(batches / (t.gradient_accumulation_steps or 1)))
    epochs = EPOCHS_DEFAULT if t.num_train_epochs is None else t.num_train_epochs
    return math.ceil(epochs * per_epoch)


def train_rows(config: TrainingConfig, rows: int) -> int:
    """Rows trained on: KAITO's `train_test_split` of all rows (0.8 when the section omits it), the rest held out."""
    share = config.DatasetConfig.train_test_split
    share = 0.8 if share is None else share
    return rows if share >= 1 else min(max(1, int(rows * share)), max(1, rows - 1))


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


def _parses(text: str, types: tuple[type, ...]) -> bool:
    if bool in types:
        return text.lower() in ("true", "false")
    for number in (int, float):
        if number in types:
            try:
                number(text)
            except ValueError:
                continue
            return True
    return False


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
