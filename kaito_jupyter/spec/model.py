"""The spec itself: one value that says all about a tuning run but its data."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal, Self, get_args

from kaito_trainer.contract import Method, Problem, TrainingConfig, total_steps, train_rows

from ..presets import find, gpus
from .defaults import Default, choose
from .findings import Findings
from .fixed import Mended
from .placement import Placement
from .sources import DataDestination, DataSource, ResourceSpec

if TYPE_CHECKING:
    from ..dataset import Dataset
    from ..lookahead import Lookahead

Target = Literal["local", "job", "kaito"]
"""Where a run is to go: a process of this machine, our own Job, or KAITO's operator."""
TARGETS: Final[tuple[Target, ...]] = get_args(Target)

NAME_MAX: Final = 63
"""Letters of a Job's name that is a label's value too (RFC 1123)."""


@dataclass(frozen=True, kw_only=True)
class TuningSpec:
    """A tuning run, in KAITO's words (`Workspace.tuning` and what stands beside it).

    Holds what the user said, right or wrong: `check` tells, and `effective_config` adds what nobody said.
    """

    preset: str
    """A KAITO preset, a Hugging Face id, or a model folder."""
    method: Method = "lora"
    name: str | None = None
    """Of the run, the Workspace and the Job. None: `named` gives one."""
    namespace: str = "default"
    input: DataSource = field(default_factory=DataSource)
    output: DataDestination = field(default_factory=DataDestination)
    resource: ResourceSpec = field(default_factory=ResourceSpec)
    model_access_secret: str | None = None
    """Name of the Secret with the Hugging Face token, `tuning.preset.presetOptions.modelAccessSecret`."""
    config: TrainingConfig = field(default_factory=TrainingConfig)
    """Only what the user set."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Labels of the Workspace (a queue's name, for example)."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    placement: Placement = field(default_factory=Placement)
    """How our own Job stands on its cluster; KAITO does not see it."""

    def gpus(self, target: Target) -> int:
        """GPUs that a run uses there: one process each. Locally it is one process, whatever there is."""
        if target == "local":
            return 1
        told = self.placement.gpus if target == "job" else None
        return gpus(self.resource.instance_type) if not isinstance(told, int) else max(1, told)

    def check(
        self,
        target: Target = "local",
        *,
        rows: int | None = None,
        dataset: Dataset | None = None,
        seen: Lookahead | None = None,
        strict: bool = False,
    ) -> Findings:
        """All that is to be said of it on that target, before anything is sent or paid for.

        Errors, warnings and notes, each with path, message, remedy and, where there is one, the fix as a change of the
        spec; `fixed` makes the changes. Magic, form and YAML say what this says. `findings.by_path()` groups them for a
        form: the path is a field's (`TrainingArguments.max_length`, `resource.instanceType`), or the data's name.

        `rows` of the data sharpen our defaults. With the `dataset` itself its first rows are looked at as the model will
        see them, too, or `seen`, a preview that is at hand (`spec.preview`, `findings.seen`), is taken instead. With
        `strict`, warnings are errors. Never raises for a wrong spec, and starts nothing.
        """
        from .problems import problems

        rows = dataset.rows if rows is None and dataset is not None else rows
        found, size = problems(self, target, rows), None
        if not any(p.severity == "error" for p in found):
            from ..preflight import estimate

            refused: list[Problem] = []
            if seen is None and dataset is not None:
                from ..lookahead import looked

                seen, refused = looked(dataset, self, target)
            size = estimate(self, rows, target=target, tokens=seen.mean if seen is not None else None)
            found += [
                *(size.problems() if size is not None else ()),
                *refused,
                *(seen.problems if seen is not None else ()),
            ]
        return Findings(found, strict=strict, seen=seen, size=size)

    def problems(self, target: Target = "local") -> list[Problem]:
        """What is wrong with the words alone, as builders and backends ask for it: data and memory are not looked at."""
        from .problems import problems

        return problems(self, target)

    def fixed(self, findings: Iterable[Problem]) -> TuningSpec:
        """A copy in which the findings' fixes are made. What has no fix stays as it is: check the copy again."""
        from .fixed import fixed

        return fixed(self, findings)

    def mended(
        self, target: Target = "local", *, rows: int | None = None, dataset: Dataset | None = None
    ) -> tuple[TuningSpec, tuple[Mended, ...], Findings]:
        """A copy with the fixes of all errors and warnings of `check`, what was changed and why, and what is left to say."""
        from .fixed import mended

        return mended(self, lambda spec: spec.check(target, rows=rows, dataset=dataset))

    def defaults(self, target: Target, *, rows: int | None = None) -> list[Default]:
        """What we choose for that target where the user said nothing, each with its reason."""
        return choose(self, target, rows)[1]

    def effective_config(self, target: Target, *, rows: int | None = None) -> TrainingConfig:
        """The configuration that will run: KAITO's defaults, over them ours, over them the user's."""
        return choose(self, target, rows)[0]

    def total_steps(self, rows: int, devices: int | None = None, *, target: Target = "local") -> int:
        """Optimiser steps of a run over that many rows, those held out included.

        `devices`: GPUs that share the work; by default those of the node on a cluster, and one here.
        """
        config = self.effective_config(target, rows=rows)
        return total_steps(config, train_rows(config, rows), devices or self.gpus(target))

    def resolved(self, target: Target, *, rows: int | None = None) -> Self:
        """A copy in which all that was left open is filled in for that target: name, node labels, configuration."""
        spec = replace(self.named(), config=self.effective_config(target, rows=rows))
        if target != "kaito":
            return spec
        preset, resource = find(spec.preset), spec.resource
        if not resource.label_selector:
            resource = replace(resource, label_selector={"matchLabels": {"app": spec.name}})
        return replace(spec, preset=preset.name if preset else spec.preset, resource=resource)

    def named(self, taken: Collection[str] = ()) -> Self:
        """A copy with a name: its own, else one made from model and method that is not among the taken ones."""
        return self if self.name else replace(self, name=free_name(self.preset, self.method, taken))

    def to_documents(self, target: Target | None = None, rows: int | None = None) -> list[dict[str, Any]]:
        """The ConfigMap (when there is a configuration) and the Workspace, in the order to apply.

        With a target: all filled in, what will run there. Without: exactly what the user said; read back, it is equal.
        """
        from .documents import to_documents

        return to_documents(self, target, rows)

    def to_yaml(self, target: Target | None = None, rows: int | None = None) -> str:
        """The same as YAML text, with a word at its head, and the reason beside each value that we chose."""
        from .documents import to_yaml

        return to_yaml(self, target, rows)

    @classmethod
    def from_documents(cls, documents: Iterable[Mapping[str, Any]]) -> Self:
        """From a Workspace and its ConfigMap. Raises `SpecError` with everything that a spec cannot hold."""
        from .read import read_documents

        return cls(**read_documents(documents))

    @classmethod
    def from_yaml(cls, text: str) -> Self:
        """From YAML text, as `to_yaml` or a person writes it. Raises `SpecError`."""
        from .read import read_documents
        from .text import load_all

        return cls(**read_documents(load_all(text, "spec")))

    def preview(self, data: Any, target: Target = "local", *, rows: int = 3) -> Lookahead:
        """What the model will see of the data with this spec, a few rows token by token; nothing is started.

        `data` is all that `Dataset.read` takes, or a `Dataset`. Raises `DatasetError` or `SpecError`.
        """
        from .. import preview  # the public name: this room knows none above it

        return preview(data, preset=self.preset, method=self.method, config=self.config, backend=target, rows=rows)

    def diff(self, other: TuningSpec) -> list[tuple[str, Any, Any]]:
        """Where the two differ: (path, mine, theirs), None for what one of them leaves open."""
        mine, theirs = self.flat(), other.flat()
        return [(p, mine.get(p), theirs.get(p)) for p in {**mine, **theirs} if mine.get(p) != theirs.get(p)]

    def flat(self) -> dict[str, Any]:
        """Path (KAITO's words; options as `Section.field`) -> value, for all that was said."""
        from .documents import flat

        return flat(self)


def free_name(preset: str, method: str, taken: Collection[str] = ()) -> str:
    """A run's name that a person recognises: the model's last part and the method, numbered when it is taken."""
    known = find(preset)
    model = known.name if known else str(preset).rstrip("/").rsplit("/", 1)[-1]
    words = re.sub(r"[^a-z0-9]+", "-", f"{model}-{method}".lower()).strip("-") or "tuning"
    base = words[: NAME_MAX - 6].rstrip("-")
    number = 1
    while (name := base if number == 1 else f"{base}-{number}") in taken:
        number += 1
    return name
