"""Rows → examples in one of three formats, and the split into those trained on and those held out."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from . import read
from .contract import TrainingConfig, train_rows
from .contract.problems import close_match, listing
from .failures import Failure

Format = Literal["conversational", "instruction", "text"]
SHOWN: Final = 20
"""The most defects that one failure lists."""
SEED: Final = 42
"""KAITO's default `shuffle_seed`."""


@dataclass(frozen=True)
class Columns:
    """Which columns are read, and as what."""

    format: Format
    names: tuple[str, ...]
    """`messages` | prompt, completion | text: the columns in the file that hold these."""


@dataclass(frozen=True, slots=True)
class Example:
    """One row, in the words of its format."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    trained_from: int = 0
    """The first message that may be trained on."""
    tools: list[Any] | None = None
    prompt: str = ""
    completion: str = ""
    """The text itself, in the format `text`."""


@dataclass(frozen=True)
class Data:
    """What is trained on, and what is held out."""

    format: Format
    train: list[Example]
    held_out: list[Example]
    files: tuple[str, ...]


def load(place: Path, config: TrainingConfig) -> Data:
    """All rows at a path, checked, shuffled and split as KAITO's `DatasetConfig` says.

    Raises `Failure` of kind `dataset`: no file, an unreadable one, columns that cannot be told, defective rows (all of
    them, the first twenty by place).
    """
    section = config.DatasetConfig
    files = read.find(place, section.dataset_extension)
    examples: list[Example] = []
    columns: Columns | None = None
    defects: list[str] = []
    for file in files:
        for number, row in enumerate(read.rows(file, section.dataset_extension)):
            if columns is None:
                columns = _of_row(row, choose(list(row), config))
            try:
                examples.append(_example(row, columns))
            except ValueError as error:
                defects.append(f"{file.name}, row {number}: {error}")
    if defects:
        more = [f"… and {len(defects) - SHOWN} more"] if len(defects) > SHOWN else []
        message = f"{len(defects)} of {len(examples) + len(defects)} rows cannot be trained on. The first: {defects[0]}"
        raise Failure("dataset", message, "Mend or leave out these rows.", defects[:SHOWN] + more)
    if columns is None:
        raise Failure("dataset", f"{listing([f.name for f in files], 'and')}: no rows.", "Give at least one row.")
    if section.shuffle_dataset is not False:
        random.Random(SEED if section.shuffle_seed is None else section.shuffle_seed).shuffle(examples)
    kept = train_rows(config, len(examples))
    return Data(columns.format, examples[:kept], examples[kept:], tuple(f.name for f in files))


def choose(names: list[str], config: TrainingConfig) -> Columns:
    """Which columns hold what: as the config says, else by their names. Raises `Failure` of kind `dataset`."""
    section = config.DatasetConfig
    text = section.response_column or config.TrainingArguments.extra.get("dataset_text_field") or "text"
    if section.messages_column:
        columns = Columns("conversational", (section.messages_column,))
    elif section.context_column:
        completion = section.response_column or ("completion" if "completion" in names else text)
        columns = Columns("instruction", (section.context_column, completion))
    elif section.response_column:
        columns = Columns("text", (section.response_column,))
    elif "messages" in names:
        columns = Columns("conversational", ("messages",))
    elif "prompt" in names and "completion" in names:
        columns = Columns("instruction", ("prompt", "completion"))
    elif text in names or len(names) == 1:
        columns = Columns("text", (text if text in names else names[0],))
    else:
        raise Failure(
            "dataset",
            f"the columns {listing(names, 'and')} are in none of the formats that can be trained on.",
            "Name the column messages, or prompt and completion, or text; or set DatasetConfig.messages_column, or "
            "context_column and response_column.",
        )
    for name in columns.names:
        if name not in names:
            near = close_match(name, names)
            message = f'there is no column "{name}".{" " + near if near else ""} There are {listing(names, "and")}.'
            raise Failure("dataset", message, "Set the columns in DatasetConfig.")
    return columns


def _of_row(row: dict[str, Any], columns: Columns) -> Columns:
    """TRL's conversational prompt and completion are one conversation, of which the end is trained on."""
    if columns.format == "instruction" and isinstance(row.get(columns.names[0]), list):
        return Columns("conversational", columns.names)
    return columns


def _example(row: dict[str, Any], columns: Columns) -> Example:
    if None in row:
        raise ValueError("more cells than the header has")
    values = [row.get(name) for name in columns.names]
    if columns.format == "conversational":
        *before, turns = [_messages(v, name) for v, name in zip(values, columns.names, strict=True)]
        tools = row.get("tools")
        return Example(
            messages=[*(m for part in before for m in part), *turns],
            trained_from=sum(map(len, before)),
            tools=_parsed(tools) if tools else None,
        )
    texts = [_text(v, name) for v, name in zip(values, columns.names, strict=True)]
    return Example(prompt=texts[0] if len(texts) == 2 else "", completion=texts[-1])


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"`{name}` is {'empty' if value is None else 'no text'}")
    return value


def _messages(value: Any, name: str) -> list[dict[str, Any]]:
    """A list of turns, perhaps as JSON text, as it comes from a CSV file."""
    turns = _parsed(value)
    if not isinstance(turns, list) or not turns:
        raise ValueError(f"`{name}` is no list of turns")
    return [_turn(turn, f"`{name}` {i}") for i, turn in enumerate(turns)]


def _turn(turn: Any, where: str) -> dict[str, Any]:
    if not isinstance(turn, dict) or not isinstance(turn.get("role"), str):
        raise ValueError(f"{where} has no role")
    # Arrow fills the keys that only other turns have with nulls.
    kept = {k: v for k, v in turn.items() if v is not None}
    if "content" not in kept and "tool_calls" not in kept:
        raise ValueError(f"{where} has no content")
    return kept


def _parsed(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return json.loads(value)
        except json.JSONDecodeError as error:
            raise ValueError(f"no JSON: {error}") from None
    return value


def batches(examples: list[Example], size: int) -> Iterator[list[Example]]:
    """The examples in pieces."""
    for start in range(0, len(examples), size):
        yield examples[start : start + size]


__all__ = ["Data", "Example", "Format", "batches", "choose", "load"]
