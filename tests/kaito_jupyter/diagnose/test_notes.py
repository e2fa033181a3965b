"""What a run that goes well could do better, and when nothing is said."""

from __future__ import annotations

from typing import Any

import pytest

from kaito_jupyter.diagnose import Diagnosis, diagnose
from kaito_jupyter.spec import TuningSpec
from kaito_jupyter.state import RunState
from kaito_trainer.contract import TrainingConfig, encode
from kaito_trainer.contract.events import Log, TrainBegin, TrainEnd

GPU = "NVIDIA H100 80GB HBM3"
GB = 10**9


def found(
    *, steps: int = 60, begin: dict[str, Any] | None = None, training: dict[str, Any] | None = None, **log: Any
) -> Diagnosis:
    """The diagnosis of a run whose every step took a second, and had these numbers."""
    state = RunState()
    told: dict[str, Any] = {"device": GPU, "device_memory_total_bytes": 80 * GB} | (begin or {})
    events: list[Any] = [TrainBegin(max_steps=steps, **told)]
    seconds = {"step_seconds": 1.0, "data_seconds": 0.0, "save_seconds": 0.0, "eval_seconds": 0.0}
    events += [Log(global_step=i + 1, loss=1.0, **(seconds | log)) for i in range(steps)]
    events.append(TrainEnd(status="completed", global_step=steps))
    for seq, event in enumerate(events):
        state.feed(encode(event, seq=seq, time=1.7e9 + seq))
    config = {"TrainingArguments": training or {}}
    spec = TuningSpec(preset="phi-4", method="lora", name="r", config=TrainingConfig.from_dict(config))
    return diagnose(state, spec, "job", name="r", now=1.7e9 + 1000)


def said(run: Diagnosis) -> list[str]:
    assert run.well
    return [str(note) for note in run.notes]


def test_a_run_that_uses_its_gpu_well_has_no_notes() -> None:
    assert said(found(steps=100, device_memory_bytes=60 * GB, gpu_utilization=97.0, save_seconds=0.1)) == []


def test_waiting_for_data_is_told_with_what_to_change() -> None:
    run = found(steps=101, data_seconds=0.2, training={"dataloader_num_workers": 2})
    assert said(run) == ["20 of 100 s went to waiting for data. Set TrainingArguments.dataloader_num_workers: 4."]
    assert "Note: 20 of 100 s went to waiting for data." in repr(run)
    assert "20 of 100 s went to waiting for data." in run._repr_html_()


def test_checkpoints_and_evaluations_are_told_the_costlier_first() -> None:
    often = {"save_strategy": "steps", "save_steps": 5, "eval_strategy": "steps", "eval_steps": 10}
    first, second = said(found(steps=101, save_seconds=0.5, eval_seconds=1.0, training=often))
    assert first.startswith("100 of 250 s went to evaluation. Raise TrainingArguments.eval_steps (now 10), or")
    assert second.startswith("50 of 250 s went to checkpoints. Let more steps lie between two of them")
    assert "(TrainingArguments.save_steps, now 5)" in second


def test_checkpoints_by_time_are_told_by_the_option_that_makes_them() -> None:
    (note,) = said(found(steps=101, save_seconds=0.5, training={"save_strategy": "no"}))
    assert "Raise TrainerOptions.checkpoint_minutes, or write to a faster volume." in note


def test_nothing_is_concluded_from_the_first_steps() -> None:
    assert said(found(steps=30, data_seconds=0.9)) == []


@pytest.mark.parametrize(("chosen", "rows"), [({}, 3), ({"per_device_train_batch_size": 8}, 24)])
def test_memory_that_is_left_is_told_as_a_batch_that_would_fit(chosen: dict[str, Any], rows: int) -> None:
    training = {"per_device_train_batch_size": 1}
    (note,) = said(found(device_memory_bytes=21 * GB, begin={"choices": chosen}, training=training))
    assert note.startswith(f"Memory is left: peak 21.0 GB of 80.0 GB. A batch of {rows} rows would fit, where it is ")


@pytest.mark.parametrize(
    ("about", "known"),
    [
        ("the longest rows may still come", {"steps": 20}),
        ("fewer rows were already found to be all that fit", {"begin": {"choices": {"rows_at_once": 1}}}),
        ("a machine's memory is not a GPU's", {"begin": {"device": "cpu"}}),
        ("the trainer does not say how much there is", {"begin": {"device_memory_total_bytes": None}}),
        ("a batch of twice as many rows might not fit", {"device_memory_bytes": 41 * GB}),
    ],
)
def test_no_larger_batch_is_promised_where(about: str, known: dict[str, Any]) -> None:
    assert said(found(**({"device_memory_bytes": 21 * GB} | known))) == [], about


def test_memory_that_is_nearly_full_and_a_gpu_that_idles_are_told() -> None:
    (note,) = said(found(device_memory_bytes=77 * GB))
    assert note.startswith("The GPU's memory is nearly full: peak 77.0 GB of 80.0 GB. Longer rows may not fit;")
    (note,) = said(found(steps=101, device_memory_bytes=60 * GB, gpu_utilization=31.0))
    assert note.startswith("The GPU was at work in 31 % of the time.")
