"""`python -m kaito_jupyter.checkup FOLDER`: write the Role that notebooks need, its binding and the optional ClusterRole."""

from __future__ import annotations

import sys
from pathlib import Path

from .rights import shipped


def main(folder: str) -> None:
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name, text in shipped().items():
        (Path(folder) / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
