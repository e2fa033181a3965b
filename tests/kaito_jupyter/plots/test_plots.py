"""Pictures of a run at every stage: they can be drawn, are opaque, and show what there is."""

import io
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from kaito_jupyter import plots
from kaito_jupyter.plots.curve import decimate, limits, smoothed
from kaito_jupyter.state import RunState
from kaito_trainer.contract import encode
from kaito_trainer.contract.events import Evaluate, Log

STAGES = [
    "nothing",
    "before",
    "no step",
    "one step",
    "two steps",
    "early",
    "spike",
    "failed early",
    "failed",
    "cancelled",
    "succeeded",
    "long",
]


def texts(figure):
    return [t.get_text() for t in figure.texts]


def lines(figure):
    return [line for axes in figure.axes for line in axes.get_lines()]


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_is_an_opaque_picture_of_the_same_size(stages, stage, dark):
    data = plots.png(stages[stage], title=r"capital $\otter$ <b>", dark=dark, learning_rate=True)
    image = Image.open(io.BytesIO(data))
    assert image.size == (640, 360)
    pixels = np.asarray(image.convert("RGBA"))
    assert (pixels[..., 3] == 255).all()
    assert (pixels[0, 0, :3].mean() < 60) == dark
    assert len(data) < 120_000


def test_nothing_but_the_figure_is_touched(stages):
    code = """
import sys
from kaito_jupyter.state import RunState
from kaito_jupyter import plots
assert not {"matplotlib", "numpy", "pandas", "pyarrow"} & set(sys.modules)
plots.summary(RunState()), plots.alt_text(RunState())
assert not {"matplotlib", "numpy", "pandas", "pyarrow"} & set(sys.modules)
plots.png(RunState())
assert "matplotlib.pyplot" not in sys.modules and "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=120)


def test_a_figure_shows_itself_in_a_notebook(stages):
    figure = plots.figure(stages["early"])
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_a_sharp_picture_has_more_pixels(stages):
    assert Image.open(io.BytesIO(plots.png(stages["early"], scale=2, width=300, height=200))).size == (600, 400)


def test_heading_and_names_of_curves(stages):
    figure = plots.figure(stages["early"], title="otter")
    assert texts(figure)[:2] == ["otter", "●"]
    assert texts(figure)[2].startswith("training 50/400 · loss ")
    assert {"loss", "smoothed", "held out", "step"} < set(texts(figure))
    assert "smoothed" not in texts(plots.figure(stages["early"], smooth=False))
    assert "learning rate" in texts(plots.figure(stages["early"], learning_rate=True))
    assert len(plots.figure(stages["early"], learning_rate=True).axes) == 2


def test_without_a_step_the_phases_are_shown(stages):
    assert {"pending", "loading", "tokenizing", "training", "saving", "200 of 400 rows", "✓", "●", "○"} < set(
        texts(plots.figure(stages["before"]))
    )


@pytest.mark.parametrize("stage", ["failed", "failed early"])
def test_a_failure_is_told_with_its_remedy(stages, stage):
    found = texts(plots.figure(stages[stage]))
    assert "✗" in found
    assert "out-of-memory: CUDA <b>$out$</b> of memory" in found
    assert "Take a larger GPU." in found


def test_held_out_losses_are_labelled(stages):
    (axes,) = plots.figure(stages["succeeded"]).axes
    assert [t.get_text() for t in axes.texts] == ["3.34", "1.75"]


def test_a_first_huge_loss_does_not_flatten_the_curve_and_is_marked(stages):
    figure = plots.figure(stages["spike"])
    (axes,) = figure.axes
    assert axes.get_ylim()[1] < 6
    marks = [line for line in axes.get_lines() if line.get_marker() == 6]
    assert [list(line.get_xdata()) for line in marks] == [[1.0]]
    soft = max(lines(figure), key=lambda line: line.get_linewidth())
    assert max(soft.get_ydata()) < 6


def test_a_long_run_draws_no_more_points_than_pixels(stages):
    assert max(len(line.get_xdata()) for line in lines(plots.figure(stages["long"]))) <= 2 * 640
    assert len(plots.png(stages["long"])) < 80_000


def test_figures_can_be_drawn_from_many_threads(stages):
    want, got = plots.png(stages["early"], title="x"), []
    threads = [threading.Thread(target=lambda: got.append(plots.png(stages["early"], title="x"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [want] * 4


def test_the_series_can_grow_while_a_figure_exists(stages):
    state, figures = RunState(), []
    for step in range(1, 50):
        state.feed(encode(Log(global_step=step, loss=1.0), seq=step, time=1.0 * step))
        figures.append(plots.figure(state))
    assert len(state.series) == 49


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats() | st.floats(1, 4), max_size=40), st.floats(), st.booleans())
def test_any_numbers_can_be_drawn(losses, held_out, rate):
    state = RunState()
    state.feed(encode(Evaluate(global_step=0, eval_loss=held_out), seq=0, time=1.0))
    for i, value in enumerate(losses, 1):
        state.feed(encode(Log(global_step=i * 977, loss=value, learning_rate=value), seq=i, time=1.0 * i))
    assert plots.png(state, learning_rate=rate).startswith(b"\x89PNG")
    assert plots.summary(state)


def test_decimation_keeps_the_lowest_and_the_highest():
    y = np.sin(np.arange(100_000) / 1000.0)
    y[5000], y[70_000] = -9.0, 9.0
    x, few = decimate(np.arange(100_000.0), y, 300)
    assert len(few) <= 600
    assert (few.min(), few.max()) == (-9.0, 9.0)
    assert (np.diff(x) >= 0).all()
    same = np.arange(10.0)
    assert decimate(same, same, 300)[0] is same


def test_smoothing_starts_at_the_curve_and_follows_it():
    x = np.arange(1000.0)
    _, soft = smoothed(x, np.full(1000, 2.5), 5000)
    assert np.allclose(soft, 2.5), "no pull towards zero at the start"
    steps, soft = smoothed(x, np.where(x < 500, 4.0, 1.0), 100)
    assert len(steps) == 100
    assert soft[0] == 4.0
    assert abs(soft[-1] - 1.0) < 0.01


@pytest.mark.parametrize(
    ("values", "others", "low", "high"),
    [
        ([], [], 0.0, 1.0),
        ([2.0], [], 1.9, 2.1),
        ([2.0, 4.0], [], 1.86, 4.14),
        ([0.0] * 9, [], 0.0, 1e-9),
        ([3.0, 900.0, 2.0, 2.5, 2.0, 1.9, 1.8, 1.8], [], 1.5, 4.5),
        ([3.0, 2.0, 2.5, 2.0, 1.9, 1.8, 1.8], [7.0], 1.0, 7.6),
        ([-3.0, -2.0], [], -3.07, -1.93),
    ],
)
def test_limits_hold_the_curve_but_no_lone_spike(values, others, low, high):
    found = limits(np.array(values), np.array(others))
    assert found[0] >= low - 1e-6
    assert found[1] <= high + 1e-6
    assert found[0] < found[1]
    for value in [*(v for v in values if abs(v) < 100), *others]:
        assert found[0] <= value <= found[1]
