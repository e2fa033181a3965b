"""The front end's own tests, and what its sources promise."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SOURCES = sorted((ROOT / "kaito_jupyter" / "panel" / "js").glob("*.js"))


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node on this machine")
def test_the_front_ends_logic_does_what_its_own_tests_say() -> None:
    tests = Path(__file__).with_name("front_end.test.js")
    done = subprocess.run(["node", "--test", str(tests)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_source_makes_markup_out_of_text_or_reaches_for_the_network() -> None:
    assert SOURCES
    for source in SOURCES:
        code = re.sub(r"^\s*//.*$", "", source.read_text(encoding="utf-8"), flags=re.MULTILINE)
        for word in (
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "fetch(",
            "XMLHttpRequest",
        ):
            assert word not in code, f"{source.name}: {word}"
        assert "http" not in code.replace("http://www.w3.org/2000/svg", ""), source.name


def test_the_lock_file_names_no_host() -> None:
    lock = (ROOT / "package-lock.json").read_text(encoding="utf-8")
    assert "http" not in lock
    assert '"resolved"' not in lock
