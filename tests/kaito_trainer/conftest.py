"""A tiny model with a chat template, made on the spot, and a folder to train it in."""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny import Run, conversations, make_model

from kaito_trainer.contract import kaito_defaults


@pytest.fixture(scope="session")
def libraries() -> None:
    """torch and its friends, imported once, or the test is skipped where they are not installed."""
    if any(importlib.util.find_spec(name) is None for name in ("torch", "trl", "peft")):
        pytest.skip("needs kaito-trainer[train]")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch
        import trl  # noqa: F401

        from kaito_trainer import sft  # noqa: F401
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory, libraries: None) -> Path:
    """A random Llama of two layers, and a byte-level tokenizer whose end token also pads."""
    return make_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def run(tmp_path: Path, model_folder: Path, tidy_process: None) -> Run:
    """KAITO's default LoRA config on the tiny model: two steps, in full precision, ten rows."""
    config = kaito_defaults("lora").merged(
        {
            "ModelConfig": {"pretrained_model_name_or_path": str(model_folder), "torch_dtype": "float32"},
            "TrainingArguments": {"max_steps": 2, "per_device_train_batch_size": 2},
            "DatasetConfig": {"train_test_split": 0.8},
        }
    )
    made = Run(tmp_path, model_folder, config)
    made.write(conversations(10))
    return made


@pytest.fixture
def tidy_process() -> Iterator[None]:
    """A training in this process changes its environment and signal handlers: put them back."""
    environment = dict(os.environ)
    handlers: dict[int, Any] = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)}
    yield
    os.environ.clear()
    os.environ.update(environment)
    for number, handler in handlers.items():
        signal.signal(number, handler)
