"""`%kaito_form`: a line becomes one call of `kaito_jupyter.form`, with the line's options in its fields."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kaito_trainer.contract import Problem

from ..errors import SpecError
from . import data
from .arguments import read
from .line import split
from .tune import given_columns, given_configuration, given_options, twice

if TYPE_CHECKING:
    from .kaito_magics import KaitoMagics


STARTING: Final = ("strict", "fix")
"""What is said of a start, which is the form's own to make."""


def fill(magics: KaitoMagics, line: str, namespace: Mapping[str, Any]) -> Any:
    """Do what `%kaito_form` says: a form, shown. Raises `InputError` for a line that is wrong; its values are the form's to check."""
    words = split(line)
    if words.unclosed:
        raise SpecError([Problem("%kaito_form", f"{words.unclosed} is not closed.", "Close it.")])
    arguments = read(magics.kaito_form.parser, words.words, namespace)
    if arguments.get("help"):
        from .texts import HelpText

        return HelpText(magics.kaito_form.__doc__ or "")
    said = [*arguments.problems, *twice(arguments)]
    frame, word = None, arguments.words.get("data")
    if word is not None:
        frame, _, problems = data.find(word, namespace)
        said += problems
    options: dict[str, Any] = {}
    if arguments.get("from_run"):
        options = {k: v for k in ("namespace", "backend") if (v := arguments.get(k))}
        for dest, flag in arguments.flags.items():
            if dest not in ("namespace", "backend", "from_run"):
                said.append(
                    Problem(flag, "--from takes all values from that run.", "Leave it out, and change it in the form.")
                )
    else:
        options = {
            k: v for k, v in given_options(magics, arguments, said).items() if v is not None and k not in STARTING
        }
        options |= {k: v for k, v in given_columns(arguments).items() if v}
        options["config"] = given_configuration(arguments, None, said)
    if said:
        raise SpecError(said)
    from .. import form  # the public name: faces don't know each other

    made = form(
        frame,
        from_run=arguments.get("from_run"),
        word=word.text if word is not None and not isinstance(frame, Path) else "",
        frames=lambda: {name: magics.shell.user_ns[name] for name in data.frames(magics.shell.user_ns)},
        **options,
    )
    if magics.terminal:
        magics.say(
            "a form needs a notebook. In this terminal take %kaito_tune, or the form's own words: .line, .submit()."
        )
    else:
        magics.show(made)
    return made
