"""What stays in the notebook's file: a picture and facts that need nothing, and in which a run's text is only text."""

from __future__ import annotations

from html.parser import HTMLParser

from scripted import ScriptedRun

from kaito_jupyter.panel import bundle, still
from kaito_trainer.contract import events as ev

MARKUP = '<script>alert(1)</script><img src=x onerror="alert(1)">\'"&'


class Reader(HTMLParser):
    """Tags, attributes and text, as a browser would find them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def test_an_ended_runs_facts_are_told_with_answers_before_and_after() -> None:
    run = ScriptedRun("docs", steps=20)
    run.begin()
    run.generate({"prompt": "What?", "completion": "No idea.", "reference": "That."})
    run.train(20)
    run.generate({"prompt": "What?", "completion": "That!", "reference": "That."})
    run.finish("/runs/docs/results")
    page = Reader(still.html(run, run.clock()))
    for expected in (
        "docs",
        "Succeeded",
        "LoRA",
        "20 steps",
        "No idea.",
        "That!",
        "That.",
        "/runs/docs/results",
        "%kaito watch docs",
    ):
        assert expected in page.text
    assert page.tags <= {still.TAG, "div", "strong", "span", "table", "tr", "td", "th"}
    assert page.attributes == {"style"}


def test_a_failed_run_says_what_and_what_to_do() -> None:
    run = ScriptedRun()
    run.begin()
    run.say(
        ev.Error(
            kind="out-of-memory", message="No memory is left.", remedy="Halve the batch size.", details=["one", "two"]
        )
    )
    run.status("Failed")
    text = Reader(still.html(run, run.clock())).text
    for expected in (
        "Failed",
        "out-of-memory",
        "No memory is left.",
        "Memory ran out",
        "What to do: Set gradient_checkpointing True.",
        "Type: %kaito resume panel-test --fix",
        "one\ntwo",
    ):
        assert expected in text
    assert "Adapter" not in text


def test_markup_in_any_text_of_a_run_is_shown_and_never_meant() -> None:
    run = ScriptedRun(MARKUP, preset=MARKUP)
    run.status("Running", MARKUP)
    run.begin()
    sample = {"prompt": MARKUP, "completion": MARKUP, "reference": MARKUP}
    run.generate(sample)
    run.train(2)
    run.generate(sample)
    run.say(ev.Error(kind=MARKUP, message=MARKUP, remedy=MARKUP, details=[MARKUP]))
    run.status("Failed", MARKUP)
    page = Reader(still.html(run, run.clock(), panel=MARKUP, png=b"png"))
    assert page.tags <= {still.TAG, "div", "strong", "span", "table", "tr", "td", "th", "pre"}
    assert page.attributes == {"style", "data-run", "data-picture"}
    assert page.text.count(MARKUP) >= 8


def test_the_picture_is_named_in_words_and_found_by_its_end() -> None:
    data, metadata = bundle.picture("two\nlines", "Loss fell.", b"\x89PNG and so on")
    assert data["text/plain"] == "two\nlines"
    assert metadata["image/png"]["alt"] == "Loss fell."
    html = still.html(ScriptedRun(), 0.0, panel="p1", png=b"\x89PNG and so on")
    assert f'data-picture="{data["image/png"][-bundle.TAIL :]}"' in html


def test_only_a_living_runs_output_needs_a_widget() -> None:
    assert bundle.WIDGET_VIEW in bundle.picture("text", "alt", None, "model-1").data
    assert bundle.picture("text", "alt", None).data == {"text/plain": "text"}
    assert bundle.facts("text").data == {"text/html": "", "text/plain": ""}
