"""What `--yaml`, `%kaito yaml` and `--help` give back: text that shows as it is and can be copied."""

from __future__ import annotations

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
class HelpText:
    """What `--help` gives: the same text as `?`."""

    text: str

    def __repr__(self) -> str:
        return self.text.rstrip("\n")
