from __future__ import annotations

from typing import Any, cast

import pytest
from IPython.core.interactiveshell import InteractiveShell

from kaito_jupyter.magics.kaito_magics import KaitoMagics
from kaito_jupyter.magics.telling import Telling


class _Magics:
    terminal = True

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def test_a_terminal_is_told_what_matters_and_not_each_percent() -> None:
    magics = _Magics()
    tell = Telling(cast("KaitoMagics", magics))
    for text in ("A pod is started", "on its way: 0%", "on its way: 10%", "on its way: 20%", "The data is there."):
        tell(text)
    assert magics.said == ["A pod is started", "The data is there."]


def test_a_cell_has_one_line_that_keeps_itself_current(
    shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    published: list[tuple[str, bool]] = []

    def publish(data: Any, metadata: Any = None, *, transient: Any = None, update: bool = False, **_: Any) -> None:
        published.append((data["text/plain"], update))

    monkeypatch.setattr(shell.display_pub, "publish", publish)
    magics = _Magics()
    magics.terminal = False
    tell = Telling(cast("KaitoMagics", magics))
    tell("on its way: 0%")
    tell("The data is there.")
    assert published == [("kaito: on its way: 0%", False), ("kaito: The data is there.", True)]
