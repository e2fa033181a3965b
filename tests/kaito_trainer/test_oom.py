"""A batch that does not fit is halved in place, once and for all, and what is learnt does not change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tiny import Run, conversations

pytestmark = [
    pytest.mark.train,
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*use_reentrant:UserWarning"),
]
MESSAGE = "CUDA out of memory. Tried to allocate 2.00 GiB."
STEPS = {"max_steps": 6, "per_device_train_batch_size": 4, "learning_rate": 0.01}


class Device:
    """A device of little memory: what does not fit raises, as CUDA does, in the forward pass or the backward pass.

    `fits` is asked with the token ids and the number of steps made; in training alone, unless `held_out` is asked for.
    """

    def __init__(
        self,
        patch: pytest.MonkeyPatch,
        fits: Callable[[Any, int], bool],
        *,
        backward: bool = False,
        held_out: bool = False,
    ) -> None:
        import torch

        from kaito_trainer.trainer import Trainer

        self.tried: list[tuple[int, int, int]] = []
        """Step, rows and width of everything that was sent to it."""
        self.refused = 0
        forward = Trainer.compute_loss

        def refuse() -> None:
            self.refused += 1
            raise torch.OutOfMemoryError(MESSAGE)

        class Refusing(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, loss: Any) -> Any:
                return loss.clone()

            @staticmethod
            def backward(ctx: Any, gradient: Any) -> Any:
                refuse()

        def compute_loss(trainer: Any, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
            if model.training is held_out:
                return forward(trainer, model, inputs, *args, **kwargs)
            self.tried.append((trainer.state.global_step, *inputs["input_ids"].shape))
            good = fits(inputs["input_ids"], trainer.state.global_step)
            if not good and not backward:
                refuse()
            loss = forward(trainer, model, inputs, *args, **kwargs)
            return loss if good else Refusing.apply(loss)

        patch.setattr(Trainer, "compute_loss", compute_loss)


def curve(run: Run) -> list[float]:
    return [e.data["loss"] for e in run.events() if e.type == "log"]


def said(run: Run) -> list[str]:
    found = (e.data.get("detail") or "" for e in run.events() if e.type == "phase")
    return [detail for detail in found if detail.startswith("out of memory")]


def afresh(run: Run) -> None:
    """The folder knows nothing of what was before."""
    for name in ("events.jsonl", "kaito_run.json"):
        (run.results / name).unlink()


@pytest.fixture
def whole(run: Run) -> list[float]:
    """The losses of the run that nothing disturbs."""
    sections: dict[str, Any] = {"TrainingArguments": STEPS, "DatasetConfig": {"train_test_split": 1}}
    assert run.train(conversations(30), **sections) == 0
    losses = curve(run)
    afresh(run)
    return losses


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_a_step_that_does_not_fit_is_made_in_halves_and_the_size_is_not_tried_again(
    run: Run, whole: list[float], monkeypatch: pytest.MonkeyPatch, backward: bool
) -> None:
    device = Device(monkeypatch, lambda ids, step: len(ids) < 4 or step < 3, backward=backward)
    assert run.train() == 0
    assert device.refused == 1
    assert [rows for _, rows, _ in device.tried] == [4, 4, 4, 4, 2, 2, 2, 2, 2, 2]
    assert curve(run) == pytest.approx(whole, rel=1e-5), "the same steps, added up"
    assert said(run) == ["out of memory: 2 rows at once in place of 4, added up to the same step"]
    assert run.only("train_end")["status"] == "completed"


def test_a_restart_does_not_try_it_again_either(run: Run, whole: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    Device(monkeypatch, lambda ids, step: len(ids) < 3)
    assert run.train() == 0
    assert curve(run) == pytest.approx(whole, rel=1e-5)
    monkeypatch.undo()
    device = Device(monkeypatch, lambda ids, step: len(ids) < 3)
    assert run.train() == 0
    assert device.refused == 0
    begins = [e.data["choices"] for e in run.events() if e.type == "train_begin"]
    assert [c.get("rows_at_once") for c in begins] == [None, 2]
    assert len(said(run)) == 1


def test_what_a_step_had_added_up_before_is_made_again(
    run: Run, monkeypatch: pytest.MonkeyPatch, whole: list[float]
) -> None:
    arguments = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
    seen: list[int] = []

    def fits(ids: Any, step: int) -> bool:
        seen.append(step)
        return not (step == 2 and len(ids) == 2 and seen.count(2) == 2)  # the second batch of the third step

    device = Device(monkeypatch, fits, backward=True)
    assert run.train(TrainingArguments=arguments) == 0
    assert device.refused == 1
    assert curve(run) == pytest.approx(whole, rel=1e-5)
    tokens = [e.data["num_tokens"] for e in run.events() if e.type == "log"]
    assert tokens == sorted(set(tokens))
    assert tokens[2] - tokens[1] < 2 * (tokens[1] - tokens[0]), "nothing is counted twice"


def test_a_row_that_does_not_fit_alone_is_tried_with_activations_computed_twice(
    run: Run, whole: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    from kaito_trainer.trainer import Trainer

    recomputing: list[bool] = []
    before = Trainer.recompute
    monkeypatch.setattr(Trainer, "recompute", lambda trainer: (recomputing.append(True), before(trainer)))
    device = Device(monkeypatch, lambda ids, step: bool(recomputing) or step < 1)
    assert run.train() == 0
    assert device.refused == 3, "four rows, two, one"
    assert curve(run) == pytest.approx(whole, rel=1e-4)
    assert said(run)[-1] == "out of memory: activations are computed twice, a single row does not fit otherwise"


def test_when_nothing_is_left_the_error_says_how_long_a_row_fits(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(monkeypatch, lambda ids, step: ids.numel() <= 32)
    arguments = {**STEPS, "gradient_checkpointing": False}
    assert run.train(conversations(20), TrainingArguments=arguments, DatasetConfig={"train_test_split": 1}) == 1
    told = run.only("error")
    assert told["kind"] == "out-of-memory"
    width = next(width for _, rows, width in reversed(device.tried) if width > 32 and rows == 1)
    assert told["message"].startswith("A single row of ")
    assert MESSAGE in told["message"]
    fits = int(told["remedy"].split()[0])
    assert 30 <= fits <= 32 < width
    assert told["remedy"] == (
        f'{fits} tokens fit: set max_length: {fits}, or set gradient_checkpointing: true, or use the method "qlora", or '
        "take a GPU with more memory."
    )
    assert run.train(TrainingArguments={"max_length": fits, "per_device_train_batch_size": 1}) == 0, "the remedy works"


def test_the_held_out_rows_are_halved_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def losses() -> list[float]:
        arguments = {"max_steps": 1, "per_device_eval_batch_size": 4}
        sections: dict[str, Any] = {"TrainerOptions": {"samples": 0}, "DatasetConfig": {"train_test_split": 0.5}}
        assert run.train(conversations(12), TrainingArguments=arguments, **sections) == 0
        return [e.data["eval_loss"] for e in run.events() if e.type == "evaluate"]

    undisturbed = losses()
    afresh(run)
    Device(monkeypatch, lambda ids, step: len(ids) < 3, held_out=True)
    assert losses() == pytest.approx(undisturbed, rel=1e-5)
    assert said(run) == ["out of memory: 2 held-out rows at once in place of 4"]


def test_another_error_is_no_lack_of_memory(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from kaito_trainer.trainer import Trainer

    def wrong(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(Trainer, "_plain_loss", wrong)
    assert run.train(TrainingArguments=STEPS, DatasetConfig={"train_test_split": 1}) == 1
    assert run.only("error")["kind"] == "crash"


class TestPieces:
    """How a batch is cut."""

    @pytest.fixture(autouse=True)
    def _torch(self, libraries: None) -> None:
        pass

    def test_rows_lose_the_padding_that_only_others_needed(self) -> None:
        import torch

        from kaito_trainer.pieces import cut, size

        mask = torch.tensor([[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1]])
        ids = torch.arange(12).reshape(3, 4)
        whole = {"input_ids": ids, "labels": ids, "attention_mask": mask}
        assert size(whole) == ("rows", 3)
        assert cut(whole, 3, None) == [whole]
        first, second = cut(whole, 2, None)
        assert (first["input_ids"].tolist(), second["labels"].tolist()) == ([[0]], []) or (
            [first["input_ids"].shape, second["input_ids"].shape] == [(1, 2), (2, 4)]
        )
        assert torch.cat([p["attention_mask"].sum().reshape(1) for p in (first, second)]).sum() == mask.sum()

    def test_rows_laid_end_to_end_are_cut_where_they_begin(self) -> None:
        import torch

        from kaito_trainer.pieces import cut, size

        whole = {
            "input_ids": torch.arange(9)[None],
            "position_ids": torch.tensor([[0, 1, 2, 0, 1, 0, 1, 2, 3]]),
            "seq_idx": torch.tensor([[0, 0, 0, 1, 1, 2, 2, 2, 2]]),
            "cu_seq_lens_q": torch.tensor([0, 3, 5, 9]),
            "max_length_q": 4,
        }
        assert size(whole) == ("tokens", 9)
        pieces = cut(whole, None, 5)
        assert [p["input_ids"][0].tolist() for p in pieces] == [[0, 1, 2, 3, 4], [5, 6, 7, 8]]
        assert [p["cu_seq_lens_q"].tolist() for p in pieces] == [[0, 3, 5], [0, 4]]
        assert [p["max_length_q"] for p in pieces] == [3, 4]
        assert [p["seq_idx"][0].tolist() for p in pieces] == [[0, 0, 0, 1, 1], [0, 0, 0, 0]]
        longest = cut(whole, None, 2)
        assert [p["input_ids"].shape[1] for p in longest] == [3, 2, 4], "a row is never cut"
        assert size(longest[0]) == ("rows", 1), "and cannot be halved"
