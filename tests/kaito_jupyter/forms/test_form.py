"""A form without a page: what its fields do to the spec, what is found meanwhile, and what it begins with."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import kaito_jupyter
from kaito_jupyter.errors import RunNotFound, SpecError
from kaito_jupyter.forms.draft import Draft
from kaito_jupyter.forms.fields import training
from kaito_jupyter.forms.line import line
from kaito_jupyter.forms.seen import Examiner
from kaito_trainer.contract import options

STUB = Path(__file__).parents[2] / "stub_trainer.py"
MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
RATE = "TrainingArguments.learning_rate"


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {"question": [f"What is {i}?" for i in range(40)], "answer": [f"It is {i}." for i in range(40)]}
    )


def write(form: Any, path: str, text: str) -> None:
    """As the page's message does it."""
    form._page.controls[path].input.value = text


def found(form: Any, path: str) -> list[tuple[str, str]]:
    return [(p.severity, p.message) for p in form.problems if p.path == path]


def test_every_field_of_the_contract_is_in_the_form_once() -> None:
    paths = [f.path for _, simple, more in training() for f in (*simple, *more)]
    assert sorted(paths) == sorted(o.path for o in options())
    assert [f.path for _, simple, _ in training() for f in simple] != []


def test_what_is_written_is_in_the_spec_and_in_the_line(form: Callable[..., Any], frame: Any) -> None:
    made = form(frame, preset=MODEL, backend="local")
    write(made, RATE, "1e-4")
    write(made, "LoraConfig.target_modules", "q_proj, v_proj")
    write(made, "tuning.method", "qlora")
    write(made, "tuning.output", "image:registry.example.com/a:1")
    write(made, "metadata.name", "mine")
    assert made.spec.config.TrainingArguments.learning_rate == 1e-4
    assert made.spec.config.LoraConfig.target_modules == ["q_proj", "v_proj"]
    assert (made.spec.method, made.spec.name) == ("qlora", "mine")
    assert made.spec.output.image == "registry.example.com/a:1"
    assert made.line == (
        f"%kaito_tune df --preset {MODEL} --method qlora --name mine --backend local --output image:registry.example.com/a:1 "
        "--set 'LoraConfig.target_modules=q_proj, v_proj' --learning-rate 0.0001"
    )
    write(made, RATE, "")
    assert made.spec.config.TrainingArguments.learning_rate is None


def test_a_wrong_value_lights_its_field_and_stops_the_start_until_it_is_mended(
    form: Callable[..., Any], frame: Any
) -> None:
    made = form(frame, preset=MODEL, backend="local")
    assert [p for p in made.problems if p.severity == "error"] == []
    control = made._page.controls[RATE]
    write(made, RATE, "fast")
    assert found(made, RATE) == [("error", '"fast" is not a number.')]
    assert "kf-error" in control.box._dom_classes
    assert "is not a number" in control._below.value
    assert control.input.tooltip.startswith('Error: "fast" is not a number.')
    assert made._page.submit.disabled
    assert made._page.submit.tooltip == "1 error to mend before it can start."
    write(made, RATE, "0.001")
    assert found(made, RATE) == []
    assert "kf-error" not in control.box._dom_classes
    assert not made._page.submit.disabled


@pytest.mark.parametrize("target", ["local", "kaito"])
def test_whatever_stands_in_a_field_is_checked_shown_and_written(frame: Any, target: str) -> None:
    examiner = Examiner(frame[:25])
    begun = Draft.of_options(preset=MODEL, backend=target, context=None)
    for option in options():
        for text in ("many", "{a: 1}"):
            draft = begun.put(option.path, text)
            seen = next(examiner.examine(draft))
            assert seen.to_yaml()
            assert line(draft)


def test_a_finding_in_a_closed_section_opens_it_and_its_button_mends_it(form: Callable[..., Any], frame: Any) -> None:
    path = "TrainingArguments.lr_scheduler_type"
    assert path not in form(frame, preset=MODEL, backend="local")._page.controls
    made = form(frame, preset=MODEL, backend="local", lr_scheduler_type="cosin")
    assert [severity for severity, _ in found(made, path)] == ["error"]
    control = made._page.controls[path]
    (button,) = control._fixes.children
    assert button.description == "Fix: lr_scheduler_type = cosine"
    button.click()
    assert found(made, path) == []
    assert control.input.value == "cosine"
    assert made.spec.config.TrainingArguments.lr_scheduler_type == "cosine"


def test_columns_are_mapped_and_what_is_wrong_with_them_stands_beside_them(form: Callable[..., Any]) -> None:
    made = form(pd.DataFrame({"q": ["a"] * 30, "a": ["b"] * 30, "n": range(30)}), preset=MODEL, backend="local")
    assert [p.path for p in made.problems if p.severity == "error"] == ["data"]
    assert [v for _, v in made._page.controls["prompt_column"].input.options] == ["", "q", "a", "n"]
    write(made, "prompt_column", "q")
    write(made, "completion_column", "a")
    assert [p for p in made.problems if p.severity == "error"] == []
    assert "--prompt-column q --completion-column a" in made.line
    assert "30 rows (instruction)" in made._page.look.value


def test_values_to_begin_with_fill_what_is_left_open(form: Callable[..., Any], frame: Any) -> None:
    made = form(frame, preset=MODEL, backend="local", r=4)
    assert made.problems is not None
    assert "0.13 billion parameters" in made._page.advice.value
    made._page.begin.click()
    assert made.spec.config.LoraConfig.r == 4
    assert made.spec.config.TrainingArguments.per_device_train_batch_size == 4
    assert made._page.controls["TrainingArguments.per_device_train_batch_size"].input.value == "4"


def test_without_data_one_is_chosen_from_the_notebooks_own(form: Callable[..., Any], frame: Any) -> None:
    frames = {"first": frame, "second": frame[:25]}
    made = form(frames=lambda: frames, preset=MODEL, backend="local")
    assert [p.path for p in made.problems if p.severity == "error"] == ["data"]
    write(made, "frame", "second")
    assert made.problems is not None
    assert made._seen.rows == 25
    assert made.line.startswith("%kaito_tune second ")
    assert form(frames=lambda: {"only": frame}).line == "%kaito_tune only"


def test_nothing_of_the_data_is_markup(form: Callable[..., Any]) -> None:
    markup = "<img src=x onerror=alert(1)>"
    made = form(pd.DataFrame({"prompt": [markup] * 30, "completion": [markup] * 30, markup: 1}), preset=markup)
    assert made.problems is not None
    page = made._page
    shown = [page.look, page.advice, page.why, page.estimate, page.findings, page.repeat, page.status]
    page.yaml._switch.value = True
    shown += [page.yaml._body, *(c._below for c in page.controls.values())]
    assert [w.value for w in shown if "<img" in w.value] == []


def test_a_change_returns_at_once_whatever_is_being_looked_at(
    form: Callable[..., Any], frame: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kaito_jupyter.forms import seen

    made = form(frame, preset=MODEL, backend="local")
    assert made.problems is not None
    held, reading = threading.Event(), threading.Event()

    def slow(*_: Any) -> Any:
        reading.set()
        assert held.wait(120)
        return None, "local", "", []

    monkeypatch.setattr(seen, "_chosen", slow)
    write(made, "metadata.namespace", "team-a")
    assert reading.wait(120)
    write(made, "metadata.name", "while-it-looks")  # comes back while the look is held
    assert "--name while-it-looks" in made.line
    held.set()
    assert made.spec.name == "while-it-looks"


def test_it_starts_a_run_and_begins_again_with_that_runs_values(
    form: Callable[..., Any], frame: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    monkeypatch.setenv("KAITO_LOCAL_TRAINER", f"{sys.executable} {STUB} --steps 3")
    shown: list[Any] = []
    monkeypatch.setattr(kaito_jupyter, "show", lambda run, places=None: shown.append(run), raising=False)
    made = form(frame, preset=str(tmp_path / "model"), name="first", epochs=1, r=4, backend="local")
    run = made.submit()
    assert shown == [run]
    run.wait()
    again = form(from_run="first")
    assert again.spec == made.spec
    assert again.line.replace(again._draft.word, "df") == made.line
    assert again._seen.rows == 40
    assert [s for s, _ in found(again, "metadata.name")] == ["error"]  # the name is taken; the fix leaves it out
    again._page.mend.click()
    assert again.spec.name is None
    write(again, "LoraConfig.r", "8")
    assert again.problems is not None
    assert again._seen.difference.lines() == ["metadata.name: first → –", "LoraConfig.r: 4 → 8"]
    run.delete()


def test_what_is_not_there_is_said(form: Callable[..., Any]) -> None:
    with pytest.raises(RunNotFound):
        form(from_run="no-such-run", backend="local")
    with pytest.raises(SpecError, match="learning_rat"):
        form(learning_rat=1)
