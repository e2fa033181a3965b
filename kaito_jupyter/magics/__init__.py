"""The magics: parse a line, make one call of the public API, give back its object. Nothing here knows how to train.

::

    kaito_magics  the magics, with their docstrings            config      %config KaitoMagics
    tune          %kaito_tune: line and body -> tune()         completion  what Tab offers
    kaito         %kaito VERB                                  texts       YAML, logs and help as objects
    line          words, `{name}` and `$name`                  data        the DF word -> an object
    arguments     the options, and reading them                body        YAML bodies, files and --set
    fill          %kaito_form: line -> form()

Imported by `%load_ext`, so nothing here imports pandas, matplotlib, kubernetes, ipywidgets or the rooms that do, before a
magic runs.
"""

from __future__ import annotations

from typing import Any, Final

_RUN: Final = "kaito_jupyter.run.run.Run"
_FORM: Final = "kaito_jupyter.forms.face.Form"
_MATCHER: Final = "kaito_jupyter"


def register(shell: Any) -> None:
    """Give a shell the magics, their completion, and the panel as a run's display. Again is the same as once."""
    from . import completion
    from .kaito_magics import KaitoMagics, sources

    unregister(shell)
    magics = KaitoMagics(shell=shell)
    shell.register_magics(magics)
    shell.events.register("pre_execute", magics.before_cell)
    for shown in (_RUN, _FORM):
        module, _, name = shown.rpartition(".")
        shell.display_formatter.ipython_display_formatter.for_type_by_name(module, name, magics.display)
    if shell.Completer is not None:
        shell.Completer.custom_matchers.append(completion.matcher(sources(magics)))


def unregister(shell: Any) -> None:
    """Take all of it back; harmless when there is nothing."""
    magics = shell.magics_manager.registry.pop("KaitoMagics", None)
    if magics is None:
        return
    for kind in shell.magics_manager.magics.values():
        for name in [n for n, f in kind.items() if getattr(f, "__self__", None) is magics]:
            del kind[name]
    if magics in shell.configurables:
        shell.configurables.remove(magics)
    shell.events.unregister("pre_execute", magics.before_cell)
    for shown in (_RUN, _FORM):
        shell.display_formatter.ipython_display_formatter.pop(shown, None)
    if shell.Completer is not None:
        matchers = shell.Completer.custom_matchers
        matchers[:] = [m for m in matchers if getattr(m, "matcher_identifier", "") != _MATCHER]
