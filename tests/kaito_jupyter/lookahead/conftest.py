"""A tokenizer of a few words, made without transformers, and data for it."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from tiny import CHATML, WORDS


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder, as far as a preview looks: a word a token, ChatML."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    folder = tmp_path_factory.mktemp("words") / "words-1b"
    folder.mkdir()
    words = ["<unk>", *dict.fromkeys([*WORDS.split(), "user", "assistant", "system"])]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in ("<|im_start|>", "<|im_end|>")])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"eos_token": "<|im_end|>", "chat_template": CHATML}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 64}))
    return folder


@pytest.fixture
def talks() -> pd.DataFrame:
    """Ten conversations of 4 to 13 words of answer; the first and the last ask the same."""
    words = WORDS.split()
    return pd.DataFrame(
        {
            "messages": [
                [
                    {"role": "user", "content": f"what {words[i % 9]}"},
                    {"role": "assistant", "content": " ".join(words[: 4 + i])},
                ]
                for i in range(10)
            ]
        }
    )
