"""`Estimate`: the memory that a spec takes, what would fit, and how long it lasts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from kaito_trainer.contract import Problem

from ..presets import SKUS, Shape, Sku
from ..spec import Target, TuningSpec
from .lookup import shape_of
from .memory import GIB, Load, Memory, adapted, largest, longest, memory
from .settings import Device, device, load, of_one

USABLE: Final = 0.95
"""Share of a device's memory that a step may take before it is said not to fit: what is left is the error of the estimate."""


@dataclass(frozen=True)
class Estimate:
    """What a run will take, before it takes it. Shows as a bar, in text and in HTML."""

    preset: str
    method: str
    shape: Shape
    source: str
    """Where the model's numbers were read."""
    load: Load
    memory: Memory
    """At the peak of a step, on each GPU."""
    device: Device
    steps: int | None = None
    """Optimiser steps, when the number of rows is known."""
    seconds_per_step: float | None = None
    price_per_hour: float | None = None
    """Of the node, in whatever money the user counts."""

    @property
    def parameters(self) -> int:
        return self.shape.parameters

    @property
    def trainable(self) -> int:
        return adapted(self.shape, self.load)

    @property
    def room(self) -> float | None:
        """Bytes that a step may take on one GPU."""
        return None if self.device.memory is None else USABLE * self.device.memory

    @property
    def fits(self) -> bool | None:
        """Whether it will fit; None when the device's memory is unknown."""
        return None if self.room is None else self.memory.total <= self.room

    @property
    def largest_batch(self) -> int | None:
        """Rows at once that fit on the device; 0 when not even one does."""
        return None if self.room is None else largest(self.shape, self.load, self.room)

    @property
    def longest_row(self) -> int | None:
        """Tokens of a row that fits alone, up to the length that is asked for."""
        return None if self.room is None else longest(self.shape, self.load, self.room)

    @property
    def smallest_sku(self) -> Sku | None:
        """The smallest GPU node that KAITO knows, in GPUs and then in memory, on which this very step fits."""
        load = replace(self.load, gpu=True)
        if not self.load.gpu:
            load = replace(load, number=2, weight=min(2, load.weight), head="fused")
        needed = memory(self.shape, load).total
        fits = [s for s in SKUS.values() if needed <= USABLE * of_one(s)]
        return min(fits, key=lambda s: (s.gpus, s.memory_gib), default=None)

    @property
    def hours(self) -> float | None:
        """Of training, once it is known how long a step takes."""
        if self.steps is None or self.seconds_per_step is None:
            return None
        return self.steps * self.seconds_per_step / 3600

    @property
    def price(self) -> float | None:
        """Of the training, without the time to start a node and to fetch the model."""
        return None if self.hours is None or self.price_per_hour is None else self.hours * self.price_per_hour

    def problems(self) -> Iterator[Problem]:
        """A warning when the step will hardly fit, an error when the weights alone are larger than the whole GPU node."""
        have = self.device.memory
        if have is None or self.fits is not False:
            return
        path = "resource.instanceType" if self.load.gpu else "memory"
        whole = have * self.device.count
        of = f"a GPU of {self.device.name} has" if self.load.gpu else f"{self.device.name} has"
        if self.memory.weights > whole:
            what = (
                f"the model's weights alone take {gib(self.memory.weights)}, and {self.device.name} has {gib(whole)}."
            )
            # A machine of one's own may have swap space, and other plans.
            yield Problem(path, what, self._way_out(), severity="error" if self.load.gpu else "warning")
            return
        what = f"a training step takes about {gib(self.memory.total)}, and {of} {gib(have)}."
        yield Problem(path, what, self._way_out(), severity="warning")

    def _way_out(self) -> str:
        """What to change, the mildest first."""
        ways, room, step = [], self.room or 0, self.load
        if batch := largest(self.shape, step, room, most=step.batch):
            ways.append(f"set per_device_train_batch_size: {batch} (and gradient_accumulation_steps higher for it)")
        if not step.checkpointing:
            again = replace(step, checkpointing=True)
            if fits := largest(self.shape, again, room, most=step.batch):
                smaller = "" if fits == step.batch else f" with a batch of {fits}"
                ways.append(f"set gradient_checkpointing: true{smaller}")
        if self.method == "lora" and largest(self.shape, replace(step, weight=0.52, checkpointing=True), room, most=1):
            ways.append('use the method "qlora"')
        if not ways and (tokens := longest(self.shape, step, room)) >= 64:
            ways.append(f"set max_length: {tokens}")
        if (sku := self.smallest_sku) is not None and sku.name != self.device.name:
            ways.append(
                f"{'take' if self.load.gpu else 'train on a cluster with'} {sku.name} ({sku.gpu}, {sku.memory_gib // sku.gpus} GiB a GPU)"
            )
        text = ", or ".join(ways) or "take a smaller model"
        return f"{text[0].upper()}{text[1:]}."

    def short(self) -> str:
        """In a line."""
        from .show import line

        return line(self)

    def __repr__(self) -> str:
        from .show import text

        return text(self)

    def _repr_html_(self) -> str:
        from .show import page

        return page(self)


def estimate(
    spec: TuningSpec,
    rows: int | None = None,
    *,
    target: Target | None = None,
    seconds_per_step: float | None = None,
    price_per_hour: float | None = None,
) -> Estimate | None:
    """What a spec takes of a GPU's memory, and how long; None for a model whose numbers nothing here knows.

    `rows`: of the data, for the number of steps. `target`: where it is to run; by default KAITO when the spec names a GPU
    node, this machine when it does not. `seconds_per_step`: from the first steps or an earlier run, for the hours;
    `price_per_hour` of the node, for the price. Asks nobody: a model is known when it is bundled, a folder, or in
    Hugging Face's cache.
    """
    found = shape_of(spec.preset)
    if found is None:
        return None
    if target is None:
        target = "kaito" if spec.resource.instance_type else "local"
    shape, source = found
    step = load(spec, target, shape, rows)
    steps = None
    if rows is not None or (spec.config.TrainingArguments.max_steps or 0) > 0:
        steps = spec.total_steps(rows or 0, target=target)
    return Estimate(
        preset=spec.preset,
        method=spec.method,
        shape=shape,
        source=source,
        load=step,
        memory=memory(shape, step),
        device=device(spec, target),
        steps=steps,
        seconds_per_step=seconds_per_step,
        price_per_hour=price_per_hour,
    )


def problems(spec: TuningSpec, target: Target, rows: int | None = None) -> list[Problem]:
    """What is known to be too large for where it goes. For a spec without errors."""
    found = estimate(spec, rows, target=target)
    return list(found.problems()) if found is not None else []


def gib(count: float) -> str:
    """Bytes as `5.3 GiB`, below one as `640 MiB`."""
    return f"{count / GIB:,.1f} GiB" if count >= GIB else f"{count / 2**20:,.0f} MiB"


__all__ = ["Estimate", "estimate", "gib", "problems"]
