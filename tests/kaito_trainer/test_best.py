"""Early stopping, and the best adapter in the last one's place: also after the process was killed in between."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tiny import Run, conversations

from kaito_trainer.contract.events import Evaluate

pytestmark = [pytest.mark.train, pytest.mark.usefixtures("libraries")]
WORSE: dict[str, Any] = {
    # The more is learnt of what is trained on, the worse goes what is held out; its endings get better at first.
    "TrainingArguments": {
        "max_steps": 40, "learning_rate": 0.005, "lr_scheduler_type": "constant", "per_device_train_batch_size": 3,
        "eval_strategy": "steps", "eval_steps": 2, "logging_steps": 5, "save_strategy": "no",
    },
    "DatasetConfig": {"train_test_split": 0.5, "shuffle_dataset": False},
    "TrainerOptions": {"samples": 1, "sample_tokens": 4, "early_stopping_patience": 3},
}  # fmt: skip
KEEP: dict[str, Any] = {"load_best_model_at_end": True, "save_strategy": "best", "metric_for_best_model": "eval_loss"}


def rows() -> list[dict[str, Any]]:
    """The second half, which is held out, has other answers than the first."""
    answers = ["it returns a list of numbers"] * 6 + ["hello world and why not"] * 6
    for row, answer in zip(made := conversations(12), answers, strict=True):
        row["messages"][1]["content"] = answer
    return made


def adapter(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    loaded: dict[str, Any] = load_file(folder / "adapter_model.safetensors")
    return loaded


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(bool((one[name] == other[name]).all()) for name in other)


def evaluations(run: Run) -> dict[int, float]:
    return {e.data["global_step"]: e.data["eval_loss"] for e in run.events() if e.type == "evaluate"}


def killed_after(run: Run, monkeypatch: pytest.MonkeyPatch, step: int, name: str = "on_evaluate") -> None:
    """End the next training as SIGKILL would: at once, with nothing written, after that step's evaluation."""
    from kaito_trainer.callbacks import EventCallback

    before = getattr(EventCallback, name)

    def kill(callback: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        before(callback, args, state, control, **kwargs)
        if state.global_step == step:
            raise KeyboardInterrupt

    monkeypatch.setattr(EventCallback, name, kill)
    assert run.train() == 1
    monkeypatch.undo()
    file = run.results / "events.jsonl"
    told = file.read_text(encoding="utf-8").splitlines(keepends=True)
    file.write_text("".join(line for line in told if '"type":"error"' not in line), encoding="utf-8")


@pytest.fixture
def whole(run: Run, tmp_path: Path) -> Run:
    """The run that nobody touched, which keeps the best adapter and its checkpoints."""
    made = Run(tmp_path / "whole", run.model, run.config)
    made.root.mkdir()
    assert made.train(rows(), **WORSE) == 0
    return made


def test_it_ends_when_nothing_gets_better_and_says_so(run: Run) -> None:
    assert run.train(rows(), **WORSE) == 0
    end, measured = run.only("train_end"), evaluations(run)
    del measured[0]
    best = min(measured, key=measured.__getitem__)
    assert 0 < best < end["global_step"] < 40
    assert end["global_step"] == best + 3 * 2, "three evaluations without a better one"
    assert (end["status"], end["stopped_early"]) == ("completed", "no better in 3 evaluations")
    assert (end["best_step"], end["best_eval_loss"]) == (best, measured[best])
    assert (end["eval_loss"], end.get("adapter_step")) == (measured[end["global_step"]], None), "the last adapter"
    assert list(measured) == list(range(2, end["global_step"] + 1, 2)), "nothing is measured twice"
    assert [e.data["global_step"] for e in run.events() if e.type == "generate"] == [0, end["global_step"]]
    assert [e.data["global_step"] for e in run.events() if e.type == "log"][-1] == end["global_step"]
    assert "It was stopped early: no better in 3 evaluations." in (run.results / "README.md").read_text()
    assert (run.results / "fine_tuning_completed.txt").exists()


@pytest.mark.parametrize(("name", "off"), [("on_evaluate", 0), ("on_evaluate", 2), ("on_step_end", 1)])
def test_its_patience_outlives_a_restart(
    run: Run, whole: Run, monkeypatch: pytest.MonkeyPatch, name: str, off: int
) -> None:
    last = whole.only("train_end")["global_step"]
    monkeypatch.setattr("kaito_trainer.checkpoints.SHARE", 1e9)
    run.write(rows(), **WORSE)
    run.write(TrainerOptions={"checkpoint_minutes": 1e-9})
    killed_after(run, monkeypatch, last - off, name)
    assert run.train() == 0
    assert run.events()[-1].data["global_step"] == last
    assert evaluations(run) == pytest.approx(evaluations(whole), rel=1e-6)
    assert same(adapter(run.results), adapter(whole.results))
    assert [e.data["global_step"] for e in run.events() if e.type == "generate"] == [0, last]


def test_the_best_adapter_takes_the_last_ones_place(run: Run) -> None:
    assert run.train(rows(), **{**WORSE, "TrainingArguments": WORSE["TrainingArguments"] | KEEP}) == 0
    end, measured = run.only("train_end"), evaluations(run)
    best = end["best_step"]
    assert (end["adapter_step"], end["eval_loss"]) == (best, measured[best])
    assert same(adapter(run.results), adapter(run.results / f"checkpoint-{best}"))
    assert [e.data["global_step"] for e in run.events() if e.type == "generate"] == [0, best], "the kept one answers"
    finals = [e.data["global_step"] for e in run.events() if e.type == "save" and e.data.get("final")]
    assert finals == [end["global_step"], best]
    card = (run.results / "README.md").read_text()
    assert f"The adapter is that of step {best}, the best on the held-out rows." in card
    assert f"| {best} | " in card
    config = json.loads((run.results / "adapter_config.json").read_text())
    assert config["inference_mode"] is True


def test_the_best_is_kept_through_a_kill_after_it_and_rotation(
    run: Run, whole: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checkpoints come after every step, two are kept, and the best is many steps old."""
    monkeypatch.setattr("kaito_trainer.checkpoints.SHARE", 1e9)
    best, last = whole.only("train_end")["best_step"], whole.only("train_end")["global_step"]
    arguments = {
        **WORSE["TrainingArguments"],
        "load_best_model_at_end": True,
        "save_strategy": "best",
        "save_total_limit": 1,
    }
    run.write(rows(), **{**WORSE, "TrainingArguments": arguments})
    run.write(TrainerOptions={"checkpoint_minutes": 1e-9})
    killed_after(run, monkeypatch, last - 1, "on_step_end")
    kept = {p.name for p in run.results.glob("checkpoint-*")}
    assert kept == {f"checkpoint-{best}", f"checkpoint-{last - 2}"}
    weights = adapter(run.results / f"checkpoint-{best}")
    assert run.train() == 0
    end = run.events()[-1].data
    assert (end["global_step"], end["adapter_step"], end["best_step"]) == (last, best, best)
    assert same(adapter(run.results), weights)
    assert evaluations(run) == pytest.approx(evaluations(whole), rel=1e-6)


def test_a_cancelled_run_keeps_the_best_too_and_goes_on_from_the_last(run: Run, whole: Run) -> None:
    import signal

    from kaito_trainer.callbacks import EventCallback

    last, best = whole.only("train_end")["global_step"], whole.only("train_end")["best_step"]
    arguments = {**WORSE["TrainingArguments"], **KEEP}
    run.write(rows(), **{**WORSE, "TrainingArguments": arguments})
    with pytest.MonkeyPatch.context() as patch:
        before = EventCallback.on_step_begin

        def ask(callback: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            before(callback, args, state, control, **kwargs)
            if state.global_step == last - 2:
                signal.raise_signal(signal.SIGTERM)

        patch.setattr(EventCallback, "on_step_begin", ask)
        assert run.train() == 143
    end = run.only("train_end")
    assert (end["status"], end["global_step"], end["adapter_step"]) == ("cancelled", last - 1, best)
    assert end.get("stopped_early") is None
    assert same(adapter(run.results), adapter(run.results / f"checkpoint-{best}"))
    assert not same(adapter(run.results / f"checkpoint-{last - 1}"), adapter(run.results))
    assert run.train() == 0
    end = run.events()[-1].data
    assert (end["global_step"], end["adapter_step"], end["stopped_early"]) == (last, best, "no better in 3 evaluations")


def test_asked_for_alone_it_chooses_when_to_evaluate_and_to_save(run: Run) -> None:
    arguments = {"max_steps": 20, "learning_rate": 0.02, "load_best_model_at_end": True}
    run.config.TrainingArguments.save_strategy = None  # as KAITO's own config has it, "no"
    assert run.train(rows(), TrainingArguments=arguments, TrainerOptions={"samples": 0}) == 0
    assert list(evaluations(run)) == list(range(0, 21, 2))
    assert run.only("train_begin")["choices"]["save_strategy"] == "best"
    assert run.only("train_end")["best_step"] is not None


@pytest.mark.parametrize(
    ("metric", "greater", "best"),
    [("loss", False, 4), ("eval_loss", False, 4), ("eval_mean_token_accuracy", True, 6), (None, None, None)],
)
def test_the_best_is_the_first_of_equals_and_no_base_model(
    metric: str | None, greater: bool | None, best: int | None
) -> None:
    from kaito_trainer.best import of

    losses = {0: 0.5, 2: float("nan"), 4: 1.0, 6: 1.0, 8: 0.9}
    told = [
        Evaluate(global_step=step, eval_loss=loss, metrics={"eval_mean_token_accuracy": 0.9 if step == 6 else 0.1})
        for step, loss in losses.items()
    ]
    found = of(SimpleNamespace(metric_for_best_model=metric, greater_is_better=greater), told, 6)
    assert (found.global_step if found else None) == best
