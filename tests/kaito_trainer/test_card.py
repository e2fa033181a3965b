"""The card beside an adapter: what it says, and what it keeps to itself."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import yaml
from tiny import Run

from kaito_trainer.card import card, fingerprints, write
from kaito_trainer.contract import TrainingConfig, decode
from kaito_trainer.contract.events import Evaluate, Event, Log, Payload, TrainBegin, TrainEnd, encode
from kaito_trainer.contract.names import EVENTS_FILE

BEGIN = TrainBegin(
    max_steps=40,
    model="org/base-1b",
    method="qlora",
    trainable_parameters=1000,
    total_parameters=1_000_000,
    train_rows=90,
    eval_rows=10,
    device="NVIDIA H100",
    loss_on="assistant",
    target_modules=["k_proj", "q_proj"],
    versions={"torch": "2.13.0"},
    choices={"max_length": 512, "token_file": "canary-choice"},
    truncated_rows=3,
)
END = TrainEnd(status="completed", global_step=40, train_runtime=61.2, eval_loss=1.25)
CONFIG = TrainingConfig.from_dict(
    {
        "TrainingArguments": {"learning_rate": 2e-4, "hub_token": "canary-token"},
        "LoraConfig": {"r": 8},
        "kaito_trainer": {"sample_tokens": 32},
    }
)


def events(*payloads: Payload) -> list[Event]:
    found = [decode(encode(p, seq=i)) for i, p in enumerate(payloads)]
    return [e for e in found if e is not None]


def losses(text: str) -> list[list[str]]:
    part = text.partition("## Losses\n\n")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines()[2:]]


def test_it_names_the_base_model_the_data_the_config_and_how_well_it_went() -> None:
    curve = events(
        *(Log(global_step=s, loss=4 - s / 20) for s in (10, 20, 30, 40)), Evaluate(global_step=0, eval_loss=5.0)
    )
    text = card(BEGIN, END, CONFIG, {"train.parquet": "ab" * 32}, curve)
    front = yaml.safe_load(text.split("---")[1])
    assert front == {
        "base_model": "org/base-1b",
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "tags": ["qlora", "sft", "kaito"],
    }
    assert "# QLoRA adapter of org/base-1b" in text
    assert "40 of 40 steps" in text
    assert "ended early" not in text
    assert losses(text) == [
        ["0", "", "5"],
        ["10", "3.5", ""],
        ["20", "3", ""],
        ["30", "2.5", ""],
        ["40", "2", "1.25"],
    ]
    assert f"| train.parquet | `{'ab' * 32}` |" in text
    assert "90 rows trained on, 10 held out. The assistant's turns were learnt. 3 rows were cut" in text
    assert "learning_rate: 0.0002" in text
    assert "sample_tokens: 32" in text
    assert "1,000 of 1,000,000" in text
    assert "1 × NVIDIA H100" in text
    assert "canary" not in text


def test_a_long_curve_is_thinned_and_a_step_made_twice_counts_once() -> None:
    curve = events(*(Log(global_step=s, loss=float(s)) for s in range(1, 501)), Log(global_step=500, loss=7.0))
    rows = losses(card(BEGIN, TrainEnd(status="completed", global_step=500), CONFIG, {}, curve))
    assert len(rows) == 12
    assert rows[0] == ["1", "1", ""]
    assert rows[-1] == ["500", "7", ""]


def test_a_model_of_this_machine_is_no_model_of_the_hub() -> None:
    begin = TrainBegin(max_steps=4, model="/workspace/tfs/weights")
    text = card(begin, TrainEnd(status="cancelled", global_step=2), CONFIG, {}, [])
    assert "base_model" not in yaml.safe_load(text.split("---")[1])
    assert "# LoRA adapter of weights" in text
    assert "2 of 4 steps. It was ended early." in text
    assert "None were recorded." in text


def test_it_is_written_beside_the_adapter_for_everybody_to_read(tmp_path: Path) -> None:
    data = tmp_path / "train.json"
    data.write_text("{}")
    (tmp_path / EVENTS_FILE).write_text(encode(Log(global_step=1, loss=1.5), seq=0) + "\nsomething else\n")
    write(tmp_path, BEGIN, END, CONFIG, data)
    text = (tmp_path / "README.md").read_text()
    assert hashlib.sha256(b"{}").hexdigest() in text
    assert ["1", "1.5", ""] in losses(text)
    assert (tmp_path / "README.md").stat().st_mode & 0o777 == 0o644
    assert fingerprints([data]) == {"train.json": hashlib.sha256(b"{}").hexdigest()}


def test_a_card_that_cannot_be_written_ends_no_training(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "none", BEGIN, END, CONFIG, tmp_path)
    assert "no model card could be written" in capfd.readouterr().err


@pytest.mark.train
def test_a_training_leaves_a_card_with_its_own_numbers(run: Run) -> None:
    assert run.train() == 0
    text = (run.results / "README.md").read_text()
    loss, held_out = run.only("train_end")["train_loss"], run.only("train_end")["eval_loss"]
    assert f"Base model: `{run.model}`" in text
    assert losses(text)[-1] == ["2", losses(text)[-1][1], f"{held_out:.4g}"]
    assert float(losses(text)[-1][1]) == pytest.approx(loss, rel=0.2)
    assert hashlib.sha256((run.root / "data" / "train.jsonl").read_bytes()).hexdigest() in text
    assert yaml.safe_load(text.split("```yaml")[1].split("```")[0])["training_config"]["LoraConfig"]["r"] == 8
