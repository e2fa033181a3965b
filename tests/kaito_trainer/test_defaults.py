"""The table of stock defaults that we change: complete, true, and undone on demand."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from kaito_trainer.contract import TrainingConfig
from kaito_trainer.defaults import BY_DATA, TABLE, Device, lora, quantization, training_arguments

CPU = Device("cpu", "cpu", 1, bf16=False)
OLD_GPU = Device("cuda", "T4", 1, bf16=False)
GPU = Device("cuda", "H100", 1, bf16=True)
STOCK = TrainingConfig.from_dict({"TrainerOptions": {"compat": "kaito"}})


def test_every_change_is_in_the_table_once_and_has_its_reason() -> None:
    assert len({c.field for c in TABLE}) == len(TABLE)
    assert all(c.why.endswith(".") and len(c.why) > 4 for c in TABLE)
    names = {c.name for c in TABLE} - BY_DATA
    assert names == {
        *training_arguments(GPU, TrainingConfig()),
        *lora(TrainingConfig()),
        *quantization(TrainingConfig()),
    }


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        (CPU, {"bf16": False, "fp16": False, "use_cpu": True, "per_device_eval_batch_size": 2}),
        (OLD_GPU, {"bf16": False, "fp16": True, "use_cpu": False, "per_device_eval_batch_size": 8}),
        (GPU, {"bf16": True, "fp16": False, "use_cpu": False, "per_device_eval_batch_size": 8}),
    ],
)
def test_values_follow_the_device(device: Device, expected: dict[str, Any]) -> None:
    config = TrainingConfig.from_dict({"TrainingArguments": {"per_device_train_batch_size": 2}})
    assert expected.items() <= training_arguments(device, config).items()


def test_compat_puts_back_what_is_learnt_with() -> None:
    ours, theirs = training_arguments(GPU, TrainingConfig()), training_arguments(GPU, STOCK)
    assert {k: v for k, v in theirs.items() if v != ours[k]} == {"learning_rate": 2e-5, "lr_scheduler_type": "linear"}
    assert (lora(TrainingConfig())["lora_alpha"], lora(STOCK)["lora_alpha"]) == (16, 8)


@pytest.mark.usefixtures("libraries")
def test_the_stock_values_are_those_of_the_installed_libraries() -> None:
    """Where KAITO's template says nothing, the stock value is Hugging Face's: a new release that changes one shows here."""
    from transformers import BitsAndBytesConfig
    from trl import SFTConfig

    theirs = {f.name: f.default for f in dataclasses.fields(SFTConfig)}
    assert theirs["learning_rate"] == 2e-5
    for change in TABLE:
        section, name = change.field.split(".")
        if section == "TrainingArguments" and name not in (*BY_DATA, "per_device_train_batch_size"):
            default = theirs[name]
            known = {"report_to": ("none", None, "all"), "disable_tqdm": (None, False), "bf16": (None, False)}
            allowed = known.get(name, (change.stock, getattr(change.stock, "value", change.stock)))
            assert getattr(default, "value", default) in allowed, (name, default)
    bits = BitsAndBytesConfig()
    assert (bits.bnb_4bit_quant_type, bits.bnb_4bit_use_double_quant) == ("fp4", False)
    assert str(bits.bnb_4bit_compute_dtype) == "torch.float32"
