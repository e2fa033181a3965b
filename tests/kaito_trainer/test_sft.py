"""Whole trainings of a tiny model: what is told, and what is left behind."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any, Literal

import pytest
from tiny import Run, conversations

from kaito_trainer.contract import TrainingConfig, kaito_defaults

pytestmark = [
    pytest.mark.train,
    # PEFT asks transformers by the old name.
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
]


def test_a_run_of_two_steps_tells_exactly_this(run: Run) -> None:
    assert run.train() == 0
    events = run.events()
    assert [(e.type, e.data.get("phase") or e.data.get("global_step")) for e in events] == [
        ("phase", "loading"),
        ("phase", "loading"),
        ("phase", "loading"),
        ("phase", "tokenizing"),
        ("phase", "tokenizing"),
        ("phase", "training"),
        ("train_begin", 0),
        ("evaluate", 0),
        ("phase", "training"),
        ("generate", 0),
        ("phase", "training"),
        ("log", 1),
        ("log", 2),
        ("phase", "saving"),
        ("save", 2),
        ("phase", "saving"),
        ("evaluate", 2),
        ("phase", "saving"),
        ("generate", 2),
        ("history", None),
        ("train_end", 2),
    ]
    assert [e.seq for e in events] == list(range(len(events)))


def test_the_same_lines_stand_on_stdout_and_in_the_file(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    run.train()
    told = [line for line in capfd.readouterr().out.splitlines() if line.startswith('{"kaito_event":')]
    written = (run.results / "events.jsonl").read_text().splitlines()
    assert told[-len(written) :] == written


def test_the_beginning_says_what_is_trained_and_what_was_chosen(run: Run) -> None:
    run.train()
    told = run.only("train_begin")
    choices, versions, reasons = told.pop("choices"), told.pop("versions"), told.pop("reasons")
    assert told.pop("device").startswith("cpu")
    assert told == {
        "max_steps": 2,
        "global_step": 0,
        "trainable_parameters": 8192,
        "total_parameters": told["total_parameters"],
        "train_rows": 8,
        "eval_rows": 2,
        "devices": 1,
        "model": str(run.model),
        "method": "lora",
        "loss_on": "assistant",
        "target_modules": ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"],
        "truncated_rows": 0,
    }
    assert choices["learning_rate"] == 2e-4
    assert choices["max_length"] == 256, "the model's context is shorter than our default"
    assert (choices["loss_head"], choices["dtype"], choices["turn_end"]) == ("plain", "float32", "<|im_end|>")
    assert choices["data_files"] == ["train.jsonl"]
    assert all(set(r) == {"name", "value", "why", "switch", "yours"} and r["why"].endswith(".") for r in reasons)
    by_name = {r["name"]: r for r in reasons}
    assert len(by_name) == len(reasons) == 13
    assert by_name["dtype"]["yours"], "it was written"
    assert not by_name["attn_implementation"]["yours"]
    assert "per_device_train_batch_size" not in choices, "that was written, not chosen"
    assert {"torch", "transformers", "peft", "trl"} <= set(versions)


def test_each_step_has_its_numbers(run: Run) -> None:
    run.train(TrainingArguments={"max_steps": 4, "learning_rate": 1e-3, "lr_scheduler_type": "linear"})
    logs = [e.data for e in run.events() if e.type == "log"]
    assert [log["learning_rate"] for log in logs] == pytest.approx([1e-3, 7.5e-4, 5e-4, 2.5e-4]), (
        "the rates used, no lag"
    )
    assert [log["epoch"] for log in logs] == [0.25, 0.5, 0.75, 1.0]
    tokens = [log["num_tokens"] for log in logs]
    assert tokens == sorted(tokens)
    assert all(log["tokens_per_second"] > 0 and log["grad_norm"] > 0 for log in logs)
    assert all(log["device_memory_bytes"] > 50e6 for log in logs)
    history = run.only("history")
    assert history["columns"]["loss"] == [log["loss"] for log in logs]
    assert history["evaluations"]["global_step"] == [0, 4]
    assert history["max_steps"] == 4


def test_the_logged_loss_is_that_of_its_own_step(run: Run) -> None:
    """One step over all rows: the loss of the untrained model, as anyone can compute it."""
    rows = conversations(8)
    run.train(
        rows,
        TrainingArguments={"max_steps": 1, "per_device_train_batch_size": 8, "learning_rate": 0.1},
        DatasetConfig={"train_test_split": 1},
    )
    assert run.only("log")["loss"] == pytest.approx(loss_of(run, rows, adapter=False), rel=1e-5)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 1e-2)])
def test_the_reported_held_out_loss_is_the_adapters(run: Run, dtype: str, tolerance: float) -> None:
    """Acceptance: load the adapter with PEFT, compute the loss on the held-out rows, and get what was reported."""
    run.train(
        conversations(12),
        ModelConfig={"torch_dtype": dtype},
        TrainingArguments={"max_steps": 6, "learning_rate": 0.02, "per_device_eval_batch_size": 2},
        DatasetConfig={"shuffle_dataset": False, "train_test_split": 0.5},
    )
    held_out = conversations(12)[6:]
    first, last = (e.data["eval_loss"] for e in run.events() if e.type == "evaluate")
    assert first == pytest.approx(loss_of(run, held_out, adapter=False, dtype=dtype), rel=tolerance)
    assert last == pytest.approx(loss_of(run, held_out, adapter=True, dtype=dtype), rel=tolerance)
    assert last < first - 0.2, "and something was learnt"
    assert run.only("train_end")["eval_loss"] == last


def loss_of(run: Run, rows: list[dict[str, Any]], *, adapter: bool, dtype: str = "float32") -> float:
    """Mean cross-entropy over the assistant's tokens, computed without any of our code."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(run.model)
    model = AutoModelForCausalLM.from_pretrained(run.model, dtype=dtype)
    if adapter:
        model = PeftModel.from_pretrained(model, run.results)
    model.eval()
    total, count = 0.0, 0
    for row in rows:
        question = tokenizer.apply_chat_template(row["messages"][:1], tokenize=False, add_generation_prompt=True)
        ids = tokenizer(question, add_special_tokens=False)["input_ids"]
        answer = tokenizer(row["messages"][1]["content"] + "<|im_end|>", add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            logits = model(torch.tensor([ids + answer])).logits[0, len(ids) - 1 : -1].float()
        total += float(torch.nn.functional.cross_entropy(logits, torch.tensor(answer), reduction="sum"))
        count += len(answer)
    return total / count


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_kaitos_default_config_runs_with_nothing_changed_but_the_model(
    run: Run, method: Literal["lora", "qlora"]
) -> None:
    run.config = kaito_defaults(method).merged({"ModelConfig": {"pretrained_model_name_or_path": str(run.model)}})
    assert run.config.DataCollator.mlm is True
    assert run.train(conversations(3)) == 0
    told = run.only("train_begin")
    assert (told["method"], told["max_steps"], told["num_train_epochs"]) == (method, 9, 3.0)
    assert told["choices"]["dtype"] == "bfloat16"
    assert not [e for e in run.events() if e.type in ("evaluate", "generate")], "no rows are held out"
    assert (run.results / "fine_tuning_completed.txt").exists()
    assert not list(run.results.glob("checkpoint-*")), 'save_strategy "no"'


def test_a_qlora_adapter_loads_on_the_unquantised_model(run: Run) -> None:
    four_bit = kaito_defaults("qlora").to_dict()["QuantizationConfig"]
    run.train(QuantizationConfig=four_bit, TrainingArguments={"max_steps": 3, "learning_rate": 0.02})
    first, last = (e.data["eval_loss"] for e in run.events() if e.type == "evaluate")
    assert last < first
    assert loss_of(run, conversations(10), adapter=True) < loss_of(run, conversations(10), adapter=False)


def test_the_adapter_is_in_pefts_format_and_readable_by_others(run: Run) -> None:
    from safetensors.torch import load_file

    run.train()
    config = json.loads((run.results / "adapter_config.json").read_text())
    assert (config["peft_type"], config["r"], config["lora_alpha"]) == ("LORA", 8, 8)
    assert config["base_model_name_or_path"] == str(run.model)
    tensors = load_file(run.results / "adapter_model.safetensors")
    assert {str(t.dtype) for t in tensors.values()} == {"torch.float32"}
    assert not any("lm_head" in name for name in tensors)
    for name in ("adapter_config.json", "adapter_model.safetensors", "fine_tuning_completed.txt"):
        assert stat.S_IMODE((run.results / name).stat().st_mode) == 0o644
    assert run.only("save") == {"global_step": 2, "path": str(run.results), "final": True}


def test_generation_shows_the_question_and_both_answers(run: Run) -> None:
    run.train(TrainerOptions={"samples": 1, "sample_tokens": 5})
    before, after = (e.data for e in run.events() if e.type == "generate")
    assert (before["global_step"], after["global_step"]) == (0, 2)
    assert len(before["samples"]) == len(after["samples"]) == 1
    sample = before["samples"][0]
    assert sample["prompt"].startswith("what does function")
    assert sample["reference"].startswith("it returns")
    assert set(sample) == {"prompt", "completion", "reference"}


def test_no_samples_are_made_when_none_are_wanted(run: Run) -> None:
    run.train(TrainerOptions={"samples": 0})
    assert not [e for e in run.events() if e.type == "generate"]


def test_checkpoints_and_evaluations_on_the_way_are_told(run: Run) -> None:
    run.train(
        TrainingArguments={
            "max_steps": 4, "save_strategy": "steps", "save_steps": 2, "eval_strategy": "steps", "eval_steps": 2,
        }
    )  # fmt: skip
    events = [(e.type, e.data["global_step"]) for e in run.events() if e.type in ("evaluate", "save")]
    assert events == [("evaluate", 0), ("evaluate", 2), ("save", 2), ("evaluate", 4), ("save", 4), ("save", 4)]
    assert {p.name for p in run.results.glob("checkpoint-*")} == {"checkpoint-2", "checkpoint-4"}


def test_a_run_goes_on_from_a_checkpoint_that_is_named(run: Run) -> None:
    arguments = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2, "learning_rate": 0.01}
    run.train(TrainingArguments=arguments)
    whole = {e.data["global_step"]: e.data["loss"] for e in run.events() if e.type == "log"}
    (run.results / "events.jsonl").unlink()
    run.train(TrainingArguments={"resume_from_checkpoint": "/mnt/results/checkpoint-2"})
    resumed = {e.data["global_step"]: e.data["loss"] for e in run.events() if e.type == "log"}
    assert run.only("train_begin")["global_step"] == 2
    assert resumed == pytest.approx({3: whole[3], 4: whole[4]}, rel=1e-5)


def test_event_numbers_go_on_in_a_folder_that_was_used_before(run: Run) -> None:
    run.train()
    run.train()
    numbers = [e.seq for e in run.events()]
    assert numbers == list(range(len(numbers)))
    assert sum(e.type == "train_end" for e in run.events()) == 2


def test_a_failed_run_leaves_no_sentinel_of_an_earlier_one(run: Run) -> None:
    run.train()
    assert (run.results / "fine_tuning_completed.txt").exists()
    assert run.train(LoraConfig={"target_modules": ["nonesuch"]}) == 1
    assert not (run.results / "fine_tuning_completed.txt").exists()


def test_packing_is_done_when_it_is_asked_for(run: Run) -> None:
    assert run.train(TrainingArguments={"packing": True, "max_length": 128, "max_steps": 2}) == 0
    assert run.only("train_end")["status"] == "completed"


@pytest.mark.parametrize(
    ("rows", "loss_on", "arguments"),
    [
        ([{"prompt": f"what {i} ", "completion": "it returns"} for i in range(6)], "completion", {}),
        ([{"prompt": f"w {i} ", "completion": "it"} for i in range(6)], "text", {"completion_only_loss": False}),
        ([{"text": f"hello world {i}"} for i in range(6)], "text", {}),
        (conversations(6), "text", {"assistant_only_loss": False}),
    ],
    ids=["completion", "prompt too", "plain text", "the whole conversation"],
)
def test_other_formats_train_too(run: Run, rows: list[dict[str, Any]], loss_on: str, arguments: dict[str, Any]) -> None:
    assert run.train(rows, TrainingArguments=arguments) == 0
    assert run.only("train_begin")["loss_on"] == loss_on
    generated = next(e.data["samples"] for e in run.events() if e.type == "generate")
    assert generated[0]["prompt"]


def test_accumulated_batches_weigh_every_token_the_same(run: Run, tmp_path: Path) -> None:
    """Two batches of two, added up, make the step that one batch of four makes."""
    losses = []
    for batch, accumulation in ((4, 1), (2, 2)):
        arguments = {
            "max_steps": 2, "per_device_train_batch_size": batch, "gradient_accumulation_steps": accumulation,
            "learning_rate": 0.01,
        }  # fmt: skip
        run.train(TrainingArguments=arguments)
        losses.append([e.data["loss"] for e in run.events() if e.type == "log"][-2:])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_long_rows_are_cut_and_counted(run: Run) -> None:
    run.train(TrainingArguments={"max_length": 28})
    told = run.only("train_begin")
    assert (told["train_rows"] + told["eval_rows"], told["choices"]["max_length"]) == (10, 28)
    assert 0 < told["truncated_rows"] < 10


def test_gradient_checkpointing_is_done_when_it_is_written(run: Run) -> None:
    assert run.train(TrainingArguments={"gradient_checkpointing": True}) == 0
    assert run.only("train_begin")["choices"]["gradient_checkpointing"] is True


def test_our_own_document_reads_back_as_it_was_written(run: Run) -> None:
    run.write(TrainerOptions={"samples": 1})
    assert TrainingConfig.from_document(run.config.to_document()).TrainerOptions.samples == 1
