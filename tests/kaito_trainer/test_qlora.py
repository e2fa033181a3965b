"""QLoRA on a CPU: it trains, and takes less memory than LoRA does for the same batch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import Run, conversations, make_tokenizer

from kaito_trainer.contract import METHODS, kaito_defaults

pytestmark = [
    pytest.mark.train,
    pytest.mark.skipif(
        not Path("/proc/self/clear_refs").exists(), reason="needs Linux: it tells a process's peak memory"
    ),
]
MEASURED = """
import sys
from pathlib import Path
from kaito_trainer import callbacks
from kaito_trainer.__main__ import main
begin = callbacks.EventCallback.on_train_begin
def reset(self, *args, **kwargs):
    begin(self, *args, **kwargs)
    Path("/proc/self/clear_refs").write_text("5")
def tell(self, *args, **kwargs):
    lines = Path("/proc/self/status").read_text().splitlines()
    print("peak", next(line.split()[1] for line in lines if line.startswith("VmHWM")))
callbacks.EventCallback.on_train_begin, callbacks.EventCallback.on_train_end = reset, tell
sys.exit(main(["train", "--config", sys.argv[1] + "/training_config.yaml", "--mount-root", sys.argv[1]]))
"""
"""The trainer, with the peak of its resident memory (KiB) from the first step on."""


@pytest.fixture(scope="module")
def model(libraries: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """85 million parameters, nearly all of them in linear layers."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder, tokenizer = tmp_path_factory.mktemp("model"), make_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=768, intermediate_size=2048, num_hidden_layers=12, num_attention_heads=8,
        num_key_value_heads=8, max_position_embeddings=128, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id, bos_token_id=None,
    )  # fmt: skip
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_its_peak_memory_is_below_loras_for_the_same_batch(model: Path, tmp_path: Path) -> None:
    peaks = {}
    for method in METHODS:
        (tmp_path / method).mkdir()
        config = kaito_defaults(method).merged(
            {
                "ModelConfig": {"pretrained_model_name_or_path": str(model)},
                "TrainingArguments": {"max_steps": 2, "per_device_train_batch_size": 2},
            }
        )
        run = Run(tmp_path / method, model, config)
        run.write(conversations(4))
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, str(run.root)],
            capture_output=True, text=True, timeout=900, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        assert run.only("train_begin")["method"] == method
        peaks[method] = next(int(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("peak "))
    assert peaks["qlora"] < peaks["lora"], peaks
