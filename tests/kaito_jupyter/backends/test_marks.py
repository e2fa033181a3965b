"""What a run's object tells a list."""

from __future__ import annotations

from typing import Any

from kaito_jupyter.backends import marks
from kaito_jupyter.status import RunRef, Status

REF = RunRef("kaito", "a", "default", "test")


def record(status: Status, change: dict[str, Any]) -> tuple[str, ...]:
    document = {"metadata": {"name": "a", **change["metadata"]}}
    return marks.record_of(document, REF, status).tail


def test_the_last_numbers_are_those_of_this_revision_and_of_a_run_that_has_ended() -> None:
    kept = marks.last(["one", "two"], 2)
    assert record(Status("Succeeded", revision=2), kept) == ("one", "two")
    assert record(Status("Succeeded", revision=3), kept) == ()
    assert record(Status("Running", revision=2), kept) == ()
    assert record(Status("Failed", revision=1), marks.last([], 1)) == ()
    assert record(Status("Failed"), {"metadata": {}}) == ()
