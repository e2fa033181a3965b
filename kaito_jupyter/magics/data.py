"""The DF of `%kaito_tune DF`: from a word of the line to the object that it means.

Three mistakes get three messages: what is no name and no expression, a name that is not defined, and a value that holds
no rows. Which columns are right is the dataset's to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from kaito_trainer.contract import Problem
from kaito_trainer.contract.problems import close_match, listing

from .line import ExpansionError, Word, evaluated, is_expression

SUFFIXES: Final = (".csv", ".json", ".jsonl", ".parquet")
_PACKAGES: Final = ("pandas", "pyarrow", "datasets", "kaito_jupyter")
_ROWS: Final = ("DataFrame", "Table", "Dataset")
"""Classes of those packages that hold rows; by name, so that none of them is imported."""
_WHERE: Final = "DF"


def find(word: Word, namespace: Mapping[str, Any]) -> tuple[Any, str, list[Problem]]:
    """The object, a name for it, and what is wrong. The object is None when something is."""
    text = word.text
    if word.quoted or _looks_like_a_file(text, namespace):
        return _file(text)
    if text.startswith("$") and text[1:].isidentifier():
        text = text[1:]
    elif text.startswith("{") and text.endswith("}") and is_expression(text[1:-1]):
        text = text[1:-1].strip()
    if text.isidentifier() and text not in namespace:
        return None, text, [Problem(_WHERE, f"{text} is not defined.", _known(text, namespace))]
    if not is_expression(text):
        return (
            None,
            text,
            [
                Problem(
                    _WHERE,
                    f'"{text}" is neither a name nor an expression.',
                    "Give a DataFrame's name, or a quoted path.",
                )
            ],
        )
    try:
        value = evaluated(text, namespace)
    except ExpansionError as error:
        return None, text, [Problem(_WHERE, f"{text} cannot be evaluated: {error}.", "Try it in a cell of its own.")]
    if isinstance(value, str | Path):
        return _file(str(value))
    if not _holds_rows(value):
        remedy = "Give a pandas DataFrame, a pyarrow Table, a Hugging Face Dataset, or a quoted path."
        return None, text, [Problem(_WHERE, f"{text} is of type {type(value).__name__}.", remedy)]
    return value, text, []


def _file(text: str) -> tuple[Any, str, list[Problem]]:
    path = Path(text).expanduser()
    if path.is_file():
        return path, path.stem, []
    beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    near = close_match(path.name, [n for n in beside if Path(n).suffix.lower() in SUFFIXES])
    return (
        None,
        path.stem,
        [
            Problem(
                _WHERE, f'there is no file "{text}".', near or "Give the path of a csv, json, jsonl or parquet file."
            )
        ],
    )


def frames(namespace: Mapping[str, Any]) -> Iterator[str]:
    """Names of the user's DataFrames, tables and datasets. Imports nothing: who never imported pandas has none."""
    return (name for name, value in list(namespace.items()) if not name.startswith("_") and _holds_rows(value))


def _holds_rows(value: Any) -> bool:
    kinds = ((base.__module__.partition(".")[0], base.__name__) for base in type(value).__mro__)
    return any(top in _PACKAGES and name in _ROWS for top, name in kinds)


def _looks_like_a_file(text: str, namespace: Mapping[str, Any]) -> bool:
    path = Path(text)
    return path.suffix.lower() in SUFFIXES and (path.is_file() or text.partition(".")[0] not in namespace)


def _known(text: str, namespace: Mapping[str, Any]) -> str:
    names = list(frames(namespace))
    if not names:
        return "There is no DataFrame here yet: run the cell that makes it."
    return close_match(text, names) or f"DataFrames here: {listing(sorted(names)[:5], 'and')}."
