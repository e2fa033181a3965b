"""Where two specs differ, so that a person can read it: a table in a notebook, lines in a terminal. Pure."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from kaito_trainer.contract.problems import one_line, shown

_LONGEST = 200
"""Letters of a value that are shown."""
_CELL = "text-align:left;padding:2px 12px 2px 0"


class Difference(Sequence[tuple[str, Any, Any]]):
    """Rows of (path, before, after); None stands for what was not said. False when there are none."""

    def __init__(self, rows: Sequence[tuple[str, Any, Any]]) -> None:
        self._rows = list(rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        return self._rows[index]

    def brief(self) -> str:
        """The paths, in a sentence's words."""
        paths = [path for path, _, _ in self._rows]
        return paths[0] if len(paths) == 1 else f"{', '.join(paths[:-1])} and {paths[-1]}" if paths else "nothing"

    def lines(self) -> list[str]:
        """A line each: `TrainingArguments.max_steps: 10 → 20`."""
        return [f"{path}: {_text(before)} → {_text(after)}" for path, before, after in self._rows]

    def __str__(self) -> str:
        return "\n".join(self.lines()) or "Nothing differs."

    __repr__ = __str__

    def _repr_html_(self) -> str:
        if not self._rows:
            return "<p>Nothing differs.</p>"
        rows = "".join(
            f'<tr><td style="{_CELL}"><code>{html.escape(one_line(path, _LONGEST))}</code></td>'
            f'<td style="{_CELL}">{html.escape(_text(before))}</td>'
            f'<td style="{_CELL}"><strong>{html.escape(_text(after))}</strong></td></tr>'
            for path, before, after in self._rows
        )
        head = "".join(f'<th style="{_CELL}">{name}</th>' for name in ("", "that runs", "this one"))
        return f"<table><tr>{head}</tr>{rows}</table>"


def _text(value: Any) -> str:
    if value is None:
        return "–"
    return one_line(value, _LONGEST) if isinstance(value, str) else shown(value)
