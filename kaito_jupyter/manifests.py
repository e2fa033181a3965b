"""What a cluster is sent for a spec: Kubernetes objects as dicts, complete and ready to apply. Pure.

How a spec is written as Workspace and ConfigMap, and read back, is the spec's own matter (`spec.documents`); here stand the
objects that a backend creates from it.
"""

from __future__ import annotations

from typing import Any

from .spec import TuningSpec


def workspace(spec: TuningSpec, rows: int | None = None) -> dict[str, Any]:
    """KAITO's Workspace, all filled in. Source: KAITO v0.12, `api/v1beta1/workspace_types.go`."""
    return spec.to_documents("kaito", rows)[-1]


def config_map(spec: TuningSpec, rows: int | None = None) -> dict[str, Any]:
    """The ConfigMap that the Workspace names. It must be there first: KAITO's webhook reads it."""
    return spec.to_documents("kaito", rows)[0]
