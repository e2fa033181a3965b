"""Defects of the rows, gathered over all chunks and told once each: column, what, how many, which rows, what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kaito_trainer.contract import Problem, Severity
from kaito_trainer.contract.problems import close_match

if TYPE_CHECKING:
    from .measure import Integers

SHOWN: Final = 5
"""Rows that a message names; the rest is counted."""


class Kind(NamedTuple):
    """One kind of defect: `{rows}` holds or hold; `{detail}` is the first example's."""

    one: str
    many: str
    remedy: str
    severity: Severity = "error"


class Defect(NamedTuple):
    """Rows of one chunk with the same defect, counted from the chunk's first row."""

    kind: str
    rows: Sequence[int] | Integers
    detail: str = ""


_SAY_ROLES: Final = 'The roles are "system", "user", "assistant" and "tool".'
_DROP: Final = "Fill them in, or drop the rows."

KINDS: Final[dict[str, Kind]] = {
    "missing": Kind("1 row holds nothing (None or NaN)", "{n} rows hold nothing (None or NaN)", _DROP),
    "blank": Kind("1 row is empty text", "{n} rows are empty text", _DROP),
    "not_text": Kind("1 row holds no text but {detail}", "{n} rows hold no text but {detail}", "Give plain text."),
    "unicode": Kind(
        "1 row holds text that is not valid Unicode", "{n} rows hold text that is not valid Unicode",
        'Repair it, for example with text.encode("utf-8", "replace").decode().',
    ),
    "not_list": Kind(
        "1 row holds no list of turns but {detail}", "{n} rows hold no list of turns but {detail}",
        'A conversation is [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}].',
    ),
    "bad_json": Kind(
        "1 row is text that is not JSON: {detail}", "{n} rows are text that is not JSON: {detail}",
        "Give the list itself, or write it with json.dumps.",
    ),
    "no_turns": Kind("1 row is a conversation without turns", "{n} rows are conversations without turns", "Drop the rows."),
    "turn_type": Kind(
        "1 row has a turn that is {detail} and no dict", "{n} rows have a turn that is {detail} and no dict",
        'A turn is {"role": "user", "content": "…"}.',
    ),
    "no_role": Kind("1 row has a turn without {detail}", "{n} rows have a turn without {detail}", _SAY_ROLES),
    "role": Kind("1 row has a turn of the unknown role {detail}", "{n} rows have turns of the unknown role {detail}", _SAY_ROLES),
    "tool_calls": Kind(
        "1 row has a turn with {detail}", "{n} rows have turns with {detail}",
        "Calls of tools cannot be trained on: put them into the content as text, or drop the rows.",
    ),
    "no_content": Kind("1 row has a turn without {detail}", "{n} rows have a turn without {detail}", "Give each turn a text."),
    "parts": Kind(
        "1 row has a turn whose content is a list of parts", "{n} rows have a turn whose content is a list of parts",
        "Only text can be trained on: join the text parts into one string.",
    ),
    "content_type": Kind(
        "1 row has a turn whose content is {detail} and no text", "{n} rows have a turn whose content is {detail} and no text",
        "Give each turn a text.",
    ),
    "blank_turn": Kind(
        "1 row has an empty user or assistant turn", "{n} rows have an empty user or assistant turn", _DROP
    ),
    "no_assistant": Kind(
        "1 row has no assistant turn", "{n} rows have no assistant turn",
        "There is nothing to learn from them: add the answer, or drop the rows.",
    ),
    "blank_other": Kind(
        "1 row has an empty system or tool turn", "{n} rows have an empty system or tool turn",
        "Leave such a turn out.", "warning",
    ),
    "last_turn": Kind(
        "1 row does not end with an assistant turn", "{n} rows do not end with an assistant turn",
        "What stands after the last answer is not learnt.", "warning",
    ),
    "repeated": Kind(
        "1 row repeats an earlier one", "{n} rows repeat an earlier one",
        "They weigh double, and may stand in the training and the held-out rows alike.", "warning",
    ),
}  # fmt: skip
"""In the order in which they are told."""


@dataclass
class _Gathered:
    count: int = 0
    first: list[int] = field(default_factory=list)
    details: dict[str, None] = field(default_factory=dict)


class Findings:
    """All defects of a source. Memory does not grow with their number."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], _Gathered] = {}

    def add(self, column: str, start: int, defects: Iterable[Defect]) -> None:
        """Take the defects of a chunk that begins at row `start`."""
        for defect in defects:
            if len(defect.rows):
                gathered = self._found.setdefault((column, defect.kind), _Gathered())
                gathered.count += len(defect.rows)
                gathered.first += [start + int(r) for r in defect.rows[: SHOWN - len(gathered.first)]]
                if defect.detail and len(gathered.details) < SHOWN:
                    gathered.details[defect.detail] = None

    def problems(self, label: Callable[[int], str], frame: str, columns: Sequence[str]) -> list[Problem]:
        """One problem a kind and column, in the order of `KINDS` within a column.

        `label` says how the user's index calls a row. `frame` is the frame's name, empty when a remedy cannot be a line
        of pandas; `columns` are those trained on.
        """
        order = list(KINDS)
        paths = list(dict.fromkeys(column for column, _ in self._found))
        found = sorted(self._found.items(), key=lambda f: (paths.index(f[0][0]), order.index(f[0][1])))
        return [_problem(column, kind, g, label, frame, columns) for (column, kind), g in found]


def _problem(
    column: str, kind: str, found: _Gathered, label: Callable[[int], str], frame: str, columns: Sequence[str]
) -> Problem:
    words = KINDS[kind]
    detail = ", ".join(found.details) if kind == "role" else next(iter(found.details), "")
    text = (
        (words.one if found.count == 1 else words.many).replace("{n}", f"{found.count:,}").replace("{detail}", detail)
    )
    more = ", …" if found.count > len(found.first) else ""
    labels = list(filter(None, map(label, found.first)))
    index = f"; index {', '.join(labels)}{more}" if labels else ""
    rows = f"row{'s' if found.count > 1 else ''} {', '.join(map(str, found.first))}{more}{index}"
    return Problem(column, f"{text} ({rows}).", _remedy(kind, column, detail, frame, columns), words.severity)


def _remedy(kind: str, column: str, detail: str, frame: str, columns: Sequence[str]) -> str:
    """What to do; as a line of pandas where that is what helps."""
    key = quoted(column)
    if frame and kind == "missing":
        return f"Fill them in, or drop the rows: `{frame} = {frame}.dropna(subset=[{key}])`."
    if frame and kind == "blank":
        return f'Fill them in, or drop the rows: `{frame} = {frame}[{frame}[{key}].str.strip() != ""]`.'
    if kind == "not_text":
        if detail.startswith(("a ", "an ")):
            return "Give plain text; conversations belong into one column of messages."
        if frame:
            return f"Make it text: `{frame}[{key}] = {frame}[{key}].astype(str)`."
    if kind == "role" and (
        near := close_match(detail.split(",", maxsplit=1)[0].strip('"'), ("system", "user", "assistant", "tool"))
    ):
        return f"{near} {KINDS[kind].remedy}"
    if kind == "bad_json" and "Python" in detail:
        return "Write it with json.dumps, or save the frame with to_parquet instead of to_csv."
    if frame and kind == "repeated":
        keys = ", ".join(map(quoted, columns))
        return f"{KINDS[kind].remedy} Drop them: `{frame} = {frame}[~{frame}[[{keys}]].astype(str).duplicated()]`."
    return KINDS[kind].remedy


def missing(value: Any) -> bool:
    """Whether a value is pandas' or Python's way to say "nothing": None, NaN, NaT, NA."""
    kind = type(value).__name__
    if value is None or kind in ("NAType", "NaTType"):
        return True
    return (isinstance(value, float) or kind in ("float16", "float32", "Decimal")) and bool(value != value)


def quoted(text: str) -> str:
    """As a Python string with double quotes where that can be."""
    return f'"{text}"' if text.isprintable() and '"' not in text and "\\" not in text else repr(text)


def code(text: str) -> str:
    """A column's name between backticks, on one line."""
    return f"`{' '.join(text.split())}`"
