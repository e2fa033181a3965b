"""The magics. Each reads its line and makes one call of the public API; what they can do is in their docstrings."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from IPython.core.magic import line_cell_magic, line_magic, magics_class, needs_local_scope, no_var_expand

from . import fill, kaito, tune
from .arguments import form_arguments, tune_arguments
from .completion import Sources
from .config import Defaults


def _documented(magic: Callable[..., Any]) -> Callable[..., Any]:
    """Give `%kaito` its docstring: what all verbs say of themselves."""
    magic.__doc__ = kaito.overview()
    return magic


@magics_class
class KaitoMagics(Defaults):
    """`%kaito_tune`, `%%kaito_tune`, `%kaito_form` and `%kaito`, with their defaults."""

    def __init__(self, shell: Any) -> None:
        super().__init__(shell=shell)
        self.shown: set[int] = set()
        """Runs and forms (by `id`) that the cell that runs now has shown already."""

    @no_var_expand
    @needs_local_scope
    @line_cell_magic
    @tune_arguments
    def kaito_tune(self, line: str, cell: str | None = None, local_ns: Mapping[str, Any] | None = None) -> Any:
        """Fine-tune a language model on a DataFrame, and watch it in this cell while the kernel stays free.

        Gives back the run:

            %kaito_tune df --preset phi-4-mini-instruct --method qlora --output image:registry.example/adapter:1
            run = %kaito_tune df --preset HuggingFaceTB/SmolLM2-135M-Instruct --epochs 2
            %kaito_tune df[:100] --preset ./my-model --max-steps 20 --wait
            %kaito_tune "data/train.jsonl" --preset phi-4 --prompt-column question --completion-column answer
            %kaito_tune df --preset phi-4 --set LoraConfig.lora_alpha=32 --set LoraConfig.target_modules=[q_proj, v_proj]
            %kaito_tune df --preset phi-4 --preview
            %kaito_tune df --preset phi-4 --dry-run

        As a cell magic, the body is YAML for the configuration, in KAITO's words:

            %%kaito_tune df --preset phi-4-mini-instruct
            LoraConfig:
              r: 16
            TrainingArguments:
              learning_rate: 0.0002

        {n} and $n on the line are replaced by your variables ({{n}} and $$n are not); a body stays as it is. What stands
        in brackets is one word. The line wins over the body, the body over --config, and all of them over
        `%config KaitoMagics`, which holds defaults for preset, method, namespace, backend, context, instance_type,
        output and push_secret.

        See also %kaito? for watching, logs, YAML, cancelling and deleting.
        """
        return tune.tune(self, line, cell, self._namespace(local_ns))

    @no_var_expand
    @needs_local_scope
    @line_magic
    @form_arguments
    def kaito_form(self, line: str, local_ns: Mapping[str, Any] | None = None) -> Any:
        """Fill in by hand what %kaito_tune takes, checked while you write, and start it by a button.

        Gives back the form, whose `.spec` and `.line` say what it holds:

            %kaito_form df
            %kaito_form
            form = %kaito_form df --preset phi-4-mini-instruct --method qlora
            %kaito_form --from support-bot

        `--from` takes all values from a run that there is already. Options of %kaito_tune fill the fields to begin with.
        """
        return fill.fill(self, line, self._namespace(local_ns))

    @no_var_expand
    @needs_local_scope
    @line_magic
    @_documented
    def kaito(self, line: str, local_ns: Mapping[str, Any] | None = None) -> Any:
        return kaito.dispatch(self, line, self._namespace(local_ns))

    @property
    def terminal(self) -> bool:
        """Whether the shell is plain IPython, which shows text alone."""
        return type(self.shell).__name__ == "TerminalInteractiveShell"

    def show(self, run: Any) -> None:
        """Show a run's panel, or a form, now; as the cell's last value it is not shown again."""
        if callable(own := getattr(run, "show", None)):
            own()
        else:
            from .. import show  # the public name: faces don't know each other

            show(run)
        self.shown.add(id(run))

    def display(self, run: Any) -> None:
        """How IPython shows a run or a form that is a cell's value."""
        if id(run) in self.shown:
            self.shown.discard(id(run))
        else:
            self.show(run)
            self.shown.discard(id(run))

    def before_cell(self) -> None:
        """What an earlier cell has shown counts no more."""
        self.shown.clear()

    def say(self, text: str) -> None:
        """One line for the user, in the cell's own output."""
        print(f"kaito: {text}")  # noqa: T201  (the line is the cell's output)

    def _namespace(self, local_ns: Mapping[str, Any] | None) -> dict[str, Any]:
        return {**self.shell.user_ns, **(local_ns or {})}


def sources(magics: KaitoMagics) -> Sources:
    """Where completion finds what it offers."""
    return Sources(
        tune=KaitoMagics.kaito_tune.parser,
        form=KaitoMagics.kaito_form.parser,
        verbs={name: verb.parser for name, verb in kaito.VERBS.items()},  # type: ignore[attr-defined]
        namespace=lambda: magics.shell.user_ns,
        values={"preset": _presets, "instance_type": _skus, "name": _runs, "names": _runs, "from_run": _runs},
    )


def _presets() -> tuple[str, ...]:
    from ..presets import PRESETS

    return tuple(name for name, preset in PRESETS.items() if not preset.retired)


def _skus() -> tuple[str, ...]:
    from ..presets import SKUS

    return tuple(SKUS)


def _runs() -> tuple[str, ...]:
    from ..backends.local import LocalBackend
    from ..errors import KaitoError
    from ..history import archive

    names = [ref.name for ref in LocalBackend().runs()]
    with contextlib.suppress(KaitoError):  # what cannot be read offers nothing
        names += archive().names()
    return tuple(dict.fromkeys(names))
