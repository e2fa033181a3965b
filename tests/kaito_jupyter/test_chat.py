"""Chat templates render here, without the model, as Transformers renders them."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from kaito_jupyter.chat import ChatTemplate, RenderError

SMOLLM2 = Path("~/.cache/kaito-jupyter/models/SmolLM2-135M-Instruct").expanduser()
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
GENERATION = """
{%- for message in messages %}
    {%- if message.role == 'assistant' %}
        {{- '<|im_start|>assistant\n' }}
        {%- generation %}
            {{- message.content + '<|im_end|>' }}
        {%- endgeneration %}
        {{- '\n' }}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}
"""
TEMPLATES = {
    "chatml": CHATML,
    "generation": GENERATION,
    "mistral": (
        "{{ bos_token }}{% for message in messages %}"
        "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
        "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
        "{% else %}{{ ' ' + message['content'] | trim + eos_token }}{% endif %}{% endfor %}"
    ),
    "tojson": "{% for m in messages %}{{ m | tojson }}|{{ m | tojson(indent=2) }}\n{% endfor %}",
    "date": "{% set day = strftime_now('%Y') %}{% if not tools %}Year {{ day }}{% endif %}: {{ messages[-1].content }}",
    "loop controls": (
        "{% for m in messages %}\n    {% if m.role == 'system' %}{% continue %}{% endif %}\n"
        "    {{ m.content }}\n    {% if loop.index > 2 %}{% break %}{% endif %}\n{% endfor %}"
    ),
    "blocks and namespaces": (
        "{% set ns = namespace(n=0) %}\n{% for m in messages %}\n  {% set ns.n = ns.n + 1 %}\n  {{ ns.n }}. {{ m.content }}\n"
        "{% endfor %}\n{% macro end() %}done{{ undefined_name }}{% endmacro %}\n{{ end() }}"
    ),
}
TALK = [
    {"role": "user", "content": "What is 1 < 2 & 'true'?"},
    {"role": "assistant", "content": 'True, "é".\n  '},
    {"role": "user", "content": "<script>alert(1)</script>"},
    {"role": "assistant", "content": "No."},
]
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}


@pytest.mark.parametrize("prompt", [False, True], ids=["whole", "with generation prompt"])
@pytest.mark.parametrize("source", TEMPLATES.values(), ids=TEMPLATES.keys())
def test_a_template_renders_as_transformers_renders_it(source: str, prompt: bool) -> None:
    (theirs,), _ = render_jinja_template([TALK], chat_template=source, add_generation_prompt=prompt, **TOKENS)
    assert ChatTemplate(source, TOKENS).render(TALK, add_generation_prompt=prompt) == theirs


def test_what_is_learnt_is_what_transformers_marks_as_generated() -> None:
    (text,), (spans,) = render_jinja_template([TALK], chat_template=GENERATION, return_assistant_tokens_mask=True)
    assert ChatTemplate(GENERATION).learnt(TALK) == list(spans)
    assert [text[a:b] for a, b in spans] == ['True, "é".\n  <|im_end|>', "No.<|im_end|>"]


def test_without_generation_blocks_it_is_what_the_assistant_says_and_what_closes_it() -> None:
    template = ChatTemplate(CHATML)
    text = template.render(TALK)
    assert [text[a:b] for a, b in template.learnt(TALK)] == ['True, "é".\n  <|im_end|>', "No.<|im_end|>"]


def test_of_turns_that_the_template_rewrites_what_both_renderings_share_is_learnt() -> None:
    shouting = "{% for m in messages %}[{{ m.role }}] {{ m.content if loop.last else m.content | upper }}\n{% endfor %}"
    template = ChatTemplate(shouting)
    text = template.render(TALK)
    assert [text[a:b] for a, b in template.learnt(TALK)][-1].endswith("No.")


def test_smollm2_s_own_template_renders_as_its_tokenizer_renders_it() -> None:
    if not SMOLLM2.is_dir():
        pytest.skip("SmolLM2 is not in this machine's cache")
    from transformers import AutoTokenizer

    template = ChatTemplate.of(SMOLLM2)
    assert template is not None
    assert template.origin == "SmolLM2-135M-Instruct"
    assert template.tokens["eos_token"] == "<|im_end|>"
    tokenizer = AutoTokenizer.from_pretrained(SMOLLM2)
    for prompt in (False, True):
        theirs = tokenizer.apply_chat_template(TALK, tokenize=False, add_generation_prompt=prompt)
        assert template.render(TALK, add_generation_prompt=prompt) == theirs


REFUSALS = {
    "its own words": (
        TEMPLATES["mistral"],
        TALK[1:],
        "Conversation roles must alternate user/assistant/user/assistant/...",
    ),
    "broken syntax": ("{% for m in messages %}", TALK, "Unexpected end of template"),
    "an unknown filter": ("{{ messages | nonsense }}", TALK, "No filter named 'nonsense'"),
    "a missing key": ("{{ messages[0].content.nothing.there }}", TALK, "no attribute 'nothing'"),
    "a wrong type": ("{{ messages[0] + 1 }}", TALK, "TypeError: unsupported operand"),
    "division by zero": ("{{ 1 // 0 }}", TALK, "ZeroDivisionError"),
    "a way out of the sandbox": ("{{ messages.__class__.__mro__ }}", TALK, "unsafe"),
    "a change of the data": ("{{ messages.append(1) }}", TALK, "attribute 'append' of 'list' object is unsafe"),
}


@pytest.mark.parametrize(("source", "messages", "words"), REFUSALS.values(), ids=REFUSALS.keys())
def test_a_template_that_refuses_or_fails_says_so(source: str, messages: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(RenderError) as caught:
        ChatTemplate(source, TOKENS).render(messages)
    assert words in str(caught.value)


def folder(place: Path, **files: Any) -> Path:
    place.mkdir(parents=True)
    for name, content in files.items():
        stem, _, ending = name.rpartition("_")
        text = content if isinstance(content, str) else json.dumps(content)
        (place / f"{stem}.{ending}").write_text(text, encoding="utf-8")
    return place


def test_a_jinja_file_goes_before_the_tokenizer_s_config(tmp_path: Path) -> None:
    config = {"chat_template": "config", "bos_token": {"content": "<b>"}, "eos_token": None}
    place = folder(
        tmp_path / "model", chat_template_jinja="file {{ bos_token }}{{ eos_token }}", tokenizer_config_json=config
    )
    template = ChatTemplate.of(place)
    assert template == ChatTemplate("file {{ bos_token }}{{ eos_token }}", {"bos_token": "<b>"}, "model")
    assert template.render(TALK) == "file <b>"


@pytest.mark.parametrize(
    ("value", "source"),
    [
        ("one", "one"),
        ([{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "usual"}], "usual"),
        ([{"name": "rag", "template": "only"}], "only"),
    ],
)
def test_the_config_holds_one_template_or_several_by_name(value: Any, source: str, tmp_path: Path) -> None:
    template = ChatTemplate.of(folder(tmp_path / "m", tokenizer_config_json={"chat_template": value}))
    assert template is not None
    assert template.source == source


def test_special_tokens_may_stand_in_a_file_of_their_own(tmp_path: Path) -> None:
    place = folder(
        tmp_path / "m",
        tokenizer_config_json={"chat_template": "{{ bos_token }}{{ eos_token }}", "eos_token": "E"},
        special_tokens_map_json={"bos_token": "B", "eos_token": "ignored"},
    )
    template = ChatTemplate.of(place)
    assert template is not None
    assert template.render([]) == "BE"


@pytest.mark.parametrize("content", ["{", "[1]", "{}", '{"chat_template": null}', '{"chat_template": [{}]}'])
def test_a_model_without_a_template_has_none(content: str, tmp_path: Path) -> None:
    assert ChatTemplate.of(folder(tmp_path / "m", tokenizer_config_json=content)) is None
    assert ChatTemplate.of(tmp_path) is None


def test_a_cached_hugging_face_id_is_found_and_nothing_is_asked_of_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    repository = tmp_path / "hub" / "models--org--some-model"
    folder(repository / "snapshots" / "aaa", tokenizer_config_json={"chat_template": "old"})
    folder(repository / "snapshots" / "bbb", tokenizer_config_json={"chat_template": "new"})
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("bbb\n")
    template = ChatTemplate.of("org/some-model")
    assert template == ChatTemplate("new", {}, "org/some-model")
    (repository / "refs" / "main").unlink()
    assert ChatTemplate.of("org/some-model") is not None
    for other in ("org/other", "other", "../hub", "a b", "https://huggingface.co/org/some-model", "", "x\0y"):
        assert other == "" or ChatTemplate.of(other) is None
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "elsewhere"))
    assert ChatTemplate.of("org/some-model") is None


def test_the_config_s_template_goes_before_the_model_s(tmp_path: Path) -> None:
    place = folder(tmp_path / "m", tokenizer_config_json={"chat_template": "own", "eos_token": "E"})
    (tmp_path / "my.jinja").write_text("from file {{ eos_token }}")
    for given, text in (("{{ 'inline' }}", "inline"), (str(tmp_path / "my.jinja"), "from file E")):
        template = ChatTemplate.of(place, given)
        assert template is not None
        assert (template.render(TALK), template.origin) == (text, "ModelConfig.chat_template")
    assert ChatTemplate.of("org/unknown", "{{ 1 }}") is not None
    with pytest.raises(
        RenderError, match=r"^ModelConfig\.chat_template: .*missing\.jinja cannot be read: No such file"
    ):
        ChatTemplate.of(place, str(tmp_path / "missing.jinja"))


def test_the_date_is_today_s() -> None:
    assert ChatTemplate("{{ strftime_now('%Y') }}").render([]) == f"{datetime.now():%Y}"
