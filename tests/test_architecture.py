"""Laws of the house that a linter of imports cannot see."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "transformers", "pandas", "matplotlib", "kubernetes", "pyarrow", "ipywidgets", "anywidget")


def _python(code: str, *flags: str) -> str:
    done = subprocess.run([sys.executable, *flags, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_kaito_jupyter_loads_nothing_heavy() -> None:
    code = f"import sys, kaito_jupyter; print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    assert _python(code) == "[]"


def test_the_contract_imports_in_a_bare_interpreter() -> None:
    # -S leaves site-packages out: what still imports needs the standard library only.
    code = "import sys; sys.path.insert(0, 'trainer'); import kaito_trainer.contract as c; print(c.decode('x'))"
    assert _python(code, "-S", "-I") == "None"


def test_no_public_name_is_missing_or_forgotten() -> None:
    import kaito_jupyter

    assert sorted(kaito_jupyter._HOMES) == sorted(kaito_jupyter.__all__)
    for name in kaito_jupyter.__all__:
        assert getattr(kaito_jupyter, name).__doc__, f"{name} has no docstring"


@pytest.mark.parametrize("package", ["kaito_jupyter", "trainer/kaito_trainer"])
def test_every_room_is_small(package: str) -> None:
    long = {
        str(p.relative_to(ROOT)): n
        for p in (ROOT / package).rglob("*.py")
        if (n := len(p.read_text().splitlines())) > 400
    }
    assert long == {}


def test_both_packages_carry_the_version_of_the_changelog() -> None:
    import kaito_jupyter
    import kaito_trainer

    assert kaito_jupyter.__version__ == kaito_trainer.__version__
