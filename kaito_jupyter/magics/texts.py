"""What `--yaml`, `%kaito yaml` and `%kaito logs` give back: text that can be copied, with the text itself as an attribute.

Their representations escape HTML: a log line may hold anything.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class YamlText:
    """YAML that `kubectl apply -f` takes."""

    text: str

    def __repr__(self) -> str:
        return self.text.rstrip("\n")

    def __str__(self) -> str:
        return self.text

    def write(self, path: str | Path) -> Path:
        """Write it to a file, and say where."""
        target = Path(path).expanduser()
        target.write_text(self.text, encoding="utf-8")
        return target


@dataclass(frozen=True, slots=True)
class LogText(Sequence[str]):
    """The last lines of a run's log."""

    name: str
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def __len__(self) -> int:
        return len(self.lines)

    def __iter__(self) -> Iterator[str]:
        return iter(self.lines)

    def __getitem__(self, at: int) -> str:  # type: ignore[override]
        return self.lines[at]

    def __repr__(self) -> str:
        return self.text or f"{self.name} has written nothing yet."

    def _repr_html_(self) -> str:
        return f'<pre aria-label="Log of {html.escape(self.name, quote=True)}">{html.escape(repr(self))}</pre>'


@dataclass(frozen=True, slots=True)
class HelpText:
    """What `--help` gives: the same text as `?`."""

    text: str

    def __repr__(self) -> str:
        return self.text.rstrip("\n")
