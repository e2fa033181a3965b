"""From data and options to a started run: everything is checked first, and everything that is wrong is said at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, overload

from kaito_trainer.contract import Problem

from ..backends.base import Backend, Rehearsing, TuningJob
from ..backends.choice import choose_backend, target_of
from ..dataset import Dataset
from ..errors import BackendError, DatasetError, InputError, SpecError
from ..preflight import Estimate
from ..preflight import estimate as estimated
from ..spec import (
    DataDestination,
    DataSource,
    Difference,
    Findings,
    Mended,
    Placement,
    Target,
    TuningSpec,
    gather_spec,
)
from .config_maps import fetched
from .run import Run

if TYPE_CHECKING:
    from ..delivery import Route
    from ..lookahead import Lookahead

ANOTHER_NAME: Final = 5
"""How often a name that we made is made anew when somebody else takes it in between."""
T = TypeVar("T")


@dataclass(frozen=True)
class Plan:
    """A run that could be started: checked, complete, and not started. What a dry run gives."""

    spec: TuningSpec
    dataset: Dataset | None
    target: Target
    total_steps: int | None
    """Optimiser steps of the run, when the number of rows is known."""
    problems: tuple[Problem, ...] = ()
    """Warnings and notes."""
    backend: str | Backend = "auto"
    """Where it goes, as it was asked for."""
    context: str | None = None
    """The kubeconfig's context, when one was named."""
    why: str = ""
    """Why it goes there, as a sentence."""
    route: Route | None = None
    """How the data gets there; None where it stays or is there already."""
    seen: Lookahead | None = None
    """What the model will see of the first rows; None where the data is elsewhere, or could not be looked at."""
    fixes: tuple[Mended, ...] = ()
    """What `fix` has changed in the spec, and why."""
    accepted_by: str = ""
    """The server that took its objects for a trial (`rehearse`), without keeping them."""

    @property
    def rows(self) -> int | None:
        return self.dataset.rows if self.dataset else None

    def to_yaml(self, target: Target | None = None) -> str:
        """Workspace and ConfigMap as YAML, for its own target or another."""
        spec = self.spec
        if self.route is not None and self.route.way in ("image", "volume"):
            spec = replace(spec, input=self.route.source)
        return spec.to_yaml(target or self.target, self.rows)

    def preview(self, rows: int = 3) -> Lookahead | None:
        """What the model will see of the data, a few rows token by token; None when the data is elsewhere already."""
        from ..lookahead import look_ahead

        return look_ahead(self.dataset, self.spec, self.target, rows) if self.dataset is not None else None

    def glance(self) -> str:
        """The same of the first rows, as one sentence; nothing when the data is elsewhere, or cannot be looked at."""
        return self.seen.line if self.seen is not None else ""

    def estimate(
        self, *, seconds_per_step: float | None = None, price_per_hour: float | None = None
    ) -> Estimate | None:
        """What it takes of the GPU's memory, and of time and money (`kaito_jupyter.estimate`); None for an unknown model."""
        return estimated(
            self.spec,
            self.rows,
            target=self.target,
            tokens=self.seen.mean if self.seen is not None else None,
            seconds_per_step=seconds_per_step,
            price_per_hour=price_per_hour,
        )

    def submit(self, on_progress: Callable[[str], None] | None = None) -> Run:
        """Start it. `on_progress` is told how the data gets there, a sentence at a time.

        Raises `SpecError` when the backend refuses (the name is taken, packages are missing, …).
        """
        return _submitted(self.place(), self, on_progress)

    def rehearse(self) -> Plan:
        """Have the cluster's server check its objects, and keep none of them. Gives back the plan with `accepted_by`.

        Raises `SpecError` with all that stands against it, by the server's word and ours.
        """
        place = self.place()
        if not isinstance(place, Rehearsing):
            message = f'the backend "{place.name}" has no server that could be asked.'
            raise SpecError([Problem("dry_run", message, "Use a plain dry run, or the backend job or kaito.")])
        found = place.rehearse(self._job(place))
        if errors := [p for p in found if p.severity == "error"]:
            raise SpecError(errors)
        return replace(self, accepted_by=place.server, problems=(*self.problems, *found))

    def difference(self) -> Difference | None:
        """Where it differs from the run of its name that is there; None when there is none, or the place does not know."""
        place = self.place()
        return place.difference(self._job(place)) if self.spec.name and isinstance(place, Rehearsing) else None

    def _job(self, place: Backend) -> TuningJob:
        spec = self.spec if self.spec.name else self.spec.named([ref.name for ref in place.runs()])
        return TuningJob(spec, self.dataset, self.total_steps)

    def place(self) -> Backend:
        """The backend. Raises `BackendError` when there is no login for it."""
        wanted = self.target if self.backend == "auto" else self.backend
        return choose_backend(wanted, context=self.context, namespace=self.spec.namespace)[0]

    def __repr__(self) -> str:
        steps = "an unknown number of steps" if self.total_steps is None else f"{self.total_steps} steps"
        data = "data of its input" if self.dataset is None else f"{self.dataset.rows} rows ({self.dataset.format})"
        head = f"# {self.spec.method} on {self.spec.preset}: {data}, {steps}, target {self.target}"
        memory = [f"# {size.short()}"] if (size := self.estimate()) is not None else []
        accepted = [f"# accepted by {self.accepted_by}"] if self.accepted_by else []
        return "\n".join((head, *memory, *accepted, *(f"# {p.severity}: {p}" for p in self.problems), self.to_yaml()))


# The overloads say what the two flags change; all else is described below.
@overload
def tune(
    data: Any = None, *, preset: str | Path, dry_run: Literal[True, "client", "server"], **options: Any
) -> Plan: ...
@overload
def tune(data: Any = None, *, preset: str | Path, dry_run: Literal[False] = False, **options: Any) -> Run: ...
def tune(
    data: Any = None,
    *,
    preset: str | Path,
    method: str = "lora",
    name: str | None = None,
    namespace: str | None = None,
    backend: str | Backend = "auto",
    context: str | None = None,
    input: str | Path | DataSource | None = None,
    output: str | Path | DataDestination | None = None,
    pull_secret: str | None = None,
    push_secret: str | None = None,
    instance_type: str | None = None,
    label_selector: Mapping[str, Any] | None = None,
    model_access_secret: str | None = None,
    placement: Placement | Mapping[str, Any] | None = None,
    messages_column: str | None = None,
    prompt_column: str | None = None,
    completion_column: str | None = None,
    text_column: str | None = None,
    config: Any = None,
    assignments: Sequence[str] = (),
    wait: bool = False,
    strict: bool = False,
    fix: bool = False,
    dry_run: bool | Literal["client", "server"] = False,
    on_progress: Callable[[str], None] | None = None,
    **options: Any,
) -> Run | Plan:
    """Fine-tune a model on data, in the background. Returns the `Run` as soon as it is submitted.

    `data` is a DataFrame, a table, a Hugging Face Dataset or a file's path; without it, what `input` names is there
    already. On a cluster `input` says where the data shall go: `image:REGISTRY/NAME`, `pvc:CLAIM[/FOLDER]`, or a folder of a
    store (`s3://…`); without `input` it takes the lightest way that fits. Data that is large takes its time until it is
    there, as `on_progress` tells (a sentence at a time); the same data is not sent twice. `preset` is
    a KAITO preset, a Hugging Face id or a model folder; `output` where the adapter shall go (without it, the run's own
    folder). The training's options come as `config` (sections as a mapping, YAML text, a file's Path, or `configmap:NAME` on a cluster), and one by one:
    by field (`learning_rate=1e-4`), by shortcut (`epochs=1`), or as `assignments=["LoraConfig.r=16"]`. `placement` says how
    our own Job stands on its cluster (`Placement`'s fields: image, gpus, queue, …); `context` which cluster that is.

    With `wait` it returns when the run has ended. With `strict` warnings are errors. With `fix` the fixes of all
    errors and warnings that have one are made first (`TuningSpec.mended`; `plan.fixes` tells). With `dry_run` nothing is started
    and the `Plan` comes back; with `dry_run="server"` the cluster's server has taken its objects for a trial.
    Raises `DatasetError`, `SpecError` or, when both are at fault, `InputError`, with all problems.
    """
    found: list[Problem] = []
    place, target, why = _place(found, backend, context, namespace, dry_run=dry_run not in (False, "server"))
    namespace = namespace or getattr(getattr(place, "client", None), "namespace", None)
    spec, wrong = _collect(
        found,
        lambda: gather_spec(
            preset=str(preset), method=method, name=name, namespace=namespace, input=input, output=output,
            pull_secret=pull_secret, push_secret=push_secret, instance_type=instance_type, label_selector=label_selector,
            model_access_secret=model_access_secret, placement=placement, config=fetched(config, place, namespace),
            assignments=assignments, options=options,
        ),
        (None, []),
    )  # fmt: skip
    found += wrong
    bad_spec = bool(found)
    if data is None and spec is not None and spec.input.delivered and spec.input.path:
        data = Path(spec.input.path).expanduser()
    dataset = None
    columns = (messages_column, prompt_column, completion_column, text_column)
    if isinstance(data, Dataset) and not any(columns):
        dataset = data  # read and checked already
    elif data is not None:
        dataset = _collect(
            found,
            lambda: Dataset.read(
                data,
                messages_column=messages_column,
                prompt_column=prompt_column,
                completion_column=completion_column,
                text_column=text_column,
            ),
            None,
        )
    elif spec is not None and spec.input.delivered:
        message = "there is no data."
        remedy = "Give a DataFrame or a file, or name with `input` where the data is."
        found.append(Problem("data", message, remedy))
    findings = Findings()
    fixes: tuple[Mended, ...] = ()
    if spec is not None and fix:
        spec, fixes, findings = spec.mended(target, dataset=dataset)
    elif spec is not None:
        findings = spec.check(target, dataset=dataset)
    bad_spec |= bool(findings.errors)
    way = None
    if dataset is not None and spec is not None and not bad_spec and target != "local":
        from ..delivery import route

        way = _collect(found, lambda: route(dataset, spec), None)
        bad_spec |= way is None
    if place is not None and spec is not None and not bad_spec and not dry_run:
        stands = place.problems(spec)
        found += stands
        bad_spec |= any(p.severity == "error" for p in stands)
    told = dict.fromkeys([*findings, *(dataset.warnings if dataset else ()), *found])  # a finding is told once
    milder = [p for p in told if p.severity != "error"]
    errors = [p for p in dict.fromkeys([*found, *findings]) if p.severity == "error"]
    if strict:
        errors += [p for p in milder if p.severity == "warning"]
    if errors or spec is None:
        bad_data = dataset is None and data is not None
        kind = InputError if bad_data and bad_spec else DatasetError if bad_data else SpecError
        raise kind(errors)
    limit = spec.config.TrainingArguments.max_steps
    limited = isinstance(limit, int) and limit > 0  # then the number of rows does not matter
    rows = dataset.rows if dataset else 0 if limited else None
    steps = None if rows is None else spec.total_steps(rows, target=target)
    plan = Plan(spec, dataset, target, steps, tuple(milder), backend, context, why, way, findings.seen, fixes)
    if dry_run == "server":
        return plan.rehearse()
    if dry_run or place is None:
        return plan
    run = _submitted(place, plan, on_progress)
    return run.wait() if wait else run


def _place(
    found: list[Problem], backend: str | Backend, context: str | None, namespace: str | None, *, dry_run: bool
) -> tuple[Backend | None, Target, str]:
    """The backend, the target that it is, and why. A dry run can do without the cluster that it is for."""
    try:
        place, why = choose_backend(backend, context=context, namespace=namespace)
    except InputError as error:
        found += error.problems
        return None, "local", ""
    except BackendError as error:
        if not dry_run or backend == "auto":
            found.append(Problem("backend", str(error), ""))
        return None, "local" if backend == "auto" else target_of(backend), ""
    return place, place.name, why


def _submitted(place: Backend, plan: Plan, on_progress: Callable[[str], None] | None) -> Run:
    """Start the plan. A name that nobody chose is made here, and made anew when it is taken meanwhile."""
    for left in reversed(range(ANOTHER_NAME)):
        spec = plan.spec if plan.spec.name else plan.spec.named([ref.name for ref in place.runs()])
        try:
            ref = place.submit(TuningJob(spec, plan.dataset, plan.total_steps, on_progress))
        except SpecError as error:
            if plan.spec.name or not left or any(p.path != "metadata.name" for p in error.problems):
                raise
            continue
        return Run(place, ref, spec=spec, dataset=plan.dataset, problems=plan.problems)
    raise AssertionError("the loop returns or raises")


def _collect(found: list[Problem], make: Callable[[], T], otherwise: Any) -> T:
    """What is made, or `otherwise` with the problems kept for later."""
    try:
        return make()
    except InputError as error:
        found += error.problems
        return otherwise  # type: ignore[no-any-return]
