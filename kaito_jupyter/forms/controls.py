"""A field as widgets: a labelled control, a line of help below it, and findings that light it up."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import ipywidgets as w

from kaito_trainer.contract import Problem
from kaito_trainer.contract.problems import one_line

from .fields import Field

_CODE: Final = re.compile(r"`([^`]+)`")
WORDS: Final = {"error": "Error", "warning": "Warning", "note": "Note"}


class Control:
    """One field on the page. `changed(path, text)` is told what the user wrote; what we set ourselves is not told."""

    def __init__(self, field: Field, changed: Callable[[str, str], None], fix: Callable[[Problem], None]) -> None:
        self.field = field
        self._changed, self._fix = changed, fix
        self._filling = False
        self._default = field.empty
        self._reason = self._noted = ""
        self._problems: tuple[Problem, ...] = ()
        self.input = self._input()
        self.input.observe(self._on_value, "value")
        self._below = w.HTML()
        self._fixes = w.HBox(layout={"display": "none"})
        self._fixes.add_class("kf-fixes")
        self.box = w.VBox([self.input, self._below, self._fixes])
        self.box.add_class("kf-field")
        if field.option:
            self.box.add_class("kf-option")
        self._tell()

    def _input(self) -> Any:
        field = self.field
        common = {"description": field.label, "tooltip": field.help.replace("`", "")}
        if field.kind == "choice":
            return w.Dropdown(options=self._choices(field.choices), **common)
        if field.kind == "suggest":
            names = tuple(value for _, value in field.choices)
            return w.Combobox(options=names, placeholder=field.empty, ensure_option=False, **common)
        return w.Text(placeholder=field.empty, **common)

    def _choices(self, choices: Sequence[tuple[str, str]], also: str = "") -> list[tuple[str, str]]:
        """What a list shows: the default, the choices, and a value that is none of them and stands there all the same."""
        known = {value for _, value in choices}
        default = [] if self.field.path in ("tuning.method", "backend") else [(self._empty(), "")]
        return [*default, *choices, *([(also, also)] if also and also not in known else [])]

    def _empty(self) -> str:
        return f"({self._default})" if self._default else "–"

    def _on_value(self, change: Any) -> None:
        if not self._filling:
            self._changed(self.field.path, str(change["new"] or ""))

    def show(self, text: str) -> None:
        """Put a value in, as if the user had."""
        self._filling = True
        try:
            if self.field.kind == "choice" and text not in [value for _, value in self.input.options]:
                self.input.options = self._choices(self.field.choices, text)
            if self.input.value != text:
                self.input.value = text
        finally:
            self._filling = False

    def offer(self, names: Sequence[str]) -> None:
        """Other names to choose from."""
        self._filling = True
        try:
            if self.field.kind == "suggest":
                if self.input.options != tuple(names):
                    self.input.options = tuple(names)
                return
            kept = self.input.value or ""
            options = self._choices([(n, n) for n in names], kept)
            if list(self.input.options) != options:
                self.input.options = options
                self.input.value = kept
        finally:
            self._filling = False

    def default(self, text: str, reason: str = "") -> None:
        """What an empty field means now."""
        if (text, reason) == (self._default, self._reason):
            return
        self._default, self._reason = text, reason
        if self.field.kind == "choice":
            self._filling = True
            try:
                kept = self.input.value or ""
                self.input.options = self._choices(self.field.choices, kept)
                self.input.value = kept
            finally:
                self._filling = False
        else:
            self.input.placeholder = text
        self._tell()

    def note(self, text: str) -> None:
        """A word more below the field: what there is to choose from."""
        if text != self._noted:
            self._noted = text
            self._tell()

    def mark(self, problems: Sequence[Problem]) -> None:
        """Light up with these findings; with none, go dark."""
        told = tuple(problems)
        if told == self._problems and [p.fix for p in told] == [p.fix for p in self._problems]:
            return
        self._problems = told
        for severity in WORDS:
            on = any(p.severity == severity for p in told)
            (self.box.add_class if on else self.box.remove_class)(f"kf-{severity}")
        self.input.tooltip = " ".join([*(f"{WORDS[p.severity]}: {said(p)}" for p in told), self.field.help])
        fixable = [p for p in told if p.fix]
        self._fixes.children = tuple(self._button(p) for p in fixable)
        self._fixes.layout.display = None if fixable else "none"
        self._tell()

    def _button(self, problem: Problem) -> Any:
        made = w.Button(description=f"Fix: {change(problem)}", tooltip=f"{self.field.label}: {change(problem)}")
        made.add_class("kf-fix")
        made.on_click(lambda _: self._fix(problem))
        return made

    def _tell(self) -> None:
        help = marked(self.field.help)
        why = f" <i>Default: {html.escape(self._reason)}.</i>" if self._reason else ""
        more = f" {html.escape(self._noted)}" if self._noted else ""
        found = "".join(
            f'<p class="kf-finding kf-{p.severity}" role="status"><b>{WORDS[p.severity]}</b> {marked(said(p))}</p>'
            for p in self._problems
        )
        self._below.value = f'<p class="kf-help">{help}{more}{why}</p>{found}'

    def focus(self) -> None:
        self.input.focus()


def marked(text: str) -> str:
    """Text as HTML, with what stands in backticks as code."""
    return _CODE.sub(r"<code>\1</code>", html.escape(text))


def said(problem: Problem) -> str:
    """The finding without its path, which the field is."""
    text = f"{problem.message} {problem.remedy}".strip()
    return text[:1].upper() + text[1:]


def change(problem: Problem) -> str:
    """What a fix does, in a few words: `max_length = 512`."""
    parts = []
    for path, value in problem.fix:
        name = path.rpartition(".")[2]
        parts.append(f"leave out {name}" if value is None else f"{name} = {_short(value)}")
    return one_line(", ".join(parts), 90)


def _short(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
