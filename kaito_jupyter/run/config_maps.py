"""A configuration that lies in the cluster already, in a ConfigMap as KAITO takes it: `configmap:NAME` stands for it.

Its values are the run's own from then on: the ConfigMap is read once, and stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from kaito_trainer.contract import Problem
from kaito_trainer.contract.problems import close_match

from ..backends.base import Backend
from ..errors import SpecError

PREFIX: Final = "configmap:"


def fetched(config: Any, place: Backend | None, namespace: str | None) -> Any:
    """The configuration with each `configmap:NAME` in it read. Raises `SpecError`, and `BackendError` out of reach."""
    if isinstance(config, str):
        return _read(config, place, namespace) if config.startswith(PREFIX) else config
    if isinstance(config, Sequence):
        return [fetched(part, place, namespace) for part in config]
    return config


def _read(text: str, place: Backend | None, namespace: str | None) -> Any:
    name = text.removeprefix(PREFIX).strip()
    client = getattr(place, "client", None)
    if client is None:
        message = f"{text} lies in a cluster, and this run goes to none."
        raise SpecError([Problem("config", message, "Give a YAML file, or the backend job or kaito.")])
    from ..cluster.resources import CONFIG_MAPS

    found = client.find(CONFIG_MAPS, name, namespace) if name else None
    if found is None:
        where = namespace or client.namespace
        known = [item["metadata"]["name"] for item in client.list(CONFIG_MAPS, namespace)[0]]
        message = f"there is no ConfigMap {name} in namespace {where}."
        raise SpecError(
            [Problem("config", message, close_match(name, known) or "Give one that is there, or a YAML file.")]
        )
    return {"apiVersion": CONFIG_MAPS.api_version, "kind": CONFIG_MAPS.kind, **found}
