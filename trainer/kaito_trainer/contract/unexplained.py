"""Fields that `sections` does not explain: Hugging Face's own pass when their values can, typos and old names do not."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from .config import Option
from .fields import Field, Image, explained, gone, known
from .problems import Problem, listing, nearest

CLOSED: Final = ("DatasetConfig", "TrainerOptions")
"""Sections with no other fields than those that we explain: KAITO's own and ours."""
CLOSE: Final = 0.8
"""How near a name must be to be taken for a typo."""

MEANT: Final = {
    "adam": "adamw_torch_fused", "adamw": "adamw_torch_fused", "adamw_hf": "adamw_torch_fused",
    "adamw_8bit_bnb": "adamw_bnb_8bit", "bf16": "bfloat16", "fp16": "float16", "half": "float16", "fp32": "float32",
    "float": "float32", "int4": "uint8", "4bit": "nf4", "constant_warmup": "constant_with_warmup",
}  # fmt: skip
"""Texts that people write -> what they mean, where no allowed text looks like it."""


def texts(option: Option) -> tuple[str, ...]:
    """The only texts that an explained field takes: its own list, else its class's."""
    if option.choices:
        return option.choices
    field = known("ours", option.section).get(option.name)
    return field.choices if field else ()


def unexplained(section: str, name: str, value: Any, image: Image) -> tuple[list[Problem], Field | None]:
    """What is wrong with the name; or, when it is a field and the value is of a plain kind, the field to judge that by."""
    path = f"{section}.{name}"
    field, stock = known("ours", section).get(name), image == "stock"
    if stock and field is None:
        field = known("stock", section).get(name)
        if field is not None and (was := gone(path)):
            return [
                _old(path, was, value, "it still works in KAITO's image, and no longer elsewhere.", "warning")
            ], None
    if field is not None and not (stock and value == []):  # which KAITO's parser cannot read, whatever the field
        return _odd(field, path, value, stock)
    if field is not None:
        return [], None
    if was := gone(path):
        return [_old(path, was, value, "there is no such field (any more).", "error")], None
    own = explained(section)
    near = nearest(name, [*own, *known("ours", section)], CLOSE)
    if near:
        fix = ((path, None), (f"{section}.{near}", value))
        return [Problem(path, "there is no such field.", f'Did you mean "{near}"?', fix=fix)], None
    if section in CLOSED:
        remedy = f"The fields are {listing(own, 'and')}."
        return [Problem(path, "there is no such field.", remedy, fix=((path, None),))], None
    if stock:
        what = "KAITO's trainer has no such field, and would end with an error."
        return [Problem(path, what, "Leave it out.", fix=((path, None),))], None
    if section == "ModelConfig":
        what = "our trainer hands no such field on to `from_pretrained`."
        return [Problem(path, what, "Leave it out.", fix=((path, None),))], None
    if known("ours", section):
        what = "this field is in no release of Hugging Face's libraries that we know."
        say = "It is passed on as it is; the trainer ends on it when it is not known there either."
        return [Problem(path, what, say, "warning", fix=((path, None),))], None
    return [], None


def _old(path: str, was: tuple[str, str], value: Any, what: str, severity: Any) -> Problem:
    """A name of other days. Its value goes along where the new field takes the same."""
    now, remedy = was
    target = now if "." in now else f"{path.partition('.')[0]}.{now}"
    alike = bool(now) and remedy.startswith((f"Write {now}.", f"Write {now}:", "Write it as"))
    fix = ((path, None), (target, value)) if alike else ((path, None),)
    return Problem(path, what, remedy, severity, fix=fix)


def _odd(field: Field, path: str, value: Any, stock: bool) -> tuple[list[Problem], Field | None]:
    """Values that a class takes although its hints say another type, or that it takes as text."""
    if not field.types or (field.name == "init_lora_weights" and re.fullmatch(r"pissa_niter_\d+", str(value))):
        return [], None
    if isinstance(value, list | tuple) and list in field.types:
        return [], None  # of names, numbers or pairs: each class has its own
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    if plain and isinstance(value, int) and field.section == "QuantizationConfig" and not stock:
        what, written = f"{value} is a whole number, and `BitsAndBytesConfig` takes numbers with a point.", float(value)
        return [Problem(path, what, f"Write {written}.", fix=((path, written),))], None
    if plain and str in field.types and not field.choices and not {int, float} & set(field.types):
        return [], None  # a name that YAML reads as a number
    if isinstance(value, str) and dict in field.types and str not in field.types:
        try:
            read = json.loads(value)
        except ValueError:
            read = None
        if isinstance(read, Mapping):
            return [], None
        return [
            Problem(path, "this text is no mapping.", "Write a mapping: {key: value}, or its JSON: '{\"key\": 1}'.")
        ], None
    return [], field


def meant(text: str, choices: tuple[str, ...]) -> tuple[str, bool]:
    """The allowed text that was probably meant (or empty), and whether that is sure enough to put it there."""
    alias = MEANT.get(text.lower(), "")
    if alias in choices:
        return alias, True
    near = nearest(text, choices)
    return near, bool(near) and nearest(text, choices, CLOSE) == near


__all__ = ["CLOSED", "meant", "texts", "unexplained"]
