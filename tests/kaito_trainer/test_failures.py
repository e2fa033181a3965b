"""Every way to fail that is known has its kind, its message and its remedy; whole runs and single exceptions."""

from __future__ import annotations

import errno
import json
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny import Run, conversations

from kaito_trainer.contract import TrainingConfig
from kaito_trainer.contract.events import ERROR_KINDS
from kaito_trainer.failures import Failure, explain, in_loading


def error(run: Run) -> dict[str, Any]:
    """The one error event, which is the last."""
    assert run.events()[-1].type == "error"
    assert not (run.results / "fine_tuning_completed.txt").exists()
    told = run.only("error")
    assert told["kind"] in ERROR_KINDS
    return told


@pytest.mark.train
@pytest.mark.parametrize(
    ("sections", "kind", "message", "remedy"),
    [
        (
            {"LoraConfig": {"target_modules": ["q_prj"]}},
            "target-modules",
            'LoraConfig.target_modules: "q_prj" is not in the model. q_prj: Did you mean "q_proj"?',
            "The model's linear layers are",
        ),
        (
            {"ModelConfig": {"pretrained_model_name_or_path": "/nonesuch/model"}},
            "model",
            "ModelConfig.pretrained_model_name_or_path: the folder /nonesuch/model does not exist.",
            "Give an existing folder, or a Hugging Face id such as org/name.",
        ),
        (
            {"ModelConfig": {"pretrained_model_name_or_path": "nobody/nothing"}},
            "model",
            "the tokenizer nobody/nothing: it is not on this machine and cannot be fetched: ",
            "Set ModelConfig.local_files_only: false, or give the folder of a downloaded model.",
        ),
        (
            {"TrainingArguments": {"learnin_rate": 1e-4}},
            "config",
            "TrainingArguments.learnin_rate: there is no such field.",
            'Did you mean "learning_rate"?',
        ),
        (
            {"TrainingArguments": {"brand_new_thing": True}},
            "config",
            "TrainingArguments.brand_new_thing: there is no such field in the installed release.",
            "Leave it out.",
        ),
        (
            {"TrainingArguments": {"completion_only_loss": True}},
            "config",
            "TrainingArguments.completion_only_loss: true needs instruction data, and this is conversational data.",
            "Leave it out.",
        ),
        (
            {"DatasetConfig": {"dataset_path": "data/nonesuch.csv"}},
            "dataset",
            "{root}/data/nonesuch.csv: there is no such file or folder.",
            "Check DatasetConfig.dataset_path.",
        ),
        (
            {"TrainingArguments": {"max_length": 5}},
            "dataset",
            "None of the 8 rows has a token to train on within 5 tokens.",
            "Give rows with an answer, or a larger TrainingArguments.max_length.",
        ),
    ],
    ids=["target modules", "no folder", "not cached", "typo", "unknown key", "other format", "no data", "all cut"],
)
def test_what_a_config_can_get_wrong(run: Run, sections: dict[str, Any], kind: str, message: str, remedy: str) -> None:
    assert run.train(**sections) == 1
    told = error(run)
    assert told["kind"] == kind
    assert told["message"].startswith(message.format(root=run.root))
    assert told["remedy"].startswith(remedy)


@pytest.mark.train
def test_a_damaged_data_file(run: Run) -> None:
    (run.root / "data" / "train.jsonl").unlink()
    (run.root / "data" / "train.parquet").write_bytes(b"PAR1 and then nothing")
    assert run.train() == 1
    told = error(run)
    assert told["kind"] == "dataset"
    assert told["message"].startswith("train.parquet: it cannot be read as parquet: ")


def test_data_that_cannot_be_read_at_all_is_the_datas_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kaito_trainer import read

    (tmp_path / "rows").write_text("{}")
    monkeypatch.setattr(Path, "open", lambda *args, **kwargs: (_ for _ in ()).throw(OSError(errno.EIO, "I/O error")))
    with pytest.raises(Failure) as caught:
        read.find(tmp_path)
    assert (caught.value.kind, caught.value.message) == (
        "dataset",
        f"{tmp_path}: it cannot be read: [Errno {errno.EIO}] I/O error",
    )


@pytest.mark.train
def test_a_damaged_model(run: Run, tmp_path: Path) -> None:
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(run.model, broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    assert run.train(ModelConfig={"pretrained_model_name_or_path": str(broken)}) == 1
    told = error(run)
    assert told["kind"] == "model"
    assert told["message"].startswith(f"the base model {broken}: it cannot be loaded: ")


@pytest.mark.train
def test_conversations_need_a_chat_template(run: Run, tmp_path: Path) -> None:
    import shutil

    bare = tmp_path / "bare"
    shutil.copytree(run.model, bare)
    (bare / "chat_template.jinja").unlink()
    assert run.train(ModelConfig={"pretrained_model_name_or_path": str(bare)}) == 1
    told = error(run)
    assert (told["kind"], told["message"]) == (
        "config",
        "The rows are conversations, and the model has no chat template.",
    )
    remedy = told["remedy"]
    template = remedy[remedy.index("{%") :]
    assert run.train(ModelConfig={"chat_template": template}) == 0, "the remedy works"


@pytest.mark.train
def test_a_device_without_memory_says_what_to_change(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from kaito_trainer.trainer import Trainer

    def full(*args: Any, **kwargs: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(Trainer, "training_step", full)
    assert run.train(TrainingArguments={"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}) == 1
    told = error(run)
    assert told["kind"] == "out-of-memory"
    assert told["message"] == "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
    assert told["remedy"] == (
        "Set per_device_train_batch_size: 2 and gradient_accumulation_steps: 4, or set gradient_checkpointing: true, or "
        "set max_length to half."
    )


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may grow past 20 kB: what a full volume does to a large file, without a volume."""
    import signal

    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, before)


@pytest.mark.train
def test_a_full_disk_ends_the_run_by_its_name_and_the_events_still_come(
    run: Run, small_files: None, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from kaito_trainer import results

    save = results.save_adapter

    def save_onto_a_full_disk(*args: Any) -> Any:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        return save(*args)

    monkeypatch.setattr(results, "save_adapter", save_onto_a_full_disk)
    assert run.train() == 1
    told = json.loads(next(x for x in capfd.readouterr().out.splitlines() if '"type":"error"' in x))
    assert told["kind"] == "disk-full"
    assert told["remedy"] == "Free space, use a larger volume, or keep fewer checkpoints (save_total_limit)."
    assert not (run.results / "adapter_model.safetensors").exists(), "no half adapter"
    assert not list(run.results.glob(".adapter-*")), "and no scraps"


@pytest.mark.train
def test_a_disk_that_fills_up_at_a_checkpoint_leaves_the_one_before_to_go_on_from(
    run: Run, small_files: None, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from kaito_trainer.checkpoints import intact
    from kaito_trainer.trainer import Trainer

    fill = Trainer._fill

    def fill_a_full_disk(trainer: Any, folder: Path) -> None:
        if trainer.state.global_step == 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        fill(trainer, folder)

    monkeypatch.setattr(Trainer, "_fill", fill_a_full_disk)
    arguments = {"max_steps": 3, "save_strategy": "steps", "save_steps": 1}
    assert run.train(TrainingArguments=arguments, TrainerOptions={"samples": 0}) == 1
    told = json.loads(next(x for x in capfd.readouterr().out.splitlines() if '"type":"error"' in x))
    assert told["kind"] == "disk-full"
    assert [p.name for p in run.results.glob("*checkpoint-*")] == ["checkpoint-1"]
    assert intact(run.results / "checkpoint-1")


@pytest.mark.train
def test_what_nobody_foresaw_is_a_crash_with_its_traceback_on_stderr(
    run: Run, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from kaito_trainer.trainer import Trainer

    def surprise(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("who would have thought")

    monkeypatch.setattr(Trainer, "training_step", surprise)
    assert run.train() == 1
    assert error(run) == {"kind": "crash", "message": "AssertionError: who would have thought"}
    assert "Traceback (most recent call last)" in capfd.readouterr().err


@pytest.mark.train
def test_a_second_trainer_in_the_same_folder_is_refused_and_disturbs_nothing(
    run: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    from kaito_trainer.places import locked

    with locked(run.results):
        (run.results / "events.jsonl").write_text("the other's\n")
        assert run.train(conversations(4)) == 1
    assert (run.results / "events.jsonl").read_text() == "the other's\n"
    assert f"another trainer is at work in {run.results}" in capfd.readouterr().out


class GatedRepoError(OSError):
    """As huggingface_hub's."""


class LocalEntryNotFoundError(OSError):
    """As huggingface_hub's."""


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "disk-full"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "disk-full"),
        (RuntimeError("[enforce fail at inline_container.cc] . PytorchStreamWriter failed writing file"), "disk-full"),
        (Exception("I/O error: No space left on device (os error 28)"), "disk-full"),
        (MemoryError(), "out-of-memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"), "out-of-memory"),
        (RuntimeError("CUDA error: out of memory"), "out-of-memory"),
        (ModuleNotFoundError("No module named 'trl'"), "dependency"),
        (ImportError("cannot import name 'SFTTrainer' from 'trl'"), "dependency"),
        (ValueError("x"), "crash"),
        (Failure("dataset", "x"), "dataset"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else value,
)
def test_exceptions_have_kinds(raised: BaseException, kind: str) -> None:
    assert explain(raised).kind == kind


def test_a_reason_further_down_counts() -> None:
    def chained(top: Exception, reason: Exception) -> Exception:
        top.__cause__ = reason
        return top

    full = OSError(errno.ENOSPC, "No space left on device")
    assert explain(chained(RuntimeError("while saving"), full)).kind == "disk-full"
    ring = RuntimeError("a")
    ring.__cause__ = chained(RuntimeError("b"), ring)
    assert explain(ring).kind == "crash"


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (GatedRepoError("Access to model x is restricted"), "gated-model"),
        (OSError("You are trying to access a gated repo."), "gated-model"),
        (OSError("401 Client Error: Unauthorized"), "gated-model"),
        (LocalEntryNotFoundError("offline"), "model"),
        (OSError("x is not a local folder and is not a valid model identifier"), "model"),
        (ValueError("Unrecognized configuration class"), "model"),
        (ModuleNotFoundError("No module named 'bitsandbytes'"), None),
        (MemoryError(), None),
    ],
    ids=str,
)
def test_what_goes_wrong_in_loading(raised: Exception, kind: str | None) -> None:
    failure = in_loading(raised, "the base model x", offline=False)
    assert (failure.kind if failure else None) == kind


@pytest.mark.parametrize(
    ("offline", "remedy"),
    [
        (True, "Set ModelConfig.local_files_only: false, or give the folder of a downloaded model."),
        (False, "Check its name and the way to the model hub, or give the folder of a downloaded model."),
    ],
)
def test_a_model_that_is_not_here_is_looked_for_where_it_may_be(offline: bool, remedy: str) -> None:
    failure = in_loading(LocalEntryNotFoundError("x"), "the base model x", offline=offline)
    assert failure is not None
    assert failure.remedy == remedy


@pytest.mark.parametrize(
    ("config", "remedy"),
    [
        (None, "Use a machine with more memory."),
        (
            {
                "TrainingArguments": {
                    "per_device_train_batch_size": 1,
                    "gradient_checkpointing": True,
                    "max_length": 256,
                }
            },
            'Use the method "qlora", or take a GPU with more memory.',
        ),
        (
            {
                "TrainingArguments": {"gradient_checkpointing": True, "max_length": 256},
                "QuantizationConfig": {"load_in_4bit": True},
            },
            "Take a GPU with more memory.",
        ),
    ],
)
def test_the_remedy_for_memory_leaves_out_what_is_done_already(config: dict[str, Any] | None, remedy: str) -> None:
    told = None if config is None else TrainingConfig.from_dict(config)
    assert explain(MemoryError(), told).remedy == remedy


def test_a_long_message_is_cut_and_stays_one_line() -> None:
    message = explain(ValueError("a\nb" * 2000)).message
    assert len(message) < 1100
    assert "\n" not in message
