"""Takes fields out of a foreign document, collecting what is not as it should be instead of stopping at it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kaito_trainer.contract import Problem
from kaito_trainer.contract.problems import close_match, listing, shown


class Reader:
    """Each method looks up a path's last part in the given mapping and returns a value of its type, whatever is there."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def problem(self, path: str, message: str, remedy: str) -> None:
        """Note one."""
        self.problems.append(Problem(path, message, remedy))

    def known(self, path: str, given: Mapping[str, Any], fields: Sequence[str]) -> None:
        """Every other field is a problem, as it is for a server with strict field validation."""
        for name in given:
            if name not in fields:
                near = close_match(str(name), fields)
                where = f"{path}.{name}" if path else str(name)
                self.problem(where, "there is no such field.", near or f"The fields are {listing(fields, 'and')}.")

    def mapping(self, path: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """A mapping; empty when it is missing."""
        value = given.get(path.rsplit(".", 1)[-1])
        if value is None or isinstance(value, Mapping):
            return value or {}
        self.problem(path, f"{shown(value)} is no mapping.", "Write keys and values.")
        return {}

    def text(self, path: str, given: Mapping[str, Any], key: str | None = None) -> str | None:
        """Text; None when it is missing. `key`: when the path's last part is not it."""
        value = given.get(key or path.rsplit(".", 1)[-1])
        if value is None or isinstance(value, str):
            return value
        self.problem(path, f"{shown(value)} is not text.", "Put it in quotes.")
        return None

    def texts(self, path: str, given: Mapping[str, Any]) -> tuple[str, ...]:
        """A list of texts; empty when it is missing."""
        value = given.get(path.rsplit(".", 1)[-1]) or ()
        if isinstance(value, list | tuple) and all(isinstance(v, str) for v in value):
            return tuple(value)
        self.problem(path, f"{shown(value)} is no list of texts.", "Write one text a line, each after a dash.")
        return ()

    def whole(self, path: str, given: Mapping[str, Any], default: int) -> int:
        """A whole number."""
        value = given.get(path.rsplit(".", 1)[-1], default)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        self.problem(path, f"{shown(value)} is no whole number.", "Write one, without quotes.")
        return default
