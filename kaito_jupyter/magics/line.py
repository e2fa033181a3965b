"""A magic's line as words, and the user's values put in for `{name}` and `$name`.

Not IPython's own splitting and expanding, for three reasons: there a value with a space breaks into two words, a dict in
braces is taken for a variable, and quotes stay in the words. Here braces that are no Python expression stay as they are.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

_OPEN: Final = "[({"
_CLOSE: Final = "])}"
_NAME: Final = re.compile(r"\$(\$|[A-Za-z_]\w*)")


class Word(NamedTuple):
    """One word of the line."""

    text: str
    """Without the quotes around it, or around parts of it."""
    begin: int
    """Where it begins in the line, its quote included."""
    quoted: bool = False
    """Whether it began with a quote: then it is text, never a name or an option."""


class Words(NamedTuple):
    """A line, split."""

    words: list[Word]
    unclosed: str = ""
    """The quote or bracket that is still open at the end; empty when all are closed."""


class ExpansionError(ValueError):
    """What stands in braces cannot be evaluated. Its text says why."""


def split(line: str) -> Words:
    """Split as a shell does, and keep what stands in brackets together, quotes and all: `df[df["n"] > 3]` is one word.

    A `#` that begins a word begins a comment. A `;` at the end means nothing, as everywhere in IPython.
    """
    words: list[Word] = []
    text, begin, quoted = "", -1, False
    brackets: list[str] = []
    quote = ""
    at = 0
    while at < len(line):
        c = line[at]
        if quote:
            escapes = quote == '"' or brackets  # as in a shell, nothing is special between single quotes
            if c == "\\" and escapes and line[at + 1 : at + 2] in (quote, "\\"):
                text += line[at : at + 2] if brackets else line[at + 1]
                at += 1
            elif c == quote:
                quote = ""
                text += c if brackets else ""
            else:
                text += c
        elif c.isspace() and not brackets:
            if begin >= 0:
                words.append(Word(text, begin, quoted))
            text, begin, quoted = "", -1, False
        elif c == "#" and begin < 0:
            break
        else:
            if begin < 0:
                begin, quoted = at, c in "'\""
            if c in "'\"":
                quote = c
                text += c if brackets else ""
            elif c == "\\" and not brackets and line[at + 1 : at + 2] in (" ", "'", '"', "\\", "#", ";"):
                text += line[at + 1]
                at += 1
            else:
                if c in _OPEN:
                    brackets.append(c)
                elif brackets and c == _CLOSE[_OPEN.index(brackets[-1])]:
                    brackets.pop()
                text += c
        at += 1
    if begin >= 0:
        words.append(Word(text, begin, quoted))
    unclosed = quote or "".join(brackets[:1])
    return Words(words if unclosed else _without_semicolon(words, line), unclosed)


def _without_semicolon(words: list[Word], line: str) -> list[Word]:
    if not words or not words[-1].text.endswith(";") or line[words[-1].begin :].rstrip()[-2:] in ("\\;", ';"', ";'"):
        return words
    last = words[-1]
    rest = last.text.rstrip(";").rstrip()
    return [*words[:-1], Word(rest, last.begin, last.quoted)] if rest else words[:-1]


def expand(text: str, namespace: Mapping[str, Any]) -> str:
    """Put the user's values in for `{expression}` and `$name`; `{{n}}` and `$$n` keep them from it.

    Braces around anything that is no Python expression (`{"": 0}`, `{}`) stay, and so does a `$name` that is not defined.
    Raises `ExpansionError` when an expression fails.
    """
    done, at = "", 0
    while (brace := text.find("{", at)) >= 0:
        done += _names(text[at:brace], namespace)
        end = _closing(text, brace)
        if end < 0:
            return done + _names(text[brace:], namespace)
        inner = text[brace + 1 : end]
        if inner.startswith("{") and inner.endswith("}") and _closing(inner, 0) == len(inner) - 1:
            done += inner
        elif (value := evaluated(inner, namespace)) is not _NO_EXPRESSION:
            done += str(value)
        else:
            done += text[brace : end + 1]
        at = end + 1
    return done + _names(text[at:], namespace)


def evaluated(expression: str, namespace: Mapping[str, Any]) -> Any:
    """The value of a Python expression in the user's namespace. Raises `ExpansionError`."""
    try:
        code = compile(ast.parse(expression.strip(), mode="eval"), "<magic>", "eval")
    except (SyntaxError, ValueError):
        return _NO_EXPRESSION
    try:
        return eval(code, dict(namespace))
    except Exception as error:  # the user's own expression may raise anything
        raise ExpansionError(f"{type(error).__name__}: {error}") from error


def is_expression(text: str) -> bool:
    """Whether the text is a Python expression."""
    try:
        ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError):
        return False
    return True


_NO_EXPRESSION: Final = object()


def _names(text: str, namespace: Mapping[str, Any]) -> str:
    def value(match: re.Match[str]) -> str:
        name = match[1]
        return "$" if name == "$" else str(namespace[name]) if name in namespace else match[0]

    return _NAME.sub(value, text)


def _closing(text: str, at: int) -> int:
    """Where the brace that opens at `at` closes; -1 when it does not. Braces in quotes don't count."""
    depth, quote = 0, ""
    for i in range(at, len(text)):
        c = text[i]
        if quote:
            quote = "" if c == quote else quote
        elif c in "'\"":
            quote = c
        elif c == "{":
            depth += 1
        elif c == "}":
            depth -= 1
            if depth == 0:
                return i
    return -1
