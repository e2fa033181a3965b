"""All looks, in the order in which a person would ask."""

from __future__ import annotations

from collections.abc import Iterator

from . import access, capacity, machine
from .report import Line, Report


def doctor(context: str | None = None, namespace: str | None = None, registry: str | None = None) -> Report:
    """Look at all that a run depends on: the cluster, our rights there, GPUs, storage, the registry, this machine.

    `context` and `namespace` are the kubeconfig's when not given; `registry` is an image that a run would push, and a push
    is tried only with one. Changes nothing and raises nothing: what is missing is a line of the report, with its remedy, and
    for missing rights `report.role` is the YAML that grants them. Takes some seconds when nothing answers.
    """
    found = access.find(context, namespace)
    lines, role = [*found.lines], ""
    if found.client is not None:
        with_kaito = [*access.kaito(found.client)]
        rights = access.look_at_rights(found.client, with_kaito=_served(with_kaito))
        role = rights.role
        lines += [*with_kaito, rights.line, *capacity.gpus(found.client), capacity.storage(found.client)]
        found.client.close()
    lines += _here(registry, cluster=found.client is not None)
    return Report(tuple(lines), role)


def _served(lines: list[Line]) -> bool:
    return any(line.topic == "KAITO" and line.mark == "ok" for line in lines)


def _here(registry: str | None, *, cluster: bool) -> Iterator[Line]:
    yield machine.registry(registry)
    if cluster:
        yield machine.trainer_image()
    yield from machine.local_trainer(needed=not cluster)
