"""What the assistant said, in the renderings of templates as models really have them."""

from __future__ import annotations

from typing import Any

import pytest
from tiny import CHATML, make_tokenizer

from kaito_trainer.rendering import Rendering
from kaito_trainer.spans import Template

pytestmark = pytest.mark.usefixtures("libraries")

GENERATION = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}{% generation %}{{ m.content }}"
    "{% endgeneration %}{% else %}{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}"
)
LLAMA2 = (
    "{% for m in messages %}{% if m.role == 'user' %}<s>[INST] {{ m.content }} [/INST]"
    "{% else %} {{ m.content }} </s>{% endif %}{% endfor %}"
)
LLAMA3 = (
    "{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{{ m.content | trim }}<|eot_id|>"
    "{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
PHI3 = (
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% else %}</s>{% endif %}"
)
GEMMA = (
    "{% for m in messages %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
    "{{ m.content | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
# Qwen3's habit: earlier turns lose their thinking, the last one gets a (perhaps empty) one.
THINKING = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}"
    "{% set said = m.content.split('</think>')[-1].lstrip('\n') %}"
    "{% set thought = m.content.split('</think>')[0].split('<think>')[-1].strip('\n') if '</think>' in m.content else '' %}"
    "{% if loop.last %}<think>\n{{ thought }}\n</think>\n\n{% endif %}{{ said }}{% else %}{{ m.content }}{% endif %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PLAIN = "{% for m in messages %}### {{ m.role }}:\n{{ m.content }}\n\n{% endfor %}"

TALK = [
    {"role": "user", "content": "what"},
    {"role": "assistant", "content": "it returns"},
    {"role": "user", "content": "it returns"},
    {"role": "assistant", "content": " why not\n"},
]


def template(text: str, **special: str) -> Template:
    return Template(Rendering(make_tokenizer(text, **special)))


def trained(t: Template, messages: list[dict[str, Any]], **kwargs: Any) -> list[str]:
    rendered = t.assistant(messages, **kwargs)
    assert rendered.text == t.render(messages)
    return [rendered.text[start:end] for start, end in rendered.spans]


@pytest.mark.parametrize(
    ("text", "special", "closer", "expected"),
    [
        (CHATML, {}, "<|im_end|>", ["it returns<|im_end|>", " why not\n<|im_end|>"]),
        (GENERATION, {}, "<|im_end|>", ["it returns<|im_end|>", " why not\n<|im_end|>"]),
        (LLAMA2, {"eos_token": "</s>"}, " </s>", ["it returns </s>", " why not\n </s>"]),
        (LLAMA3, {"eos_token": "<|eot_id|>"}, "<|eot_id|>", ["it returns<|eot_id|>", "why not<|eot_id|>"]),
        (
            PHI3,
            {"eos_token": "</s>", "pad_token": "<|end|>"},
            "<|end|>",
            ["it returns<|end|>", " why not\n<|end|>"],
        ),
        (GEMMA, {"eos_token": "<end_of_turn>"}, "<end_of_turn>", ["it returns<end_of_turn>", "why not<end_of_turn>"]),
        (PLAIN, {"eos_token": "</s>"}, "", ["it returns", " why not\n"]),
    ],
    ids=["chatml", "generation marks", "llama 2", "llama 3 (trims)", "phi 3", "gemma (renames)", "no closing"],
)
def test_templates_of_the_families(text: str, special: dict[str, str], closer: str, expected: list[str]) -> None:
    t = template(text, **special)
    assert t.closer == closer
    assert trained(t, TALK) == expected


def test_thinking_that_the_template_drops_or_adds_is_where_the_model_will_write_it() -> None:
    t = template(THINKING)
    talk = [
        TALK[0],
        {"role": "assistant", "content": "<think>\nhm\n</think>\n\nit returns"},
        TALK[2],
        {"role": "assistant", "content": "<think>\nwell\n</think>\n\nwhy not"},
    ]
    spans = trained(t, talk)
    assert spans[-1] == "<think>\nwell\n</think>\n\nwhy not<|im_end|>"
    assert all(s in ("it returns<|im_end|>", spans[-1]) for s in spans)


def test_a_call_of_a_tool_is_trained_on_as_the_template_writes_it() -> None:
    calls = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
        "{% for c in m.tool_calls or [] %}<call>{{ c.function.name }}</call>{% endfor %}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    talk = [
        {"role": "user", "content": "what"},
        {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": {"name": "f"}}]},
        {"role": "tool", "content": "1"},
        {"role": "assistant", "content": "it returns"},
    ]
    assert trained(template(calls), talk) == ["<call>f</call><|im_end|>", "it returns<|im_end|>"]


def test_only_turns_after_a_prompt_are_taken() -> None:
    for text in (CHATML, GENERATION):
        assert trained(template(text), TALK, trained_from=2) == [" why not\n<|im_end|>"]


def test_who_speaks_last_is_known() -> None:
    t = template(CHATML)
    assert t.assistant(TALK).ends
    assert not t.assistant(TALK[:3]).ends


def test_contents_with_our_own_marks_are_found_all_the_same() -> None:
    talk = [TALK[0], {"role": "assistant", "content": "a\ue0c0b\ue0c1c"}]
    assert trained(template(CHATML), talk) == ["a\ue0c0b\ue0c1c<|im_end|>"]
