"""A chunk of a column of conversations: lists of dicts, arrays of dicts, JSON text or Arrow lists → turns, and defects.

Two ways through: a fast one for chunks in which every turn is a dict of two texts, and a patient one, turn by turn, that
names what is wrong. The fast one never guesses: whatever it does not know for sure goes the patient way.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .findings import Defect, missing
from .shapes import ROLES, SHAREGPT_ROLES, from_text
from .sources import Values, flat, python_values, shortened
from .texts import as_strings, described, encodable

if TYPE_CHECKING:
    from .measure import Integers

Keys = tuple[str, str]
_CALLS: Final = ("tool_calls", "function_call")
_LISTS: Final = (list, tuple, np.ndarray)


@dataclass
class Turns:
    """Conversations laid flat."""

    counts: Integers
    """Turns of each row; 0 where the row has a defect."""
    codes: Integers
    """Who speaks in each turn: a position in `ROLES`."""
    contents: pa.StringArray
    sound: Integers
    """Rows without a defect of their own."""
    defects: list[Defect]
    extra: set[str] = field(default_factory=set)
    """Keys of turns beside the two that are read."""

    def offsets(self) -> Integers:
        """Where each row's turns begin, and the end of the last."""
        offsets = np.zeros(len(self.counts) + 1, np.int64)
        np.cumsum(self.counts, out=offsets[1:])
        return offsets


def turns(values: Values, keys: Keys) -> Turns:
    """Read a chunk. `keys` name who speaks and what is said."""
    quick = _from_arrow(values, keys) if isinstance(values, pa.Array) else _from_lists(values, keys)
    return quick or _Patient(keys).read(python_values(values))


def _from_arrow(array: pa.Array, keys: Keys) -> Turns | None:
    """Arrow lists of structs of text, without nulls."""
    kind = array.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return _from_lists(python_values(array), keys)
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if not any(is_list(kind) for is_list in lists) or array.null_count or not pa.types.is_struct(kind.value_type):
        return None
    names = [f.name for f in kind.value_type]
    if any(names.count(k) != 1 for k in keys):
        return None
    turn = pc.list_flatten(array)
    extra = {n for n in names if n not in keys and pc.struct_field(turn, n).null_count < len(turn)}
    roles, contents = (as_strings(flat(pc.struct_field(turn, k))) for k in keys)
    if turn.null_count or roles is None or contents is None:
        return None
    counts = pc.list_value_length(array).to_numpy(zero_copy_only=False).astype(np.int64)
    return _quick(counts, _codes(roles, keys), contents, extra)


def _from_lists(values: Sequence[Any], keys: Keys) -> Turns | None:
    """Lists or arrays of dicts, or JSON text of them."""
    kinds = set(map(type, values))
    if str in kinds:
        if kinds != {str}:
            return None
        try:
            values = list(map(json.loads, values))
        except (ValueError, RecursionError):
            return None
        kinds = set(map(type, values))
    words = {k: ROLES.index(r) for k, r in _words(keys).items()}
    try:
        if kinds == {np.ndarray}:
            said = np.concatenate(values).tolist()
        elif kinds <= {list, tuple, np.ndarray}:
            said = list(chain.from_iterable(values))
        else:
            return None
        role, content = (map(itemgetter(k), said) for k in keys)
        extra = set(map(str, set().union(*said))) - set(keys) if sum(map(len, said)) != 2 * len(said) else set()
        codes = np.fromiter(map(words.__getitem__, role), np.int8, count=len(said))
        contents = pa.array(list(content), pa.string())
    except (LookupError, TypeError, ValueError, pa.ArrowException):
        return None  # not a list, not a dict, no such key, an unknown role, no text
    counts = np.fromiter(map(len, values), np.int64, count=len(values))
    return _quick(counts, codes, contents, extra)


def _quick(counts: Integers, codes: Integers, contents: pa.StringArray, extra: set[str]) -> Turns | None:
    """The turns, when nothing is wrong with any of them."""
    if contents.null_count or extra & set(_CALLS) or (codes < 0).any() or (counts == 0).any():
        return None
    return Turns(counts, codes, contents, np.ones(len(counts), bool), [], extra)


def _codes(roles: pa.StringArray, keys: Keys) -> Integers:
    """Positions in `ROLES`, -1 for an unknown one."""
    words = _words(keys)
    at = pc.index_in(roles, value_set=pa.array(list(words), pa.string())).fill_null(-1).to_numpy()
    codes: Integers = np.array([*(ROLES.index(r) for r in words.values()), -1], np.int8)[at]
    return codes


def _words(keys: Keys) -> dict[str, str]:
    return SHAREGPT_ROLES if keys[0] == "from" else {r: r for r in ROLES}


class _Patient:
    """Turn by turn."""

    def __init__(self, keys: Keys) -> None:
        self._role, self._content = keys
        self._words = _words(keys)
        self._rows: dict[str, list[int]] = {}
        self._details: dict[str, dict[str, None]] = {}
        self._extra: set[str] = set()

    def read(self, values: Sequence[Any]) -> Turns:
        """The turns of the rows without a defect, and all defects."""
        counts, codes, contents = np.zeros(len(values), np.int64), [], []
        sound = np.zeros(len(values), bool)
        for i, value in enumerate(values):
            turns = self._conversation(i, value)
            if turns is not None:
                counts[i], sound[i] = len(turns), True
                codes += [code for code, _ in turns]
                contents += [text for _, text in turns]
        defects = [
            Defect(kind, rows, detail)
            for kind, rows in self._rows.items()
            for detail in (", ".join(list(self._details.get(kind, ()))[: 5 if kind == "role" else 1]),)
        ]
        return Turns(counts, np.array(codes, np.int8), pa.array(contents, pa.string()), sound, defects, self._extra)

    def _bad(self, row: int, kind: str, detail: str = "") -> None:
        rows = self._rows.setdefault(kind, [])
        if not rows or rows[-1] != row:
            rows.append(row)
        if detail:
            self._details.setdefault(kind, {})[detail] = None

    def _conversation(self, row: int, value: Any) -> list[tuple[int, str]] | None:
        if isinstance(value, str):
            value = self._parsed(row, value)
            if value is _BROKEN:
                return None
        if missing(value):
            self._bad(row, "missing")
            return None
        if not isinstance(value, _LISTS):
            self._bad(row, "not_list", described(value))
            return None
        listed = value.tolist() if isinstance(value, np.ndarray) else list(value)
        if not isinstance(listed, list):  # an array without dimensions
            self._bad(row, "not_list", described(value))
            return None
        if not listed:
            self._bad(row, "no_turns")
            return None
        turns = [self._turn(row, t) for t in listed]
        return [t for t in turns if t] if all(turns) else None

    def _parsed(self, row: int, text: str) -> Any:
        try:
            return from_text(text)
        except (ValueError, RecursionError) as error:
            where = (
                f"{error.msg} at character {error.pos}"
                if isinstance(error, json.JSONDecodeError)
                else "too deep or too large"
            )
            self._bad(row, "bad_json", f"{where} of {shortened(text, 30)!r}")
            return _BROKEN

    def _turn(self, row: int, turn: Any) -> tuple[int, str] | None:
        if not isinstance(turn, Mapping):
            self._bad(row, "turn_type", described(turn))
            return None
        self._extra |= {str(k) for k, v in turn.items() if k not in (self._role, self._content) and not missing(v)}
        calls = next((k for k in _CALLS if not missing(turn.get(k)) and not _hollow(turn[k])), None)
        if calls:
            self._bad(row, "tool_calls", f"`{calls}`")
            return None
        role, content = turn.get(self._role), turn.get(self._content)
        code = self._speaker(row, role)
        text = self._said(row, content)
        return None if code is None or text is None else (code, text)

    def _speaker(self, row: int, role: Any) -> int | None:
        if missing(role):
            self._bad(row, "no_role", f'"{self._role}"')
        elif not isinstance(role, str) or role not in self._words:
            self._bad(row, "role", f'"{shortened(role)}"' if isinstance(role, str) else described(role))
        else:
            return ROLES.index(self._words[role])
        return None

    def _said(self, row: int, content: Any) -> str | None:
        if missing(content):
            self._bad(row, "no_content", f'"{self._content}"')
        elif isinstance(content, _LISTS):
            self._bad(row, "parts")
        elif not isinstance(content, str):
            self._bad(row, "content_type", described(content))
        elif not encodable(content):
            self._bad(row, "unicode")
        else:
            return str(content)
        return None


_BROKEN: Final = object()


def _hollow(value: Any) -> bool:
    try:
        return len(value) == 0
    except TypeError:
        return False
