"""A small dataset as a ConfigMap: it travels with the run, and needs no storage at all."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from kaito_trainer.contract import Problem
from kaito_trainer.contract.names import TRAIN_FILE

from ..dataset import Dataset
from ..errors import SpecError

LARGEST: Final = 900_000
"""Bytes of parquet that a ConfigMap takes: the API server's limit of 1 MiB counts base64's third and the rest of the object."""


def data_map(dataset: Dataset, name: str, namespace: str, labels: Mapping[str, str]) -> dict[str, Any]:
    """The ConfigMap with `train.parquet`. Raises `SpecError` when the dataset is too large for one."""
    with tempfile.TemporaryDirectory(prefix="kaito-data-") as folder:
        file = Path(folder) / TRAIN_FILE
        size = dataset.write(file)
        if size > LARGEST:
            raise SpecError(
                [
                    Problem(
                        "tuning.input",
                        f"the data is {size / 1e6:.1f} MB of parquet, and a ConfigMap takes {LARGEST / 1e6:.1f} MB.",
                        "Say with --input where it shall travel: image:REGISTRY/NAME:TAG or pvc:CLAIM.",
                    )
                ]
            )
        content = base64.b64encode(file.read_bytes()).decode()
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, "labels": dict(labels)},
        "binaryData": {TRAIN_FILE: content},
    }
