"""The contract between notebook and trainer: events, configuration, names. Standard library only.

The one part of `kaito_trainer` that `kaito_jupyter` imports. Nothing here does I/O or reads the environment.
"""

from .check import EPOCHS_DEFAULT, check, total_steps, train_rows
from .config import METHODS, Method, Option, Section, TrainingConfig, kaito_defaults, options
from .events import Event, Payload, decode, encode
from .problems import Problem, Severity

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
