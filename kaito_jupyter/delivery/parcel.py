"""A dataset as the one file that travels: always `train.parquet`, whichever way it goes.

One plainly named file, because KAITO's trainer takes the first that it finds, and its format from its name (field note K8).
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kaito_trainer.contract.names import TRAIN_FILE

from ..dataset import Dataset

SHORT: Final = 16
"""Hexadecimal digits of a fingerprint that stand in names: of 2^64 names, two datasets never meet by chance."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """The file, packed."""

    path: Path
    size: int
    """Bytes."""
    sha256: str


@contextmanager
def packed(dataset: Dataset) -> Iterator[Parcel]:
    """The dataset's file, as long as the block lasts. Raises `DatasetError` when the data has changed since it was read."""
    with tempfile.TemporaryDirectory(prefix="kaito-data-") as folder:
        path = Path(folder) / TRAIN_FILE
        size = dataset.write(path)
        with path.open("rb") as file:
            yield Parcel(path, size, hashlib.file_digest(file, "sha256").hexdigest())


def short(dataset: Dataset) -> str:
    """The dataset's name in tags and paths: the head of its fingerprint."""
    return dataset.fingerprint[:SHORT]


def amount(size: int) -> str:
    """A size for people: `412 kB`, `12.3 MB`."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{max(1, round(size / 1e3))} kB"
