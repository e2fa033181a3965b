"""Facts about models and nodes."""

import pytest

from kaito_jupyter.presets import PRESETS, SKUS, find, gpus, is_hugging_face_id, resolve_model


def test_the_presets_are_those_that_kaito_tunes():
    assert [p.name for p in PRESETS.values() if not p.retired] == [
        "phi-3-mini-4k-instruct", "phi-3-mini-128k-instruct", "phi-3-medium-4k-instruct",
        "phi-3-medium-128k-instruct", "phi-3.5-mini-instruct", "phi-4", "phi-4-mini-instruct", "mistral-7b-v0.3",
        "qwen2.5-coder-7b-instruct", "qwen2.5-coder-32b-instruct",
    ]  # fmt: skip


@pytest.mark.parametrize("preset", PRESETS.values(), ids=lambda p: p.name)
def test_a_preset_is_complete(preset):
    assert PRESETS[preset.name] is preset
    assert is_hugging_face_id(preset.hugging_face_id)
    assert preset.source.startswith(f"https://huggingface.co/{preset.hugging_face_id}/")
    assert preset.parameters > 10**9
    assert preset.context_length >= 2048
    assert len(set(preset.target_modules)) == len(preset.target_modules)
    assert resolve_model(preset.name) == preset.hugging_face_id
    assert find(preset.name) is find(preset.hugging_face_id.upper()) is preset


def test_nodes_are_found_by_name():
    assert len(SKUS) == 12
    assert all(name == sku.name and sku.gpu in name.replace("_", "") for name, sku in SKUS.items())
    assert (gpus("Standard_NC96ads_A100_v4"), gpus("unheard-of"), gpus(None)) == (4, 1, 1)


@pytest.mark.parametrize("id", ["owner/model", "HuggingFaceTB/SmolLM2-135M-Instruct", "a/b.c_d-e", "gpt2"])
def test_a_hugging_face_id_is_known_by_its_form(id):
    assert is_hugging_face_id(id)


@pytest.mark.parametrize("id", ["", "model", "a/b/c", "/a", "a/", "a b/c", "a--b/c", "a/..", "-a/b", "a/b\n"])
def test_what_is_no_hugging_face_id_is_known_too(id):
    assert not is_hugging_face_id(id)


def test_a_folder_is_resolved_to_its_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner" / "model").mkdir(parents=True)
    assert resolve_model("owner/model") == str(tmp_path / "owner" / "model")
    assert resolve_model("./elsewhere") == str(tmp_path / "elsewhere")
    assert resolve_model("owner/other") == "owner/other"


@pytest.mark.train
@pytest.mark.filterwarnings("ignore")
def test_the_target_modules_are_all_linear_layers_but_the_head():
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    for name, type in (("phi-4", "phi3"), ("mistral-7b-v0.3", "mistral"), ("phi-3-mini-4k-instruct", "phi3"),
                       ("qwen2.5-coder-7b-instruct", "qwen2"), ("falcon-7b", "falcon")):  # fmt: skip
        config = AutoConfig.for_model(type, num_hidden_layers=1)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
        linear = {n.rsplit(".", 1)[-1] for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)}
        assert linear - {"lm_head"} == set(PRESETS[name].target_modules), name
