"""How our own Job stands on a cluster: image, GPUs, queue, and whatever else a pod needs that KAITO has no word for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Final

from kaito_trainer.contract import Problem
from kaito_trainer.contract.problems import close_match, listing, shown

from . import rules

PATH: Final = "placement"
"""Where problems of it are said to be."""
_SECRET_LIKE: Final = re.compile(r"(TOKEN|PASSWORD|PASSWD|SECRET|CREDENTIAL|API_?KEY|ACCESS_?KEY)", re.IGNORECASE)

_BARE_SECRET: Final = (
    "this looks like a secret, and everybody who may read Jobs would see its value.",
    "Put it into a Secret, and name that with env_from.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """What only the backend `job` reads (and our own checks: `private_urls`). Nothing of it reaches a Workspace's fields."""

    image: str | None = None
    """The trainer's image. None: `KAITO_TRAINER_IMAGE` of the notebook's environment."""
    image_pull_secrets: tuple[str, ...] = ()
    """Names of Secrets to pull the trainer's image with."""
    gpus: int | None = None
    """GPUs of one node. None: those of the node size, else 1. 0: train on the CPU."""
    queue: str | None = None
    """Kueue's LocalQueue: the label `kueue.x-k8s.io/queue-name`."""
    priority_class: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    """On the Job and its pods, as cost centres and policies ask for them."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    """The same."""
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, Any], ...] = ()
    """Besides those for GPU nodes, as Kubernetes writes them."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Environment of all containers. Not for secrets: it can be read in the Job."""
    env_from: tuple[str, ...] = ()
    """Names of Secrets whose keys become the trainer's environment."""
    service_account: str | None = None
    backoff_limit: int | None = None
    """How often a pod that was lost or killed is made anew. None: see `manifests.job`."""
    deadline: int | None = None
    """Seconds after which the Job is ended, whatever it does (`activeDeadlineSeconds`). None: never."""
    keep: int | None = None
    """Seconds for which an ended Job and its log stay (`ttlSecondsAfterFinished`). None: see `manifests.job`."""
    private_urls: bool = False
    """Whether data may come from private addresses, inside the cluster's network. Our own Job then fetches from them; for
    KAITO it means that the cluster's webhook has the word, which refuses them unless it was told to allow some."""
    pod_template: Mapping[str, Any] = field(default_factory=dict)
    """Merged into the Job's pod template last, as a strategic merge: lists of named things (containers, volumes, env, …)
    are merged by name. The containers are `trainer`, `data-downloader`, `push-check` and `pusher`."""

    @classmethod
    def of(cls, given: Placement | Mapping[str, Any] | None) -> Placement:
        """From a mapping of field names. Takes any values (`problems` says what is wrong); raises TypeError for unknown fields."""
        if given is None or isinstance(given, Placement):
            return given or cls()
        values: dict[str, Any] = {}
        for name, value in given.items():
            if name not in NAMES:
                near = close_match(str(name), NAMES) or f"The fields are {listing(NAMES, 'and')}."
                raise TypeError(f"{shown(name)} is no field of a placement. {near}")
            values[name] = tuple(value) if name in _LISTS and isinstance(value, list) else value
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Only what was said."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        said = {n: v for n, v in values.items() if v != _default(n)}
        return {n: [*v] if isinstance(v, tuple) else v for n, v in said.items()}

    def to_json(self) -> str:
        """As one line; empty when nothing was said."""
        said = self.to_dict()
        return json.dumps(said, sort_keys=True) if said else ""

    def problems(self) -> Iterator[Problem]:
        """All that is wrong with it. Takes any values."""
        if self.image is not None and (wrong := rules.image(self.image)):
            yield Problem(f"{PATH}.image", *wrong)
        for name in ("image_pull_secrets", "env_from"):
            for i, secret in enumerate(getattr(self, name)):
                if wrong := rules.subdomain(secret, "a Secret's name"):
                    yield Problem(f"{PATH}.{name}[{i}]", *wrong)
        for name, what in (("priority_class", "a priority class"), ("service_account", "a service account")):
            if (value := getattr(self, name)) is not None and (wrong := rules.subdomain(value, what)):
                yield Problem(f"{PATH}.{name}", *wrong)
        if self.queue is not None and (wrong := rules.label(self.queue, "a queue's name")):
            yield Problem(f"{PATH}.queue", *wrong)
        for name, least in (("gpus", 0), ("backoff_limit", 0), ("deadline", 1), ("keep", 0)):
            value = getattr(self, name)
            if value is not None and (not _whole(value) or value < least):
                yield Problem(
                    f"{PATH}.{name}", f"{shown(value)} is not allowed.", f"Use a whole number from {least} on."
                )
        for name in ("labels", "annotations", "node_selector", "env", "pod_template"):
            if not _is_mapping(value := getattr(self, name)):
                yield Problem(f"{PATH}.{name}", f"{shown(value)} is no mapping.", "Write {name: value}.")
        for name in ("labels", "node_selector"):
            for key, value in given.items() if _is_mapping(given := getattr(self, name)) else ():
                if wrong := rules.label_pair(key, value):
                    yield Problem(f"{PATH}.{name}", *wrong)
        notes: Mapping[Any, Any] = self.annotations
        for key, value in notes.items() if _is_mapping(notes) else ():
            if not isinstance(value, str):
                yield Problem(f"{PATH}.annotations.{key}", "its value is not text.", "Put it in quotes.")
        yield from self._environment()
        yield from self._template()

    def _environment(self) -> Iterator[Problem]:
        given: Mapping[Any, Any] = self.env
        for name, value in given.items() if _is_mapping(given) else ():
            path = f"{PATH}.env.{name}"
            if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", name):
                yield Problem(path, f"{shown(name)} is no name of a variable.", "Use letters, digits and _.")
            elif not isinstance(value, str):
                yield Problem(path, "its value is not text.", "Put it in quotes.")
            elif _SECRET_LIKE.search(name):
                yield Problem(path, *_BARE_SECRET)

    def _template(self) -> Iterator[Problem]:
        for name in self.pod_template if _is_mapping(self.pod_template) else ():
            if name not in ("metadata", "spec"):
                path = f"{PATH}.pod_template.{name}"
                yield Problem(path, "a pod template has metadata and spec only.", "Put it below spec.")
        spec = self.pod_template.get("spec") if _is_mapping(self.pod_template) else None
        for part in ("initContainers", "containers"):
            for container in _entries(spec, part):
                for variable in _entries(container, "env"):
                    name = str(variable.get("name"))
                    if variable.get("value") and _SECRET_LIKE.search(name):
                        path = f"{PATH}.pod_template.spec.{part}.{container.get('name')}.env.{name}"
                        yield Problem(path, *_BARE_SECRET)


NAMES: Final = tuple(f.name for f in fields(Placement))
_LISTS: Final = ("image_pull_secrets", "tolerations", "env_from")
_FIELDS: Final = {f.name: f for f in fields(Placement)}


def _entries(place: Any, name: str) -> list[Mapping[str, Any]]:
    """The mappings in a list that may be anything."""
    found = place.get(name) if _is_mapping(place) else None
    return [entry for entry in found if _is_mapping(entry)] if isinstance(found, list | tuple) else []


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _default(name: str) -> Any:
    factory = _FIELDS[name].default_factory
    return _FIELDS[name].default if factory is MISSING else factory()
