"""The documentation's code: its blocks, and the world in which they are true.

That world has a file of support tickets, the recordings of the notebooks, and a tiny model that Hugging Face's cache takes for SmolLM2:
everything is trained for real, in seconds, with neither hub nor cluster.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
_BLOCK = re.compile(r"(?:^<!-- (?P<mark>[^\n]+) -->\n)?^```(?P<language>\S*)[^\n]*\n(?P<code>.*?)^```$", re.M | re.S)
_REVISION = "0" * 40


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    code: str
    mark: str
    """The comment on the line above: `raises`, `not run: WHY`, or what else there is to say."""
    line: int


def blocks(text: str) -> Iterator[Block]:
    for found in _BLOCK.finditer(text):
        line = text[: found.start("code")].count("\n") + 1
        yield Block(found["language"], found["code"], found["mark"] or "", line)


def make_world(home: Path) -> dict[str, str]:
    """Put it there, and return the environment that belongs to it."""
    hub = home / "hub" / "models--HuggingFaceTB--SmolLM2-135M-Instruct"
    model = hub / "snapshots" / _REVISION
    model.mkdir(parents=True)
    (hub / "refs").mkdir()
    (hub / "refs" / "main").write_text(_REVISION)
    code = (
        "import sys; from pathlib import Path; import pandas as pd\n"
        "from tiny import WORDS, make_model\n"
        "make_model(Path(sys.argv[1]))\n"
        "words = WORDS.split()\n"
        "rows = [(f'What does function {i} do?', 'It returns ' + ' '.join(words[:3 + i % 5])) for i in range(24)]\n"
        "pd.DataFrame(rows, columns=['question', 'answer']).to_parquet(sys.argv[2])"
    )
    paths = os.pathsep.join([str(Path(__file__).parent), *(p for p in sys.path if p)])
    tickets = home / "support-tickets.parquet"
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(model), str(tickets)],
        check=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    (home / "notebooks").symlink_to(ROOT / "notebooks")
    return {
        "HF_HUB_CACHE": str(home / "hub"),
        "HF_HUB_OFFLINE": "1",
        "KAITO_HISTORY": "",  # kept, in that world's own state folder
        "OMP_NUM_THREADS": "1",
        "TRANSFORMERS_VERBOSITY": "error",
    }
