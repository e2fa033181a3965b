"""The contract between notebook and trainer: events, configuration, names. Standard library only.

The one part of `kaito_trainer` that `kaito_jupyter` imports. Nothing here does I/O or reads the environment.

The events come when they are asked for: building their classes is a quarter of what `%load_ext` may take.
"""

from typing import TYPE_CHECKING, Any

from .check import EPOCHS_DEFAULT, check, total_steps, train_rows
from .config import METHODS, Method, Option, Section, TrainingConfig, kaito_defaults, options
from .problems import Problem, Severity

if TYPE_CHECKING:
    from .events import Event, Payload, decode, encode

__all__ = [
    "EPOCHS_DEFAULT",
    "METHODS",
    "Event",
    "Method",
    "Option",
    "Payload",
    "Problem",
    "Section",
    "Severity",
    "TrainingConfig",
    "check",
    "decode",
    "encode",
    "kaito_defaults",
    "options",
    "total_steps",
    "train_rows",
]


def __getattr__(name: str) -> Any:
    if name not in ("Event", "Payload", "decode", "encode"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import events

    value = globals()[name] = getattr(events, name)
    return value
