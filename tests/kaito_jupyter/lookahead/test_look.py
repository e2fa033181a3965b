"""How a preview looks: text and card say the same, and nothing in data, template or tokenizer becomes markup."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pandas as pd

from kaito_jupyter import preview

EVIL = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&amp;"


class Tags(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def test_html_in_data_names_and_templates_stays_text(model: Path) -> None:
    turns = [{"role": "user", "content": EVIL}, {"role": "assistant", "content": EVIL * 30}]
    frame = pd.DataFrame({"messages": [turns, turns]})
    refusing = "{{ raise_exception(messages[0].content) }}"
    from kaito_jupyter import Dataset

    for options in (
        {"preset": model},
        {"preset": "a/b"},
        {"preset": model, "config": {"ModelConfig": {"chat_template": refusing}}},
    ):
        page = Tags(preview(Dataset.read(frame, name=EVIL), max_length=30, **options)._repr_html_())
        assert page.tags <= set(
            "style section header h4 h5 span b p i figure figcaption svg rect line div table tr th td ul li mark s pre".split()
        )
        assert page.attributes <= set(
            "class aria-label role viewbox preserveaspectratio x y x1 x2 y1 y2 width height title".split()
        )
        assert EVIL in page.text


def test_the_text_shows_figures_marks_what_is_trained_on_and_draws_the_cut(model: Path, talks: pd.DataFrame) -> None:
    seen = preview(talks, preset=model, rows=1, max_length=17)
    n = seen.figures.truncated
    assert repr(seen).startswith(
        "data as words-1b sees it: 10 rows (conversational), the assistant's turns are trained on\n"
        f"  tokens a row  p50 {seen.figures.lengths.p50} · p95 "
    )
    assert f"  cut off       {10 * n} % of the rows, " in repr(seen)
    assert "Row 0: " in repr(seen)
    assert "⟦ what does the function <|im_end|>⟧" in repr(seen)
    assert "[✂ cut at 17: " in repr(seen)
    assert repr(seen).endswith("⟦trained on⟧; the rest is only read.")


def test_the_card_says_all_that_the_text_says(model: Path, talks: pd.DataFrame) -> None:
    seen = preview(talks, preset=model, rows=1, max_length=17)
    page = Tags(seen._repr_html_())
    for line in repr(seen).splitlines()[3:8]:
        name, value = line[2:16].strip(), line[16:]
        assert name in page.text
        assert value in page.text
    assert 'aria-label="Rows by length: p50 ' in seen._repr_html_()
    assert "✂ cut at 17: " in page.text
    assert page.text.count("↵") == sum(token.text.count("\n") for row in seen.rows for token in row.tokens)


def test_of_a_long_row_its_beginning_and_its_cut_are_shown(model: Path) -> None:
    frame = pd.DataFrame({"text": ["what it " * 1000, "why"]})
    seen = preview(frame, preset=model, rows=1, max_length=1500)
    text = repr(seen)
    assert "[… 1,100 more tokens …]" in text
    assert "[✂ cut at 1,500: 501 tokens are never seen]" in text
    assert "[… 441 more tokens]" in text
    assert text.count("what") + text.count("it ") < 700
    whole = repr(preview(frame, preset=model, rows=1, max_length=4000))
    assert "[… 1,601 more tokens …]" in whole
    assert "✂" not in whole


def test_the_line_tells_what_matters_alone(model: Path, talks: pd.DataFrame) -> None:
    plain = preview(talks, preset=model).line
    assert plain.startswith("The model sees p50 ")
    assert plain.endswith(" of them trained on.")
    cut = preview(talks, preset=model, max_length=17, per_device_train_batch_size=4).line
    assert " of the rows cut at 17" in cut
    assert cut.endswith(" % padding.")
