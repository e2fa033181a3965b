"""YAML, read strictly and written readably.

Reading differs from PyYAML's YAML 1.1 in what surprises people: `2e-4` is a number, `no` and `on` are text, a date is
text, and a key given twice is an error. Writing quotes whatever either YAML would misread.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from typing import Any

import yaml

from kaito_trainer.contract import Problem

from ..errors import SpecError

_FLOAT = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]+\Z")
_BREAKS = "\x85\u2028\u2029"
_DROPPED = ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value")


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f'"{key.value}" is given twice', key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _DROPPED]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), list("tTfF")
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else None
    if value.endswith("\n\n") or (value and not value.strip("\n")):
        style = '"'  # an open end, after which PyYAML ends the document
    if any(c in value for c in _BREAKS):
        style = '"'  # PyYAML would write these raw, and fold them to a space when it reads them
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)
_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))


def dump(value: Any) -> str:
    """Block style, keys in the order given, no aliases, long text as literal blocks."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100, default_flow_style=False)


def load(text: str, path: str) -> Any:
    """One document. Raises `SpecError` with the line of what is no YAML; `path` says which input it is."""
    return _parsed(path, lambda: yaml.load(text, Loader=_Loader))


def load_all(text: str, path: str) -> list[Any]:
    """All documents but empty ones. Raises `SpecError`."""
    documents: list[Any] = _parsed(path, lambda: [d for d in yaml.load_all(text, Loader=_Loader) if d is not None])
    return documents


def _parsed(path: str, read: Any) -> Any:
    try:
        return read()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or str(error).splitlines()[0]
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise SpecError([Problem(path, f"this is no YAML: {what}{where}.", "Correct that line.")]) from error
    except RecursionError as error:
        raise SpecError([Problem(path, "this YAML is nested too deeply.", "Give plain sections and keys.")]) from error


def annotated(sections: Mapping[str, Any], reasons: Mapping[str, str], prefix: str = "") -> str:
    """Sections of keys as YAML, with a comment beside each key (`Section.key`) that has a reason."""
    lines: list[str] = []
    for section, keys in sections.items():
        if not isinstance(keys, Mapping):
            lines += dump({section: keys}).splitlines()
            continue
        lines.append(f"{_key(section)}:" + ("" if keys else " {}"))
        for name, value in keys.items():
            entry = dump({name: value}).rstrip("\n").split("\n")
            reason = reasons.get(f"{section}.{name}")
            if reason:
                entry[0] += f"  # {reason}"
            lines += [f"  {line}" if line else "" for line in entry]
    return "".join(f"{prefix}{line}\n" if line else "\n" for line in lines)


def _key(name: Any) -> str:
    return dump({name: None}).rsplit(":", 1)[0]
