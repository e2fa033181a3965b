"""The reference's pages, written from what the programs themselves read: the contract's options, the magics' parsers, the public names."""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import kaito_jupyter
from kaito_jupyter.spec import TuningSpec
from kaito_trainer.contract import Option, options
from kaito_trainer.contract.sections import ALL_SECTIONS

PRESET = "phi-4-mini-instruct"
"""The model whose defaults are shown: KAITO's smallest current preset."""
SELDOM = ("-h", "--help")


def options_page() -> str:
    """Every option of the configuration, a row each: all that the contract says of it."""
    lines = [
        "---",
        "hide: [toc]",
        "---",
        "",
        "# All options",
        "",
        "The configuration's sections are KAITO's, the fields Hugging Face's. A magic sets a field by its flag, or any field with",
        "`--set SECTION.FIELD=VALUE`; Python by name (`tune(df, learning_rate=1e-4)`); a file or a cell's body as YAML. Fields of",
        "those classes that are not listed here pass through, and are checked too.",
        "",
        f"The default is what a run of `{PRESET}` with `lora` gets; where KAITO's own trainer (backend `kaito`) gets another",
        "one, that stands behind the stroke. “–”: not written, the trainer takes its library's own.",
        "",
    ]
    ours, stock = (_defaults(target) for target in ("local", "kaito"))
    for section in ALL_SECTIONS:
        lines += [f"## {section.NAME}", "", _paragraph(section.__doc__), ""]
        lines += ["| field | what it does | type | default | allowed | flag |", "| --- | --- | --- | --- | --- | --- |"]
        lines += [_row(option, ours, stock) for option in options() if option.section == section.NAME]
        lines.append("")
    return "\n".join(lines)


def magics_page() -> str:
    """Every magic, verb and option of a line, by the parsers that read them."""
    from kaito_jupyter.magics import kaito
    from kaito_jupyter.magics.config import Defaults
    from kaito_jupyter.magics.kaito_magics import KaitoMagics

    tune = KaitoMagics.kaito_tune
    lines = [
        "# Magics",
        "",
        "`%load_ext kaito_jupyter` registers them. In a notebook, `%kaito_tune?` and `%kaito?` show the same.",
        "",
        "## `%kaito_tune` { #kaito_tune }",
        "",
        *_about(str(tune.parser.description)),
        *_table(tune.parser),
    ]
    for name, magic in _more_magics(KaitoMagics):
        lines += [
            "",
            f"## `%{name}` {{ #{name} }}",
            "",
            *_about(inspect.cleandoc(magic.__doc__ or "")),
            *_table(magic.parser),
        ]
    lines += ["", "## `%kaito` { #kaito }", "", "What is done with runs after they have started: `%kaito VERB [NAME]`."]
    for verb, function in kaito.VERBS.items():
        parser = function.parser
        lines += ["", f"### `%kaito {verb}` {{ #kaito-{verb} }}", "", _paragraph(parser.description), *_table(parser)]
    lines += [
        "",
        "## `%config KaitoMagics` { #config }",
        "",
        'What the magics take when the line says nothing: `%config KaitoMagics.namespace = "team-a"` in a notebook,',
        '`c.KaitoMagics.namespace = "team-a"` in `ipython_config.py` for all of them.',
        "",
        "| name | what it is | default |",
        "| --- | --- | --- |",
    ]
    traits = Defaults.class_traits(config=True)
    lines += [
        f"| `{name}` | {_cell(trait.help)} | {_value(trait.default_value)} |"
        for name, trait in sorted(traits.items())
        if trait.this_class is Defaults
    ]
    return "\n".join([*lines, ""])


def python_page() -> str:
    """Every public name, with its docstring as it stands in the code."""
    lines = [
        "# Python",
        "",
        "All that a magic does can be done without it. `import kaito_jupyter` is light: each name is looked up when it is used.",
        "",
        "```python",
        "import kaito_jupyter as kaito",
        "```",
        "",
    ]
    functions = [n for n in kaito_jupyter.__all__ if inspect.isfunction(getattr(kaito_jupyter, n))]
    classes = [n for n in kaito_jupyter.__all__ if n not in functions]
    errors = [n for n in classes if issubclass(getattr(kaito_jupyter, n), Exception)]
    for title, names in (
        ("Functions", functions),
        ("Classes", [n for n in classes if n not in errors]),
        ("Errors", errors),
    ):
        lines += [f"## {title}", ""]
        for name in names:
            lines += [
                f"::: {_home(name)}",
                "    options:",
                f"      heading: kaito_jupyter.{name}",
                "      heading_level: 3",
                "",
            ]
    lines += [
        "## Recorded runs",
        "",
        "::: kaito_jupyter.backends.replay.ReplayBackend",
        "    options:",
        "      heading_level: 3",
        "      members: false",
        "",
    ]
    return "\n".join(lines)


def events_page() -> str:
    """The lines that our trainer writes, by the classes that encode them."""
    from kaito_trainer.contract import events

    lines = [
        "# Event lines",
        "",
        "Our trainer tells how it goes by one JSON object a line, on stdout and in `events.jsonl` beside the adapter. Whoever reads them",
        "survives lines that come twice, are cut, missing, or foreign. A run can be rebuilt from them alone, and",
        "[played again](../how-to/record.md).",
        "",
        "```json",
        events.encode(events.Log(global_step=7, loss=2.31, learning_rate=1e-4), seq=12, time=1767225600.0),
        "```",
        "",
    ]
    for name, about, rows in _classes(Path(inspect.getfile(events)), "Payload"):
        lines += [f"## `{name}`", "", about, "", "| field | type | what it is |", "| --- | --- | --- |", *rows, ""]
    lines += ["## Kinds of errors", "", "| kind | what it means |", "| --- | --- |"]
    lines += [f"| `{kind}` | {_cell(what)} |" for kind, what in events.ERROR_KINDS.items()]
    return "\n".join([*lines, ""])


def _classes(file: Path, base: str) -> Iterator[tuple[str, str, list[str]]]:
    """Of each class of a module with that base: its `TYPE`, its docstring, and a table's row for each field."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.ClassDef) or base not in [b.id for b in node.bases if isinstance(b, ast.Name)]:
            continue
        name, rows = node.name, []
        for at, line in enumerate(node.body):
            if not isinstance(line, ast.AnnAssign) or not isinstance(line.target, ast.Name):
                continue
            if line.target.id == "TYPE" and isinstance(line.value, ast.Constant):
                name = str(line.value.value)
                continue
            after = node.body[at + 1] if at + 1 < len(node.body) else None
            said = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else ""
            kind = ast.unparse(line.annotation).replace("|", "\\|")
            rows.append(f"| `{line.target.id}` | `{kind}` | {_cell(str(said))} |")
        yield name, _paragraph(ast.get_docstring(node)), rows


def _home(name: str) -> str:
    """Where a public name is defined: what a static reader of the code can find."""
    thing = getattr(kaito_jupyter, name)
    return f"{thing.__module__}.{thing.__qualname__}"


def _more_magics(cls: Any) -> Iterator[tuple[str, Any]]:
    """Other magics than the two that have a part of their own."""
    for name, magic in vars(cls).items():
        if name.startswith("kaito_") and name != "kaito_tune" and hasattr(magic, "parser"):
            yield name, magic


def _defaults(target: Any) -> dict[str, Any]:
    spec = TuningSpec(preset=PRESET, method="lora")
    sections = spec.effective_config(target).to_dict()
    return {f"{section}.{name}": value for section, fields in sections.items() for name, value in fields.items()}


def _row(option: Option, ours: dict[str, Any], stock: dict[str, Any]) -> str:
    default, other = ours.get(option.path), stock.get(option.path)
    shown = (
        _value(default)
        if default == other or option.section == "TrainerOptions"
        else f"{_value(default)} / {_value(other)}"
    )
    name = f"`{option.name}`"
    what = f"{_cell(option.help)} {_source(option.source)}".strip()
    flag = f"`{option.flag}`" if option.flag else ""
    return f"| {name} | {what} | {_types(option)} | {shown} | {_allowed(option)} | {flag} |"


def _source(source: str) -> str:
    return f"[Source]({source})" if source.startswith("http") else ""


def _types(option: Option) -> str:
    words = {
        "bool": "true or false",
        "int": "whole number",
        "float": "number",
        "str": "text",
        "list": "list",
        "dict": "mapping",
    }
    return " or ".join(dict.fromkeys(words.get(t.__name__, t.__name__) for t in option.types))


def _allowed(option: Option) -> str:
    if option.choices:
        return ", ".join(f"`{c}`" for c in option.choices)
    bounds = [f"at least {option.minimum:g}"] if option.minimum is not None else []
    bounds += [f"above {option.above:g}"] if option.above is not None else []
    bounds += [f"at most {option.maximum:g}"] if option.maximum is not None else []
    return ", ".join(bounds) + (f" ({option.unit})" if option.unit and bounds else option.unit)


def _value(value: Any) -> str:
    if value is None or value == "":
        return "–"
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _table(parser: argparse.ArgumentParser) -> list[str]:
    rows: list[str] = []
    for group in parser._action_groups:
        title = group.title if group.title not in ("positional arguments", "options", None) else ""
        for action in group._group_actions:
            if set(action.option_strings) & set(SELDOM):
                continue
            names = ", ".join(f"`{n}`" for n in action.option_strings) or f"`{action.metavar or action.dest}`"
            value = f" `{action.metavar}`" if action.option_strings and action.metavar and action.nargs != 0 else ""
            rows.append(f"| {names}{value} | {_cell((action.help or '').replace('%%', '%'))} | {title} |")
    if not rows:
        return []
    return ["", "| option | what it does | of |", "| --- | --- | --- |", *rows]


def _about(text: str) -> list[str]:
    """A docstring as Markdown: its usage, which IPython puts first, left out; what is indented as code."""
    text = re.sub(r"\A::\n\n(?:  .*\n|\n)+", "", inspect.cleandoc(text))
    lines: list[str] = []
    code = False
    for line in [*text.split("\n"), ""]:
        indented = line.startswith("    ") or (code and not line)
        if indented and not code:
            lines += ["<!-- not run: the help's own examples -->", "```python"]
        elif code and not indented:
            while lines[-1] == "":
                lines.pop()
            lines += ["```", ""]
        code = indented
        lines.append(line.removeprefix("    ") if indented else line)
    if code:
        while lines[-1] == "":
            lines.pop()
        lines.append("```")
    return [*lines, ""]


def _paragraph(text: str | None) -> str:
    return " ".join(inspect.cleandoc(text or "").split("\n\n")[0].split())


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def pages() -> Iterable[tuple[str, str]]:
    """Path below the site, and Markdown."""
    yield "reference/options.md", options_page()
    yield "reference/magics.md", magics_page()
    yield "reference/python.md", python_page()
    yield "reference/events.md", events_page()
