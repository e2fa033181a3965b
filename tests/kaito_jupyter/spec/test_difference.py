"""Where two specs differ, as a person reads it."""

from __future__ import annotations

from kaito_jupyter.spec import Difference, build_spec


def test_it_shows_paths_and_values_in_lines_and_in_a_table() -> None:
    old = build_spec(preset="phi-4-mini-instruct", name="a", options={"max_steps": 5})
    new = build_spec(preset="phi-4", name="a", options={"rank": 16})
    difference = Difference(old.diff(new))
    assert str(difference).splitlines() == [
        "tuning.preset.name: phi-4-mini-instruct → phi-4",
        "TrainingArguments.max_steps: 5 → –",
        "LoraConfig.r: – → 16",
    ]
    assert difference.brief() == "tuning.preset.name, TrainingArguments.max_steps and LoraConfig.r"
    assert difference._repr_html_().count("<tr>") == 4


def test_what_is_in_it_is_text_and_no_markup() -> None:
    table = Difference([("a", "<img src=x onerror=alert(1)>", None)])._repr_html_()
    assert "<img" not in table
    assert "&lt;img" in table


def test_nothing_is_said_to_be_nothing() -> None:
    assert not Difference([])
    assert str(Difference([])) == "Nothing differs."
    assert "Nothing differs" in Difference([])._repr_html_()
