"""Log lines in the panel's drawer."""

from __future__ import annotations

import pytest

from kaito_jupyter.panel.lines import readable
from kaito_trainer.contract import encode
from kaito_trainer.contract import events as ev


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("plain", "plain"),
        ("\x1b[31mred\x1b[0m\x07 \u202eturned", "red turned"),
        ("\rMap:  10%|█ \rMap: 100%|██", "Map: 100%|██"),
        ("x" * 700, "x" * 600 + " …"),
        (
            encode(ev.Log(global_step=3, loss=1.23456789, grad_norm=1.0, learning_rate=2e-4), seq=1, time=1.0),
            "[log] global_step=3 loss=1.2346 learning_rate=0.0002",
        ),
        (encode(ev.Phase(phase="loading", detail="\x1b[2J<b>"), seq=1, time=1.0), "[phase] phase=loading detail=<b>"),
        (encode(ev.Generate(global_step=0, samples=[{}, {}]), seq=1, time=1.0), "[generate] global_step=0 samples=(2)"),
    ],
)
def test_log_lines_are_made_readable(line: str, expected: str) -> None:
    assert readable(line) == expected
