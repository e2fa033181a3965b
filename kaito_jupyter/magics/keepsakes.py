"""Verbs about what runs leave: `%kaito compare`, `note`, `tag` and `report`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from IPython.core.magic_arguments import argument

from kaito_trainer.contract import Problem

from ..errors import SpecError
from .arguments import Arguments, verb_arguments

if TYPE_CHECKING:
    from ..run import Comparison, Run
    from .kaito_magics import KaitoMagics

AXES = ("steps", "tokens", "time")
"""What `run.BY` holds: named here, so that completion imports nothing for it."""


@verb_arguments(
    "compare",
    argument("names", nargs="*", metavar="NAME", help="The runs, two or more; deleted ones, too."),
    argument("--by", choices=AXES, metavar="AXIS", help="What the curves are laid over each other by. Default: steps."),
    argument("--price-per-hour", metavar="PRICE", help="Of a node, for the costs."),
    argument("-o", "--output", metavar="FILE", help="Write it as an HTML page that can be sent, too."),
)
def compare(magics: KaitoMagics, arguments: Arguments) -> Comparison:
    """Lay runs' curves over each other, with what differs in their specs and what came of each."""
    from .. import compare as compare_runs

    found = compare_runs(
        *arguments.get("names", ()),
        by=arguments.get("by", "steps"),
        price_per_hour=_price(arguments.get("price_per_hour")),
        namespace=arguments.get("namespace"),
    )
    if arguments.get("output"):
        magics.say(f"written to {found.report(arguments.get('output'))}.")
    return found


@verb_arguments(
    "note",
    argument("name", nargs="?", metavar="NAME", help="The run's name."),
    argument("words", nargs="*", metavar="TEXT", help="What to write down; without it, the notes are shown."),
)
def note(magics: KaitoMagics, arguments: Arguments) -> None:
    """Write a line about a run into the history, where it outlives the run; or show what was written."""
    run = _named("note", arguments)
    if arguments.get("words"):
        run.note(" ".join(arguments.get("words")))
        magics.say(f"noted of {run.name}.")
        return
    _show_remarks(magics, run)


@verb_arguments(
    "tag",
    argument("name", nargs="?", metavar="NAME", help="The run's name."),
    argument("words", nargs="*", metavar="TAG", help="Tags to give; without any, they are shown."),
    argument("--remove", action="append", metavar="TAG", help="A tag to take away; may be given again and again."),
)
def tag(magics: KaitoMagics, arguments: Arguments) -> None:
    """Give a run tags, by which %kaito runs --tag finds it, or take some away."""
    run = _named("tag", arguments)
    if arguments.get("words") or arguments.get("remove"):
        run.tag(*arguments.get("words", ()), remove=arguments.get("remove") or ())
        magics.say(f"{run.name} has the tags {', '.join(run.tags)}." if run.tags else f"{run.name} has no tags.")
        return
    _show_remarks(magics, run)


@verb_arguments(
    "report",
    argument("name", nargs="?", metavar="NAME", help="The run's name; always needed."),
    argument("-o", "--output", metavar="FILE", help="The file. Default: NAME.html in the current folder."),
)
def report(magics: KaitoMagics, arguments: Arguments) -> Any:
    """Write a run as one HTML page that can be sent: curves, figures, data, answers, events, adapter, spec. Gives its path."""
    path = _named("report", arguments).report(arguments.get("output"))
    magics.say(f"written to {path}.")
    return path


def _named(verb: str, arguments: Arguments) -> Run:
    from .. import watch

    name = arguments.get("name")
    if not name:
        raise SpecError([Problem(f"%kaito {verb}", "which run?", "Give its name; %kaito runs --all lists them.")])
    run = watch(name, namespace=arguments.get("namespace"), backend=arguments.get("backend"))
    run.close()
    return run


def _show_remarks(magics: KaitoMagics, run: Run) -> None:
    import time

    lines = [f"{time.strftime('%Y-%m-%d %H:%M', time.localtime(n.time))}  {n.text}" for n in run.notes]
    lines += [f"tags: {', '.join(run.tags)}"] if run.tags else []
    magics.say(
        "\n".join([f"{run.name}", *(f"  {line}" for line in lines)]) if lines else f"nothing is noted of {run.name}."
    )


def _price(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        price = float(text)
    except ValueError:
        price = -1.0
    if not 0 <= price < 1e6:
        raise SpecError([Problem("--price-per-hour", f'"{text}" is no price.', "Give a number, such as 3.67.")])
    return price


__all__ = ["compare", "note", "report", "tag"]
