"""`%kaito VERB …`: what is done with runs after they have started.

A verb is a function with `verb_arguments`, listed in `VERBS`: help, completion and the close matches of a typo follow.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from IPython.core.magic_arguments import argument

from kaito_trainer.contract import Problem
from kaito_trainer.contract.problems import close_match, listing

from ..errors import RunNotFound, SpecError
from .arguments import Arguments, read, verb_arguments
from .keepsakes import compare, note, report, tag
from .line import split
from .mend import diagnose, resume

if TYPE_CHECKING:
    from ..checkup import Report
    from ..run import Listed, Run, Runs
    from ..run.run import Log
    from .kaito_magics import KaitoMagics
    from .texts import YamlText

Verb = Callable[["KaitoMagics", Arguments], Any]

_SHARED: Final = (" [-n NAMESPACE] [--backend BACKEND] [-h]", " [-n NAMESPACE] [-h]")
_name = argument("name", nargs="?", metavar="NAME", help="The run's name; without it, the latest run.")


def dispatch(magics: KaitoMagics, line: str, namespace: Mapping[str, Any]) -> Any:
    """Do what the line says. Raises `SpecError` with all that is wrong with it."""
    from .texts import HelpText

    found = split(line)
    if found.unclosed:
        raise SpecError([Problem("%kaito", f"{found.unclosed} is not closed.", "Close it.")])
    if not found.words or found.words[0].text in ("-h", "--help", "help"):
        return HelpText(overview())
    word = found.words[0].text
    verb = VERBS.get(word)
    if verb is None:
        known = f"{close_match(word, VERBS)} The verbs are {listing(VERBS, 'and')}.".strip()
        raise SpecError([Problem("%kaito", f'"{word}" is no verb.', known)])
    arguments = read(verb.parser, found.words[1:], namespace)  # type: ignore[attr-defined]
    if arguments.get("help"):
        return HelpText(verb.__doc__ or "")
    if arguments.problems:
        raise SpecError(arguments.problems)
    return verb(magics, arguments)


@verb_arguments(
    "runs",
    argument("-A", "--all-namespaces", action="store_true", help="Those of all namespaces."),
    argument("--all", action="store_true", dest="past", help="Those that are deleted, too, as the history holds them."),
    argument("--tag", action="append", metavar="TAG", help="Those that have this tag; may be given again and again."),
)
def runs(magics: KaitoMagics, arguments: Arguments) -> Runs:
    """List the runs, newest first."""
    if arguments.get("all_namespaces") and arguments.get("namespace"):
        raise SpecError([Problem("--all-namespaces", "a namespace is named too.", "Leave out one of the two.")])
    return _all(arguments)


@verb_arguments("watch", _name)
def watch(magics: KaitoMagics, arguments: Arguments) -> Run:
    """Show a run's panel, from its first step on, in this or any other kernel. Gives back the run."""
    run = _one(arguments)
    magics.show(run)
    return run


@verb_arguments(
    "logs",
    _name,
    argument("--tail", metavar="N", help="How many of the last lines. Default: KaitoMagics.log_lines."),
    argument("--events", action="store_true", help="Show the trainer's event lines too."),
    argument(
        "-f", "--follow", action="store_true", help="Go on as lines come, until it ends or you interrupt the cell."
    ),
)
def logs(magics: KaitoMagics, arguments: Arguments) -> Log | None:
    """Show the last lines of a run's log."""
    tail = arguments.get("tail", str(magics.log_lines))
    if (arguments.get("namespace") or "").isdigit():
        raise SpecError(
            [Problem("-n", "it is the namespace, as in kubectl.", f"Write --tail {arguments.get('namespace')}.")]
        )
    if not tail.isdigit() or int(tail) < 1:
        raise SpecError(
            [Problem("--tail", f'"{tail}" is not a number of lines.', "Give a whole number of at least 1.")]
        )
    run = _one(arguments, live=False)
    if arguments.get("follow"):
        with contextlib.suppress(KeyboardInterrupt):  # the run goes on
            for line in run.follow_logs(int(tail), events=bool(arguments.get("events"))):
                print(line, flush=True)  # noqa: T201 (asked for, and in the cell's own thread)
        return None
    log = run.logs(int(tail), events=bool(arguments.get("events")))
    if not log:
        magics.say(f"{run.name} has written nothing but events yet; --events shows them.")
    return log


@verb_arguments("yaml", _name)
def yaml(magics: KaitoMagics, arguments: Arguments) -> YamlText:
    """Give a run's spec as the YAML of a KAITO Workspace and its ConfigMap."""
    from .texts import YamlText

    spec = _one(arguments, live=False).spec
    refused = spec.check("kaito").errors
    return YamlText("".join([*(f"# KAITO would refuse this: {p}\n" for p in refused), spec.to_yaml("kaito")]))


@verb_arguments(
    "cancel",
    argument("name", nargs="?", metavar="NAME", help="The run's name; not needed when only one is alive."),
)
def cancel(magics: KaitoMagics, arguments: Arguments) -> Run:
    """Ask a run to save its adapter and end. Gives back the run."""
    run = _one(arguments) if arguments.get("name") else _the_live_one(arguments)
    over = not _alive(run)
    run.cancel()
    magics.say(f"{run.name} has ended already: {run.state.state}." if over else f"{run.name} is asked to save and end.")
    magics.shown.add(id(run))
    return run


def _the_live_one(arguments: Arguments) -> Run:
    live = [run for run in _all(arguments) if _alive(run)]
    if len(live) == 1:
        return live[0].watch()
    how_many = f"{len(live)} runs are alive." if live else "no run is alive."
    remedy = f"Say which: {listing((r.name for r in live), 'and')}." if live else "%kaito runs lists them all."
    raise SpecError([Problem("%kaito cancel", how_many, remedy)])


@verb_arguments(
    "delete",
    argument("name", nargs="?", metavar="NAME", help="The run's name; always needed."),
    argument("-y", "--yes", action="store_true", help="Even when the run is alive: it is ended first."),
)
def delete(magics: KaitoMagics, arguments: Arguments) -> None:
    """Remove all that a run made, the adapter in its own folder included. A run that is alive is only ended with --yes."""
    if not arguments.get("name"):
        raise SpecError([Problem("%kaito delete", "which run?", "Give its name; %kaito runs lists them.")])
    run = _one(arguments)
    if _alive(run) and not arguments.get("yes"):
        remedy = f"End it first (%kaito cancel {run.name}), or add --yes to end and delete it."
        raise SpecError([Problem("%kaito delete", f"{run.name} is alive ({run.state.state}).", remedy)])
    run.delete()
    magics.say(f"{run.name} is deleted.")


@verb_arguments(
    "doctor",
    argument("--context", metavar="CONTEXT", help="Context of the kubeconfig."),
    argument(
        "--registry", metavar="IMAGE", help="An image that a run would push: a push is tried, and given up again."
    ),
    of_runs=False,
)
def doctor(magics: KaitoMagics, arguments: Arguments) -> Report:
    """Look at what a run depends on (cluster, rights, GPUs, registry, this machine), and say how to mend what is missing."""
    from .. import doctor as look

    output = str(magics.output) if str(magics.output).startswith("image:") else None
    return look(
        context=arguments.get("context", magics.default("context")),
        namespace=arguments.get("namespace", magics.default("namespace")),
        registry=arguments.get("registry", output),
    )


VERBS: Final[Mapping[str, Verb]] = {
    "runs": runs,
    "watch": watch,
    "logs": logs,
    "yaml": yaml,
    "cancel": cancel,
    "delete": delete,
    "diagnose": diagnose,
    "resume": resume,
    "compare": compare,
    "note": note,
    "tag": tag,
    "report": report,
    "doctor": doctor,
}


def overview() -> str:
    """All verbs, and the options that they share: what `%kaito?` shows."""
    lines = [
        "::",
        "",
        "  %kaito VERB [NAME] [options]",
        "",
        "What is done with runs after %kaito_tune has started them, and a look at the place where they run.",
    ]
    for name, verb in VERBS.items():
        usage, text = verb.parser.format_usage(), verb.parser.description  # type: ignore[attr-defined]
        own = " ".join(usage.replace("::", "").split()).removeprefix(f"%kaito {name}")
        for shared in _SHARED:
            own = own.removesuffix(shared)
        lines += ["", f"%kaito {name}{' ' if own else ''}{own.strip()}", f"    {text}"]
    return "\n".join(
        [*lines, "", "Every verb takes -n NAMESPACE, those of runs --backend BACKEND; --help after a verb tells more."]
    )


def _alive(run: Run | Listed) -> bool:
    from ..status import TERMINAL

    return run.state.state not in TERMINAL


def _all(arguments: Arguments) -> Runs:
    from ..run import runs as all_runs

    everywhere = bool(arguments.get("all_namespaces"))
    return all_runs(
        arguments.get("namespace"),
        arguments.get("backend"),
        everywhere=everywhere,
        past=bool(arguments.get("past")),
        tags=arguments.get("tag") or (),
    )


def _one(arguments: Arguments, *, live: bool = True) -> Run:
    """The run that the line names, else the latest. Raises `RunNotFound`. `live`: it goes on being read."""
    from ..run import watch as find

    name = arguments.get("name")
    if name is not None:
        run = find(name, namespace=arguments.get("namespace"), backend=arguments.get("backend"))
    else:
        known = _all(arguments)
        if not known:
            raise RunNotFound("there is no run yet. Start one: %kaito_tune df --preset …")
        run = known[0].watch()
    if not live:
        run.close()
    return run
