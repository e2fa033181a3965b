"""What is known about models and GPU nodes without asking anybody: facts, and where each was read.

::

    known     KAITO's tunable presets, its GPU nodes, and what a model's name means
    shape     the numbers of a model's architecture, and what is counted from them
    models    those numbers for every preset and for small models that people try first
    advice    what to begin with for each of them, with the source of each value
"""

from .advice import Sourced, advice
from .known import (
    FALCON,
    FUSED,
    PRESETS,
    SKUS,
    SPLIT,
    Preset,
    Sku,
    find,
    gpus,
    is_hugging_face_id,
    is_path,
    resolve_model,
)
from .models import MODELS, Marks, Model, model
from .shape import Shape

__all__ = [
    "FALCON",
    "FUSED",
    "MODELS",
    "PRESETS",
    "SKUS",
    "SPLIT",
    "Marks",
    "Model",
    "Preset",
    "Shape",
    "Sku",
    "Sourced",
    "advice",
    "find",
    "gpus",
    "is_hugging_face_id",
    "is_path",
    "model",
    "resolve_model",
]
