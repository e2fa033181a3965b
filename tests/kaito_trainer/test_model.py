"""Which layers are adapted, and what a model and its tokenizer are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny import CHATML, make_tokenizer

from kaito_trainer.contract import TrainingConfig
from kaito_trainer.failures import Failure
from kaito_trainer.places import Places

pytestmark = pytest.mark.usefixtures("libraries")
LINEAR = ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]


def tiny(kind: str) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    small = {
        "vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4,
        "num_key_value_heads": 2, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1,
    }  # fmt: skip
    extra: dict[str, dict[str, Any]] = {
        "qwen2_moe": {"num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 16, "decoder_sparse_step": 1,
                      "shared_expert_intermediate_size": 16},
        "mixtral": {"num_local_experts": 2, "num_experts_per_tok": 1},
        "gpt2": {"n_embd": 32, "n_layer": 1, "n_head": 4},
    }  # fmt: skip
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **small | extra.get(kind, {})))


@pytest.mark.parametrize("told", [None, "all-linear", "ALL-LINEAR"])
def test_all_linear_layers_are_adapted_but_the_head(told: str | None) -> None:
    from kaito_trainer.model import target_modules

    assert target_modules(tiny("llama"), told) == (LINEAR, [])
    assert target_modules(tiny("phi3"), told) == (["down_proj", "gate_up_proj", "o_proj", "qkv_proj"], [])
    assert target_modules(tiny("gpt2"), told)[0] == ["c_attn", "c_fc", "c_proj"]


# PEFT asks transformers by the old name.
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
@pytest.mark.parametrize("kind", ["qwen2_moe", "mixtral"])
def test_routers_of_experts_are_left_alone(kind: str) -> None:
    import re

    from peft import get_peft_model

    from kaito_trainer.hf_config import lora
    from kaito_trainer.model import target_modules

    names, left_out = target_modules(tiny(kind), None)
    assert not {"gate", "router", "shared_expert_gate", "lm_head"} & set(names)
    adapted = get_peft_model(tiny(kind), lora(TrainingConfig(), names, left_out)).targeted_module_names
    assert adapted
    assert not [n for n in adapted if re.search(r"(\.|_)(gate|router)$|lm_head", n)]


def test_a_list_or_an_expression_that_fits_is_taken_as_it_is() -> None:
    from kaito_trainer.model import target_modules

    for told in (["q_proj", "layers.0.self_attn.v_proj"], r".*\.(q|v)_proj"):
        assert target_modules(tiny("llama"), told) == (told, [])


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (["q_proj", "q_prj", "query"], '"q_prj" and "query" are not in the model. q_prj: Did you mean "q_proj"?'),
        (["nonesuch"], '"nonesuch" is not in the model.'),
        (r"proj_.*", '"proj_.*" is not in the model.'),
    ],
)
def test_a_layer_that_is_not_there_is_refused_with_those_that_are(told: Any, message: str) -> None:
    from kaito_trainer.model import target_modules

    with pytest.raises(Failure) as caught:
        target_modules(tiny("llama"), told)
    assert caught.value.kind == "target-modules"
    assert caught.value.message == f"LoraConfig.target_modules: {message}"
    assert caught.value.remedy == (
        'The model\'s linear layers are "down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj" and '
        '"v_proj"; all-linear takes them all.'
    )


def loaded(folder: Path, **sections: Any) -> Any:
    from kaito_trainer.model import tokenizer

    return tokenizer(str(folder), TrainingConfig.from_dict(sections), Places(folder.parent))


def test_a_chat_template_is_a_file_or_the_template_itself(model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "chat.jinja").write_text("{{ messages }}!")
    for told, expected in ((str(tmp_path / "chat.jinja"), "{{ messages }}!"), ("{{ messages }}?", "{{ messages }}?")):
        assert loaded(model_folder, ModelConfig={"chat_template": told}).chat_template == expected
    assert loaded(model_folder).chat_template == CHATML
    with pytest.raises(Failure, match=r"^ModelConfig.chat_template: /nonesuch.jinja cannot be read"):
        loaded(model_folder, ModelConfig={"chat_template": "/nonesuch.jinja"})


def test_an_end_token_of_the_users_is_taken_when_the_model_has_it(model_folder: Path) -> None:
    assert loaded(model_folder, TrainingArguments={"eos_token": "<|im_start|>"}).eos_token == "<|im_start|>"
    with pytest.raises(Failure, match=r'TrainingArguments\.eos_token: the model has no token "</s>"'):
        loaded(model_folder, TrainingArguments={"eos_token": "</s>"})


def test_a_tokenizer_without_an_end_is_refused(tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    tokenizer.eos_token = None
    tokenizer.save_pretrained(tmp_path / "m")
    with pytest.raises(Failure, match="has no end token") as caught:
        loaded(tmp_path / "m")
    assert caught.value.kind == "model"


def test_all_tokens_that_stop_the_model_are_known(model_folder: Path) -> None:
    from kaito_trainer.model import ends

    model = tiny("llama")
    model.generation_config.eos_token_id = [5, 6]
    tokenizer = make_tokenizer()
    assert ends(tokenizer, model) == {5, 6, tokenizer.eos_token_id}
    model.generation_config.eos_token_id = None
    assert ends(tokenizer, model) == {tokenizer.eos_token_id}


def test_an_evaluation_leaves_four_bit_weights_as_they_are(model_folder: Path) -> None:
    """bitsandbytes repacks them for its CPU kernel in evaluation, lossily and without gradients, unless it is kept from it."""
    import torch

    from kaito_trainer.contract import kaito_defaults
    from kaito_trainer.defaults import Device
    from kaito_trainer.model import base

    pytest.importorskip("bitsandbytes")
    model = base(str(model_folder), kaito_defaults("qlora"), Device("cpu", "cpu", 1, bf16=True))
    layer = model.model.layers[0].mlp.up_proj
    before = layer.weight.data.clone()
    with torch.no_grad():
        model.eval()(torch.tensor([[1, 2, 3]]))
    assert torch.equal(layer.weight.data, before)
