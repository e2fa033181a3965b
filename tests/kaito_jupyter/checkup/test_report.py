"""How a report shows."""

from __future__ import annotations

import pytest

from kaito_jupyter.checkup import Line, Report

ROLE = "kind: Role\nmetadata: {name: <b>}\n"
REPORT = Report((Line("login", "ok", "You are <me>."), Line("rights", "failed", "Some lack.", "Apply it.")), ROLE)


def test_text_has_the_verdict_then_a_line_each_then_the_role() -> None:
    assert repr(REPORT).splitlines() == [
        "1 thing is wrong.",
        "  ok      login   You are <me>.",
        "  FAILED  rights  Some lack.",
        "                  → Apply it.",
        "",
        "kind: Role",
        "metadata: {name: <b>}",
    ]
    assert not REPORT.ok
    assert [line.topic for line in REPORT.failed] == ["rights"]
    assert Report((REPORT.lines[0],)).ok


def test_html_holds_the_same_and_escapes_it() -> None:
    shown = REPORT._repr_html_()
    for piece in (
        "1 thing is wrong.",
        "You are &lt;me&gt;.",
        "→ Apply it.",
        "<pre>kind: Role\nmetadata: {name: &lt;b&gt;}",
    ):
        assert piece in shown


def test_nothing_fails_without_a_remedy() -> None:
    with pytest.raises(ValueError, match="needs a remedy"):
        Line("login", "failed", "No.")
