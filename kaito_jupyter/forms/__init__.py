"""The form: a run's spec filled in by hand, checked while one writes, started by a button, and written as a magic line.

::

    fields    which fields there are: the contract's options, and those of the rest
    draft     all that the form says, as one value         line      that value as the line that repeats it
    seen      what is known of a draft, made in a thread   places    what a cluster has to choose from
    controls  a field as widgets                           words     what is told, as HTML
    keys      whose a key is: the form's or the notebook's
    page      the sections, from top to bottom             face      `Form`: who does what, when, from which thread
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from .draft import Draft
from .face import Form
from .origin import data_of, rebuilt, word_of

__all__ = ["Form", "form"]


def form(
    data: Any = None,
    *,
    from_run: str | None = None,
    word: str = "",
    frames: Callable[[], Mapping[str, Any]] | None = None,
    **options: Any,
) -> Form:
    """A form to fill in and submit: data, model, training, place, all checked while one writes.

    `data` is what `tune` takes; without it the form asks for one of `frames` (name -> DataFrame). `options` are those of
    `tune`, as values to begin with. `from_run` names a run whose spec the form begins with instead, with its data when none
    is given. `word` is what the magic line calls the data; it is found by itself for a variable of the notebook.

    The form shows itself as a cell's value. `.spec`, `.line` and `.problems` tell what it says now, `.submit()` starts it.
    Raises `RunNotFound` for a run that is not there, and `SpecError` for an option that is none.
    """
    before = None
    if from_run is not None:
        if options.keys() - {"namespace", "backend"}:
            raise TypeError("form(from_run=…) takes its values from the run: give no other options")
        draft, place, ref = rebuilt(from_run, options.get("namespace"), options.get("backend"))
        before = draft.placed(None)
        if data is None and draft.spec.input.delivered:
            data, word = data_of(place, ref)
    else:
        draft = Draft.of_options(**options)
    asked = data is None
    if data is None and word == "" and frames is not None and len(found := frames()) == 1:
        word, data = next(iter(found.items()))
    if data is not None and not word:
        word = word_of(data)
    return Form(data, replace(draft, word=word), before=before, frames=frames if asked else None)
