"""Where the specs of several runs differ: only that, with what really runs where nothing was said. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Final

from kaito_trainer.contract.problems import one_line, shown

from ..diagnose.diagnosis import blanked

if TYPE_CHECKING:
    from pandas import DataFrame

    from ..spec import Target, TuningSpec

WIDTH: Final = 60
"""Characters of a value that are shown."""
_NAMES: Final = ("metadata.name",)
"""Paths that differ in all runs and say nothing."""


class Value:
    """What one run has at a path: said by its maker, or (`chosen`) taken because nobody said anything."""

    __slots__ = ("chosen", "value")

    def __init__(self, value: Any, *, chosen: bool) -> None:
        self.value, self.chosen = value, chosen

    def __str__(self) -> str:
        if self.value is None:
            return "–"
        text = one_line(self.value, WIDTH) if isinstance(self.value, str) else one_line(shown(self.value), WIDTH)
        return f"{blanked(text)} (default)" if self.chosen else blanked(text)

    def __repr__(self) -> str:
        return str(self)


class Contrast(Sequence[tuple[str, tuple[Value, ...]]]):
    """Rows of (path, one value a run). Empty when nothing differs."""

    def __init__(self, labels: Sequence[str], rows: Sequence[tuple[str, tuple[Value, ...]]]) -> None:
        self.labels, self._rows = tuple(labels), list(rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        return self._rows[index]

    def to_frame(self) -> DataFrame:
        """A row a path, a column a run, with the values as they are."""
        from pandas import DataFrame, Index

        values = [[v.value for v in row] for _, row in self._rows]
        index = Index([path for path, _ in self._rows], name="path", dtype="object")
        return DataFrame(values, index=index, columns=list(self.labels), dtype="object")

    def __repr__(self) -> str:
        from .versus import columns

        if not self._rows:
            return "Their specs say the same."
        return columns(["", *self.labels], [[path, *map(str, values)] for path, values in self._rows])

    def _repr_html_(self) -> str:
        if not self._rows:
            return "<p>Their specs say the same.</p>"
        cell = "style='text-align:left;padding:2px 14px 2px 0;vertical-align:top'"
        head = "".join(f"<th scope='col' {cell}>{escape(label)}</th>" for label in ("", *self.labels))
        rows = "".join(
            f"<tr><th scope='row' {cell}><code>{escape(path)}</code></th>"
            + "".join(f"<td {cell}>{_cell(v)}</td>" for v in values)
            + "</tr>"
            for path, values in self._rows
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))


def contrast(labels: Sequence[str], runs: Sequence[tuple[TuningSpec, Target, int | None]]) -> Contrast:
    """Compare specs, each with where it runs and the rows of its data (None: not known; then fewer defaults are)."""
    said = [{p: v for p, v in spec.flat().items() if p not in _NAMES} for spec, _, _ in runs]
    full = []
    for told, (spec, target, rows) in zip(said, runs, strict=True):
        effective = spec.effective_config(target, rows=rows).to_dict()
        taken = {f"{s}.{k}": v for s, keys in effective.items() for k, v in keys.items()}
        values = {p: Value(v, chosen=True) for p, v in taken.items()}
        full.append(values | {p: Value(v, chosen=False) for p, v in told.items()})
    nothing = Value(None, chosen=False)
    paths = sorted({p for values in full for p in values}, key=lambda p: (p[:1].isupper(), p))
    table = [(path, tuple(values.get(path, nothing) for values in full)) for path in paths]
    return Contrast(labels, [(p, vs) for p, vs in table if any(v.value != vs[0].value for v in vs)])


def _cell(value: Value) -> str:
    text = escape(str(value))
    return f"<span style='opacity:.65'>{text}</span>" if value.chosen or value.value is None else text


__all__ = ["Contrast", "contrast"]
