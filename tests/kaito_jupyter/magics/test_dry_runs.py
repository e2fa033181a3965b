"""`--dry-run` takes a value behind an =, and never the word that follows."""

from __future__ import annotations

from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell


def failed(shell: InteractiveShell, cell: str) -> str:
    ran = shell.run_cell(cell)
    assert not ran.success
    return str(ran.error_in_exec)


@pytest.mark.parametrize("words", ["df --dry-run", "--dry-run df", "df --dry-run=client"])
def test_a_dry_run_without_a_word_is_ours(shell: InteractiveShell, words: str, shown: list[Any]) -> None:
    plan = shell.run_cell(f"%kaito_tune {words} --preset a/b --backend local").result
    assert (plan.accepted_by, plan.rows, shown) == ("", 40, [])


def test_a_dry_run_somewhere_else_is_told(shell: InteractiveShell) -> None:
    text = failed(shell, "%kaito_tune df --preset a/b --dry-run=sever")
    assert text == '--dry-run: "sever" is not allowed. Did you mean "server"? Use "client" or "server".'


def test_a_place_without_a_server_cannot_be_asked(shell: InteractiveShell) -> None:
    text = failed(shell, "%kaito_tune df --preset a/b --backend local --dry-run=server")
    assert text.startswith('--dry-run: the backend "local" has no server that could be asked.')
