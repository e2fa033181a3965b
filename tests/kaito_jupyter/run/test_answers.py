"""What a person sees of the answers to held-out prompts."""

from __future__ import annotations

from kaito_jupyter.run.answers import Answers
from kaito_jupyter.state import Samples

BEFORE = Samples(0, [{"prompt": "What is <b>?", "completion": "I\ndo not know", "reference": "bold"}])
AFTER = Samples(9, [{"prompt": "What is <b>?", "completion": "bold <script>", "reference": "bold"}])


def test_both_answers_stand_side_by_side() -> None:
    assert repr(Answers([BEFORE, AFTER])) == (
        "What is <b>?\n  before  I do not know\n  after   bold <script>\n  data    bold"
    )


def test_the_table_escapes_what_the_model_says() -> None:
    shown = Answers([BEFORE, AFTER])._repr_html_()
    assert "<script>" not in shown
    assert "bold &lt;script&gt;" in shown


def test_during_the_training_there_is_no_later_answer_yet() -> None:
    assert next(Answers([BEFORE]).rows())[2] == "…"


def test_no_answers_say_why() -> None:
    assert "no held-out rows" in repr(Answers())
    assert "no held-out rows" in Answers()._repr_html_()
