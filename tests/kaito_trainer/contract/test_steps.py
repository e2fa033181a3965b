"""How long a run is: the contract's arithmetic against Hugging Face's own code."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito_trainer.contract import TrainingConfig, total_steps, train_rows


def config(split=None, **arguments):
    sections = {"TrainingArguments": arguments} | ({"DatasetConfig": {"train_test_split": split}} if split else {})
    return TrainingConfig.from_dict(sections)


@pytest.mark.parametrize(
    ("rows", "arguments", "devices", "steps"),
    [
        (400, {"per_device_train_batch_size": 1}, 1, 1200),
        (400, {"per_device_train_batch_size": 4, "num_train_epochs": 1}, 1, 100),
        (401, {"per_device_train_batch_size": 4, "num_train_epochs": 1}, 1, 101),
        (401, {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 8, "num_train_epochs": 2}, 1, 26),
        (401, {"per_device_train_batch_size": 4, "num_train_epochs": 1}, 2, 51),
        (10, {"per_device_train_batch_size": 4, "num_train_epochs": 0.5}, 1, 2),
        (10, {"per_device_train_batch_size": 4, "num_train_epochs": 1, "dataloader_drop_last": True}, 1, 2),
        (10, {"max_steps": 7}, 1, 7),
        (10, {"max_steps": -1, "num_train_epochs": 1, "per_device_train_batch_size": 1}, 1, 10),
        (3, {"num_train_epochs": 1}, 1, 3),
        (0, {"num_train_epochs": 1}, 1, 1),
    ],
)
def test_steps_are_epochs_times_rows_over_batch_accumulation_and_devices(rows, arguments, devices, steps):
    assert total_steps(config(**arguments), rows, devices) == steps


@given(
    rows=st.integers(1, 10**6),
    batch=st.integers(1, 64),
    accumulation=st.integers(1, 64),
    devices=st.integers(1, 8),
)
def test_rounding_in_two_goes_equals_rounding_once(rows, batch, accumulation, devices):
    """KAITO's formula in one ceiling, Hugging Face's in two: the same number."""
    c = config(per_device_train_batch_size=batch, gradient_accumulation_steps=accumulation, num_train_epochs=1)
    assert total_steps(c, rows, devices) == math.ceil(rows / (batch * accumulation * devices))


@pytest.mark.parametrize(
    ("rows", "split", "trained"),
    [(400, 0.9, 360), (10, 0.8, 8), (25, 0.9, 22), (20, 0.95, 18), (100, 1, 100), (2, 0.1, 1), (2, 0.99, 1), (1, 0.5, 1), (0, 0.5, 0)],
)  # fmt: skip
def test_rows_are_split_as_kaito_does(rows, split, trained):
    assert train_rows(config(split), rows) == trained


def test_a_section_without_a_split_means_four_fifths():
    assert train_rows(TrainingConfig(), 10) == 8


@given(st.integers(0, 10**6), st.floats(0.001, 1))
def test_a_split_leaves_rows_on_both_sides(rows, split):
    trained = train_rows(config(split), rows)
    assert 0 <= trained <= rows
    if split < 1 and rows > 1:
        assert 0 < trained < rows


@pytest.mark.train
@pytest.mark.filterwarnings("ignore")
def test_steps_equal_those_of_hugging_faces_trainer(tmp_path):
    import torch
    from transformers import Trainer, TrainingArguments

    class Rows(torch.utils.data.Dataset):
        def __init__(self, count):
            self.count = count

        def __len__(self):
            return self.count

        def __getitem__(self, i):
            return {"x": torch.zeros(1)}

    model = torch.nn.Linear(1, 1)
    grid = itertools.product((1, 7, 64, 401), (1, 4, 7), (1, 3, 8), (0.3, 1, 3.0, 2.5), (-1, 5), (False, True))
    for rows, batch, accumulation, epochs, limit, drop_last in grid:
        if drop_last and rows < batch:
            continue  # nothing to train on: the Trainer refuses
        arguments = {
            "per_device_train_batch_size": batch,
            "gradient_accumulation_steps": accumulation,
            "num_train_epochs": epochs,
            "max_steps": limit,
            "dataloader_drop_last": drop_last,
        }
        args = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to=[], **arguments)
        trainer = Trainer(model, args, train_dataset=Rows(rows))
        theirs = trainer.set_initial_training_values(args, trainer.get_train_dataloader())[-1]
        assert total_steps(config(**arguments), rows) == theirs, arguments | {"rows": rows}


@pytest.mark.train
def test_steps_on_several_devices_equal_accelerates_sharding():
    from accelerate.data_loader import BatchSamplerShard
    from torch.utils.data import BatchSampler, SequentialSampler

    for rows, batch, devices in itertools.product((1, 7, 64, 401), (1, 4, 7), (2, 3, 8)):
        batches = BatchSampler(SequentialSampler(range(rows)), batch, drop_last=False)
        shard = BatchSamplerShard(batches, num_processes=devices, process_index=0)
        c = config(per_device_train_batch_size=batch, num_train_epochs=1)
        assert total_steps(c, rows, devices) == len(shard), (rows, batch, devices)


@pytest.mark.train
def test_the_split_equals_that_of_the_library_that_kaito_calls():
    import datasets

    for rows, split in itertools.product((2, 3, 10, 20, 25, 99, 400), (0.1, 0.5, 0.8, 0.9, 0.95)):
        try:
            parts = datasets.Dataset.from_dict({"x": list(range(rows))}).train_test_split(test_size=1 - split)
        except ValueError:
            continue  # it refuses to leave a side empty, where we keep one row
        assert train_rows(config(split), rows) == len(parts["train"]), (rows, split)
