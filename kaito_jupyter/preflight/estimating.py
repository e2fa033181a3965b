"""`Estimate`: the memory that a spec takes, what would fit, and how long it lasts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from kaito_trainer.contract import Problem, Severity

from ..presets import SKUS, Shape, Sku
from ..spec import Target, TuningSpec
from .lookup import shape_of
from .memory import FOUR_BITS, GIB, Load, Memory, adapted, largest, longest, memory
from .settings import HERE, Device, device, load, of_one

if TYPE_CHECKING:
    from ..history import Speed

USABLE: Final = 0.95
"""Share of a device's memory that a step may take before it is said not to fit: what is left is the error of the estimate."""

SHORTEST: Final = 64
"""Tokens below which no row is said to fit: hardly anything can be learnt of it."""


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
    accumulation: int = 1
    """Batches that a step adds up."""
    steps: int | None = None
    """Optimiser steps, when the number of rows is known."""
    tokens: float | None = None
    """Tokens of the whole run, when it is known how many a row has."""
    seconds_per_step: float | None = None
    """Of the run's own steps; they go before an earlier run's speed."""
    earlier: Speed | None = None
    """The run from whose speed the hours are taken."""
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
        """Of training, without evaluations: by the run's own steps, else by an earlier run's tokens a second."""
        if self.steps is not None and self.seconds_per_step is not None:
            return self.steps * self.seconds_per_step / 3600
        if self.tokens is not None and self.earlier is not None:
            return self.tokens / self.earlier.tokens_per_second / 3600
        return None

    @property
    def measured(self) -> str:
        """Where the hours are from, in words; empty when there are none."""
        if self.hours is None:
            return ""
        if self.seconds_per_step is not None or self.earlier is None:
            return f"at {self.seconds_per_step:,.3g} s a step"
        where = f"on the same {self.device.name}" if self.load.gpu and not self.device.here else f"on {HERE}"
        return f"as measured in run {self.earlier.name} {where} ({self.earlier.tokens_per_second:,.0f} tokens/s)"

    @property
    def price(self) -> float | None:
        """Of the training, without the time to start a node and to fetch the model."""
        return None if self.hours is None or self.price_per_hour is None else self.hours * self.price_per_hour

    def problems(self) -> Iterator[Problem]:
        """A warning when the step will hardly fit, an error when the weights alone are larger than the whole GPU node."""
        have = self.device.memory
        if have is None or self.fits is not False:
            return
        node = self.load.gpu and not self.device.here
        path = "resource.instanceType" if node else "memory"
        severity: Severity = "warning"
        whole = have * self.device.count
        if self.memory.weights > whole:
            weights = gib(self.memory.weights)
            what = f"the model's weights alone take {weights}, and {self.device.shown} has {gib(whole)}."
            # A machine of one's own may have swap space, and other plans.
            severity = "error" if node else "warning"
        else:
            one = f"a GPU of {self.device.name}" if node else self.device.shown
            what = f"a training step takes about {gib(self.memory.total)}, and {one} has {gib(have)}."
        ways = [*self._ways()] or [("take a smaller model", ())]
        text = ", or ".join(way for way, _ in ways)
        yield Problem(path, what, f"{text[0].upper()}{text[1:]}.", severity, ways[0][1])

    def _ways(self) -> Iterator[tuple[str, tuple[tuple[str, Any], ...]]]:
        """What to change, the mildest first: in words, and as changes of the spec."""
        room, step, found = self.room or 0, self.load, False
        if smaller := _part(step.batch, largest(self.shape, step, room, most=step.batch)):
            added, t = self.accumulation * (step.batch // smaller), "TrainingArguments"
            found = True
            yield (
                f"set per_device_train_batch_size: {smaller} and gradient_accumulation_steps: {added} for the same steps",
                ((f"{t}.per_device_train_batch_size", smaller), (f"{t}.gradient_accumulation_steps", added)),
            )
        again = replace(step, checkpointing=True)
        if not step.checkpointing and largest(self.shape, again, room, most=step.batch) == step.batch:
            found = True
            yield "set gradient_checkpointing: true", (("TrainingArguments.gradient_checkpointing", True),)
        if self.method == "lora" and largest(self.shape, replace(again, weight=FOUR_BITS[0]), room, most=1):
            found = True
            yield 'use the method "qlora"', (("tuning.method", "qlora"),)
        if not found and (tokens := longest(self.shape, step, room)) >= SHORTEST:
            yield f"set max_length: {tokens}", (("TrainingArguments.max_length", tokens),)
        if (sku := self.smallest_sku) is not None and sku.name != self.device.name:
            node = self.load.gpu and not self.device.here
            take = "take" if node else "train on a cluster with"
            change = (("resource.instanceType", sku.name),) if node else ()
            yield f"{take} {sku.name} ({sku.gpu}, {sku.memory_gib // sku.gpus} GiB a GPU)", change

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
    tokens: float | None = None,
    seconds_per_step: float | None = None,
    price_per_hour: float | None = None,
) -> Estimate | None:
    """What a spec takes of a GPU's memory, and how long; None for a model whose numbers nothing here knows.

    `rows`: of the data, for the number of steps. `target`: where it is to run; by default KAITO when the spec names a GPU
    node, this machine when it does not. `tokens`: of a row on average, after the cut (`preview` counts them): then the hours
    are those of the latest run in the user's history with the same model, method and node, scaled by the tokens.
    `seconds_per_step`: from the first steps, for the hours instead; `price_per_hour` of the node, for the price. Asks
    nobody: a model is known when it is bundled, a folder, or in Hugging Face's cache.
    """
    found = shape_of(spec.preset)
    if found is None:
        return None
    if target is None:
        target = "kaito" if spec.resource.instance_type else "local"
    shape, source = found
    where = device(spec, target)
    step = load(spec, target, shape, rows)
    if target != "kaito" and spec.config.TrainingArguments.gradient_checkpointing is None and where.memory is not None:
        # As our trainer does it: activations are computed twice where they would not fit, and only there.
        step = replace(step, checkpointing=False)
        if memory(shape, step).total > USABLE * where.memory:
            step = replace(step, checkpointing=True)
    steps, added = None, spec.config.TrainingArguments.gradient_accumulation_steps
    if rows is not None or (spec.config.TrainingArguments.max_steps or 0) > 0:
        steps = spec.total_steps(rows or 0, target=target)
    whole, before = None, None
    if tokens is not None and steps is not None and seconds_per_step is None:
        from .pace import earlier, tokens_of  # brings SQLite, which a check without data does without

        whole, before = tokens_of(spec, target, rows, tokens, steps), earlier(spec, target)
    return Estimate(
        preset=spec.preset,
        method=spec.method,
        shape=shape,
        source=source,
        load=step,
        memory=memory(shape, step),
        device=where,
        accumulation=added if isinstance(added, int) and added > 0 else 1,
        steps=steps,
        tokens=whole,
        earlier=before,
        seconds_per_step=seconds_per_step,
        price_per_hour=price_per_hour,
    )


def _part(batch: int, most: int) -> int:
    """The largest part of a batch that divides it evenly and has up to that many rows; 0 when there is none."""
    return next((n for n in range(min(most, batch - 1), 0, -1) if batch % n == 0), 0)


def gib(count: float) -> str:
    """Bytes as `5.3 GiB`, below one as `640 MiB`."""
    return f"{count / GIB:,.1f} GiB" if count >= GIB else f"{count / 2**20:,.0f} MiB"


__all__ = ["Estimate", "estimate", "gib"]
