"""The objects that KAITO's operator works from.

How a spec is written as Workspace and ConfigMap, and read back, is the spec's own matter (`spec.documents`).
"""

from __future__ import annotations

from typing import Any

from ..spec import TuningSpec


def workspace(spec: TuningSpec, rows: int | None = None) -> dict[str, Any]:
    """KAITO's Workspace, all filled in. Source: KAITO v0.12, `api/v1beta1/workspace_types.go`."""
    return spec.to_documents("kaito", rows)[-1]


def config_map(spec: TuningSpec, rows: int | None = None) -> dict[str, Any]:
    """The ConfigMap that the Workspace names. It must be there first: KAITO's webhook reads it."""
    return spec.to_documents("kaito", rows)[0]
