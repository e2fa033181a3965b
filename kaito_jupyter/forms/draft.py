"""`Draft`: all that the form says, as one value. Pure: what it means is for `TuningSpec` to check."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from kaito_trainer.contract import Problem, TrainingConfig

from ..errors import SpecError
from ..spec import (
    DataDestination,
    DataSource,
    Placement,
    ResourceSpec,
    TuningSpec,
    find_option,
    parse_destination,
    parse_source,
    read_config,
)
from ..spec.build import ConfigLike
from ..spec.options import assigned, coerce, sections_of
from .line import destination_text, source_text, text_of

COLUMNS: Final = ("messages_column", "prompt_column", "completion_column", "text_column")


@dataclass(frozen=True)
class Draft:
    """What is to be tuned, how and where. Never wrong by itself: any value is kept, so that a finding can be shown at it."""

    spec: TuningSpec = field(default_factory=lambda: TuningSpec(preset=""))
    backend: str = "auto"
    context: str | None = None
    namespace: str | None = None
    """None: the one of the context."""
    columns: tuple[tuple[str, str], ...] = ()
    """Which columns of the data were named: (`prompt_column`, `question`)."""
    word: str = ""
    """The DF of the line: a variable, an expression, a quoted path; empty without data of this machine."""

    def get(self, path: str) -> str:
        """The text in the field of that path; empty for what is left to the defaults."""
        if path in _PARTS:
            return _PARTS[path][0](self) or ""
        section, _, name = path.partition(".")
        value = self.spec.config.to_dict().get(section, {}).get(name)
        if value is None:
            return ""
        text = text_of(path, value)
        return repr(value) if text is None else text

    def put(self, path: str, text: str) -> Draft:
        """A copy with that text in the field; empty text leaves it to the defaults."""
        if path in _PARTS:
            return _PARTS[path][1](self, text.strip() or None)
        section, _, name = path.partition(".")
        value = coerce(find_option(path), text) if text.strip() else None
        return replace(self, spec=replace(self.spec, config=self.spec.config.merged({section: {name: value}})))

    def fixed(self, findings: Iterable[Problem]) -> Draft:
        """A copy in which the findings' fixes are made."""
        return replace(self, spec=self.spec.fixed(findings))

    def placed(self, namespace: str | None) -> TuningSpec:
        """The spec in its namespace: the one that is said, else that of the cluster's context."""
        return replace(self.spec, namespace=self.namespace or namespace or "default")

    def options(self) -> dict[str, Any]:
        """What `kaito_jupyter.tune` takes for it, besides the data."""
        spec = self.spec
        return {
            "preset": spec.preset,
            "method": spec.method,
            "name": spec.name,
            "namespace": self.namespace,
            "backend": self.backend,
            "context": self.context,
            "input": spec.input,
            "output": spec.output,
            "instance_type": spec.resource.instance_type,
            "label_selector": spec.resource.label_selector,
            "model_access_secret": spec.model_access_secret,
            "placement": spec.placement,
            "config": spec.config,
        }

    @classmethod
    def of_spec(cls, spec: TuningSpec, target: str, context: str | None = None) -> Draft:
        """The draft of a run's spec: what a person said of it, without what we wrote beside it."""
        namespace = spec.namespace if target != "local" else None
        spec = replace(spec, labels={}, annotations={}, namespace="default")
        return cls(spec, backend=target, context=context, namespace=namespace)

    @classmethod
    def of_options(
        cls,
        *,
        preset: str = "",
        method: str = "lora",
        name: str | None = None,
        namespace: str | None = None,
        backend: str = "auto",
        context: str | None = None,
        input: str | DataSource | None = None,
        output: str | DataDestination | None = None,
        pull_secret: str | None = None,
        push_secret: str | None = None,
        instance_type: str | None = None,
        model_access_secret: str | None = None,
        placement: Placement | Mapping[str, Any] | None = None,
        config: ConfigLike | Sequence[ConfigLike] | None = None,
        assignments: Sequence[str] = (),
        **options: Any,
    ) -> Draft:
        """The draft of what `kaito_jupyter.tune` takes: where a form begins. Raises `SpecError` for an option that is none."""
        source = parse_source(input) if isinstance(input, str) else input or DataSource()
        destination = parse_destination(output) if isinstance(output, str) else output or DataDestination()
        if pull_secret:
            source = replace(source, image_pull_secrets=(pull_secret,))
        if push_secret:
            destination = replace(destination, image_push_secret=push_secret)
        columns = tuple((n, options.pop(n)) for n in COLUMNS if options.get(n))
        spec = TuningSpec(
            preset=str(preset or ""),
            method=method,  # type: ignore[arg-type]  # the check says what is wrong with it
            name=name,
            input=source,
            output=destination,
            resource=ResourceSpec(instance_type=instance_type),
            model_access_secret=model_access_secret,
            config=configuration(config, options, assignments),
            placement=Placement.of(placement),
        )
        return cls(spec, backend=backend or "auto", context=context, namespace=namespace, columns=columns)


def configuration(
    given: ConfigLike | Sequence[ConfigLike] | None, options: Mapping[str, Any], assignments: Sequence[str]
) -> TrainingConfig:
    """What was said of the training, later over earlier. Raises `SpecError` for a name that is no option."""
    parts = [] if given is None else [given] if isinstance(given, str) or not isinstance(given, Sequence) else [*given]
    config = TrainingConfig()
    for part in parts:
        config = config.merged(read_config(part))
    texts, found = assigned(assignments)
    for values in (options, texts):
        sections, unknown = sections_of(values)
        config = config.merged(sections)
        found += unknown
    if found:
        raise SpecError(found)
    return config


Part = tuple[Callable[[Draft], str | None], Callable[[Draft, str | None], Draft]]


def _own(name: str) -> Part:
    """A field of the draft itself."""
    return (lambda d: getattr(d, name)), (lambda d, text: replace(d, **{name: text}))


def _spec(name: str, empty: str | None = None) -> Part:
    return (lambda d: getattr(d.spec, name)), (
        lambda d, text: replace(d, spec=replace(d.spec, **{name: empty if text is None else text}))
    )


def _inner(part: str, name: str) -> Part:
    """A field of one of the spec's parts."""

    def put(d: Draft, text: str | None) -> Draft:
        return replace(d, spec=replace(d.spec, **{part: replace(getattr(d.spec, part), **{name: text})}))

    return (lambda d: getattr(getattr(d.spec, part), name)), put


def _column(name: str) -> Part:
    def put(d: Draft, text: str | None) -> Draft:
        others = {k: v for k, v in d.columns if k != name} | ({name: text} if text else {})
        return replace(d, columns=tuple((k, others[k]) for k in COLUMNS if k in others))

    return (lambda d: dict(d.columns).get(name)), put


def _put_input(d: Draft, text: str | None) -> Draft:
    source = parse_source(text) if text else DataSource()
    secrets = d.spec.input.image_pull_secrets
    return replace(d, spec=replace(d.spec, input=replace(source, image_pull_secrets=secrets)))


def _put_output(d: Draft, text: str | None) -> Draft:
    output = parse_destination(text) if text else DataDestination()
    secret = d.spec.output.image_push_secret
    return replace(d, spec=replace(d.spec, output=replace(output, image_push_secret=secret)))


def _put_pull_secret(d: Draft, text: str | None) -> Draft:
    secrets = (text,) if text else ()
    return replace(d, spec=replace(d.spec, input=replace(d.spec.input, image_pull_secrets=secrets)))


def _put_gpus(d: Draft, text: str | None) -> Draft:
    gpus: Any = int(text) if text and text.isdecimal() else text
    return replace(d, spec=replace(d.spec, placement=replace(d.spec.placement, gpus=gpus)))


def _gpus(d: Draft) -> str | None:
    return None if d.spec.placement.gpus is None else str(d.spec.placement.gpus)


_PARTS: Final[Mapping[str, Part]] = {
    "tuning.preset.name": _spec("preset", ""),
    "tuning.method": _spec("method", "lora"),
    "metadata.name": _spec("name"),
    "metadata.namespace": _own("namespace"),
    "backend": (lambda d: d.backend, lambda d, text: replace(d, backend=text or "auto")),
    "context": _own("context"),
    "tuning.input": (lambda d: source_text(d.spec.input), _put_input),
    "tuning.input.imagePullSecrets": (lambda d: next(iter(d.spec.input.image_pull_secrets), None), _put_pull_secret),
    "tuning.output": (lambda d: destination_text(d.spec.output), _put_output),
    "tuning.output.imagePushSecret": _inner("output", "image_push_secret"),
    "tuning.preset.presetOptions.modelAccessSecret": _spec("model_access_secret"),
    "resource.instanceType": _inner("resource", "instance_type"),
    "placement.image": _inner("placement", "image"),
    "placement.gpus": (_gpus, _put_gpus),
    "placement.queue": _inner("placement", "queue"),
    "placement.priority_class": _inner("placement", "priority_class"),
    **{name: _column(name) for name in COLUMNS},
}
"""Path of a field that is no training option -> how it is read and written."""
