"""`%kaito diagnose` and `%kaito resume`: what is wrong with a run, and going on with what mends it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from IPython.core.magic_arguments import argument

from .arguments import Arguments, verb_arguments
from .telling import Telling

if TYPE_CHECKING:
    from ..diagnose import Diagnosis
    from .kaito_magics import KaitoMagics

_name: Final = argument("name", nargs="?", metavar="NAME", help="The run's name; without it, the latest run.")


@verb_arguments("diagnose", _name)
def diagnose(magics: KaitoMagics, arguments: Arguments) -> Diagnosis:
    """Say what is wrong with a run, why that is known, what to do, and what a mended spec would change."""
    from .kaito import _one

    run = _one(arguments)
    try:
        return run.diagnose()
    finally:
        run.close()


@verb_arguments(
    "resume",
    _name,
    argument("--fix", action="store_true", help="With the spec that the diagnosis has mended."),
    argument(
        "--set",
        action="append",
        dest="settings",
        metavar="SECTION.FIELD=VALUE",
        help="Another value for a field of the configuration; may be given again and again.",
    ),
    argument("--model-access-secret", metavar="SECRET", help="Secret with the Hugging Face token (key HF_TOKEN)."),
    argument("--pull-secret", metavar="SECRET", help="Secret with which the data image is pulled."),
    argument("--push-secret", metavar="SECRET", help="Secret with which the adapter image is pushed."),
    argument("--instance-type", metavar="SKU", help="Another size of the GPU node."),
    argument("--as", dest="new_name", metavar="NAME", help="The new run's name; NAME-2 when not given."),
    argument("--dry-run", action="store_true", help="Show what would change, start nothing."),
    argument("-y", "--yes", action="store_true", help="Even when the run is alive: it is ended first."),
)
def resume(magics: KaitoMagics, arguments: Arguments) -> Any:
    """Start a run again under the next name, with the data that was sent before, and show it; with --fix, mended.

    A run in KAITO is deleted when the new one stands: its Workspace would keep the GPU node. Gives back the new run.
    """
    from .kaito import _one

    run = _one(arguments)
    names = ("model_access_secret", "pull_secret", "push_secret", "instance_type")
    changes = {name: arguments.get(name) for name in names if arguments.get(name) is not None}
    changes["assignments"] = arguments.get("settings", [])
    fix = bool(arguments.get("fix"))
    if arguments.get("dry_run"):
        from ..run.resume import changed

        return run.spec.diff(changed(run.fix().spec if fix else run.spec, **changes))
    try:
        if fix:
            for change in run.fix().changes:
                magics.say(str(change))
        new = run.resume(
            fix=fix,
            end=bool(arguments.get("yes")),
            name=arguments.get("new_name"),
            on_progress=Telling(magics),
            **changes,
        )
    finally:
        run.close()
    gone = " It is deleted: its Workspace would have kept the GPU node." if new.backend.name == "kaito" else ""
    magics.say(f"{new.name} goes on for {run.name}.{gone}")
    magics.show(new)
    return new


__all__ = ["diagnose", "resume"]
