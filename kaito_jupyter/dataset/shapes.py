"""Which columns mean what: the format that KAITO trains on, found by looking or said by the user.

KAITO knows conversational (`messages`) and instruction (`prompt`, `completion`) data, and passes anything else on to
TRL's SFTTrainer, which knows plain `text`. Source: KAITO, "Input dataset format"; TRL, "Dataset formats and types".
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from kaito_trainer.contract import Problem
from kaito_trainer.contract.problems import close_match, listing

from .findings import code, missing

Format = Literal["conversational", "instruction", "text"]

ROLES: Final = ("system", "user", "assistant", "tool")
SHAREGPT_ROLES: Final = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "tool": "tool",
    "observation": "tool",
    "function_response": "tool",
}
"""ShareGPT's words for who speaks, as FastChat, axolotl and LLaMA-Factory read them."""

_CONVERSATIONS: Final = ("messages", "conversations")
"""Names that mean a conversation whatever the column holds. Any other name needs values that look like one."""

_PAIRS: Final = (
    ("prompt", "completion"),
    ("instruction", "output"),
    ("instruction", "response"),
    ("question", "answer"),
    ("question", "response"),
    ("query", "response"),
    ("prompt", "response"),
    ("prompt", "answer"),
    ("prompt", "output"),
    ("input", "output"),
    ("source", "target"),
)
_CONTEXTS: Final = ("input", "context")
"""Beside an `instruction`: what it is about (Alpaca's `input`, Dolly's `context`); often empty."""

_KEYS: Final = (("role", "content"), ("from", "value"), ("role", "value"), ("from", "content"))


@dataclass(frozen=True)
class Shape:
    """A decision: these columns, read this way."""

    format: Format
    columns: tuple[int, ...]
    """Positions of the source's columns: the conversation; prompt, completion and perhaps context; or the text."""
    keys: tuple[str, str] = ("role", "content")
    """The turns' keys for who speaks and what is said."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Asked:
    """The column options, as the user gave them."""

    messages_column: str | None = None
    prompt_column: str | None = None
    completion_column: str | None = None
    text_column: str | None = None

    def given(self) -> dict[str, str]:
        return {k: v for k, v in vars(self).items() if v is not None}


def choose(columns: Sequence[str], peeked: Sequence[Sequence[Any]], asked: Asked, name: str) -> Shape | list[Problem]:
    """The shape of a source with these columns and first values, or all that keeps it from having one."""
    if not columns:
        return [
            Problem(name, "it has no columns.", "Give rows with messages, with prompt and completion, or with text.")
        ]
    given = asked.given()
    found = _said(columns, given, name) if given else _seen(columns, peeked, name)
    if isinstance(found, list):
        return found
    twice = dict.fromkeys(columns[i] for i in found.columns if columns.count(columns[i]) > 1)
    if twice:
        return [Problem(c, f"{columns.count(c)} columns have this name.", "Rename all but one of them.") for c in twice]
    return _noted(found, columns, peeked)


def _said(columns: Sequence[str], given: Mapping[str, str], name: str) -> Shape | list[Problem]:
    """The user's word counts: nothing is guessed beside it but the other half of a pair."""
    problems = [
        Problem(
            option,
            f"{name} has no column {json.dumps(c, ensure_ascii=False)}.",
            f"{close_match(c, columns)} {_those(columns)}".strip(),
        )
        for option, c in given.items()
        if c not in columns
    ]
    pair = {"prompt_column", "completion_column"}
    kinds = [k for k in ({"messages_column"}, pair, {"text_column"}) if k & given.keys()]
    if len(kinds) > 1:
        problems.append(
            Problem(
                ", ".join(given),
                "they say different formats.",
                "Give messages_column, or prompt_column with completion_column, or text_column.",
            )
        )
    if problems:
        return problems
    at = {option: columns.index(c) for option, c in given.items()}
    if "messages_column" in at:
        return Shape("conversational", (at["messages_column"],))
    if "text_column" in at:
        return Shape("text", (at["text_column"],))
    if at.keys() == pair:
        return Shape("instruction", (at["prompt_column"], at["completion_column"]))
    have, lack = (
        ("prompt_column", "completion_column") if "prompt_column" in at else ("completion_column", "prompt_column")
    )
    side = 0 if have == "prompt_column" else 1
    lowered = [c.strip().lower() for c in columns]
    partners = [p[1 - side] for p in _PAIRS if p[side] == given[have].strip().lower()] + [p[1 - side] for p in _PAIRS]
    for partner in dict.fromkeys(partners):
        if partner in lowered and lowered.index(partner) != at[have]:
            both = sorted([(side, at[have]), (1 - side, lowered.index(partner))])
            return Shape("instruction", (both[0][1], both[1][1]))
    return [Problem(have, f'"{given[have]}" is only half of a pair.', f"Say {lack} too. {_those(columns)}")]


def _seen(columns: Sequence[str], peeked: Sequence[Sequence[Any]], name: str) -> Shape | list[Problem]:
    lowered = [c.strip().lower() for c in columns]
    where = {c: lowered.index(c) for c in reversed(lowered)}
    conversations = [where[c] for c in _CONVERSATIONS if c in where]
    pairs = [(where[p], where[c]) for p, c in _PAIRS if p in where and c in where]
    if {"prompt", "completion"} <= where.keys():
        pairs = pairs[:1]  # KAITO's own names go before all others
    elif "instruction" in where:
        pairs = [p for p in pairs if p[0] == where["instruction"]]  # then `input` is its context, not a prompt
    if not (conversations or pairs):
        if "chosen" in where and "rejected" in where:
            return [_preferences(name)]
        conversations = [i for i, values in enumerate(peeked) if _keys(values)]
    shapes = [Shape("conversational", (i,)) for i in conversations] + [Shape("instruction", p) for p in pairs]
    if len(shapes) == 1:
        return _with_context(shapes[0], where)
    if len(shapes) > 1:
        ways = [" with ".join(f'"{columns[i]}"' for i in s.columns) for s in shapes]
        return [
            Problem(
                name,
                f"it can be read in {len(ways)} ways: {', or '.join(ways)}.",
                f"Say which, for example {_option(shapes[0], columns)}.",
            )
        ]
    if "text" in where:
        return Shape("text", (where["text"],))
    texts = [i for i, values in enumerate(peeked) if _text_like(values)]
    if len(columns) == 1 and texts:
        return Shape("text", (0,))
    example = f'text_column="{columns[texts[0]]}"' if len(texts) == 1 else _example(columns, texts)
    remedy = f"Name the column to train on{', for example ' + example if example else ''}; or give messages, prompt and completion, or text."
    return [Problem(name, f"none of its columns is one that we know. {_those(columns)}", remedy)]


def _preferences(name: str) -> Problem:
    return Problem(
        name,
        "`chosen` and `rejected` are preference data, and KAITO tunes on answers to imitate.",
        'Train on the chosen ones: messages_column="chosen", or prompt_column with completion_column="chosen".',
    )


def _with_context(shape: Shape, where: Mapping[str, int]) -> Shape:
    if shape.format != "instruction" or shape.columns[0] != where.get("instruction"):
        return shape
    context = next((where[c] for c in _CONTEXTS if c in where), None)
    return shape if context is None else Shape("instruction", (*shape.columns, context))


def _noted(shape: Shape, columns: Sequence[str], peeked: Sequence[Sequence[Any]]) -> Shape:
    """The shape with its keys, and a word about each choice that the user did not make."""
    names = [code(columns[i]) for i in shape.columns]
    keys, notes = shape.keys, []
    if shape.format == "conversational":
        keys = _keys(peeked[shape.columns[0]]) or keys
        if keys != ("role", "content"):
            mapped = "; human → user, gpt → assistant" if keys[0] == "from" else ""
            notes.append(f"read as conversations: {names[0]} with `{keys[0]}` → role, `{keys[1]}` → content{mapped}")
        elif names[0] != "`messages`":
            notes.append(f"read as conversations: {names[0]} → messages")
    elif shape.format == "instruction" and len(names) == 3:
        notes.append(
            f"read as instructions: {names[0]} + {names[2]} → prompt (joined by a blank line), {names[1]} → completion"
        )
    elif shape.format == "instruction" and names != ["`prompt`", "`completion`"]:
        notes.append(f"read as instructions: {names[0]} → prompt, {names[1]} → completion")
    elif shape.format == "text" and names != ["`text`"]:
        notes.append(f"read as plain text: {names[0]} → text")
    left = [code(c) for i, c in enumerate(columns) if i not in shape.columns]
    if left:
        more = f" and {len(left) - 8} more" if len(left) > 8 else ""
        notes.append(f"left out: {', '.join(left[:8])}{more}")
    return Shape(shape.format, shape.columns, keys, tuple(notes))


def _keys(values: Sequence[Any]) -> tuple[str, str] | None:
    """The keys of the first turn in the column, when it is a conversation."""
    value = next((v for v in values if not missing(v) and _length(v) != 0), None)
    if isinstance(value, str):
        try:
            value = from_text(value)
        except (ValueError, RecursionError):
            return None
    if value is not None and hasattr(value, "tolist"):
        value = value.tolist()
    turn = value[0] if isinstance(value, list | tuple) and value else None
    return next((k for k in _KEYS if set(k) <= turn.keys()), None) if isinstance(turn, Mapping) else None


def from_text(text: str) -> Any:
    """The value of JSON text, or of a list in Python's notation, which pandas' `to_csv` writes for a list of dicts.

    Raises `ValueError` (JSON's own error) or `RecursionError`.
    """
    try:
        return json.loads(text)
    except ValueError:
        if text.lstrip().startswith("[{'"):
            try:
                return ast.literal_eval(text.strip())
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                pass
        raise


def _length(value: Any) -> int | None:
    try:
        return len(value)
    except TypeError:
        return None


def _text_like(values: Sequence[Any]) -> bool:
    return isinstance(next((v for v in values if not missing(v)), None), str)


def _those(columns: Sequence[str]) -> str:
    shown = listing(columns[:10], "and" if len(columns) <= 10 else ",") if len(columns) > 1 else f'"{columns[0]}"'
    return (
        f"The column is {shown}."
        if len(columns) == 1
        else f"The columns are {shown}{', …' if len(columns) > 10 else ''}."
    )


def _option(shape: Shape, columns: Sequence[str]) -> str:
    options = {"conversational": ("messages_column",), "instruction": ("prompt_column", "completion_column")}
    return " with ".join(f'{o}="{columns[i]}"' for o, i in zip(options[shape.format], shape.columns, strict=True))


def _example(columns: Sequence[str], texts: Sequence[int]) -> str:
    if len(texts) < 2:
        return ""
    return f'prompt_column="{columns[texts[0]]}" with completion_column="{columns[texts[1]]}"'
