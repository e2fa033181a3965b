"""What is known of a draft: findings, the data as the model sees it, the estimate, the YAML, what differs. Made in a thread.

It comes in parts, the quick ones first, so that a finding does not wait for a cluster or for a large table. What did not
change is not made again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

from kaito_trainer.contract import Problem

from ..backends.base import Backend, Rehearsing, TuningJob
from ..backends.choice import choose_backend
from ..dataset import Dataset
from ..delivery import route
from ..errors import BackendError, DatasetError, InputError, SpecError
from ..lookahead import Lookahead, look_ahead
from ..preflight import Estimate, estimate
from ..spec import Difference, Target, TuningSpec
from . import places
from .draft import COLUMNS, Draft
from .places import Offer

T = TypeVar("T")
ROWS_SHOWN: Final = 1
"""Examples that the form shows token by token; `--preview` shows more."""


@dataclass(frozen=True)
class Seen:
    """All of it. A part that is not known yet is None or empty."""

    draft: Draft
    spec: TuningSpec
    """The draft's, in its namespace."""
    target: Target = "local"
    why: str = ""
    """Why it goes there."""
    problems: tuple[Problem, ...] = ()
    dataset: Dataset | None = None
    columns: tuple[str, ...] = ()
    """Of the user's data."""
    look: Lookahead | None = None
    size: Estimate | None = None
    route: str = ""
    """How the data gets there, as a sentence."""
    difference: Difference | None = None
    """Where it differs from the run of its name."""
    contexts: tuple[str, ...] = ()
    offer: Offer | None = None
    """What the cluster has to choose from; None on this machine."""
    whole: bool = False
    """Whether nothing is missing but the look at the data."""

    @property
    def rows(self) -> int | None:
        return self.dataset.rows if self.dataset else None

    @property
    def errors(self) -> tuple[Problem, ...]:
        return tuple(p for p in self.problems if p.severity == "error")

    def to_yaml(self) -> str:
        """What would be sent. Steps are counted only where the numbers are sound."""
        return reckoned(lambda: self.spec.to_yaml(self.target, self.rows)) or self.spec.to_yaml(self.target)


@dataclass
class Examiner:
    """Looks at drafts of one form, one after the other. For one thread."""

    data: Any = None
    """The user's frame, table, dataset or file."""
    before: TuningSpec | None = None
    """The spec that the form was rebuilt from."""
    _kept: dict[str, tuple[Any, Any]] = field(default_factory=dict)

    def examine(self, draft: Draft) -> Iterator[Seen]:
        """What is known of it, more with each step."""
        place, target, why, wrong = self._place(draft)
        spec = draft.placed(getattr(getattr(place, "client", None), "namespace", None))
        dataset, of_data = self._once("data", (id(self.data), draft.columns), lambda: self._read(draft))
        seen = Seen(draft, spec, target, why, dataset=dataset, columns=self._columns(), contexts=places.contexts())
        problems = [*wrong, *of_data, *self._of_spec(seen)]
        if self.data is None and spec.input.delivered and spec.input.path is None:
            remedy = "Choose a DataFrame, or write under “Data that is there already” where it is."
            problems.append(Problem("data", "there is no data.", remedy))
        size = reckoned(lambda: estimate(spec, seen.rows, target=target))
        seen = replace(seen, problems=_once_each(problems), size=size)
        if self.before is not None:
            seen = replace(
                seen, difference=Difference(self.before.diff(replace(spec, namespace=self.before.namespace)))
            )
        yield seen
        seen = self._at_place(seen, place)
        yield replace(seen, whole=True)
        if seen.dataset is not None and spec.preset:
            key = (id(dataset), spec.preset, target, repr(spec.config.ModelConfig), repr(spec.config.TrainingArguments))
            look = self._once("look", key, lambda: _looked(dataset, spec, target))
            of_look = [p for p in look.problems if p.path not in {q.path for q in seen.problems}] if look else []
            yield replace(seen, look=look, problems=(*seen.problems, *of_look), whole=True)

    def forget(self) -> None:
        """Ask the cluster anew: something was started, or the user asked for it."""
        self._kept.pop("offer", None)
        self._kept.pop("place", None)

    def _place(self, draft: Draft) -> tuple[Backend | None, Target, str, list[Problem]]:
        asked = (draft.backend, draft.context, draft.namespace)
        found: tuple[Backend | None, Target, str, list[Problem]] = self._once("place", asked, lambda: _chosen(draft))
        return found

    def _read(self, draft: Draft) -> tuple[Dataset | None, list[Problem]]:
        data, name = self.data, draft.word if draft.word.isidentifier() else "data"
        if data is None:
            return None, []
        if isinstance(data, Dataset) and not draft.columns:
            return data, list(data.warnings)
        columns: dict[str, Any] = dict(draft.columns)
        try:
            read = Dataset.read(data, name=name, **columns)
        except DatasetError as error:
            return None, [
                replace(p, path=p.path if p.path in COLUMNS else "data") for p in map(_at_column, error.problems)
            ]
        return read, list(read.warnings)

    def _columns(self) -> tuple[str, ...]:
        def names() -> tuple[str, ...]:
            from ..dataset.sources import open_source

            data = self.data._source if isinstance(self.data, Dataset) else self.data
            if data is None:
                return ()
            try:
                source = data if isinstance(self.data, Dataset) else open_source(data, "data")
                return tuple(c for c in source.columns if isinstance(c, str))
            except (InputError, OSError, ValueError):
                return ()

        found: tuple[str, ...] = self._once("columns", id(self.data), names)
        return found

    def _of_spec(self, seen: Seen) -> Iterator[Problem]:
        spec = seen.spec
        yield from spec.check(seen.target, rows=seen.rows)
        if spec.output.image_push_secret and spec.output.image is None:
            what, remedy = "there is no image to push.", "Write image:REF under “Adapter goes to”, or leave it empty."
            path = "tuning.output.imagePushSecret"
            yield Problem(path, what, remedy, fix=((path, None),))

    def _at_place(self, seen: Seen, place: Backend | None) -> Seen:
        """What the place itself says: names taken, packages, rights, what is there to choose from."""
        if place is None:
            return seen
        spec, found, told = seen.spec, list(seen.problems), ""
        try:
            found += [_renaming(p) for p in place.problems(spec)]
            if seen.target != "local":
                client: Any = getattr(place, "client", None)
                offer = self._once(
                    "offer", (client.context, spec.namespace), lambda: places.offer(client, spec.namespace)
                )
                seen = replace(seen, offer=offer)
                if seen.dataset is not None:
                    told = route(seen.dataset, spec).note
                if not seen.errors and spec.name and self.before is None and isinstance(place, Rehearsing):
                    seen = replace(seen, difference=place.difference(TuningJob(spec, seen.dataset, None)))
        except SpecError as error:
            found += error.problems
        except BackendError as error:
            found.append(Problem("backend", str(error), ""))
        return replace(seen, problems=_once_each(found), route=told)

    def _once(self, what: str, key: Any, make: Callable[[], Any]) -> Any:
        """What was made for this key last, or made now."""
        if what not in self._kept or self._kept[what][0] != key:
            self._kept[what] = (key, make())
        return self._kept[what][1]


def reckoned(make: Callable[[], T]) -> T | None:
    """What is made of the configuration's numbers; None where one of them is none, as the findings say."""
    try:
        return make()
    except (TypeError, ValueError, ArithmeticError):
        return None


def _chosen(draft: Draft) -> tuple[Backend | None, Target, str, list[Problem]]:
    wanted: Any = draft.backend
    try:
        place, why = choose_backend(wanted, context=draft.context, namespace=draft.namespace)
    except InputError as error:
        return None, "local", "", list(error.problems)
    except BackendError as error:
        where: Target = wanted if wanted in ("job", "kaito") else "local"
        return None, where, "", [Problem("backend", str(error), "")]
    return place, place.name, why, []


def _looked(dataset: Dataset | None, spec: TuningSpec, target: Target) -> Lookahead | None:
    if dataset is None:
        return None
    try:
        return look_ahead(dataset, spec, target, ROWS_SHOWN)
    except Exception:  # noqa: BLE001 (a look must not end the form; whoever starts it is told what is wrong)
        return None


def _at_column(problem: Problem) -> Problem:
    """The problem under the column's field, when the column that was named is at fault."""
    for name in COLUMNS:
        if problem.path in (name, f"--{name.replace('_', '-')}"):
            return replace(problem, path=name)
    return replace(problem, message=f"{problem.path}: {problem.message}") if problem.path != "data" else problem


def _renaming(problem: Problem) -> Problem:
    """A name that is taken can always be left to us."""
    if problem.path != "metadata.name" or problem.fix:
        return problem
    return replace(problem, fix=(("metadata.name", None),))


def _once_each(problems: list[Problem]) -> tuple[Problem, ...]:
    return tuple(dict.fromkeys(problems))
