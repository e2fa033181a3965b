"""How a dataset looks, and that nothing in it can act."""

from __future__ import annotations

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from kaito_jupyter.chat import ChatTemplate
from kaito_jupyter.dataset import Dataset
from kaito_trainer.contract import TrainingConfig

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
EVIL = "<script>document.title='caught'</script><img src=x onerror=\"document.title='caught'\">'\"&amp;`"
TURNS = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hello?"},
    {"role": "assistant", "content": "Hello."},
]
FRAME = pd.DataFrame({"messages": [TURNS, [*TURNS[1:], TURNS[1]], TURNS]})
HELD_OUT = TrainingConfig.from_dict({"DatasetConfig": {"train_test_split": 0.7}})


@pytest.fixture
def model(tmp_path: Path) -> Path:
    place = tmp_path / "Little-Chat"
    place.mkdir()
    (place / "tokenizer_config.json").write_text(json.dumps({"chat_template": CHATML, "eos_token": "<|im_end|>"}))
    return place


class Tags(HTMLParser):
    """What a browser would make elements and attributes of."""

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


def evil() -> Dataset:
    turns = [{"role": "user", "content": EVIL}, {"role": "assistant", "content": EVIL, EVIL: EVIL}]
    frame = pd.DataFrame({EVIL: [turns, turns], EVIL * 2: [EVIL, EVIL]}, index=[EVIL, EVIL])
    return Dataset.read(frame, name=EVIL).with_config(HELD_OUT)


def test_html_in_names_and_texts_stays_text(model: Path) -> None:
    for dataset in (evil(), evil().with_model(model), evil().with_model(EVIL)):
        found = Tags(dataset._repr_html_())
        assert found.tags <= set(
            "style section header h4 span code dl div dt dd b svg rect ul li figure figcaption mark pre footer".split()
        )
        assert found.attributes <= set(
            "class aria-label role viewbox preserveaspectratio x y width height rx title".split()
        )
        assert EVIL in found.text  # whole, as text


def test_html_in_a_template_and_its_refusal_stays_text(tmp_path: Path) -> None:
    for template in (EVIL + "{{ messages[0].content }}", "{{ raise_exception(messages[0].content) }}"):
        found = Tags(evil().with_model("m", template + "{# { #}")._repr_html_())
        assert not {"script", "img"} & found.tags
        assert EVIL in found.text


@pytest.mark.browser
def test_nothing_in_the_data_acts_in_a_browser() -> None:
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 600, "height": 400})
        page.set_content(f"<title>safe</title>{evil()._repr_html_()}", wait_until="networkidle")
        assert page.title() == "safe"
        assert page.evaluate("document.documentElement.scrollWidth") <= 600
        browser.close()


def test_the_text_tells_the_same_as_the_card(model: Path) -> None:
    dataset = Dataset.read(FRAME, name="df").with_model(model).with_config(HELD_OUT)
    assert (
        repr(dataset)
        == f"""\
Dataset df: 3 rows, conversational (messages)
  lengths      p50 21 · p95 21 · max 21 characters
  split        2 trained on, 1 held out
  warning      messages: 1 row does not end with an assistant turn (row 1). What stands after the last answer is not learnt.
               df: 1 row repeats an earlier one (row 2). They weigh double, and may stand in the training and the held-out rows alike. Drop them: `df = df[~df[["messages"]].astype(str).duplicated()]`.
  fingerprint  {dataset.fingerprint[:16]}
First example, as the chat template of Little-Chat renders it:
  <|im_start|>system
  Be brief.<|im_end|>
  <|im_start|>user
  Hello?<|im_end|>
  <|im_start|>assistant
  Hello.<|im_end|>"""
    )
    card = Tags(dataset._repr_html_()).text
    for words in (
        "3",
        "rows",
        "trained on",
        "held out",
        "p50 21",
        "max 21",
        "1 row repeats an earlier one",
        "Little-Chat",
    ):
        assert words in card


def test_the_preview_is_the_template_s_rendering(model: Path) -> None:
    dataset = Dataset.read(FRAME)
    template = ChatTemplate.of(model)
    assert template is not None
    assert dataset.preview(template) == template.render(TURNS) == dataset.with_model(model).preview()


def test_without_a_template_the_roles_are_marked_and_it_says_so() -> None:
    dataset = Dataset.read(FRAME)
    marked = "[system]\nBe brief.\n[user]\nHello?\n[assistant]\nHello."
    why = "no chat template, as no model is chosen: the roles are marked instead"
    assert dataset.preview() == f"({why})\n{marked}"
    assert dataset.preview(None) == dataset.preview()
    unknown = dataset.with_model("org/unknown").preview()
    assert unknown == f"(org/unknown has no chat template on this machine: the roles are marked instead)\n{marked}"
    assert why in dataset._repr_html_()


def test_a_refusing_template_s_words_are_shown() -> None:
    dataset = Dataset.read(FRAME).with_model("m", "{{ raise_exception('No system turns!') }}")
    assert dataset.preview().startswith(
        "(the chat template of ModelConfig.chat_template refuses this conversation (No system turns!): the roles"
    )


def test_instructions_and_text_are_shown_as_they_are_trained_on(model: Path) -> None:
    pair = Dataset.read(pd.DataFrame({"prompt": ["Q\n"], "completion": ["A"]})).with_model(model)
    assert pair.preview() == "Q\nA<|im_end|>"
    assert "<mark>A" in pair._repr_html_()
    assert "Q\n<mark>" in pair._repr_html_()
    text = Dataset.read(pd.DataFrame({"text": ["T"]}))
    assert text.preview() == "T"
    assert "all of it learnt" in text._repr_html_()


def test_what_is_learnt_is_marked(model: Path) -> None:
    html = Dataset.read(FRAME).with_model(model)._repr_html_()
    assert html.count("<mark>") == 2  # the legend and the answer
    assert '<mark>Hello.<span class="k-token">&lt;|im_end|&gt;</span>' in html
    assert "Hello.</mark>" in Dataset.read(FRAME)._repr_html_()


def test_a_loss_on_everything_is_shown_as_such(model: Path) -> None:
    dataset = Dataset.read(FRAME).with_model(model)
    on_all = TrainingConfig.from_dict({"TrainingArguments": {"assistant_only_loss": False}})
    for shown in (dataset.with_config(on_all), dataset.with_config(HELD_OUT, everything=True)):
        html = shown._repr_html_()
        assert "renders it; all of it is learnt" in html
        assert "<pre><mark>" in html
        assert "only read" not in html
    assert "all of it" not in repr(dataset.with_config(HELD_OUT))
    pair = Dataset.read(pd.DataFrame({"prompt": ["Q\n"], "completion": ["A"]}))
    assert "all of it" not in repr(pair.with_config(on_all))  # another format's option


def test_a_template_that_only_the_pod_has_is_no_error(model: Path) -> None:
    preview = Dataset.read(FRAME).with_model(model, "/mnt/config/chat.jinja").preview()
    assert preview.startswith(
        "(ModelConfig.chat_template: /mnt/config/chat.jinja cannot be read: No such file or directory: the roles"
    )


def test_a_long_example_is_cut_and_the_rest_counted() -> None:
    dataset = Dataset.read(pd.DataFrame({"prompt": ["p" * 1000], "completion": ["c" * 100_000]}))
    assert dataset.preview() == "p" * 1000 + "c" * 100_000
    for look in (repr(dataset), dataset._repr_html_()):
        assert "… 99,400 more characters" in look
        assert len(look) < 12_000


def test_a_card_needs_no_other_file_and_follows_the_theme() -> None:
    html = Dataset.read(FRAME)._repr_html_()
    assert "http" not in html
    assert "url(" not in html
    assert "@import" not in html
    assert "var(--jp-layout-color1, #ffffff)" in html
    assert 'body[data-jp-theme-light="false"]' in html
    assert "prefers-color-scheme: dark" in html


def test_one_row_is_one_row() -> None:
    assert repr(Dataset.read(pd.DataFrame({"text": ["T"]}))).startswith("Dataset data: 1 row, text (text)\n")
    assert "<dt>row</dt><dd>1</dd>" in Dataset.read(pd.DataFrame({"text": ["T"]}))._repr_html_()
