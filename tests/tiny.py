"""A tiny model with its tokenizer, rows for it, and a folder in `/mnt`'s place, for the trainer's tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from kaito_trainer.contract import Event, TrainingConfig, decode

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
WORDS = "what does the function do it returns a list of numbers sorted by size and why not because of you hello world"


def make_tokenizer(chat_template: str | None = CHATML, **special: str) -> Any:
    """A byte-level BPE tokenizer that knows a few words."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    tokens = ["<|im_start|>", "<|im_end|>", *(v for v in special.values() if v not in ("<|im_start|>", "<|im_end|>"))]
    bpe.train_from_iterator(
        [WORDS, WORDS.upper()],
        trainers.BpeTrainer(
            vocab_size=420,
            special_tokens=tokens,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        **{"eos_token": "<|im_end|>", "pad_token": "<|im_end|>", **special},
        extra_special_tokens=["<|im_start|>", "<|im_end|>"],
    )
    tokenizer.chat_template = chat_template
    return tokenizer


def make_model(folder: Path) -> Path:
    """Save a random Llama of two layers and its tokenizer, whose end token also pads."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = make_tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def conversations(count: int) -> list[dict[str, Any]]:
    """Rows of unequal lengths."""
    return [
        {
            "messages": [
                {"role": "user", "content": f"what does function {i} do"},
                {"role": "assistant", "content": " ".join(["it returns", *WORDS.split()[: 1 + 3 * (i % 4)]])},
            ]
        }
        for i in range(count)
    ]


@dataclass
class Run:
    """A folder in `/mnt`'s place, with data and a configuration."""

    root: Path
    model: Path
    config: TrainingConfig

    @property
    def results(self) -> Path:
        return self.root / "results"

    def write(self, rows: list[dict[str, Any]] | None = None, **sections: dict[str, Any]) -> Path:
        """Write the data and the configuration, changed by `sections`, and return the latter's path."""
        self.config = self.config.merged(sections)
        if rows is not None:
            (self.root / "data").mkdir(exist_ok=True)
            lines = [json.dumps(row) for row in rows]
            (self.root / "data" / "train.jsonl").write_text("\n".join(lines), encoding="utf-8")
        file = self.root / "training_config.yaml"
        file.write_text(yaml.safe_dump(self.config.to_document()), encoding="utf-8")
        return file

    def train(self, rows: list[dict[str, Any]] | None = None, **sections: dict[str, Any]) -> int:
        """Train in this process, and return the exit code."""
        from kaito_trainer.__main__ import main

        return main(["train", "--config", str(self.write(rows, **sections)), "--mount-root", str(self.root)])

    def start(self, **environment: str) -> subprocess.Popen[str]:
        """Train what was written last in a process of its own."""
        command = [sys.executable, "-m", "kaito_trainer", "train", "--mount-root", str(self.root)]
        return subprocess.Popen(
            [*command, "--config", str(self.root / "training_config.yaml")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        )

    def events(self) -> list[Event]:
        """What `events.jsonl` holds."""
        lines = (self.results / "events.jsonl").read_text(encoding="utf-8").splitlines()
        events = [decode(line) for line in lines]
        assert None not in events
        return [e for e in events if e is not None]

    def only(self, type: str) -> dict[str, Any]:
        """The one event of a type."""
        found = [e.data for e in self.events() if e.type == type]
        assert len(found) == 1, found
        return found[0]
