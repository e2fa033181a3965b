"""The demo's data: real text that every machine has."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import pandas as pd
import pytest

from kaito_jupyter.dataset import Dataset
from kaito_jupyter.demo import LONGEST, SHORTEST, docstring_pairs


@pytest.fixture(scope="module")
def pairs() -> pd.DataFrame:
    return docstring_pairs()


def turns(frame: pd.DataFrame) -> list[tuple[str, str]]:
    return [(question["content"], answer["content"]) for question, answer in frame["messages"]]


def test_there_is_enough_to_learn_from(pairs: pd.DataFrame) -> None:
    assert len(pairs) >= 400
    dataset = Dataset.read(pairs, name="df")
    assert (dataset.format, dataset.warnings, dataset.notes) == ("conversational", (), ())


def test_questions_name_the_thing_and_answers_are_one_paragraph_each_once(pairs: pd.DataFrame) -> None:
    found = turns(pairs)
    answers = [answer for _, answer in found]
    assert all(SHORTEST <= len(answer) <= LONGEST for answer in answers)
    assert all("\n" not in answer and "  " not in answer for answer in answers)
    assert len(set(answers)) == len(answers)
    assert len({question for question, _ in found}) == len(found)
    known = dict(found)["In Python, what is `textwrap.dedent`?"]
    assert known.startswith("Remove any common leading whitespace")


def test_the_order_is_mixed_but_always_the_same(pairs: pd.DataFrame) -> None:
    assert turns(docstring_pairs()) == turns(pairs)
    modules = [question.split("`")[1].split(".")[0] for question, _ in turns(pairs)]
    assert modules != sorted(modules)
    # So that the first rows are no alphabet's beginning, and a head() of them is a fair sample.
    assert len(set(modules[:100])) > 30


def test_importing_the_standard_library_stays_quiet() -> None:
    code = "from kaito_jupyter.demo import docstring_pairs; docstring_pairs()"
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_no_module_that_acts_when_it_is_imported_is_touched() -> None:
    code = "import sys; from kaito_jupyter.demo import docstring_pairs; docstring_pairs(); print({'this', 'antigravity'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert done.stdout == "set()\n"


def test_warnings_of_old_modules_don_t_reach_the_notebook() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        docstring_pairs()
    assert caught == []
