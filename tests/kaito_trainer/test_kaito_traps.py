"""The traps of KAITO's own trainer, by their numbers in the field notes, and what we do about each.

KAITO's ConfigMaps run here as they are, but for the model's path.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny import Run, conversations, make_tokenizer

from kaito_trainer.contract import TrainingConfig, kaito_defaults
from kaito_trainer.failures import Failure

pytestmark = [
    pytest.mark.train,
    # PEFT asks transformers by the old name.
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
]
PHI3_EXAMPLE: dict[str, dict[str, Any]] = {
    "ModelConfig": {"torch_dtype": "bfloat16", "local_files_only": True, "device_map": "auto"},
    "QuantizationConfig": {
        "load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": "bfloat16",
        "bnb_4bit_use_double_quant": True,
    },
    "LoraConfig": {
        "r": 8, "lora_alpha": 8, "lora_dropout": 0.0, "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"],
    },
    "TrainingArguments": {
        "output_dir": "/mnt/results", "save_strategy": "epoch", "per_device_train_batch_size": 2,
        "ddp_find_unused_parameters": False,
    },
    "DataCollator": {"mlm": True},
    "DatasetConfig": {"shuffle_dataset": True, "train_test_split": 1},
}  # fmt: skip
"""KAITO v0.12's `examples/fine-tuning/kaito_configmap_tuning_phi_3.yaml`, value for value."""
PROMPTS = [{"prompt": f"what {'does ' * (i % 3)}it do", "completion": " it returns" * (1 + i % 4)} for i in range(8)]


@pytest.fixture(scope="module")
def phi3(libraries: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Phi-3, which holds q, k and v as one layer."""
    import torch
    from transformers import Phi3Config, Phi3ForCausalLM

    folder, tokenizer = tmp_path_factory.mktemp("phi3"), make_tokenizer()
    torch.manual_seed(0)
    config = Phi3Config(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id, bos_token_id=None,
    )  # fmt: skip
    Phi3ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def stock(run: Run, document: dict[str, dict[str, Any]], model: Path) -> None:
    """That configuration and no other, but for the model's path."""
    config = TrainingConfig.from_dict(document)
    run.config = config.merged({"ModelConfig": {"pretrained_model_name_or_path": str(model)}})


@pytest.mark.parametrize("name", ["lora-params-template", "qlora-params-template", "phi-3 example"])
def test_kaitos_own_configurations_run_to_completion(run: Run, phi3: Path, name: str) -> None:
    """The example for Phi-3 names layers that a Phi-3 does not have by itself: they are found in the one that holds them."""
    template = kaito_defaults("qlora" if name.startswith("q") else "lora").to_dict()
    stock(run, PHI3_EXAMPLE if name == "phi-3 example" else template, phi3)
    assert run.train(conversations(6)) == 0
    told = run.only("train_begin")
    assert (run.only("train_end")["status"], told["num_train_epochs"]) == ("completed", 3.0)
    wanted = ["down_proj", "gate_up_proj", "o_proj", "qkv_proj"]
    assert told["target_modules"] == (["o_proj", "qkv_proj"] if name == "phi-3 example" else wanted)
    assert {p.name for p in run.results.glob("checkpoint-*")} == (
        {"checkpoint-3", "checkpoint-6", "checkpoint-9"} if name == "phi-3 example" else set()
    )


def test_k1_the_prompt_is_not_trained_on(run: Run) -> None:
    run.train(PROMPTS)
    assert run.only("train_begin")["loss_on"] == "completion"


def test_k2_the_end_is_trained_on_though_it_also_pads(run: Run) -> None:
    """Two rows of unequal lengths in a batch: the shorter is padded with the token that ends both."""
    from kaito_trainer.data import Example
    from kaito_trainer.tokens import IGNORED, Tokenizing

    tokenizer = make_tokenizer()
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    tokens = Tokenizing(tokenizer, "instruction", "completion", 64, {tokenizer.eos_token_id}).tokens(
        [Example(prompt="what ", completion="it"), Example(prompt="what does ", completion="it returns a list")]
    )
    assert [t.labels[-1] for t in tokens] == [tokenizer.eos_token_id] * 2
    assert all(label == IGNORED for label in tokens[0].labels[: len(tokenizer("what ")["input_ids"])])


@pytest.mark.parametrize("rows", [PROMPTS, conversations(8)], ids=["prompt and completion", "messages"])
def test_k3_a_batch_of_two_unequal_rows_trains(run: Run, rows: list[dict[str, Any]]) -> None:
    assert run.train(rows, TrainingArguments={"per_device_train_batch_size": 2}) == 0


def test_k4_packing_trains(run: Run) -> None:
    assert run.train(TrainingArguments={"packing": True, "max_length": 128}) == 0


def test_k5_nested_mappings_and_nothing_are_read_and_what_is_unknown_is_told_before_the_model_is_loaded(
    run: Run,
) -> None:
    assert (
        run.train(
            TrainingArguments={
                "lr_scheduler_type": "cosine_with_min_lr",
                "lr_scheduler_kwargs": {"min_lr_rate": 0.1},
                "gradient_checkpointing": True,
                "gradient_checkpointing_kwargs": {"use_reentrant": False},
            },
            LoraConfig={"rank_pattern": {"q_proj": 4}, "lora_bias": None},
        )
        == 0
    )
    run.config = run.config.merged({"TrainingArguments": {"max_seq_length": 512}})
    assert run.train() == 1
    error = [e.data for e in run.events() if e.type == "error"][-1]
    assert error["kind"] == "config"
    assert "max_length" in error["message"] + error["remedy"]


@pytest.mark.usefixtures("libraries")
def test_k5_an_empty_list_is_refused_before_anything_is_loaded() -> None:
    from kaito_trainer.__main__ import problems

    found = problems(TrainingConfig.from_dict({"LoraConfig": {"target_modules": []}}))
    assert [str(p) for p in found] == [
        "LoraConfig.target_modules: the list is empty. Name at least one, or leave it out."
    ]


def test_k6_all_linear_means_all_linear_layers(run: Run) -> None:
    run.train(LoraConfig={"target_modules": "all-linear"})
    assert len(run.only("train_begin")["target_modules"]) == 7


def test_k7_columns_that_are_named_are_used(run: Run) -> None:
    rows = [{"q": f"what {i}", "a": "it returns", "noise": "x"} for i in range(6)]
    assert run.train(rows, DatasetConfig={"context_column": "q", "response_column": "a"}) == 0
    assert run.only("train_begin")["loss_on"] == "completion"


def test_k8_every_file_is_used_and_read_as_what_its_name_ends_with(run: Run) -> None:
    data = run.root / "data"
    (data / "train.jsonl").rename(data / "export_csv_2024.jsonl")
    (data / "more.jsonl").write_text((data / "export_csv_2024.jsonl").read_text(), encoding="utf-8")
    assert run.train() == 0
    told = run.only("train_begin")
    assert told["train_rows"] + told["eval_rows"] == 20
    assert told["choices"]["data_files"] == ["export_csv_2024.jsonl", "more.jsonl"]


def test_k8_a_dataset_path_is_honoured(run: Run) -> None:
    (run.root / "data" / "other.jsonl").write_text('{"text": "hello"}\n' * 5, encoding="utf-8")
    assert run.train(DatasetConfig={"dataset_path": "/mnt/data/other.jsonl"}) == 0
    told = run.only("train_begin")
    assert (told["train_rows"] + told["eval_rows"], told["loss_on"]) == (5, "text")


def test_k9_every_point_has_its_step_and_is_a_number(run: Run) -> None:
    run.train(TrainingArguments={"max_steps": 3})
    logs = [e.data for e in run.events() if e.type == "log"]
    assert [log["global_step"] for log in logs] == [1, 2, 3]
    assert all(isinstance(log["loss"], float) for log in logs)


def test_k10_the_learning_rate_is_an_adapters_and_truncation_is_told(run: Run) -> None:
    run.train(TrainingArguments={"max_length": 24})
    told = run.only("train_begin")
    assert told["choices"]["learning_rate"] == 2e-4
    assert told["choices"]["gradient_checkpointing"] is False
    assert told["truncated_rows"] > 0


def test_compat_brings_the_stock_behaviour_back(run: Run) -> None:
    """For who wants to compare: the prompt is trained on, slowly, in q and v alone."""
    run.train(PROMPTS, TrainerOptions={"compat": "kaito"})
    told = run.only("train_begin")
    assert (told["loss_on"], told["target_modules"]) == ("text", ["q_proj", "v_proj"])
    assert told["choices"]["learning_rate"] == 2e-5


def test_kaitos_list_for_the_preset_is_honoured(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEFAULT_TARGET_MODULES", "o_proj, down_proj")
    run.train()
    assert run.only("train_begin")["target_modules"] == ["down_proj", "o_proj"]


@pytest.mark.usefixtures("libraries")
def test_a_name_that_no_layer_has_is_refused_though_others_fit() -> None:
    """PEFT fails only when none fits: a typo in one of four names leaves that layer without an adapter."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from kaito_trainer.model import target_modules

    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=32,
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=2,
        )
    )
    with pytest.raises(Failure, match="q_pro"):
        target_modules(model, ["q_pro", "v_proj"])
