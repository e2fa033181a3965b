"""A strategic merge, as `kubectl patch` does it, for the parts of a pod template. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

KEYS: Final[Mapping[str, str]] = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "volumes": "name",
    "env": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "ports": "containerPort",
    "imagePullSecrets": "name",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
}
"""List -> the field by which its entries are told apart. Source: `patchMergeKey` in Kubernetes' core/v1 types.

All other lists (`command`, `args`, `tolerations`, …) are replaced as a whole.
"""


def merged(base: Any, over: Any, name: str = "") -> Any:
    """`base` with `over` laid upon it: mappings by key, known lists by their entries' names; null removes a key."""
    if isinstance(base, Mapping) and isinstance(over, Mapping):
        result = dict(base)
        for key, value in over.items():
            if value is None:
                result.pop(key, None)
            else:
                result[key] = merged(result.get(key), value, str(key))
        return result
    key = KEYS.get(name)
    if key and isinstance(base, list) and isinstance(over, list):
        result_list = list(base)
        places = {entry.get(key): i for i, entry in enumerate(base) if isinstance(entry, Mapping)}
        for entry in over:
            place = places.get(entry.get(key)) if isinstance(entry, Mapping) else None
            if place is None:
                result_list.append(merged({}, entry) if isinstance(entry, Mapping) else entry)
            else:
                result_list[place] = merged(result_list[place], entry)
        return result_list
    if isinstance(over, Mapping):
        return {k: merged(None, v, str(k)) for k, v in over.items() if v is not None}
    return over
