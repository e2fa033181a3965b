"""The whole way with the real trainer, on a model so small that it takes seconds."""

from __future__ import annotations

import json
import os
import signal
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from kaito_jupyter import RunFailed, tune, watch
from kaito_jupyter.backends.local import LocalBackend
from kaito_jupyter.run import Adapter, Run

pytestmark = [
    pytest.mark.train,
    # The libraries' own business, when the test itself loads what the run has made.
    pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]
Until = Callable[..., Any]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two layers that knows letters."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("model")
    words = ["<unk>", "<s>", "</s>", "<pad>", *string.ascii_lowercase, *string.digits, " "]
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    ).save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(words), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=128, bos_token_id=1, eos_token_id=2, pad_token_id=3,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture
def train(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    monkeypatch.delenv("KAITO_LOCAL_TRAINER", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    frame = pd.DataFrame({"prompt": [f"say {n} " for n in range(60)], "completion": [f"it is {n}" for n in range(60)]})
    backend = LocalBackend(tmp_path / "runs")

    def start(**options: Any) -> Run:
        given = {"preset": model, "backend": backend, "use_cpu": True, "bf16": False, "learning_rate": 1e-2}
        return tune(frame, **{**given, **options})

    return start


def test_a_model_learns_and_its_adapter_loads(train: Callable[..., Run], model: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    run = train(max_steps=30, name="real").wait()
    assert list(run.history.index) == list(range(1, 31))
    evaluations = run.evaluations["eval_loss"]
    assert evaluations.index[0] == 0
    assert evaluations.index[-1] == 30
    assert evaluations.iloc[-1] < evaluations.iloc[0]
    assert run.state.max_steps == 30
    adapter = run.adapter
    assert isinstance(adapter, Adapter)
    assert adapter.base_model == str(model)
    tuned = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(model), adapter)
    assert any("lora" in name for name, _ in tuned.named_parameters())
    assert watch("real", backend=run.backend).history.equals(run.history)


def test_a_cancelled_training_leaves_adapter_and_checkpoint_and_no_sentinel(
    train: Callable[..., Run], until: Until
) -> None:
    run = train(max_steps=100_000, name="cancelled")
    until(lambda: len(run.state.series) > 3, 120)
    run.cancel()
    with pytest.raises(RunFailed, match=r"run cancelled was cancelled at step \d+ of 100000\."):
        run.wait(60)
    results = Path(run.ref.location) / "results"
    assert run.state.state == "Cancelled"
    assert run.state.status is not None
    assert run.state.status.exit_code in (143, 130)
    assert isinstance(run.adapter, Adapter)
    assert list(results.glob("checkpoint-*"))
    assert not (results / "fine_tuning_completed.txt").exists()


def test_a_killed_training_is_a_failed_run(train: Callable[..., Run], until: Until) -> None:
    run = train(max_steps=100_000, name="killed")
    until(lambda: len(run.state.series) > 3, 120)
    os.kill(json.loads((Path(run.ref.location) / "process.json").read_text())["pid"], signal.SIGKILL)
    with pytest.raises(RunFailed, match="run killed failed: killed: "):
        run.wait(10)


def test_a_model_that_cannot_be_loaded_is_explained(train: Callable[..., Run], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "config.json").write_text("{}")
    run = train(preset=tmp_path / "empty", max_steps=1)
    with pytest.raises(RunFailed, match=r"failed: model: "):
        run.wait(120)
