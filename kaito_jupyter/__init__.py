"""Fine-tune language models with KAITO from a notebook.

    %load_ext kaito_jupyter
    %kaito_tune df --preset phi-4-mini-instruct --method qlora --output image:registry/adapter:1

All that a magic does can be done without it::

    import kaito_jupyter as kaito
    run = kaito.tune(df, preset="phi-4-mini-instruct", method="qlora")

Importing this package loads none of pandas, matplotlib, kubernetes and torch: names are looked up when they are used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .checkup import doctor
    from .dataset import Dataset
    from .errors import BackendError, DatasetError, InputError, KaitoError, RunFailed, RunNotFound, SpecError
    from .forms import form
    from .lookahead import preview
    from .panel import follow, show
    from .preflight import estimate
    from .run import Run, compare, runs, watch
    from .run.tune import tune
    from .spec import TuningSpec

__version__ = "0.1.0"

_HOMES = {
    "Dataset": "dataset",
    "BackendError": "errors",
    "DatasetError": "errors",
    "InputError": "errors",
    "KaitoError": "errors",
    "RunFailed": "errors",
    "RunNotFound": "errors",
    "SpecError": "errors",
    "compare": "run",
    "doctor": "checkup",
    "estimate": "preflight",
    "follow": "panel",
    "form": "forms",
    "preview": "lookahead",
    "show": "panel",
    "Run": "run",
    "runs": "run",
    "tune": "run",
    "watch": "run",
    "TuningSpec": "spec",
}

__all__ = [
    "BackendError",
    "Dataset",
    "DatasetError",
    "InputError",
    "KaitoError",
    "Run",
    "RunFailed",
    "RunNotFound",
    "SpecError",
    "TuningSpec",
    "compare",
    "doctor",
    "estimate",
    "follow",
    "form",
    "preview",
    "runs",
    "show",
    "tune",
    "watch",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})


def load_ipython_extension(ipython: Any) -> None:
    """`%load_ext kaito_jupyter`: register the magics, their completion and how a run is shown."""
    from .magics import register

    register(ipython)


def unload_ipython_extension(ipython: Any) -> None:
    """`%unload_ext kaito_jupyter`: take all of that back."""
    from .magics import unregister

    unregister(ipython)
