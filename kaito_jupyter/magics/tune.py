"""`%kaito_tune`: a line and a cell's body become one call of `kaito_jupyter.tune`, and what it says becomes messages.

Everything that is wrong (options, the DataFrame, its rows, the spec, the body) is told in one message, each finding under
the option that the user typed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from kaito_trainer.contract import Problem

from ..errors import BackendError, DatasetError, InputError, KaitoError, SpecError
from .arguments import Arguments, read
from .data import find
from .line import split
from .telling import Telling
from .typed import PRESET, hint, mended, renamed

if TYPE_CHECKING:
    from ..lookahead import Lookahead
    from ..run import Plan, Run
    from .kaito_magics import KaitoMagics

T = TypeVar("T")
_COLUMNS: Final = ("messages_column", "prompt_column", "completion_column", "text_column")
_DEFAULTS: Final = ("method", "namespace", "backend", "instance_type", "output", "push_secret")
"""Options whose default `%config KaitoMagics` holds (and `preset`, which has a message of its own)."""


def tune(magics: KaitoMagics, line: str, cell: str | None, namespace: Mapping[str, Any]) -> Any:
    """Do what `%kaito_tune` says: a Run, with `--dry-run` a Plan, with `--preview` a Lookahead, with `--yaml` a YamlText. Raises `InputError`."""
    words = split(line)
    if words.unclosed:
        raise SpecError([Problem("%kaito_tune", f"{words.unclosed} is not closed.", "Close it.")])
    arguments = read(magics.kaito_tune.parser, words.words, namespace)
    if arguments.get("help"):
        from .texts import HelpText

        return HelpText(magics.kaito_tune.__doc__ or "")
    plan = _plan(magics, arguments, cell, namespace)
    if arguments.get("yaml"):
        from .texts import YamlText

        for told in mended(plan.fixes):
            magics.say(told)
        return YamlText(plan.to_yaml())
    if arguments.get("preview"):
        return _looked(plan)
    for told in _told(plan):
        magics.say(told)
    _differs(magics, plan)
    if arguments.get("dry_run") == "server":
        rehearsed = _with_options(plan.rehearse)
        for problem in rehearsed.problems[len(plan.problems) :]:
            magics.say(f"{problem.severity}: {renamed(problem)}")
        magics.say(f"accepted by {rehearsed.accepted_by}; nothing was started.")
        return rehearsed
    if arguments.get("dry_run"):
        for problem in _against(plan):
            magics.say(f"{problem.severity}: {renamed(problem)}")
        _preview(plan)
        _size(magics, plan)
        return plan
    run = _started(plan, magics)
    if arguments.get("wait"):
        _wait(magics, run)
    else:
        magics.show(run)
    return run


def _plan(magics: KaitoMagics, arguments: Arguments, cell: str | None, namespace: Mapping[str, Any]) -> Plan:
    """The checked plan, or all problems at once."""
    from ..run import tune as make

    said = [*arguments.problems, *twice(arguments)]
    config = given_configuration(arguments, cell, said)
    dataset, of_data = _dataset(arguments, namespace)
    plan = None
    try:
        plan = make(dataset, config=config, dry_run=True, **given_options(magics, arguments, said))
    except InputError as error:
        told = error.problems
        if of_data:  # why there is no data has been said
            told = tuple(p for p in told if p.path != "data")
        if any(p.path == "--preset" for p in said):
            told = tuple(p for p in told if p.path != PRESET or arguments.get("preset"))
        said += told
    if plan is not None and not said and not of_data:
        return plan
    kind = InputError if said and of_data else DatasetError if of_data else SpecError
    raise kind([*(_as_typed(p, arguments, magics) for p in said), *of_data], "" if arguments.get("fix") else hint(said))


def given_options(magics: KaitoMagics, arguments: Arguments, found: list[Problem]) -> dict[str, Any]:
    """What `kaito_jupyter.tune` takes besides the data and the configuration: the line, else `%config KaitoMagics`."""
    options = {name: arguments.get(name, magics.default(name)) for name in _DEFAULTS}
    if not str(options["output"] or "").startswith("image:"):
        options["push_secret"] = arguments.get("push_secret")
    if "data" in arguments.words and _is_file(arguments.get("input")):
        found.append(Problem("--input", "DF names the data already.", "Keep one of them."))
    if arguments.get("yaml"):
        options["backend"] = "job" if options["backend"] == "job" else "kaito"
    return {
        **options,
        "preset": arguments.get("preset", magics.preset),
        "name": arguments.get("name"),
        "input": arguments.get("input"),
        "pull_secret": arguments.get("pull_secret"),
        "context": arguments.get("context"),
        "model_access_secret": arguments.get("model_access_secret"),
        "placement": _placement(arguments, found),
        "assignments": arguments.get("settings", []),
        "strict": bool(arguments.get("strict")),
        "fix": bool(arguments.get("fix")),
        **{dest: value for dest, value in arguments.values.items() if "." in dest},
    }


def _is_file(place: str | None) -> bool:
    """Whether it is a file of this machine: data, and no place to put data."""
    from ..spec.sources import parse_source

    return bool(place) and parse_source(str(place)).delivered


def _placement(arguments: Arguments, found: list[Problem]) -> dict[str, Any]:
    """How our own Job is to stand on its cluster, as far as the line says so."""
    said: dict[str, Any] = {n: arguments.get(n) for n in ("image", "queue", "priority_class") if arguments.get(n)}
    if arguments.get("private_urls"):
        said["private_urls"] = True
    if gpus := arguments.get("gpus"):
        said["gpus"] = int(gpus) if gpus.isdecimal() else gpus
    if file := arguments.get("pod_template"):
        from ..spec.text import load

        try:
            said["pod_template"] = load(Path(file).expanduser().read_text(encoding="utf-8"), "--pod-template")
        except (OSError, UnicodeDecodeError) as error:
            found.append(Problem("--pod-template", f"{file} cannot be read: {error}.", "Give a YAML file."))
        except SpecError as error:
            found += error.problems
    return said


def _dataset(arguments: Arguments, namespace: Mapping[str, Any]) -> tuple[Any, list[Problem]]:
    """The data of the DF word, read and checked; None without such a word, or when something is wrong."""
    word = arguments.words.get("data")
    columns = given_columns(arguments)
    if word is None:
        return None, []
    data, name, problems = find(word, namespace)
    if problems:
        return None, problems
    from ..dataset import Dataset

    if isinstance(data, Dataset) and not any(columns.values()):
        return data, []
    try:
        return Dataset.read(data, name=name, **columns), []
    except DatasetError as error:
        return None, list(error.problems)


def given_columns(arguments: Arguments) -> dict[str, str | None]:
    """The data's columns that the line names."""
    return {name: arguments.get(name) for name in _COLUMNS}


def given_configuration(arguments: Arguments, cell: str | None, found: list[Problem]) -> list[Any]:
    """The file's sections, then the body's: the later wins."""
    from ..run.config_maps import PREFIX
    from ..spec import read_config

    config: list[Any] = []
    sources: list[tuple[Path | str, str]] = []
    file = arguments.get("config")
    if file and file.startswith(PREFIX):
        config.append(file)
    elif file:
        sources.append((Path(file), "--config"))
    if cell is not None:
        sources.append(("\n" + cell, "cell"))  # so that lines are counted as in the cell
    for source, path in sources:
        try:
            config.append(read_config(source, path))
        except SpecError as error:
            found += error.problems
    return config


def twice(arguments: Arguments) -> Iterator[Problem]:
    """A field that is set by two words of the line."""
    from ..spec import find_option

    seen: dict[str, str] = dict(arguments.flags)
    for text in arguments.get("settings", []):
        key = text.partition("=")[0].strip()
        option = find_option(key)
        path = option.path if option else key
        if path in seen:
            yield Problem("--set", f"{path} is set twice, by {seen[path]} too.", "Keep one of them.")
        seen[path] = f"--set {key}"


def _as_typed(problem: Problem, arguments: Arguments, magics: KaitoMagics) -> Problem:
    """The problem under the option that was typed, where its path is the spec's word for it."""
    if problem.path == PRESET and not arguments.get("preset", magics.preset):
        return Problem("--preset", "it is not said which model to train.", problem.remedy)
    if problem.path == "data":
        return Problem(
            "DF", problem.message, "Give a DataFrame's name or a quoted path, or name with --input where it is."
        )
    flag = arguments.flags.get(problem.path)
    return replace(problem, path=flag) if flag else renamed(problem)


def _told(plan: Plan) -> Iterator[str]:
    """What will happen in one line, then what was mended, what was chosen and what to mind, a line each."""
    where = "on this machine" if plan.target == "local" else f"backend {plan.target}"
    if why := plan.why.rstrip("."):
        where = f"{where} ({why[0].lower()}{why[1:]})"
    data = "the data that its input names"
    if plan.dataset is not None:
        _, held_out = plan.dataset.split(plan.spec.effective_config(plan.target, rows=plan.rows))
        split = f", {held_out:,} of them held out" if held_out else ""
        data = f"{plan.dataset.rows:,} rows ({plan.dataset.format}){split}"
    steps = "" if plan.total_steps is None else f", {plan.total_steps:,} steps"
    yield f"{plan.spec.method} on {plan.spec.preset}: {data}{steps}, {where}."
    if seen := plan.glance():
        yield seen
    if plan.route is not None:
        yield plan.route.note
    yield from (plan.dataset.notes if plan.dataset else ())
    yield from mended(plan.fixes)
    yield from (f"{p.severity}: {p}" for p in plan.problems)
    if offer := hint(plan.problems):
        yield offer


def _looked(plan: Plan) -> Lookahead:
    seen = plan.preview()
    if seen is None:
        raise SpecError(
            [Problem("--preview", "the data is not on this machine.", "Give a DataFrame's name or a file.")]
        )
    return seen


def _preview(plan: Plan) -> None:
    """The data as the model will see it, above the plan."""
    from IPython.display import display

    if plan.dataset is not None:
        config = plan.spec.effective_config(plan.target, rows=plan.rows)
        model = config.ModelConfig
        # KAITO's own trainer puts a collator in TRL's place that learns the prompts too (field note K1).
        shown = plan.dataset.with_config(config, everything=True if plan.target == "kaito" else None)
        display(shown.with_model(model.pretrained_model_name_or_path or plan.spec.preset, model.chat_template))


def _size(magics: KaitoMagics, plan: Plan) -> None:
    """What it takes of the device's memory, as a bar, and of time and money."""
    from IPython.display import display

    if (size := plan.estimate(price_per_hour=magics.price_per_hour or None)) is not None:
        display(size)


def _against(plan: Plan) -> list[Problem]:
    """What would stand against a start just now: the name taken, packages missing, no cluster."""
    try:
        return plan.place().problems(plan.spec.named())
    except SpecError as error:
        return list(error.problems)
    except BackendError as error:
        return [Problem("backend", str(error), "")]


def _started(plan: Plan, magics: KaitoMagics) -> Run:
    return _with_options(lambda: plan.submit(Telling(magics)))


def _with_options(ask: Callable[[], T]) -> T:
    """What is given back; problems come under the options that were typed."""
    try:
        return ask()
    except SpecError as error:
        raise SpecError([renamed(p) for p in error.problems]) from error


def _differs(magics: KaitoMagics, plan: Plan) -> None:
    """Show what is different from the run of that name that is there."""
    if plan.target == "local" or not plan.spec.name:
        return
    try:
        difference = plan.difference()
    except BackendError:
        return  # whoever goes on is told why
    if difference is None:
        return
    if not difference:
        magics.say(f"{plan.spec.name} is there already, and nothing differs.")
        return
    from IPython.display import display

    magics.say(f"{plan.spec.name} is there already. What differs:")
    display(difference)


def _wait(magics: KaitoMagics, run: Run) -> None:
    """Show the run and return when it has succeeded. Raises `RunFailed`; interrupting ends the wait alone."""
    try:
        if magics.terminal:  # a line that keeps itself current; what it came to below it
            from .. import follow

            follow(run)
            magics.show(run)
        else:
            magics.show(run)
        run.wait()
    except KeyboardInterrupt:
        raise KaitoError(
            f"the wait was interrupted, the run {run.name} goes on. "
            f"%kaito watch {run.name} shows it, %kaito cancel {run.name} ends it."
        ) from None
