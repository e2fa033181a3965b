"""The trainer's estimate of a step's memory against torch's own allocator, as `benchmarks/memory.json` keeps it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

MEASURED: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "benchmarks" / "memory.json").read_text(encoding="utf-8")
)
SMOLLM2 = {
    "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
    "num_key_value_heads": 3, "tie_word_embeddings": True,
}  # fmt: skip


@pytest.mark.train
@pytest.mark.usefixtures("libraries")
@pytest.mark.parametrize(
    "setting",
    [s for s in MEASURED if s["method"] == "lora" and s["trained"] is None],
    ids=lambda s: f"{s['dtype']}-{s['batch']}x{s['length']}-r{s['rank']}-{s['attention']}-{s['checkpointing']}",
)
def test_the_estimate_is_what_torch_took(setting: dict[str, Any]) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from kaito_trainer.footprint import PYTHON, of_model

    with torch.device("meta"):
        config = AutoConfig.for_model("llama", **SMOLLM2)
        model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, setting["dtype"]))
    step = of_model(model, setting["targets"], setting["rank"], gpu=False, fused=False)
    assert step is not None
    need = step.need(
        setting["batch"] * setting["length"],
        setting["length"],
        checkpointing=setting["checkpointing"],
        eager=setting["attention"] == "eager",
    )
    assert need - PYTHON == pytest.approx(setting["resident"] + setting["transient"], rel=0.15)
