"""What the Tab key offers in a line of ours: options, their values, DataFrames, runs, verbs, and the fields of a cell's YAML.

All answers come from the tables that the magics read by: the parsers' actions and the contract's options. A new option
completes without a word here. Nothing is imported for it, and no cluster is asked.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from IPython.core.completer import CompletionContext, SimpleCompletion, context_matcher
from IPython.core.magic_arguments import MagicArgumentParser

from kaito_trainer.contract import Option, options
from kaito_trainer.contract.config import ALL_SECTIONS

from .data import frames
from .line import Word, split

_LINE: Final = re.compile(r"^\s*(?:[\w.,\s]+=\s*)?(%{1,2})(kaito_tune|kaito_form|kaito)(\s.*)$", re.DOTALL)
_INDENTED: Final = re.compile(r"^(\s*)([\w.]*)$")
_FIELD: Final = re.compile(r"^\s+(\w+):\s*(\S*)$")


class Offer(NamedTuple):
    """What may stand at the cursor."""

    fragment: str
    """The text before the cursor that a choice replaces."""
    choices: tuple[str, ...]
    kind: str


class Sources(NamedTuple):
    """Where the values come from that no table holds."""

    tune: MagicArgumentParser
    form: MagicArgumentParser
    verbs: Mapping[str, MagicArgumentParser]
    namespace: Callable[[], Mapping[str, Any]]
    values: Mapping[str, Callable[[], Iterable[str]]]
    """By an argument's `dest`: presets, GPU nodes, runs."""


def matcher(sources: Sources) -> Any:
    """An IPython matcher (API version 2) to append to `ip.Completer.custom_matchers`."""

    @context_matcher(identifier="kaito_jupyter", priority=100)
    def complete(context: CompletionContext) -> dict[str, Any]:
        before = context.line_with_cursor[: context.cursor_position]
        above = context.full_text.split("\n")[: context.cursor_line]
        found = offer(before, above, sources)
        if found is None:
            return {"completions": []}
        chosen = [SimpleCompletion(c, type=found.kind) for c in found.choices if c.startswith(found.fragment)]
        return {"completions": chosen, "suppress": True, "matched_fragment": found.fragment}

    return complete


def offer(before: str, above: list[str], sources: Sources) -> Offer | None:
    """What may stand after `before` (the line up to the cursor), with the cell's lines above it; None: not our line."""
    if above and above[0].lstrip().startswith("%%kaito_tune"):
        return _in_yaml(before, above[1:])
    match = _LINE.match(before)
    if match is None or (match[1] == "%%" and (above or match[2] != "kaito_tune")):
        return None
    rest = match[3]
    words = split(rest).words
    fragment = ""
    if words and not rest[-1].isspace():
        fragment = rest[words.pop().begin :]
    if match[2] == "kaito_tune":
        return _at_word(sources.tune, words, fragment, sources)
    if match[2] == "kaito_form":
        return _at_word(sources.form, words, fragment, sources)
    if not words:
        return Offer(fragment, tuple(sources.verbs), "keyword")
    parser = sources.verbs.get(words[0].text)
    return _at_word(parser, words[1:], fragment, sources) if parser else None


def _at_word(parser: MagicArgumentParser, words: list[Word], fragment: str, sources: Sources) -> Offer | None:
    table: dict[str, argparse.Action] = parser._option_string_actions
    positionals = [a for a in parser._actions if not a.option_strings]
    used: set[str] = set()
    frame = ""
    waiting: argparse.Action | None = None
    for word in words:
        if waiting is not None:
            waiting = None
        elif word.text.startswith("-") and not word.quoted:
            name, equals, _ = word.text.partition("=")
            action = table.get(name)
            if action is not None:
                used.update(() if isinstance(action, argparse._AppendAction) else action.option_strings)
                waiting = action if action.nargs not in (0, "?") and not equals else None
        elif positionals:
            if positionals[0].nargs != "*":
                del positionals[0]
            frame = frame or word.text
    if waiting is not None:
        return _value(waiting, fragment, frame, sources)
    name, equals, value = fragment.partition("=")
    if equals and name in table:
        return _value(table[name], value, frame, sources)
    if positionals and not fragment.startswith("-"):
        found = _value(positionals[0], fragment, frame, sources)
        if fragment or (found is not None and found.choices):
            return found
    return Offer(fragment, tuple(o for o in table if o.startswith("--") and o not in used), "option")


def _value(action: argparse.Action, fragment: str, frame: str, sources: Sources) -> Offer | None:
    if action.choices is not None:
        return Offer(fragment, tuple(action.choices), "value")
    if action.dest == "settings":
        return _setting(fragment)
    if action.dest == "data":
        return Offer(fragment, tuple(frames(sources.namespace())), "instance")
    if action.dest.endswith("_column"):
        return Offer(fragment, _columns(frame, sources.namespace()), "value")
    if action.dest in sources.values:
        return Offer(fragment, tuple(sources.values[action.dest]()), "value")
    option = {o.path: o for o in options()}.get(action.dest)
    return Offer(fragment, _allowed(option), "value") if option else None


def _setting(fragment: str) -> Offer:
    path, equals, value = fragment.partition("=")
    table = {o.path: o for o in options()}
    if equals:
        return Offer(value, _allowed(table.get(path)), "value")
    if "." in path:
        return Offer(path, tuple(f"{p}=" for p in table), "property")
    return Offer(path, tuple(f"{s.NAME}." for s in ALL_SECTIONS), "class")


def _allowed(option: Option | None) -> tuple[str, ...]:
    if option is None:
        return ()
    return option.choices or (("true", "false") if bool in option.types else ())


def _columns(frame: str, namespace: Mapping[str, Any]) -> tuple[str, ...]:
    value = namespace.get(frame)
    names = getattr(value, "columns", ()) if hasattr(value, "iloc") else getattr(value, "column_names", ())
    return tuple(f'"{n}"' if " " in n else n for n in names if isinstance(n, str))


def _in_yaml(before: str, above: list[str]) -> Offer | None:
    field = _FIELD.match(before)
    section = _section_above(above, before)
    if field and section:
        return Offer(field[2], _allowed({o.path: o for o in options()}.get(f"{section}.{field[1]}")), "value")
    indented = _INDENTED.match(before)
    if indented is None:
        return None
    there = {line.strip().partition(":")[0] for line in above}
    if section:
        names = [o.name for o in options() if o.section == section and o.name not in there]
        return Offer(indented[2], tuple(f"{n}: " for n in names), "property")
    return Offer(indented[2], tuple(f"{s.NAME}:" for s in ALL_SECTIONS if s.NAME not in there), "class")


def _section_above(above: list[str], line: str) -> str:
    """The section that the line stands in, by its indentation; empty at the top level."""
    depth = len(line) - len(line.lstrip())
    for other in reversed(above):
        text = other.strip()
        if text and not text.startswith("#") and len(other) - len(other.lstrip()) < depth:
            name = text.removesuffix(":")
            return name if name in {s.NAME for s in ALL_SECTIONS} else ""
    return ""
