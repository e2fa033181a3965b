"""The bundled numbers, against the published counts, against transformers, and against each other."""

import os
from pathlib import Path

import pytest

from kaito_jupyter import estimate
from kaito_jupyter.presets import MODELS, PRESETS, SKUS, advice, model
from kaito_jupyter.presets.shape import TYPES, read
from kaito_jupyter.spec import TuningSpec
from kaito_trainer.contract import TrainingConfig

SMALL = (
    "HuggingFaceTB/SmolLM2-135M-Instruct", "HuggingFaceTB/SmolLM2-360M-Instruct", "HuggingFaceTB/SmolLM2-1.7B-Instruct",
    "Qwen/Qwen2.5-0.5B-Instruct", "Qwen/Qwen2.5-1.5B-Instruct", "Qwen/Qwen3-0.6B", "meta-llama/Llama-3.2-1B-Instruct",
    "google/gemma-3-1b-it", "TinyLlama/TinyLlama-1.1B-Chat-v1.0",
)  # fmt: skip

DOCS = Path(__file__).parents[3] / "docs" / "models.md"
HEAD = """# What to begin with, model by model

KAITO's tunable presets, and small models that people try first. Each value with where it was read or measured; what nobody has
published or measured is left out: a rank and batch for the other small models, and a learning rate of each model's own. What is
said to be in a `config.json` was read off litgpt's copy of it (see `kaito_jupyter/presets/models.py`). The estimates of memory
were checked on a CPU and on no GPU.
"""


def configuration(shape):
    """The `config.json` that has these numbers, as transformers takes it."""
    if shape.type == "falcon":
        return {
            "hidden_size": shape.hidden, "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads,
            "vocab_size": shape.vocab, "multi_query": True, "new_decoder_architecture": False, "parallel_attn": True,
            "bias": False,
        }  # fmt: skip
    return {
        "hidden_size": shape.hidden, "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads, "intermediate_size": shape.ffn, "vocab_size": shape.vocab,
        "head_dim": shape.head_dim, "tie_word_embeddings": shape.tied, "max_position_embeddings": shape.context,
        "pad_token_id": 0,
    }  # fmt: skip


@pytest.mark.parametrize("known", MODELS.values(), ids=lambda m: m.id)
def test_the_parameters_are_those_that_were_published(known):
    assert known.shape.parameters == known.parameters
    assert known.shape.exact


@pytest.mark.parametrize("preset", PRESETS.values(), ids=lambda p: p.name)
def test_every_preset_is_bundled_with_the_same_facts(preset):
    known = model(preset.name)
    assert known is model(preset.hugging_face_id)
    assert (known.parameters, known.shape.context) == (preset.parameters, preset.context_length)
    assert set(known.target_modules) == set(preset.target_modules)


@pytest.mark.parametrize("id", SMALL)
def test_the_small_models_that_people_try_first_are_bundled(id):
    assert model(id.upper()).id == id
    assert set(advice(id)) >= {"target_modules", "chat_marks", "context_length", "learning_rate"}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_comes_with_what_to_begin_with_and_where_each_value_is_from(preset):
    found = advice(preset)
    assert set(found) >= {
        "target_modules", "context_length", "r", "learning_rate", "per_device_train_batch_size", "instance_type",
    }  # fmt: skip
    assert all(x.source and x.value for x in found.values())
    assert found["instance_type"].value in SKUS
    base = preset in ("mistral-7b-v0.3", "falcon-7b")
    assert ("chat_marks" in found) is not base, "base models have no chat template"


def page():
    """`docs/models.md`."""
    names = {p.hugging_face_id: p.name for p in PRESETS.values()}
    text = [HEAD]
    for known in MODELS.values():
        preset = names.get(known.id)
        title = f"`{preset}` ({known.id})" if preset else known.id
        text += [f"## {title}", "", f"{known.parameters:,} parameters.", "", "| | | source |", "| --- | --- | --- |"]
        for name, found in advice(preset or known.id).items():
            value = found.value
            if name == "chat_marks":
                value = f"{value.opens!r} … {value.closes!r}".replace("|", "\\|")
            elif name == "target_modules":
                value = ", ".join(value)
            elif name == "context_length":
                value = f"{value:,} tokens"
            text.append(f"| {name} | {value} | {found.source} |")
        for method in ("lora", "qlora"):
            config = TrainingConfig.from_dict({"TrainingArguments": {"max_length": 1024}})
            size = estimate(TuningSpec(preset=known.id, method=method, config=config), target="job")
            what = f"{method}, our Job: {size.memory.total / 1e9:.1f} GB, {size.smallest_sku.name}"
            text.append(f"| memory | {what} | `kaito_jupyter.estimate`, one row of 1,024 tokens, by a formula |")
        text.append("")
    return "\n".join(text)


def test_the_page_in_the_docs_is_this_table():
    if os.environ.get("KAITO_WRITE_DOCS"):
        DOCS.write_text(page(), encoding="utf-8")
    assert DOCS.read_text(encoding="utf-8") == page()


def test_of_a_model_that_is_not_bundled_nothing_is_made_up():
    assert model("owner/other") is None
    assert advice("owner/other") == {}
    assert model(None) is None


def test_what_is_no_decoder_has_no_shape():
    assert read({}) is None
    assert read({"model_type": "bert", "hidden_size": "many"}) is None


@pytest.mark.train
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("known", MODELS.values(), ids=lambda m: m.id)
def test_the_parameters_are_those_that_transformers_makes(known):
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(known.shape.type, **configuration(known.shape))
    with torch.device("meta"):
        made = AutoModelForCausalLM.from_config(config)
    assert made.num_parameters() == known.parameters
    assert read(config.to_dict()).parameters == known.parameters
    linear = {n.rsplit(".", 1)[-1]: m for n, m in made.named_modules() if isinstance(m, torch.nn.Linear)}
    linear.pop("lm_head")
    assert {n: (m.in_features, m.out_features) for n, m in linear.items()} == {
        x.name: (x.inputs, x.outputs) for x in known.shape.linears
    }


@pytest.mark.train
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("type", sorted({*TYPES}))
def test_a_config_of_each_type_that_is_called_exact_is_counted_exactly(type):
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    numbers = {
        "hidden_size": 96, "num_hidden_layers": 3, "num_attention_heads": 6, "num_key_value_heads": 2,
        "vocab_size": 640, "pad_token_id": 0, "ffn_hidden_size" if type == "falcon" else "intermediate_size": 160,
    }  # fmt: skip
    if type in ("mixtral", "qwen3_moe"):
        experts = "num_local_experts" if type == "mixtral" else "num_experts"
        numbers |= {experts: 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64}
    if type == "mixtral":
        del numbers["moe_intermediate_size"]
    config = AutoConfig.for_model(type, **numbers)
    with torch.device("meta"):
        made = AutoModelForCausalLM.from_config(config)
    assert read(config.to_dict()).parameters == made.num_parameters()
