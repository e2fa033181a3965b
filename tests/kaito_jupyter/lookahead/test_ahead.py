"""What a preview says of data: figures, rows, findings, and how it was looked at."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from kaito_jupyter import Dataset, SpecError, TuningSpec, preview, tune
from kaito_jupyter.lookahead import ahead
from kaito_jupyter.lookahead.measure import packed, padding


def test_the_figures_are_those_of_all_rows(model: Path, talks: pd.DataFrame) -> None:
    f = preview(talks, preset=model, max_length=16, per_device_train_batch_size=2).figures
    lengths = [len(row.ids) for row in preview(talks, preset=model, rows=10).rows]
    assert lengths == list(range(lengths[0], lengths[0] + 10))
    kept = [min(n, 16) for n in lengths]
    assert (f.rows, f.left, f.tokens, f.kept) == (10, 10, sum(lengths), sum(kept))
    assert (f.lengths.p50, f.lengths.p95, f.lengths.max) == (lengths[5], lengths[9], lengths[9])
    assert f.truncated == sum(n > 16 for n in lengths) > 0
    assert f.lost == sum(lengths) - sum(kept)
    assert f.trained == sum(kept) - 10 * (lengths[0] - 5)
    assert f.repeated == 1
    assert sum(f.bars) == 10
    assert 0 < f.padding < 0.2
    assert f.packed == packed(kept, 16)


def test_context_length_bounds_what_nobody_said(model: Path, talks: pd.DataFrame) -> None:
    assert preview(talks, preset=model).figures.max_length == 64
    assert preview(talks, preset="a/b").figures.max_length == 1024


def test_rows_beside_the_first_are_shown_when_they_are_odd(model: Path, talks: pd.DataFrame) -> None:
    seen = preview(talks, preset=model, rows=1, max_length=len(preview(talks, preset=model).rows[2].ids))
    assert [(row.number, row.why) for row in seen.rows] == [(0, ""), (3, "the first that is cut")]
    assert [token.text.strip() for token in seen.rows[1].tokens if token.cut] == ["<|im_end|>"]
    assert seen.rows[1].trained == len(seen.rows[0].labels) - seen.rows[0].labels.count(-100) + 2


def test_rows_that_are_cut_or_without_a_trained_token_are_warned_of(model: Path, talks: pd.DataFrame) -> None:
    talks.loc[4, "messages"][0]["content"] = "why " * 30
    seen = preview(talks, preset=model, max_length=17)
    assert [(p.severity, str(p)) for p in seen.problems] == [
        (
            "warning",
            (
                "data: 1 row without a token to train on within 17 tokens: left out of the training. "
                "Give a larger max_length, or drop them."
            ),
        ),
        (
            "warning",
            (
                f"TrainingArguments.max_length: {seen.figures.truncated} rows of 10 are longer than 17 tokens, and cut there. "
                "20 % of what should be learnt is lost. "
                f"Set it to {seen.figures.lengths.p95} for 95 % of the rows whole, or leave it so."
            ),
        ),
    ]
    assert seen.rows[-1].why == "nothing in it is trained on"
    assert preview(talks[:3], preset=model).problems == []


def test_a_template_that_refuses_rows_is_an_error_that_names_them(model: Path, talks: pd.DataFrame) -> None:
    strict = (
        "{% if 'does' in messages[0].content %}{{ raise_exception('no does') }}{% endif %}"
        "{% for m in messages %}{{ m.role }} {{ m.content }} <|im_end|>{% endfor %}"
    )
    seen = preview(talks, preset=model, rows=1, config={"ModelConfig": {"chat_template": strict}})
    assert seen.figures.refused == 1
    (problem,) = seen.problems
    assert (problem.severity, problem.path) == ("error", "data")
    assert "1 row cannot be written as text" in problem.message
    assert "no does" in problem.message
    assert seen.rows[-1].refusal
    assert "no does" in repr(seen)
    assert "no does" in seen._repr_html_()


def test_no_row_to_train_on_is_an_error(model: Path, talks: pd.DataFrame) -> None:
    (problem, _) = preview(talks, preset=model, max_length=3).problems
    assert (problem.severity, problem.message) == ("error", "no row has a token to train on within 3 tokens.")


@pytest.mark.parametrize(
    ("columns", "options", "on"),
    [
        (("messages",), {}, "assistant"),
        (("messages",), {"assistant_only_loss": False}, "text"),
        (("prompt", "completion"), {}, "completion"),
        (("text",), {}, "text"),
    ],
)
def test_what_is_trained_on_is_what_that_trainer_trains_on(
    columns: tuple[str, ...], options: dict[str, Any], on: str, model: Path, talks: pd.DataFrame
) -> None:
    frame = talks if columns == ("messages",) else pd.DataFrame(dict.fromkeys(columns, ["what it returns"] * 3))
    assert preview(frame, preset=model, **options).on == on


def test_of_kaito_s_own_trainer_it_says_that_all_is_trained_on(model: Path, talks: pd.DataFrame) -> None:
    seen = ahead.look_ahead(Dataset.read(talks), TuningSpec(preset=str(model)), "kaito")
    assert seen.on == "text"
    assert seen.notes == ("KAITO's own trainer learns the prompts too, whatever the configuration says.",)
    for (
        row
    ) in seen.rows:  # its tokenizer names no padding token: then the end token is taken for one, and is not trained on
        ends = [token for token in row.tokens if token.text.strip() == "<|im_end|>"]
        assert ends
        assert not any(token.trained for token in ends)
        assert sum(label == -100 for label in row.labels) == len(ends)


def test_a_loss_that_the_data_has_no_place_for_is_refused(model: Path) -> None:
    with pytest.raises(SpecError) as caught:
        preview(pd.DataFrame({"text": ["what"]}), preset=model, assistant_only_loss=True)
    (problem,) = caught.value.problems
    assert problem.path == "TrainingArguments.assistant_only_loss"


def test_without_a_tokenizer_it_is_an_estimate_that_says_so(talks: pd.DataFrame, tmp_path: Path) -> None:
    seen = preview(talks, preset="org/unknown", max_length=16)
    assert not seen.exact
    assert seen.notes[0].startswith("An estimate: the model is not on this machine, so tokens are guessed")
    assert seen.notes[1] == "The roles are marked as ChatML: org/unknown has no chat template on this machine."
    assert {p.severity for p in seen.problems} == {"note"}
    assert "≈" in repr(seen)
    assert "estimated" in seen._repr_html_()
    assert "estimated" in seen.line
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "tokenizer.json").write_text("{")
    assert preview(talks, preset=tmp_path).notes[0].startswith("An estimate: its tokenizer.json cannot be read: ")


def test_conversations_for_a_model_without_chat_template_are_an_error(
    model: Path, talks: pd.DataFrame, tmp_path: Path
) -> None:
    for name in ("tokenizer.json", "config.json"):
        (tmp_path / name).write_text((model / name).read_text())
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "<|im_end|>"}')
    seen = preview(talks, preset=tmp_path)
    assert [(p.path, p.severity) for p in seen.problems] == [("ModelConfig.chat_template", "error")]
    assert not seen.exact
    elsewhere = preview(talks, preset=tmp_path, config={"ModelConfig": {"chat_template": "/mnt/config/chat.jinja"}})
    assert elsewhere.problems == []
    assert "/mnt/config/chat.jinja cannot be read" in elsewhere.notes[0]
    assert preview(pd.DataFrame({"text": ["what"]}), preset=tmp_path).problems == []


def test_a_template_that_cannot_be_read_is_told_and_stands_in_no_start_s_way(
    model: Path, talks: pd.DataFrame, tmp_path: Path
) -> None:
    for file in model.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff\xfe")
    seen = preview(talks, preset=tmp_path)
    assert seen.notes[0].startswith("The roles are marked as ChatML: 'utf-8' codec can't decode byte 0xff")
    plan = tune(talks, preset=tmp_path, dry_run=True, backend="local")
    assert "(estimated: " in plan.glance()
    assert plan.preview() is not None


def test_of_more_rows_than_can_be_looked_at_every_few_are(
    model: Path, talks: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "ROWS", 4)
    seen = preview(talks, preset=model, rows=0)
    assert (seen.figures.rows, seen.total) == (4, 10)
    assert seen.notes == ("Every third row was looked at, 4 of 10.",)
    monkeypatch.setattr(ahead, "ROWS", 10)
    monkeypatch.setattr(ahead, "PROBE", 5)
    monkeypatch.setattr(ahead, "TOKENS", 100)
    seen = preview(talks, preset=model, rows=0)
    assert seen.figures.rows == 5
    whole = Dataset.read(pd.DataFrame({"text": [str(i) for i in range(50_000)]}))
    for step in (1, 7):
        rows = [(start, chunk) for start, chunk in whole.every(step)]
        assert [int(row["text"]) for _, chunk in rows for row in chunk] == list(range(0, 50_000, step))
        assert all(int(chunk[0]["text"]) == start for start, chunk in rows)


def test_a_glance_is_one_line_of_the_first_rows(
    model: Path, talks: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "GLANCE", 4)
    spec = TuningSpec(preset=str(model))
    line = ahead.glance(Dataset.read(talks), spec).line
    assert line.startswith("The model sees p50 ")
    assert line.endswith(" (of 4 rows).")


def test_a_spec_previews_data_too(model: Path, talks: pd.DataFrame) -> None:
    spec = TuningSpec(preset=str(model))
    assert repr(spec.preview(talks, rows=1)) == repr(preview(talks, preset=model, rows=1))


def test_what_padding_wastes_and_packing_saves() -> None:
    assert padding([4, 4, 4, 4], 2) == 0
    assert padding([1, 3], 2) == pytest.approx(2 / 6)
    assert padding([1, 3], 1) == padding([], 4) == 0
    assert packed([], 8) == 0
    assert packed([8, 5, 3, 2, 2, 2], 8) == 3
    assert packed([1] * 17, 8) == 3


def test_packing_takes_as_many_sequences_as_trl_s() -> None:
    trl = pytest.importorskip("trl")
    import random

    from datasets import Dataset as Rows

    draw = random.Random(0)
    lengths = [draw.randint(1, 64) for _ in range(300)]
    rows = Rows.from_dict({"input_ids": [[0] * n for n in lengths]})
    assert len(trl.pack_dataset(rows, 64, "bfd")) == packed(lengths, 64)


def test_a_preview_needs_neither_torch_nor_transformers(model: Path) -> None:
    code = (
        "import sys, pandas; from kaito_jupyter import preview; "
        f"repr(preview(pandas.DataFrame({{'text': ['what it']}}), preset={str(model)!r})._repr_html_()); "
        "print([m for m in ('torch', 'transformers', 'kubernetes', 'datasets') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")
