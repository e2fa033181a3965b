"""What a spec can change about a failure: spec -> changed spec. Pure.

The mildest change that may help comes first: what leaves the learning as it is (smaller batches added up, activations
computed twice) before what changes it (fewer bits, shorter examples). Each `%kaito resume --fix` goes one step further.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final

from ..presets import find
from ..spec import TuningSpec
from .case import Case
from .diagnosis import Change, Fix
from .size import batch_that_fits

TRAINER: Final = "trainer"
"""The trainer's container in a Job of ours."""
SHORTEST: Final = 256
"""Tokens below which examples are not cut by us."""

MEMORY: Final = "placement.memory limit"
"""The path of a change of the memory limit in the pod template, for people."""
_QUANTITY: Final = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>[EPTGMk]?i?)")

Mend = Callable[[Case], Fix | None]


def less_memory(case: Case) -> Fix | None:
    """Less of the device's memory for the same training, as far as possible; else for one that is near to it."""
    return (
        (_lossless(case) if case.trained else None) or _fewer_bits(case) or (_shorter(case) if case.trained else None)
    )


def more_memory(case: Case) -> Fix | None:
    """More of the machine's memory where the spec limits it; else less need of it, where the model is in that memory."""
    return _raised(case) or (less_memory(case) if case.on_cpu else None)


def known_modules(case: Case) -> Fix | None:
    """Target modules that the model has: the preset's, or whatever linear layers our trainer finds."""
    path, before = "LoraConfig.target_modules", case.spec.config.LoraConfig.target_modules
    preset = find(case.spec.preset)
    after: Any = list(preset.target_modules) if preset else "all-linear"
    reason = f"the linear layers of {preset.name}" if preset else "our trainer finds the model's linear layers"
    if (preset is None and case.target == "kaito") or after == case.config.LoraConfig.target_modules:
        return None
    return _fix(case.spec, [Change(path, before, after, reason)])


def _lossless(case: Case) -> Fix | None:
    t, changes = case.config.TrainingArguments, []
    batch, added = t.per_device_train_batch_size or 1, t.gradient_accumulation_steps or 1
    if isinstance(batch, int) and isinstance(added, int) and batch > 1:
        choices = [n for n in range(batch // 2, 0, -1) if batch % n == 0]
        # Where the estimate knows better, it goes at once to the batch that fits.
        smaller, takes = batch_that_fits(case, choices, checkpointing=True) or (choices[0], "")
        reason = f"fewer examples in memory at once{f', {takes}' if takes else ''}"
        changes += [
            Change("TrainingArguments.per_device_train_batch_size", batch, smaller, reason),
            Change(
                "TrainingArguments.gradient_accumulation_steps", added, added * (batch // smaller), "the same step size"
            ),
        ]
    if isinstance(t.per_device_eval_batch_size, int) and t.per_device_eval_batch_size > 1:
        path = "TrainingArguments.per_device_eval_batch_size"
        changes.append(Change(path, t.per_device_eval_batch_size, 1, "evaluation needs memory too"))
    if not case.checkpointing:
        path, reason = "TrainingArguments.gradient_checkpointing", "activations are computed twice instead of kept"
        changes.append(Change(path, t.gradient_checkpointing, True, reason))
    return _fix(case.spec, changes)


def _fewer_bits(case: Case) -> Fix | None:
    if case.spec.method != "lora":
        return None
    return _fix(
        case.spec, [Change("tuning.method", "lora", "qlora", "the base model in 4 bits: a quarter of its size")]
    )


def _shorter(case: Case) -> Fix | None:
    length = case.config.TrainingArguments.max_length or 1024
    if not isinstance(length, int) or length // 2 < SHORTEST:
        return None
    change = Change(
        "TrainingArguments.max_length", length, length // 2, "longer examples are cut: less is learnt of them"
    )
    return _fix(case.spec, [change])


def _raised(case: Case) -> Fix | None:
    """Twice the memory limit that the spec's pod template sets for the trainer."""
    template = copy.deepcopy(dict(case.spec.placement.pod_template))
    containers = (template.get("spec") or {}).get("containers") or ()
    trainer = next((c for c in containers if isinstance(c, dict) and c.get("name") == TRAINER), {})
    resources = trainer.get("resources") or {}
    before = (resources.get("limits") or {}).get("memory")
    amount = _QUANTITY.fullmatch(str(before or ""))
    if case.target != "job" or amount is None:
        return None
    number = 2 * float(amount["number"])
    after = f"{int(number) if number.is_integer() else number}{amount['unit']}"
    resources["limits"]["memory"] = after
    spec = replace(case.spec, placement=replace(case.spec.placement, pod_template=template))
    return Fix(spec, (Change(MEMORY, before, after, "twice the limit that it went beyond"),))


def _fix(spec: TuningSpec, changes: Iterable[Change]) -> Fix | None:
    """The spec with those changes; None when there are none."""
    made = tuple(changes)
    return Fix(changed(spec, made), made) if made else None


def changed(spec: TuningSpec, changes: Iterable[Change]) -> TuningSpec:
    """The spec with each path at its new value. Paths are sections' fields, or `tuning.method`."""
    for change in changes:
        section, name = change.path.split(".")
        if section == "tuning":
            spec = _with_method(spec, change.after)
        else:
            spec = replace(spec, config=spec.config.merged({section: {name: change.after}}))
    return spec


def _with_method(spec: TuningSpec, method: Any) -> TuningSpec:
    """Another method. What was said of the bits for the old one goes: each method has its own defaults."""
    sections = spec.config.to_dict()
    bits = {k: v for k, v in sections.get("QuantizationConfig", {}).items() if not k.startswith("load_in_")}
    config = type(spec.config).from_dict({**sections, "QuantizationConfig": bits})
    return replace(spec, method=method, config=config)


__all__ = ["Mend", "changed", "known_modules", "less_memory", "more_memory"]
