"""Three real runs that differ in their rank: figures must be those of the histories, in tables, pictures and pages."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import kaito_jupyter as kaito
from kaito_jupyter.backends.local import LocalBackend
from kaito_jupyter.errors import RunNotFound, SpecError
from kaito_jupyter.run import Comparison, Run
from kaito_jupyter.run.export import ExportError

Start = Callable[..., Run]
RANKS = (2, 8, 32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("comparison")


@pytest.fixture(scope="module")
def real(folder: Path) -> Iterator[tuple[Run, ...]]:
    """Three runs of the real trainer on a tiny model, kept in a history of their own."""
    from tiny import make_model

    frame = pd.DataFrame({"prompt": [f"what does {n} do" for n in range(60)], "completion": ["it returns a list"] * 60})
    backend = LocalBackend(folder / "runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KAITO_HISTORY", str(folder / "history.sqlite"))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.delenv("KAITO_LOCAL_TRAINER", raising=False)
        made = folder / "model"
        make_model(made)
        found = [
            kaito.tune(
                frame, preset=made, backend=backend, use_cpu=True, bf16=False, learning_rate=5e-3, max_steps=24,
                name=f"rank-{rank}", assignments=[f"LoraConfig.r={rank}", "TrainingArguments.eval_steps=6"],
            )
            for rank in RANKS
        ]  # fmt: skip
        yield tuple(run.wait(timeout=280) for run in found)


@pytest.fixture
def three(real: tuple[Run, ...], folder: Path, monkeypatch: pytest.MonkeyPatch) -> Comparison:
    monkeypatch.setenv("KAITO_HISTORY", str(folder / "history.sqlite"))
    return kaito.compare(*real, price_per_hour=3.6)


def lines_of(figure: Any, axes: int) -> list[Any]:
    """The curves of a picture's part: what has as many points as a run has, at the widths of curves."""
    return [line for line in figure.axes[axes].lines if line.get_linewidth() >= 1.5]


@pytest.mark.train
@pytest.mark.timeout(400)
def test_figures_are_those_of_the_histories(three: Comparison, real: tuple[Run, ...]) -> None:
    table, curves = three.to_frame(), three.curves()
    assert list(table.index) == ["rank-2", "rank-8", "rank-32"]
    for run in real:
        row, mine = table.loc[run.name], curves[curves["run"] == run.name].set_index("step")
        pd.testing.assert_series_equal(
            mine["loss"].dropna(), run.history["loss"], check_index_type=False, check_names=False
        )
        held = run.evaluations["eval_loss"]
        pd.testing.assert_series_equal(mine["eval_loss"].dropna(), held, check_index_type=False, check_names=False)
        assert row["loss"] == run.history["loss"].iloc[-1]
        assert row["best_loss"] == run.history["loss"].min()
        assert (row["eval_loss_before"], row["eval_loss"]) == (held.loc[0], held.iloc[-1])
        assert row["best_eval_loss"] == held[held.index > 0].min()
        assert row["tokens"] == run.history["num_tokens"].iloc[-1]
        assert row["adapter_bytes"] == run.adapter.size  # type: ignore[union-attr]
        assert row["cost"] == pytest.approx(row["seconds"] / 3600 * 3.6)
    sizes = table["adapter_bytes"].tolist()
    assert sizes == sorted(sizes)


@pytest.mark.train
def test_the_picture_draws_the_histories_by_each_axis(three: Comparison, real: tuple[Run, ...]) -> None:
    for by, column in (("steps", None), ("tokens", "num_tokens"), ("time", "time")):
        figure = three.plot(by, smooth=False)  # type: ignore[arg-type]
        drawn = lines_of(figure, 0)
        assert len(drawn) == 3
        for line, run in zip(drawn, real, strict=True):
            x, y = line.get_data()
            np.testing.assert_array_equal(y, run.history["loss"])
            if column is None:
                np.testing.assert_array_equal(x, run.history.index)
            else:
                told = run.history[column].to_numpy()
                np.testing.assert_allclose(np.diff(x), np.diff(told), atol=1e-6)
        held = lines_of(figure, 1)
        for line, run in zip(held, real, strict=True):
            np.testing.assert_array_equal(line.get_data()[1], run.evaluations["eval_loss"])
    texts = [t.get_text() for t in three.plot().texts]
    for run in real:
        assert any(text.startswith(f"{run.name}  ") for text in texts)


@pytest.mark.train
def test_only_what_differs_of_the_specs_is_shown(three: Comparison) -> None:
    specs = three.specs
    assert [path for path, _ in specs] == ["LoraConfig.lora_alpha", "LoraConfig.r"]
    assert [str(v) for v in specs[0][1]] == ["2 (default)", "8 (default)", "32 (default)"]
    assert specs.to_frame().loc["LoraConfig.r"].tolist() == [2, 8, 32]
    shown = three._repr_mimebundle_()
    for part in ("LoraConfig.r", "rank-32", "held-out loss, best", "tokens/s", "cost"):
        assert part in shown["text/plain"]
        assert part in shown["text/html"]
    assert shown["text/html"].count("<svg") == 1
    assert 'src="data:image/png;base64,' in shown["text/html"]
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", shown["text/html"])


@pytest.mark.train
def test_runs_that_were_deleted_compare_as_before(three: Comparison, folder: Path) -> None:
    before, curves = three.to_frame(), three.curves()
    again = kaito.compare(
        *three.labels, price_per_hour=3.6
    )  # by name: the folder is no default, so that the history answers
    assert all(run.backend.__class__.__name__ == "PastBackend" for run in again.runs)
    pd.testing.assert_frame_equal(again.to_frame(), before)
    pd.testing.assert_frame_equal(again.curves(), curves)
    assert [path for path, _ in again.specs] == ["LoraConfig.lora_alpha", "LoraConfig.r"]


@pytest.mark.train
def test_a_report_is_one_page_that_needs_nothing(three: Comparison, real: tuple[Run, ...], tmp_path: Path) -> None:
    run = real[1]
    run.note("<b>bold</b> claim, token hf_abcdefghijklmnop")
    run.tag("baseline")
    page = run.report(tmp_path / "report.html").read_text()
    for part in (
        "rank-8",
        "LoraConfig",
        "What happened",
        "adapter saved",
        "PeftModel",
        "baseline",
        "48",
        "Answers to held-out",
    ):
        assert part in page, part
    assert "<b>bold" not in page
    assert "abcdefghijklmnop" not in page
    assert "<script" not in page
    assert not re.findall(r'(?:src|href)="(?!#|data:)[^"]*"', page)
    assert "@media print" in page
    both = three.report(tmp_path / "both.html").read_text()
    assert "What differs in their specs" in both
    table = pd.read_csv(run.to_csv(tmp_path / "curve.csv"), index_col="global_step")
    logged = table["loss"].dropna()
    np.testing.assert_array_equal(logged, run.history["loss"])
    np.testing.assert_array_equal(table["eval_loss"].dropna(), run.evaluations["eval_loss"])
    with pytest.raises(ExportError, match="Name a file"):
        run.report(tmp_path / "nowhere" / "x.html")


def test_what_cannot_be_compared_is_said_all_at_once(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpecError) as error:
        kaito.compare("one", by="token")  # type: ignore[arg-type]
    assert {p.path for p in error.value.problems} == {"by", "runs"}
    with pytest.raises(SpecError, match="named twice"):
        kaito.compare("one", "one")
    with pytest.raises(RunNotFound):
        kaito.compare("no-such-run", "nor-this")


def test_a_comparison_of_runs_that_live_shows_the_newest(start: Start, until: Callable[..., Any]) -> None:
    slow = start("--seconds", "0.05", name="slow", max_steps=400)
    done = start(name="done").wait()
    until(lambda: len(slow.state.series) > 3)
    versus = kaito.compare(slow, done)
    assert versus.alive
    first = versus.to_frame().loc["slow", "step"]
    until(lambda: slow.state.global_step > first)
    assert versus.to_frame().loc["slow", "step"] > first
    assert "Still running: slow" in repr(versus)
    slow.cancel()
    until(lambda: slow.done)
    assert not versus.alive


def test_many_runs_keep_their_names_apart(start: Start) -> None:
    from kaito_jupyter.plots.overlay import spread

    assert spread([10, 10, 10], 0, 100, gap=14) == [10, 24, 38]
    assert spread([99, 98, 97], 0, 100, gap=14) == [100, 86, 72]
    placed = spread([50.0] * 12, 0, 100, gap=14)
    assert min(np.diff(sorted(placed))) >= 14
