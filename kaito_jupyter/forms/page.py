"""The form's page: its sections from top to bottom, filled from a draft, lit by what is seen of it. Knows no threads."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

import ipywidgets as w

from kaito_trainer.contract import Problem

from . import fields, words
from .controls import Control
from .draft import Draft
from .fields import Field
from .keys import Keys
from .line import text_of
from .seen import Seen

FRAME: Final = "frame"
"""Path of the list of DataFrames, which is no part of a draft."""


class Page:
    """The widgets. `changed(path, text)` is told what the user writes, `fix(problems)` what is to be mended."""

    def __init__(
        self,
        changed: Callable[[str, str], None],
        fix: Callable[[Iterable[Problem]], None],
        frames: Iterable[str] | None,
    ) -> None:
        self._changed, self._fix = changed, fix
        self.controls: dict[str, Control] = {}
        self._draft = Draft()
        self._seen: Seen | None = None
        self._more: dict[str, tuple[Any, Any, list[Field]]] = {}
        """Title -> (switch, box, fields) of what is a click away."""
        self.status, self.look, self.advice, self.why = _html("kf-status"), w.HTML(), _html("kf-note"), _html("kf-note")
        self.estimate, self.findings, self.repeat = w.HTML(), _html("kf-findings"), w.HTML()
        self.begin = _button("Begin with these values", "Take the values that are known to be good for this model")
        self.submit = _button("Submit", "Start the run", "kf-submit")
        self.mend = _button("Make all fixes", "Make the changes that the findings suggest")
        self.again = _button("Check again", "Look at the data and ask the cluster anew")
        self.yaml, self.differs = _Drawer("YAML"), _Drawer("What differs")
        self._cluster = _grid(self._made(fields.CLUSTER))
        self._job = _grid(self._made(fields.JOB))
        named = (
            [Field(FRAME, "DataFrame", "Data of this notebook.", "choice", empty="none")] if frames is not None else []
        )
        self.box = w.VBox([*self._sections(named), Keys(layout={"display": "none"})])
        self.box.add_class("kaito-form")
        self.mend.on_click(lambda _: self._fix(self._seen.problems if self._seen else ()))
        if frames is not None:
            self.controls[FRAME].offer(tuple(frames))

    def _sections(self, named: list[Field]) -> list[Any]:
        simple, more = [], []
        for title, first, rest in fields.training():
            simple += first
            more += [self._hidden(title, rest)] if rest else []
        return [
            w.HTML(f"<style>{_style()}</style><h3 class='kf-title'>Fine-tune a model</h3>"),
            _section("Data", [*(_grid(self._made([f])) for f in named), _grid(self._made(fields.DATA), "kf-four"), self.look]),
            _section("Model and method", [_grid(self._made(fields.MODEL)), _row([self.advice, self.begin], "kf-advice")]),
            _section("Adapter and training", [_grid(self._made(simple)), *more]),
            _section("Where it runs", [_grid(self._made(fields.WHERE)), self.why, self._cluster, self._job]),
            _section("What it takes", [self.estimate]),
            _section(
                "Start",
                [self.findings, _row([self.submit, self.mend, self.again]), self.status, self.repeat, self.yaml.box, self.differs.box],
            ),
        ]  # fmt: skip

    def _made(self, described: Iterable[Field]) -> list[Any]:
        return [self._control(f).box for f in described]

    def _control(self, field: Field) -> Control:
        made = Control(field, self._changed, lambda p: self._fix([p]))
        self.controls[field.path] = made
        return made

    def _hidden(self, title: str, rest: list[Field]) -> Any:
        switch = w.ToggleButton(description=f"▸ {title}: {len(rest)} more", tooltip=f"Show the other fields: {title}")
        switch.add_class("kf-switch")
        box = _grid([])
        box.layout.display = "none"
        self._more[title] = (switch, box, rest)
        switch.observe(lambda change: self._open(title, bool(change["new"])), "value")
        whole = w.VBox([switch, box])
        whole.add_class("kf-more")
        return whole

    def _open(self, title: str, on: bool) -> None:
        switch, box, rest = self._more[title]
        if on and not box.children:
            box.children = tuple(self._made(rest))
            for field in rest:
                self.controls[field.path].show(self._draft.get(field.path))
            if self._seen is not None:
                self._light(self._seen)
        box.layout.display = None if on else "none"
        switch.description = f"{'▾' if on else '▸'} {title}: {len(rest)} {'fields' if on else 'more'}"

    def fill(self, draft: Draft) -> None:
        """Put the draft's values into the fields. A section that is closed opens when something was said in it."""
        self._draft = draft
        for path, control in list(self.controls.items()):
            control.show(draft.word if path == FRAME else draft.get(path))
        for switch, _, rest in self._more.values():
            if any(draft.get(f.path) for f in rest if f.path not in self.controls):
                switch.value = True

    def remember(self, draft: Draft) -> None:
        """The fields show this draft already: the user wrote it."""
        self._draft = draft

    def update(self, seen: Seen) -> None:
        """Show what is seen of the draft."""
        self._seen = seen
        for name in fields.DATA:
            self.controls[name.path].offer(seen.columns)
        self._places(seen)
        self._light(seen)
        _put(self.why, words.where(seen))
        _put(self.look, words.data(seen))
        told = words.advice(seen.spec.preset)
        _put(self.advice, told)
        self.begin.layout.display = None if words.beginning(seen.spec, seen.target) else "none"
        _put(self.estimate, words.estimate(seen))
        self.yaml.show(words.yaml(seen))
        self.differs.show("" if seen.difference is None else seen.difference._repr_html_())
        self.differs.box.layout.display = "none" if seen.difference is None else None

    def _places(self, seen: Seen) -> None:
        on_cluster = seen.target != "local"
        self._cluster.layout.display = None if on_cluster else "none"
        self._job.layout.display = None if seen.target == "job" else "none"
        self.controls["context"].offer(seen.contexts)
        if seen.offer is None:
            return
        offer, c = seen.offer, self.controls
        secret = offer.why("secrets")
        c["metadata.namespace"].offer(offer.namespaces)
        sizes = tuple(dict.fromkeys([*offer.sizes, *(value for _, value in c["resource.instanceType"].field.choices)]))
        c["resource.instanceType"].offer(sizes)
        c["resource.instanceType"].note(f"There now: {', '.join(offer.sizes)}." if offer.sizes else "")
        for path in ("tuning.output.imagePushSecret", "tuning.input.imagePullSecrets"):
            c[path].offer(offer.logins)
            c[path].note(words.secrets(offer.logins, secret, "log in to a registry"))
        token = c["tuning.preset.presetOptions.modelAccessSecret"]
        token.offer(offer.tokens)
        token.note(words.secrets(offer.tokens, secret, "hold a token"))

    def _light(self, seen: Seen) -> None:
        """Findings to their fields, what belongs to none to the list; defaults into the empty fields."""
        at: dict[str, list[Problem]] = {}
        for problem in seen.problems:
            at.setdefault(self._home(problem), []).append(problem)
        self._show_hidden(at)
        effective = seen.spec.effective_config(seen.target, rows=seen.rows).to_dict()
        reasons = {d.path: d.reason for d in seen.spec.defaults(seen.target, rows=seen.rows)}
        for path, control in list(self.controls.items()):
            section, _, name = path.partition(".")
            if isinstance(keys := effective.get(section), Mapping) and name in keys and not self._draft.get(path):
                control.default(text_of(path, keys[name]) or str(keys[name]), reasons.get(path, ""))
            control.mark(at.get(path, []))
        _put(self.findings, words.findings(seen, at.get("", [])))
        self.mend.layout.display = None if any(p.fix for p in seen.problems) else "none"
        count = len(seen.errors)
        self.submit.disabled = bool(count)
        self.submit.tooltip = words.standing(seen)

    def _home(self, problem: Problem) -> str:
        """The field that a finding belongs to: its path, or the field that it lies below. Empty when there is none."""
        known = set(self.controls) | {f.path for _, _, rest in self._more.values() for f in rest}
        path = problem.path
        if path in ("data", "DF", "dataset"):
            return FRAME if FRAME in known else ""
        while path and path not in known:
            path = path.rpartition("[")[0] or path.rpartition(".")[0] if "[" in path else path.rpartition(".")[0]
        return path

    def _show_hidden(self, at: Mapping[str, list[Problem]]) -> None:
        for switch, _, rest in self._more.values():
            grave = any(p.severity == "error" for f in rest for p in at.get(f.path, ()))
            if grave and not switch.value:
                switch.value = True


class _Drawer:
    """Something long that is a click away."""

    def __init__(self, title: str) -> None:
        self._title, self._page = title, ""
        self._switch = w.ToggleButton(description=f"▸ {title}", tooltip=f"Show: {title}")
        self._switch.add_class("kf-switch")
        self._body = w.HTML(layout={"display": "none"})
        self._switch.observe(lambda change: self._turn(bool(change["new"])), "value")
        self.box = w.VBox([self._switch, self._body])

    def show(self, page: str) -> None:
        self._page = page
        if self._switch.value:
            _put(self._body, page)

    def _turn(self, on: bool) -> None:
        self._body.layout.display = None if on else "none"
        self._switch.description = f"{'▾' if on else '▸'} {self._title}"
        _put(self._body, self._page if on else "")


def _put(widget: Any, text: str) -> None:
    if widget.value != text:
        widget.value = text


def _html(name: str) -> Any:
    made = w.HTML()
    made.add_class(name)
    return made


def _button(text: str, help: str, name: str = "") -> Any:
    made = w.Button(description=text, tooltip=help)
    made.add_class("kf-button")
    if name:
        made.add_class(name)
    return made


def _grid(children: Iterable[Any], name: str = "") -> Any:
    box = w.Box(tuple(children))
    box.add_class("kf-grid")
    if name:
        box.add_class(name)
    return box


def _row(children: Iterable[Any], name: str = "kf-row") -> Any:
    box = w.HBox(tuple(children))
    box.add_class(name)
    return box


def _section(title: str, children: Iterable[Any]) -> Any:
    box = w.VBox([w.HTML(f"<h4>{title}</h4>"), *children])
    box.add_class("kf-section")
    return box


@cache
def _style() -> str:
    sheet = files(__package__).joinpath("form.css").read_text(encoding="utf-8")
    return re.sub(r"\s+", " ", re.sub(r"/\*.*?\*/", "", sheet, flags=re.DOTALL)).strip()
