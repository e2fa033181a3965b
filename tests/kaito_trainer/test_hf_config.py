"""KAITO's sections → the objects of Hugging Face's libraries."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest

from kaito_trainer.contract import TrainingConfig, kaito_defaults
from kaito_trainer.defaults import Device
from kaito_trainer.failures import Failure

pytestmark = pytest.mark.usefixtures("libraries")

CPU = Device("cpu", "cpu", 1, bf16=True)


def arguments(written: dict[str, Any], **sections: Any) -> tuple[Any, dict[str, Any]]:
    from kaito_trainer.hf_config import training_arguments

    return training_arguments(config(TrainingArguments=written, **sections), Path("/tmp/out"), CPU)


def config(**sections: Any) -> TrainingConfig:
    return TrainingConfig.from_dict(sections)


def test_written_values_win_over_ours_and_ours_over_hugging_faces() -> None:
    made, chosen = arguments({"learning_rate": 1e-5, "weight_decay": 0.1, "adam_beta2": 0.95})
    assert (made.learning_rate, made.weight_decay, made.adam_beta2) == (1e-5, 0.1, 0.95)
    assert "learning_rate" not in chosen
    made, chosen = arguments({})
    assert (made.learning_rate, str(made.lr_scheduler_type.value), made.logging_steps, made.seed) == (
        2e-4,
        "cosine",
        1,
        42,
    )
    assert made.report_to == []
    assert chosen["learning_rate"] == 2e-4


def test_what_is_done_before_trl_is_kept_from_it() -> None:
    made, _ = arguments({"max_length": 99, "assistant_only_loss": True, "dataset_text_field": "body", "eos_token": "x"})
    assert (made.max_length, made.assistant_only_loss, made.dataset_kwargs) == (
        None,
        False,
        {"skip_prepare_dataset": True},
    )


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_kaitos_defaults_are_understood(method: Literal["lora", "qlora"]) -> None:
    from kaito_trainer.hf_config import check_keys, lora, quantization

    kaito = kaito_defaults(method)
    check_keys(kaito)
    made, _ = arguments(kaito.TrainingArguments.to_dict())
    assert (made.ddp_find_unused_parameters, made.save_strategy.value) == (False, "no")
    adapter = lora(kaito, ["q_proj"], [])
    assert (adapter.r, adapter.lora_alpha, adapter.task_type) == (8, 8, "CAUSAL_LM")
    four_bit = quantization(kaito)
    if method == "lora":
        assert four_bit is None
    else:
        import torch

        assert (four_bit.bnb_4bit_quant_type, four_bit.bnb_4bit_compute_dtype) == ("nf4", torch.bfloat16)
        assert four_bit.bnb_4bit_use_double_quant is True


def test_full_precision_is_full_precision() -> None:
    assert arguments({}, ModelConfig={"torch_dtype": "float32"})[0].bf16 is False
    assert arguments({}, ModelConfig={"torch_dtype": "bfloat16"})[0].bf16 is True
    assert arguments({"bf16": True}, ModelConfig={"torch_dtype": "float32"})[0].bf16 is True


def test_mappings_may_be_json_text_as_in_kaito() -> None:
    """Field note K5: nested mappings fail in KAITO's trainer, and JSON text works there. Both work here."""
    from kaito_trainer.hf_config import lora

    for pattern in ('{"q_proj": 4}', {"q_proj": 4}):
        assert lora(config(LoraConfig={"rank_pattern": pattern}), ["q_proj"], []).rank_pattern == {"q_proj": 4}
    for kwargs in ('{"num_cycles": 1}', {"num_cycles": 1}):
        assert arguments({"lr_scheduler_kwargs": kwargs})[0].lr_scheduler_kwargs == {"num_cycles": 1}


def test_unknown_keys_are_named_all_at_once_with_close_matches() -> None:
    from kaito_trainer.hf_config import check_keys

    wrong = config(
        ModelConfig={"tokn": "x"},
        LoraConfig={"lora_alfa": 8, "rank_pattern": {}},
        TrainingArguments={"learning_rat": 1e-4, "max_seq_length": 10, "zzzz": 1, "adam_beta1": 0.9},
    )
    with pytest.raises(Failure) as caught:
        check_keys(wrong)
    assert caught.value.kind == "config"
    assert caught.value.details == [
        'ModelConfig.tokn: there is no such field in the installed release. Did you mean "token"?',
        'LoraConfig.lora_alfa: there is no such field in the installed release. Did you mean "lora_alpha"?',
        'TrainingArguments.learning_rat: there is no such field in the installed release. Did you mean "learning_rate"?',
        "TrainingArguments.max_seq_length: there is no such field in the installed release. Write max_length.",
        "TrainingArguments.zzzz: there is no such field in the installed release. Leave it out.",
    ]


def test_one_unknown_key_is_the_message_itself() -> None:
    from kaito_trainer.hf_config import check_keys

    with pytest.raises(Failure) as caught:
        check_keys(config(TrainingArguments={"no_cuda": True}))
    assert (
        str(caught.value)
        == "TrainingArguments.no_cuda: there is no such field in the installed release. Write use_cpu."
    )


@pytest.mark.parametrize(
    "written",
    [{"optim": "nonesuch"}, {"load_best_model_at_end": True, "save_strategy": "steps", "eval_strategy": "no"}],
)
def test_values_that_hugging_face_refuses_are_a_matter_of_the_config(written: dict[str, Any]) -> None:
    with pytest.raises(Failure, match=r"^TrainingArguments: ") as caught:
        arguments(written)
    assert caught.value.kind == "config"


def test_an_evaluation_of_no_rows_is_refused() -> None:
    from kaito_trainer.hf_config import settle

    made, chosen = arguments({"eval_strategy": "steps", "eval_steps": 1})
    with pytest.raises(Failure, match="no rows are held out"):
        settle(made, chosen, held_out=0)


@pytest.mark.parametrize("wanted", [True, False])
def test_activations_computed_twice_are_said_by_both_names(wanted: bool) -> None:
    from kaito_trainer.hf_config import checkpointing

    made, _ = arguments({})
    checkpointing(made, wanted)
    assert bool(made.gradient_checkpointing) is wanted
    assert bool(getattr(made, "activation_checkpointing", wanted)) is wanted
