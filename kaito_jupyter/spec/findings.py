"""What a check has found, all of it, in one value that magic, form and YAML read in the same way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kaito_trainer.contract import Problem, Severity

from .fixed import applicable

if TYPE_CHECKING:
    from ..lookahead import Lookahead
    from ..preflight import Estimate


class Findings(list[Problem]):
    """Findings in the order of the check: each with path, message, remedy, severity and `fix`.

    A form needs `by_path()` (which field lights up with what), `changes` (what `spec.fixed(findings)` would write where),
    `seen` and `size` (what was looked at on the way, to be shown without looking again).
    """

    def __init__(
        self,
        found: Iterable[Problem] = (),
        *,
        strict: bool = False,
        seen: Lookahead | None = None,
        size: Estimate | None = None,
    ) -> None:
        super().__init__(replace(p, severity="error") if strict and p.severity == "warning" else p for p in found)
        self.seen = seen
        """The look at the data; None without data, or when errors stood before it."""
        self.size = size
        """The estimate of memory; None for an unknown model, or when errors stood before it."""

    @property
    def errors(self) -> list[Problem]:
        """What keeps it from a start."""
        return self._of("error")

    @property
    def warnings(self) -> list[Problem]:
        """What does not, and should be read."""
        return self._of("warning")

    @property
    def notes(self) -> list[Problem]:
        """What was chosen, or is good to know."""
        return self._of("note")

    @property
    def fixable(self) -> list[Problem]:
        """Errors and warnings with a fix: what `--fix` makes. A note is no fault, and its fix is an offer."""
        return [p for p in self if p.fix and p.severity != "note"]

    @property
    def changes(self) -> Mapping[str, Any]:
        """Path -> value of all that `spec.fixed(findings.fixable)` would change; None for what is left out."""
        return applicable(self.fixable)

    def by_path(self) -> dict[str, list[Problem]]:
        """Path -> its findings, the worst first. Paths are KAITO's words or `Section.field`; the data's are its name, or
        `name[row].column`."""
        found: dict[str, list[Problem]] = {}
        for severity in ("error", "warning", "note"):
            for problem in self:
                if problem.severity == severity:
                    found.setdefault(problem.path, []).append(problem)
        return found

    def at(self, path: str) -> list[Problem]:
        """The findings of a field and of what stands below it, the worst first."""
        below = (f"{path}.", f"{path}[")
        return [p for name, found in self.by_path().items() if name == path or name.startswith(below) for p in found]

    def _of(self, severity: Severity) -> list[Problem]:
        return [p for p in self if p.severity == severity]

    def __repr__(self) -> str:
        return "\n".join(f"{p.severity}: {p}" for p in self) or "Nothing found."


__all__ = ["Findings"]
