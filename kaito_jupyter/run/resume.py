"""A run that goes on as a new one: with the data that was sent before, and with the spec as it was or mended.

The new run is the next attempt, `NAME-2`: what the old one wrote stays as evidence, and both curves can be compared. A run
in KAITO is the exception: its Workspace keeps the GPU node for as long as it is there, so it is deleted once the new
one stands. On this machine, and in a volume, the new run finds the old one's checkpoints.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from kaito_trainer.contract import Problem

from ..backends.base import TuningJob
from ..backends.marks import RESUMED_FROM
from ..dataset import Dataset
from ..errors import BackendError, RunNotFound, SpecError
from ..spec import DataSource, TuningSpec
from ..spec.model import NAME_MAX
from ..spec.options import assigned, sections_of
from ..status import TERMINAL
from .run import CATCH_UP, Run

if TYPE_CHECKING:
    from .reader import Reader

ANOTHER_NAME: Final = 5
"""How often a name is made anew when somebody else takes it in between."""
END_WITHIN: Final = 90.0
"""Seconds in which a run of this machine must have ended, once it was asked to."""
_NUMBER: Final = re.compile(r"-\d+$")


def changed(
    spec: TuningSpec,
    *,
    assignments: Sequence[str] = (),
    model_access_secret: str | None = None,
    pull_secret: str | None = None,
    push_secret: str | None = None,
    instance_type: str | None = None,
) -> TuningSpec:
    """The spec with what is given in place of what it said. Raises `SpecError` for assignments that are none."""
    texts, found = assigned(assignments)
    sections, problems = sections_of(texts)
    if found := [*found, *problems]:
        raise SpecError(found)
    spec = replace(spec, config=spec.config.merged(sections))
    if model_access_secret is not None:
        spec = replace(spec, model_access_secret=model_access_secret)
    if pull_secret is not None:
        spec = replace(spec, input=replace(spec.input, image_pull_secrets=(pull_secret,)))
    if push_secret is not None:
        spec = replace(spec, output=replace(spec.output, image_push_secret=push_secret))
    if instance_type is not None:
        spec = replace(spec, resource=replace(spec.resource, instance_type=instance_type))
    return spec


def start_again(
    run: Run,
    reader: Reader,
    spec: TuningSpec,
    *,
    name: str | None,
    end: bool,
    on_progress: Callable[[str], None] | None,
) -> Run:
    """Start the spec in the old run's stead. Nothing of the old one is touched before all is known to be right."""
    _may(run, end)
    place, target = run.backend, run.backend.name
    rows = run.rows
    sent = run.dataset or place.sent(run.ref)
    if isinstance(sent, DataSource):
        secrets = spec.input.image_pull_secrets or sent.image_pull_secrets
        spec = _pinned(replace(spec, input=replace(sent, image_pull_secrets=secrets)), target, rows)
    dataset = sent if isinstance(sent, Dataset) else None
    steps = spec.total_steps(rows, target=target) if rows is not None else place.record(run.ref).total_steps
    notes = {**spec.annotations, RESUMED_FROM: run.name}
    for left in reversed(range(ANOTHER_NAME)):
        taken = [ref.name for ref in place.runs() if ref.namespace == run.namespace]
        new = replace(spec, name=name or next_name(run.name, run.spec, taken), annotations=notes)
        problems = [*new.check(target, rows=rows, dataset=dataset), *place.problems(new)]
        if errors := [p for p in problems if p.severity == "error"]:
            raise SpecError(errors)
        if target == "local":
            _end(run, reader)
        try:
            ref = place.submit(TuningJob(new, dataset, steps, on_progress))
        except SpecError as error:
            if name or not left or any(p.path != "metadata.name" for p in error.problems):
                raise
            continue
        _leave(run)
        milder = [p for p in problems if p.severity != "error"]
        return Run(place, ref, spec=new, dataset=dataset, problems=milder)
    raise AssertionError("the loop returns or raises")


def next_name(name: str, spec: TuningSpec, taken: Collection[str]) -> str:
    """`NAME-2`, and after that `NAME-3`: the number of a run that was itself resumed is counted on."""
    base = _NUMBER.sub("", name) if RESUMED_FROM in spec.annotations else name
    for number in range(2, 10_000):
        end = f"-{number}"
        if (made := f"{base[: NAME_MAX - len(end)].rstrip('-')}{end}") not in taken and made != name:
            return made
    raise BackendError(f"run {name}: it was resumed ten thousand times. Give a name.")


def _may(run: Run, end: bool) -> None:
    """Raises `SpecError` when there is nothing to go on for, or when the run would have to be ended first."""
    if run.state.state not in TERMINAL and not run.reading:
        run.open(CATCH_UP)  # it may have ended meanwhile
    state = run.state.state
    if state == "Succeeded":
        what, remedy = (
            f"{run.name} has succeeded.",
            "There is nothing to go on with; a new run is %kaito_tune's to start.",
        )
        raise SpecError([Problem("%kaito resume", what, remedy)])
    if state not in TERMINAL and not end:
        what = f"{run.name} is alive ({run.state.state}{': ' + run.state.reason if run.state.reason else ''})."
        raise SpecError([Problem("%kaito resume", what, "Add --yes (or end=True) to have it ended first.")])


def _pinned(spec: TuningSpec, target: Any, rows: int | None) -> TuningSpec:
    """What followed from the number of rows is said outright: the data lies elsewhere now, and nobody counts it again."""
    if rows is None:
        return spec
    known, unknown = (spec.effective_config(target, rows=n).to_dict() for n in (rows, None))
    pins = {
        section: {k: v for k, v in keys.items() if unknown.get(section, {}).get(k) != v}
        for section, keys in known.items()
    }
    return replace(spec, config=spec.config.merged({section: keys for section, keys in pins.items() if keys}))


def _end(run: Run, reader: Reader) -> None:
    """Have a run of this machine ended before another one needs the same memory."""
    if run.state.state in TERMINAL:
        return
    run.cancel()
    if not reader.over.wait(END_WITHIN):
        raise BackendError(f"run {run.name}: it was asked to end and has not. End it (%kaito delete {run.name} --yes).")


def _leave(run: Run) -> None:
    """Give back what the old run holds in its cluster, now that another one stands in its place."""
    with contextlib.suppress(RunNotFound):
        if run.backend.name == "kaito":
            run.delete()
        elif run.backend.name == "job" and run.state.state not in TERMINAL:
            run.cancel()


__all__ = ["changed", "next_name", "start_again"]
