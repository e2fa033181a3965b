"""Packed rows must not see each other: proved with numbers for each architecture, and given up where they do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny import Run, conversations, make_tokenizer

pytestmark = [
    pytest.mark.train,
    # PEFT asks transformers by the old name.
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
]
SMALL = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
ROWS = [[5, 9, 13, 40, 7, 33], [21, 8, 50, 3, 17]]
ISOLATED = ("llama", "mistral", "qwen2", "qwen3", "phi", "phi3", "gemma2", "gemma3_text", "mixtral", "gpt_neox", "gpt2", "olmo2", "granite", "starcoder2", "smollm3")  # fmt: skip
LEAKING = ("falcon", "bloom", "mpt", "opt")


def tiny(kind: str, **more: Any) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **SMALL | more)
    model = AutoModelForCausalLM.from_config(config)
    for parameter in model.parameters():  # a random model's attention is nearly even: make what it attends to count
        parameter.data *= 4 if parameter.dim() > 1 else 1
    return model


@pytest.mark.usefixtures("libraries")
@pytest.mark.parametrize(
    ("kind", "implementation"),
    [(kind, how) for kind in ISOLATED for how in ("sdpa", "eager") if (kind, how) != ("gemma2", "sdpa")],
)
def test_these_keep_packed_rows_apart(kind: str, implementation: str) -> None:
    """The second row's logits in a pack are those that it has alone, to the last digits."""
    import torch

    from kaito_trainer.packing import _logits, why_not

    model = tiny(kind).eval()
    model.set_attn_implementation(implementation)
    assert why_not(model, ROWS) == ""
    first, second = ROWS
    with torch.no_grad():
        alone = _logits(model, second, list(range(len(second))), len(second))
        packed = _logits(model, first + second, [*range(len(first)), *range(len(second))], len(second))
    assert float((packed - alone).abs().max()) < 1e-4 * float(alone.abs().max())


@pytest.mark.usefixtures("libraries")
@pytest.mark.parametrize("kind", LEAKING)
def test_these_do_not_and_are_found_out(kind: str) -> None:
    from kaito_trainer.packing import why_not

    model = tiny(kind)
    assert why_not(model, ROWS) in (
        f"{kind} lets packed rows see each other",
        f"{kind} cannot take packed rows (TypeError)",
    )
    assert model.training, "as it was before"


def test_packing_is_said_and_the_learning_rate_grows_with_it(run: Run) -> None:
    assert run.train(conversations(20), TrainingArguments={"packing": True, "max_length": 128, "max_steps": 2}) == 0
    choices = run.only("train_begin")["choices"]
    assert choices["rows_per_sequence"] > 1.5
    assert choices["learning_rate"] == pytest.approx(2e-4 * min(5, choices["rows_per_sequence"]), rel=0.01)


def test_a_learning_rate_that_was_written_stays(run: Run) -> None:
    run.train(TrainingArguments={"packing": True, "max_length": 128, "max_steps": 1, "learning_rate": 1e-3})
    assert [e.data["learning_rate"] for e in run.events() if e.type == "log"] == [1e-3]


def test_a_model_that_leaks_trains_unpacked_by_itself(run: Run, tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    falcon = tiny("falcon", vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, bos_token_id=None)
    falcon.save_pretrained(tmp_path / "falcon")
    tokenizer.save_pretrained(tmp_path / "falcon")
    wanted = {"packing": True, "max_length": 64, "max_steps": 2, "per_device_train_batch_size": 2}
    model = {"pretrained_model_name_or_path": str(tmp_path / "falcon")}
    assert run.train(conversations(10), ModelConfig=model, TrainingArguments=wanted) == 0
    told = run.only("train_begin")
    assert told["choices"]["packing"] == "off: falcon lets packed rows see each other"
    assert told["choices"]["learning_rate"] == 2e-4
    assert told["train_rows"] == 8
