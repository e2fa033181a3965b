"""What a run that goes well could do better: where its time goes, and how much of the GPU it uses.

No more than the trainer's own numbers bear out. KAITO's trainer tells none of them, and then there are no notes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from ..state import RunState
from ..state.spent import Spent, spent
from ..state.words import amount
from .case import Case

SHARE: Final = 0.15
"""Of the time, from which on waiting for data, checkpoints or evaluations are told of."""
ENOUGH: Final = 60.0
"""Seconds of training before which nothing is concluded."""
FULL: Final = 0.92
"""Of the GPU's memory, from which on it is nearly full: torch cannot use the last pieces."""
SAFE: Final = 0.8
"""Of the GPU's memory, up to which a batch is said to fit: pieces between tensors, and other processes, need some."""
IDLE: Final = 50.0
"""Percent of the time at work below which a GPU idles."""
STEPS: Final = 50
"""Steps after which, or an epoch, the longest rows are thought to have been met."""


class Note(NamedTuple):
    """Something that could be better."""

    about: str
    """`data`, `checkpoints`, `evaluation`, `memory` or `gpu`."""
    sentence: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.sentence} {self.remedy}"


def notes(state: RunState, case: Case) -> tuple[Note, ...]:
    """All that there is to say, the costliest first. Hold the run's lock."""
    went = spent(state.series)
    if went is None:
        return ()
    found = [*_times(went, case)] if went.total >= ENOUGH else []
    if not case.on_cpu:
        found += _memory(state, case)
        if went.total >= ENOUGH and not found:
            found += _idle(state)
    return tuple(found)


def _times(went: Spent, case: Case) -> Iterator[Note]:
    t, options = case.config.TrainingArguments, case.config.TrainerOptions
    workers = t.extra.get("dataloader_num_workers") or 0
    save = (
        f"let more steps lie between two of them (TrainingArguments.save_steps, now {t.save_steps:g})"
        if t.save_strategy == "steps" and t.save_steps
        else "raise TrainerOptions.checkpoint_minutes"
        + (f" (now {options.checkpoint_minutes:g})" if options.checkpoint_minutes else "")
    )
    every = f" (now {t.eval_steps:g})" if t.eval_steps else ""
    found = (
        (went.data, "data", "waiting for data", f"Set TrainingArguments.dataloader_num_workers: {max(2, 2 * int(workers))}."),
        (went.save, "checkpoints", "checkpoints", f"{save[0].upper()}{save[1:]}, or write to a faster volume."),
        (
            went.eval,
            "evaluation",
            "evaluation",
            f"Raise TrainingArguments.eval_steps{every}, or hold out fewer rows (DatasetConfig.train_test_split).",
        ),
    )  # fmt: skip
    for seconds, about, what, remedy in sorted(found, reverse=True):
        if seconds >= SHARE * went.total:
            yield Note(about, f"{seconds:.0f} of {went.total:.0f} s went to {what}.", remedy)


def _memory(state: RunState, case: Case) -> Iterator[Note]:
    total, peak = state.train_begin.get("device_memory_total_bytes"), state.device_memory_bytes
    if not isinstance(total, int | float) or total <= 0 or not peak:
        return
    of = f"{amount(peak, 'bytes')} of {amount(total, 'bytes')}"
    if peak >= FULL * total:
        yield Note(
            "memory",
            f"The GPU's memory is nearly full: peak {of}.",
            "Longer rows may not fit; the trainer then takes fewer at once, in slower steps. Less max_length leaves room.",
        )
    met = state.global_step >= STEPS or (state.epoch or 0) >= 1
    choices = state.train_begin.get("choices")
    chosen: dict[str, Any] = choices if isinstance(choices, dict) else {}
    rows = chosen.get("per_device_train_batch_size") or case.config.TrainingArguments.per_device_train_batch_size or 1
    # A batch of so many times the rows takes at most so many times the memory: model and optimiser are in the peak, too.
    times = int(SAFE * total / peak)
    if met and times >= 2 and isinstance(rows, int) and "rows_at_once" not in chosen:
        yield Note(
            "memory",
            f"Memory is left: peak {of}. A batch of {rows * times} rows would fit, where it is {rows}.",
            f"Set TrainingArguments.per_device_train_batch_size: {rows * times}, with fewer gradient_accumulation_steps "
            "for steps of the same size; or take a smaller GPU.",
        )


def _idle(state: RunState) -> Iterator[Note]:
    busy = state.gpu_utilization
    if busy is not None and busy < IDLE:
        yield Note(
            "gpu",
            f"The GPU was at work in {busy:.0f} % of the time.",
            "More rows at once (TrainingArguments.per_device_train_batch_size) keep it busier.",
        )


__all__ = ["Note", "notes"]
