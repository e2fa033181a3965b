"""What the estimate of a run's memory says about a run that ran out of it.

A run that failed has proved more than an estimate: only less than what it had is ever advised.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ..preflight import Estimate, estimate, memory
from ..preflight.estimating import USABLE, gib
from ..preflight.settings import of_one
from ..presets import SKUS
from .case import Case


def batch_that_fits(case: Case, choices: Iterable[int], *, checkpointing: bool) -> tuple[int, str] | None:
    """The first of those batches that fits by the estimate, and how much it takes; None when none does or nothing is known."""
    size = _size(case)
    if size is None or size.room is None or size.device.memory is None:
        return None
    for batch in choices:
        total = memory(size.shape, replace(size.load, batch=batch, checkpointing=checkpointing)).total
        if total <= size.room:
            return batch, f"about {gib(total)} of {gib(size.device.memory)}"
    return None


def larger(case: Case) -> str:
    """The option that names the smallest GPU node on which the run fits and whose GPUs are larger than those it had."""
    size, had = _size(case), SKUS.get(case.spec.resource.instance_type or "")
    if size is None or had is None or case.target != "kaito":
        return "--instance-type"
    fits = [s for s in SKUS.values() if of_one(s) > of_one(had) and size.memory.total <= USABLE * of_one(s)]
    best = min(fits, key=lambda s: (s.gpus, s.memory_gib), default=None)
    return f"--instance-type {best.name}" if best else "--instance-type"


def _size(case: Case) -> Estimate | None:
    return estimate(case.spec, target=case.target)


__all__ = ["batch_that_fits", "larger"]
