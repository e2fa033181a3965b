"""The options of the magics: what they are, and how words become values and problems.

Options that set a field of the configuration are made from the contract's table: a field with a `flag` is an option here,
with its help, its choices and its type. The parsers are `magic_arguments`' own, so that `%kaito_tune?` shows them; reading
is ours, because argparse stops at the first problem and takes `--pre` for `--preset`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from IPython.core.magic_arguments import MagicArgumentParser, argument, argument_group, magic_arguments

from kaito_trainer.contract import METHODS, Option, Problem, options
from kaito_trainer.contract.problems import close_match, listing

from .line import ExpansionError, Word, expand

BACKENDS: Final = ("auto", "local", "job", "kaito")
"""`auto`: where a cluster is reachable and asked for, else this machine."""

DRY_RUNS: Final = ("client", "server")
"""Who checks what is not started: we alone (without a word), or the cluster's server too."""

Decorate = Callable[[Callable[..., Any]], Callable[..., Any]]


def tune_arguments(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a magic the options of `%kaito_tune`; its docstring becomes the help."""
    return _decorate(function, [magic_arguments(), *_tune_decorators(), *_start_decorators()])


def form_arguments(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a magic the options of `%kaito_form`: those of `%kaito_tune` that a form has fields for, and `--from`."""
    own = argument("--from", dest="from_run", metavar="NAME", help="Begin with all values of that run.")
    return _decorate(function, [magic_arguments(), *_tune_decorators(), argument_group("this form"), own, _HELP])


def verb_arguments(verb: str, *own: Decorate, of_runs: bool = True) -> Decorate:
    """Give the function of a `%kaito` verb its own options and those that every verb has. `of_runs`: it does with runs."""
    backend = argument("--backend", choices=BACKENDS, metavar="BACKEND", help=f"Look only there: {listing(BACKENDS)}.")
    everywhere = [
        argument("-n", "--namespace", metavar="NAMESPACE", help="Kubernetes namespace."),
        *([backend] if of_runs else []),
        _HELP,
    ]
    return lambda function: _decorate(function, [magic_arguments(f"kaito {verb}"), *own, *everywhere])


def _decorate(function: Callable[..., Any], decorators: list[Decorate]) -> Callable[..., Any]:
    for decorator in reversed(decorators):
        function = decorator(function)
    return function


_HELP: Final = argument("-h", "--help", action="store_true", help="Show this text.")


def _tune_decorators() -> list[Decorate]:
    """In the order of the help. No `type`: every value is text at first, and whoever checks it says what it must be."""
    return [
        argument(
            "data",
            nargs="?",
            metavar="DF",
            help="A DataFrame (its name, or an expression like df[:100]), or a quoted path of a csv, json, jsonl or "
            "parquet file. Not needed when --input names data that is there already.",
        ),
        argument_group("what is trained"),
        argument("--preset", metavar="MODEL", help="A KAITO preset, a Hugging Face id, or a folder with a model."),
        argument("--method", choices=METHODS, metavar="METHOD", help=f"Tuning method: {listing(METHODS)}."),
        argument("--name", metavar="NAME", help="The run's name; made up when not given."),
        argument_group("configuration"),
        *(argument(o.flag, dest=o.path, metavar=metavar(o), help=flag_help(o)) for o in options() if o.flag),
        argument(
            "--set",
            action="append",
            dest="settings",
            metavar="SECTION.FIELD=VALUE",
            help="Any other field of the configuration; may be given again and again.",
        ),
        argument(
            "--config",
            metavar="FILE",
            help="A YAML file with the configuration, or configmap:NAME in the cluster; the cell and the line win.",
        ),
        argument_group("data"),
        argument(
            "--input",
            metavar="SOURCE",
            help="image:REF, pvc:CLAIM[/PATH] or a URL. With DF: where its data goes, on a cluster (a URL is then a folder in "
            "a store: s3://, gs://, az://); when not given, the lightest way that fits. Without DF: the data that is there already.",
        ),
        argument("--pull-secret", metavar="SECRET", help="Secret with which the data image is pulled."),
        argument(
            "--private-urls",
            action="store_true",
            help="Take data from private addresses too, where the cluster allows it.",
        ),
        argument("--messages-column", metavar="COLUMN", help="Column with conversations."),
        argument("--prompt-column", metavar="COLUMN", help="Column with prompts."),
        argument("--completion-column", metavar="COLUMN", help="Column with completions."),
        argument("--text-column", metavar="COLUMN", help="Column with plain text."),
        argument_group("where"),
        argument(
            "--backend",
            choices=BACKENDS,
            metavar="BACKEND",
            help='"local": this machine; "job": our own Job on a cluster; "kaito": KAITO\'s operator; "auto": the one that fits.',
        ),
        argument("-n", "--namespace", metavar="NAMESPACE", help="Kubernetes namespace."),
        argument("--context", metavar="CONTEXT", help="Context of the kubeconfig."),
        argument("--instance-type", metavar="SKU", help="Size of the GPU node, as KAITO and the cloud call it."),
        argument("--output", metavar="PLACE", help="Where the adapter goes: image:REF, pvc:CLAIM/path or a folder."),
        argument("--push-secret", metavar="SECRET", help="Secret with which the adapter image is pushed."),
        argument("--model-access-secret", metavar="SECRET", help="Secret with the Hugging Face token (key HF_TOKEN)."),
        argument_group("our own Job"),
        argument("--image", metavar="REF", help="The trainer's image; KAITO_TRAINER_IMAGE when not given."),
        argument("--gpus", metavar="N", help="GPUs of one node; those of the node size, else 1, when not given."),
        argument("--queue", metavar="QUEUE", help="Kueue's queue that the Job waits in."),
        argument("--priority-class", metavar="CLASS", help="Priority class of the pod."),
        argument("--pod-template", metavar="FILE", help="YAML that is merged into the pod template, by names."),
    ]


def _start_decorators() -> list[Decorate]:
    """What is done with all that, in this cell."""
    return [
        argument_group("this cell"),
        argument(
            "--dry-run",
            nargs="?",
            choices=DRY_RUNS,
            metavar="WHERE",
            help="Check all, show what would happen, start nothing; with --dry-run=server the cluster's server checks it too.",
        ),
        argument(
            "--preview",
            action="store_true",
            help="Show a few rows as the model will see them, token by token, and what is trained on, cut and padded; start "
            "nothing.",
        ),
        argument("--yaml", action="store_true", help="Give KAITO's YAML for it, start nothing."),
        argument("--wait", action="store_true", help="Wait for the end; the cell fails when the run does."),
        argument("--strict", action="store_true", help="Take warnings for errors."),
        argument(
            "--fix", action="store_true", help="Make the changes that the check advises, and say what was changed."
        ),
        argument("-h", "--help", action="store_true", help="Show this text."),
    ]


def metavar(option: Option) -> str:
    """What stands for the value in the help."""
    return "N" if int in option.types or float in option.types else "VALUE"


def flag_help(option: Option) -> str:
    """Help of an option that sets a field: the field's own words, its range, and which field it is."""
    bounds = [option.unit] if option.unit else []
    bounds += [f"at least {option.minimum:g}"] if option.minimum is not None else []
    bounds += [f"above {option.above:g}"] if option.above is not None else []
    bounds += [f"at most {option.maximum:g}"] if option.maximum is not None else []
    bounds += [listing(option.choices)] if option.choices else []
    within = f" ({', '.join(bounds)})" if bounds else ""
    return f"{option.help.rstrip('.')}{within}. Sets {option.path}.".replace("%", "%%")


class Arguments:
    """What a line says."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        """By the parser's `dest`; what was not given is absent. Values are text, flags True, repeatable ones lists."""
        self.words: dict[str, Word] = {}
        """The positional words, as they stand in the line."""
        self.problems: list[Problem] = []
        self.flags: dict[str, str] = {}
        """dest -> the option by which it was given."""

    def get(self, dest: str, default: Any = None) -> Any:
        return self.values.get(dest, default)


def read(parser: MagicArgumentParser, words: Iterable[Word], namespace: Mapping[str, Any]) -> Arguments:
    """Read words by a parser's table of options, collecting every problem. Values are expanded from the namespace."""
    return _Reading(parser, list(words), namespace).read()


class _Reading:
    def __init__(self, parser: MagicArgumentParser, words: list[Word], namespace: Mapping[str, Any]) -> None:
        self.table: dict[str, argparse.Action] = parser._option_string_actions
        self.positionals = [a for a in parser._actions if not a.option_strings]
        self.magic = parser.prog
        self.words = words
        self.namespace = namespace
        self.result = Arguments()
        self.guessed: set[str] = set()

    def read(self) -> Arguments:
        while self.words:
            word = self.words.pop(0)
            if _is_option(word):
                self._option(word)
            elif self.positionals:
                many, dest = self.positionals[0].nargs == "*", self.positionals[0].dest
                self.result.words[dest] = word
                value = word.text if dest == "data" else self._expanded(word.text, word.text)
                if many:  # it takes all words that follow
                    self.result.values.setdefault(dest, []).append(value)
                else:
                    self.result.values[dest] = value
                    del self.positionals[0]
            else:
                self._problem(word.text, "nothing more is expected here.", "Put a value with spaces in quotes.")
        return self.result

    def _option(self, word: Word) -> None:
        name, equals, value = word.text.partition("=")
        action = self.table.get(name)
        if action is None:
            near = _near(name, self.table)
            hint = f'Did you mean "{near}"?' if near else f"See %{self.magic.split()[0]}? for all."
            self._problem(name, f"%{self.magic} has no such option.", hint)
            if not near:
                if not equals and self.words and not _is_option(self.words[0]):
                    self.words.pop(0)
                return
            name = near
        meant = self.table[name]
        given: Any = True
        if meant.nargs == 0:
            if equals:
                self._problem(name, "it takes no value.", "Leave out the = and what follows.")
        elif meant.nargs == "?":  # its value stands behind an =, the next word is another one
            given = (equals and self._expanded(name, value)) or _without_value(meant)
            if not self._allowed(name, given, meant):
                return
        else:
            if not equals:
                if not self.words or _is_option(self.words[0]):
                    self._problem(name, "its value is missing.", f"Write {name} {meant.metavar or 'VALUE'}.")
                    return
                value = self.words.pop(0).text
            given = self._expanded(name, value)
            if given is None or not self._allowed(name, given, meant):
                return
        self._keep(name, given, meant, guessed=action is None)

    def _expanded(self, name: str, value: str) -> str | None:
        try:
            return expand(value, self.namespace)
        except ExpansionError as error:
            self._problem(name, f"{value} cannot be evaluated: {error}.", "Write {{ and }} for braces that are meant.")
            return None

    def _allowed(self, name: str, value: str, action: argparse.Action) -> bool:
        if action.choices is None or value in action.choices:
            return True
        near = close_match(value, action.choices)
        self._problem(name, f'"{value}" is not allowed.', f"{near} Use {listing(action.choices)}.".strip())
        return False

    def _keep(self, name: str, value: Any, action: argparse.Action, *, guessed: bool) -> None:
        """Keep a value. One under a mistyped option is kept to be checked, as long as there is no other."""
        values, dest = self.result.values, action.dest
        if isinstance(action, argparse._AppendAction):
            values.setdefault(dest, []).append(value)
        elif dest not in values or dest in self.guessed:
            values[dest] = value
            self.result.flags[dest] = name
            (self.guessed.add if guessed else self.guessed.discard)(dest)
        elif value is not True and not guessed:
            self._problem(name, f'given twice, "{values[dest]}" and "{value}".', "Keep one of them.")

    def _problem(self, path: str, message: str, remedy: str) -> None:
        self.result.problems.append(Problem(path, message, remedy))


def _without_value(action: argparse.Action) -> str:
    """What an option without its value means: the first of its choices."""
    return str(next(iter(action.choices or ("",))))


def _is_option(word: Word) -> bool:
    """Whether a word names an option; `-1` is a number."""
    return not word.quoted and len(word.text) > 1 and word.text[0] == "-" and not word.text[1].isdigit()


def _near(name: str, table: Iterable[str]) -> str:
    match = close_match(name, table) or close_match(f"--{name.lstrip('-')}", table)
    return match.removeprefix('Did you mean "').removesuffix('"?')
