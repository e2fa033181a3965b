"""Whether a start goes on with the run that the folder holds: decided from what is there, and said."""

from __future__ import annotations

import json
import signal
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tiny import Run, conversations

from kaito_trainer import results
from kaito_trainer.checkpoints import Checkpoints
from kaito_trainer.contract import Event, TrainingConfig, decode
from kaito_trainer.failures import Failure
from kaito_trainer.places import Places
from kaito_trainer.resume import Start, start, trajectory
from kaito_trainer.told import of_events, told

BEFORE = {"base model": "m", "learning_rate": 2e-4, "rows a step": 4}


def begin(folder: Path, trajectory: dict[str, Any] | None = None, wanted: Any = None) -> Start:
    extra = {} if wanted is None else {"resume_from_checkpoint": wanted}
    config = TrainingConfig.from_dict({"TrainingArguments": extra})
    return start(folder, BEFORE if trajectory is None else trajectory, config, Places(folder))


def trained(folder: Path, run: str, *steps: int, checkpoints: tuple[int, ...] = ()) -> None:
    """What a run has left that came to the last of these steps."""
    with (folder / "events.jsonl").open("a") as file:
        for i, step in enumerate((0, *steps)):
            kind, more = ("log", {"loss": 1.0}) if step else ("train_begin", {"max_steps": 9})
            file.write(
                json.dumps({"kaito_event": 1, "type": kind, "seq": i, "time": i, "global_step": step, **more}) + "\n"
            )
    for step in checkpoints:
        Checkpoints(folder, run).write(step, partial(fill, step=step), {})


def fill(place: Path, step: int) -> None:
    (place / "trainer_state.json").write_text(f'{{"global_step": {step}}}', encoding="utf-8")


def test_an_empty_folder_begins_a_run(tmp_path: Path) -> None:
    begun = begin(tmp_path)
    assert (begun.goes_on, begun.step, begun.word, begun.choices) == (False, 0, "", {})
    assert results.noted(tmp_path)["run"] == begun.run


def test_the_same_run_goes_on_from_its_latest_checkpoint(tmp_path: Path) -> None:
    first = begin(tmp_path)
    trained(tmp_path, first.run, 1, 2, 3, 4, 5, checkpoints=(2, 4))
    again = begin(tmp_path)
    assert (again.run, again.goes_on, again.step, again.told.step) == (first.run, True, 4, 5)
    assert again.word == "going on from step 4; steps to 5 are made once more"
    assert again.choices == {"resumed_from": "checkpoint-4"}


def test_a_run_without_a_checkpoint_begins_again_and_tells_nothing_twice(tmp_path: Path) -> None:
    first = begin(tmp_path)
    trained(tmp_path, first.run, 1, 2, 3)
    again = begin(tmp_path)
    assert (again.run, again.goes_on, again.step, again.told.step) == (first.run, True, 0, 3)
    assert again.word == "going on from step 0; steps to 3 are made once more"


@pytest.mark.parametrize(
    ("now", "word"),
    [
        ({"learning_rate": 1e-3}, "starting anew: learning_rate was 0.0002 and is 0.001"),
        ({"rows a step": 8}, "starting anew: rows a step was 4 and is 8"),
        ({"data": "9 rows"}, "starting anew: the data is not what it was"),
    ],
)
def test_another_run_in_the_folder_starts_anew_with_a_word(tmp_path: Path, now: dict[str, Any], word: str) -> None:
    first = begin(tmp_path)
    trained(tmp_path, first.run, 1, 2, checkpoints=(2,))
    again = begin(tmp_path, BEFORE | now)
    assert (again.goes_on, again.step, again.told.logs, again.word) == (False, 0, {}, word)
    assert again.choices == {"start": word}
    third = begin(tmp_path, BEFORE | now)
    assert (third.run, third.checkpoint) == (again.run, None), "the checkpoint there is another run's"


def test_a_complete_run_is_not_gone_on_with(tmp_path: Path) -> None:
    first = begin(tmp_path)
    trained(tmp_path, first.run, 1, 2, checkpoints=(2,))
    results.complete(tmp_path, 2)
    results.forget(tmp_path)
    again = begin(tmp_path)
    assert (again.goes_on, again.checkpoint, again.word) == (False, None, "")


def test_resume_from_checkpoint_has_the_last_word(tmp_path: Path) -> None:
    first = begin(tmp_path)
    trained(tmp_path, first.run, 1, 2, 3, checkpoints=(2, 3))
    forked = begin(tmp_path, BEFORE | {"learning_rate": 1e-3}, "/mnt/checkpoint-2")
    assert (forked.goes_on, forked.step, forked.told.step) == (False, 2, 2)
    assert forked.word == "going on from checkpoint-2"
    trained(tmp_path, forked.run, 1, 2, 3, 4, checkpoints=(4,))
    again = begin(tmp_path, BEFORE | {"learning_rate": 1e-3}, "/mnt/checkpoint-2")
    assert (again.run, again.step) == (forked.run, 4), "a restart does not go back"
    assert begin(tmp_path, BEFORE | {"learning_rate": 1e-4}, True).step == 4
    anew = begin(tmp_path, BEFORE, False)
    assert (anew.goes_on, anew.step, anew.word) == (False, 0, "")
    with pytest.raises(Failure, match="there is no checkpoint"):
        begin(tmp_path, BEFORE, "/mnt/checkpoint-9")


def test_what_only_decides_how_it_is_computed_changes_no_run() -> None:
    datasets = pytest.importorskip("datasets")
    dataset = datasets.Dataset.from_dict({"input_ids": [[1, 2], [3]], "labels": [[-100, 2], [3]]})
    lora = SimpleNamespace(to_dict=lambda: {"r": 8, "target_modules": {"b", "a"}})

    def of(data: Any = dataset, **changed: Any) -> dict[str, Any]:
        values = {
            "per_device_train_batch_size": 4, "gradient_accumulation_steps": 1, "world_size": 1, "learning_rate": 2e-4,
            "seed": 42, "logging_steps": 1, "gradient_checkpointing": False,
        }  # fmt: skip
        return trajectory("m", TrainingConfig(), lora, SimpleNamespace(**values | changed), data)

    assert of() == of(logging_steps=5, gradient_checkpointing=True)
    assert of() == of(per_device_train_batch_size=2, gradient_accumulation_steps=2), "the same rows a step"
    assert of() == of(per_device_train_batch_size=2, world_size=2)
    assert of() != of(per_device_train_batch_size=2)
    assert of() != of(seed=1)
    assert of() != of(dataset.select([1, 0])), "the order counts"
    assert of()["LoraConfig.r"] == 8


def event(kind: str, step: int, **more: Any) -> Event:
    return Event(kind, 0, 0.0, {"global_step": step, **more})


def test_what_was_told_stands_until_a_run_goes_back_before_it() -> None:
    logs = [event("log", step, loss=1.0) for step in (1, 2, 3)]
    first = [event("train_begin", 0), event("evaluate", 0, eval_loss=2.0), event("generate", 0), *logs]
    assert list(of_events(first).logs) == [1, 2, 3]
    assert list(of_events([*first, event("train_begin", 2, told_to=3)]).logs) == [1, 2, 3]
    assert list(of_events([*first, event("train_begin", 0, told_to=0)]).logs) == []
    assert of_events([*first, event("train_begin", 0, told_to=0)]).answered == {0}
    assert list(of_events([*first, event("train_begin", 2)]).logs) == [1, 2]
    anew = of_events([*first, event("train_begin", 0)])
    assert (anew.logs, anew.evaluations, anew.answered) == ({}, {}, set())
    end = of_events([*first, event("train_end", 3)])
    assert (end.ended, end.unfinished, of_events(first).unfinished) == (True, False, True)


def test_no_file_and_foreign_lines_tell_nothing(tmp_path: Path) -> None:
    assert told(tmp_path).step == 0
    (tmp_path / "events.jsonl").write_text('hello\n{"kaito_event":1,"type":"log","se')
    assert told(tmp_path).step == 0


@pytest.mark.train
def test_a_signal_in_a_long_step_leaves_it_and_it_is_made_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight batches make a step; the signal comes in the second batch of the third step."""
    from kaito_trainer.trainer import Trainer

    arguments = {"max_steps": 5, "gradient_accumulation_steps": 8, "per_device_train_batch_size": 1}
    sections: dict[str, Any] = {"DatasetConfig": {"train_test_split": 1}, "LoraConfig": {"lora_dropout": 0.2}}
    assert run.train(conversations(20), TrainingArguments={**arguments, "learning_rate": 0.01}, **sections) == 0
    whole = [e.data for e in run.events() if e.type == "log"]
    (run.results / "events.jsonl").unlink()

    batches = 0
    step = Trainer.training_step

    def signalled(*args: Any, **kwargs: Any) -> Any:
        nonlocal batches
        batches += 1
        if batches == 8 + 8 + 2:
            signal.raise_signal(signal.SIGTERM)
        return step(*args, **kwargs)

    monkeypatch.setattr(Trainer, "training_step", signalled)
    assert run.train() == 143
    assert batches == 18, "it did not wait for the other six"
    assert [e.data["global_step"] for e in run.events() if e.type == "log"] == [1, 2]
    monkeypatch.undo()
    assert run.train() == 0
    logs = [e.data for e in run.events() if e.type == "log"]
    for name in ("global_step", "loss", "num_tokens", "learning_rate"):
        assert [log[name] for log in logs] == pytest.approx([log[name] for log in whole], rel=1e-5)
    begins = [(e.data["global_step"], e.data.get("told_to")) for e in run.events() if e.type == "train_begin"]
    assert begins == [(0, None), (2, 2)]
    assert [e.data["detail"] for e in run.events() if e.type == "phase" and "going on" in e.data.get("detail", "")] == [
        "going on from step 2"
    ]


@pytest.mark.train
def test_checkpoints_by_time_are_made_gone_on_from_and_removed_at_the_end(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """KAITO's own config asks for none; the run that is cut off loses little all the same."""
    from kaito_trainer.callbacks import EventCallback

    monkeypatch.setattr("kaito_trainer.checkpoints.SHARE", 1e9)
    told_of = EventCallback.on_save

    def cut_off(callback: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        told_of(callback, args, state, control, **kwargs)
        if state.global_step == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(EventCallback, "on_save", cut_off)
    assert run.config.TrainingArguments.save_strategy == "no"
    options: dict[str, Any] = {"checkpoint_minutes": 1e-9, "samples": 0}
    assert run.train(TrainingArguments={"max_steps": 5}, TrainerOptions=options) == 1
    assert {p.name for p in run.results.glob("checkpoint-*")} == {"checkpoint-2", "checkpoint-3"}
    monkeypatch.setattr(EventCallback, "on_save", told_of)
    assert run.train() == 0
    assert [e.data["global_step"] for e in run.events() if e.type == "log"] == [1, 2, 3, 4, 5]
    assert [e.data["global_step"] for e in run.events() if e.type == "evaluate"] == [0, 5]
    saves = [e.data for e in run.events() if e.type == "save"]
    assert [s["global_step"] for s in saves] == [1, 2, 3, 4, 5]
    assert all(s["seconds"] > 0 for s in saves[:-1])
    assert not list(run.results.glob("*checkpoint-*"))


@pytest.mark.train
def test_a_changed_config_starts_anew_and_says_so(run: Run) -> None:
    arguments = {"max_steps": 2, "save_strategy": "steps", "save_steps": 1}
    assert run.train(TrainingArguments=arguments, TrainerOptions={"samples": 0}) == 0
    (run.results / "fine_tuning_completed.txt").unlink()  # as if it had been cut off before
    assert run.train(TrainingArguments={"learning_rate": 1e-3}) == 0
    begin = [e.data for e in run.events() if e.type == "train_begin"][-1]
    assert (begin["global_step"], begin.get("told_to")) == (0, None)
    assert begin["choices"]["start"] == "starting anew: learning_rate was 0.0002 and is 0.001"


@pytest.mark.train
def test_all_steps_made_and_the_end_cut_off_makes_no_step_more(run: Run) -> None:
    arguments = {"max_steps": 3, "save_strategy": "steps", "save_steps": 1}
    assert run.train(TrainingArguments=arguments, TrainerOptions={"samples": 0}) == 0
    (run.results / "fine_tuning_completed.txt").unlink()
    before = (run.results / "adapter_model.safetensors").read_bytes()
    assert run.train() == 0
    assert (run.results / "adapter_model.safetensors").read_bytes() == before
    assert [e.data["global_step"] for e in run.events() if e.type == "log"] == [1, 2, 3]
    assert run.events()[-1].data["status"] == "completed"


@pytest.mark.train
def test_an_end_that_was_not_said_is_said_and_nothing_is_done_again(run: Run) -> None:
    assert run.train(TrainerOptions={"samples": 0}) == 0
    file = run.results / "events.jsonl"
    *others, end = file.read_text(encoding="utf-8").splitlines(keepends=True)
    file.write_text("".join(others), encoding="utf-8")
    assert run.train() == 0
    *same, again = file.read_text(encoding="utf-8").splitlines(keepends=True)
    assert same == others
    first, second = decode(end), decode(again)
    assert first is not None
    assert second is not None
    assert (first.seq, first.type, first.data) == (second.seq, second.type, second.data)
