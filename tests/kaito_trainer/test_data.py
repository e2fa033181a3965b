"""Data files → examples: every format, every defect by its place, and KAITO's split."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kaito_trainer import data, read
from kaito_trainer.contract import TrainingConfig
from kaito_trainer.failures import Failure

TURNS = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]


def config(**section: Any) -> TrainingConfig:
    return TrainingConfig.from_dict({"DatasetConfig": {"train_test_split": 1, "shuffle_dataset": False} | section})


def write(folder: Path, name: str, rows: list[dict[str, Any]]) -> Path:
    """The rows in the format that the name says."""
    file = folder / name
    if name.endswith(".parquet"):
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    elif name.endswith(".arrow"):
        import pyarrow

        table = pyarrow.Table.from_pylist(rows)
        with pyarrow.OSFile(str(file), "wb") as sink:
            writer = pyarrow.ipc.new_stream if "stream" in name else pyarrow.ipc.new_file
            with writer(sink, table.schema) as out:
                out.write_table(table)
    elif name.endswith(".csv"):
        import csv

        with file.open("w", newline="", encoding="utf-8") as handle:
            out_csv = csv.DictWriter(handle, list(rows[0]))
            out_csv.writeheader()
            out_csv.writerows(rows)
    elif name.endswith(".json"):
        file.write_text(json.dumps(rows), encoding="utf-8")
    else:
        file.write_text("\n".join(json.dumps(r) for r in rows) + "\n", encoding="utf-8")
    return file


@pytest.mark.parametrize(
    "name",
    ["train.parquet", "train.arrow", "stream.arrow", "train.csv", "train.json", "train.jsonl", "train.JSONL", "train"],
)
def test_every_format_reads_the_same(tmp_path: Path, name: str) -> None:
    rows = [{"prompt": "what,\n1", "completion": "it 🙂"}, {"prompt": "2", "completion": "3"}]
    write(tmp_path, name, rows)
    loaded = data.load(tmp_path, config())
    assert loaded.format == "instruction"
    assert [(e.prompt, e.completion) for e in loaded.train] == [("what,\n1", "it 🙂"), ("2", "3")]
    assert loaded.files == (name,)


@pytest.mark.parametrize("name", ["train.parquet", "train.jsonl"])
def test_conversations_keep_their_turns_without_what_arrow_filled_in(tmp_path: Path, name: str) -> None:
    turns = [TURNS[0], {"role": "assistant", "content": "b", "name": "x"}]
    write(tmp_path, name, [{"messages": turns}])
    assert data.load(tmp_path, config()).train[0].messages == turns


def test_conversations_may_be_json_text(tmp_path: Path) -> None:
    write(tmp_path, "train.csv", [{"messages": json.dumps(TURNS)}])
    assert data.load(tmp_path, config()).train[0].messages == TURNS


def test_all_files_are_used_in_the_order_of_their_names(tmp_path: Path) -> None:
    """Field note K8: the stock trainer uses one of them."""
    write(tmp_path, "b.jsonl", [{"text": "2"}])
    write(tmp_path, "a.parquet", [{"text": "1"}])
    (tmp_path / "sub").mkdir()
    write(tmp_path / "sub", "c.csv", [{"text": "3"}])
    assert [e.completion for e in data.load(tmp_path, config()).train] == ["1", "2", "3"]


def test_a_format_is_what_the_name_ends_with(tmp_path: Path) -> None:
    """Field note K8: the stock trainer reads this one as CSV or JSON, by chance."""
    write(tmp_path, "export_csv_2024.jsonl", [{"text": "1"}])
    write(tmp_path, "b.jsonl?sig=a%2Fparquet", [{"text": "2"}])
    assert [e.completion for e in data.load(tmp_path, config()).train] == ["2", "1"]


def test_what_kubernetes_mounts_beside_the_data_is_not_read_twice(tmp_path: Path) -> None:
    inner = tmp_path / "..2026_01_01"
    inner.mkdir()
    write(inner, "train.jsonl", [{"text": "1"}])
    (tmp_path / "..data").symlink_to(inner)
    (tmp_path / "train.jsonl").symlink_to(inner / "train.jsonl")
    (tmp_path / "README.md").write_text("notes")
    assert len(data.load(tmp_path, config()).train) == 1


def test_an_extension_that_is_written_counts(tmp_path: Path) -> None:
    write(tmp_path, "rows.jsonl", [{"text": "1"}]).rename(tmp_path / "rows.txt")
    assert len(data.load(tmp_path, config(dataset_extension="json")).train) == 1


@pytest.mark.parametrize(
    ("row", "section", "expected"),
    [
        ({"messages": TURNS, "text": "x"}, {}, ("conversational", "")),
        ({"chat": TURNS}, {"messages_column": "chat"}, ("conversational", "")),
        ({"q": "a", "r": "b"}, {"context_column": "q", "response_column": "r"}, ("instruction", "b")),
        ({"q": "a", "completion": "b"}, {"context_column": "q"}, ("instruction", "b")),
        ({"q": "a", "text": "b"}, {"context_column": "q"}, ("instruction", "b")),
        ({"body": "b", "other": "c"}, {"response_column": "body"}, ("text", "b")),
        ({"prompt": "a", "completion": "b", "text": "c"}, {}, ("instruction", "b")),
        ({"text": "b", "id": 1}, {}, ("text", "b")),
        ({"anything": "b"}, {}, ("text", "b")),
        ({"prompt": TURNS[:1], "completion": TURNS[1:]}, {}, ("conversational", "")),
    ],
)
def test_columns_are_those_that_the_config_names_else_by_their_names(
    tmp_path: Path, row: dict[str, Any], section: dict[str, Any], expected: tuple[str, str]
) -> None:
    """Field note K7: the stock trainer parses these fields and never uses them."""
    write(tmp_path, "train.jsonl", [row])
    loaded = data.load(tmp_path, config(**section))
    assert (loaded.format, loaded.train[0].completion) == expected


def test_a_conversational_prompt_is_context(tmp_path: Path) -> None:
    write(tmp_path, "train.jsonl", [{"prompt": [*TURNS, TURNS[0]], "completion": TURNS[1:]}])
    example = data.load(tmp_path, config()).train[0]
    assert (len(example.messages), example.trained_from) == (4, 3)


def test_the_split_is_kaitos_and_the_shuffle_has_its_seed(tmp_path: Path) -> None:
    write(tmp_path, "train.jsonl", [{"text": str(i)} for i in range(10)])
    straight = data.load(tmp_path, config(train_test_split=0.8))
    assert [e.completion for e in straight.train] == [str(i) for i in range(8)]
    assert [e.completion for e in straight.held_out] == ["8", "9"]
    told = [
        [e.completion for e in data.load(tmp_path, config(shuffle_dataset=True, shuffle_seed=seed)).train]
        for seed in (1, 1, 2, None)
    ]
    assert told[0] == told[1] != told[2]
    assert sorted(told[3]) == [str(i) for i in range(10)] != told[3]


def test_rows_cannot_be_told_apart_from_a_split_that_was_left_out(tmp_path: Path) -> None:
    write(tmp_path, "train.jsonl", [{"text": str(i)} for i in range(10)])
    loaded = data.load(tmp_path, TrainingConfig())
    assert (len(loaded.train), len(loaded.held_out)) == (8, 2), "KAITO holds a fifth out when the section says nothing"


def fails(place: Path, **section: Any) -> Failure:
    with pytest.raises(Failure) as caught:
        data.load(place, config(**section))
    assert caught.value.kind == "dataset"
    return caught.value


def test_defective_rows_are_named_all_at_once(tmp_path: Path) -> None:
    rows = [
        {"messages": TURNS},
        {"messages": None},
        {"messages": []},
        {"messages": [{"content": "x"}]},
        {"messages": [{"role": "user"}]},
        {"messages": "no json"},
    ]
    write(tmp_path, "train.jsonl", rows)
    failure = fails(tmp_path)
    assert failure.message == (
        "5 of 6 rows cannot be trained on. The first: train.jsonl, row 1: `messages` is no list of turns"
    )
    assert failure.details == [
        "train.jsonl, row 1: `messages` is no list of turns",
        "train.jsonl, row 2: `messages` is no list of turns",
        "train.jsonl, row 3: `messages` 0 has no role",
        "train.jsonl, row 4: `messages` 0 has no content",
        "train.jsonl, row 5: no JSON: Expecting value: line 1 column 1 (char 0)",
    ]


def test_many_defects_are_counted_and_the_first_shown(tmp_path: Path) -> None:
    write(tmp_path, "train.jsonl", [{"text": i} for i in range(30)])
    failure = fails(tmp_path)
    assert failure.details is not None
    assert (failure.details[0], failure.details[-1], len(failure.details)) == (
        "train.jsonl, row 0: `text` is no text",
        "… and 10 more",
        21,
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train.parquet", b"PAR1 not really", "train.parquet: it cannot be read as parquet: "),
        ("train.arrow", b"nonsense", "train.arrow: it cannot be read as arrow: "),
        ("train.json", b'[{"text": "a"},', "train.json: it cannot be read as json: "),
        ("train.jsonl", b'{"text": "a"}\n{"text": ', "train.jsonl: it cannot be read as json: line 2: "),
        ("train.jsonl", b'{"text": "a"}\n3\n', "train.jsonl: it cannot be read as json: line 2 is no object"),
        ("train.jsonl", b'{"text": "\xff"}\n', "train.jsonl: it cannot be read as json: 'utf-8' codec"),
        ("train.csv", b'text\n"open', "train.csv: it cannot be read as csv: unexpected end of data"),
        ("train.csv", b"text\n", '"train.csv": no rows.'),
        ("train.jsonl", b"", '"train.jsonl": no rows.'),
        ("train.csv", b"text\na,b\n", "1 of 1 rows cannot be trained on. The first: train.csv, row 0: more cells than"),
    ],
)
def test_unreadable_files_say_why(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert fails(tmp_path).message.startswith(message)


def test_a_place_without_data_says_what_it_holds(tmp_path: Path) -> None:
    assert fails(tmp_path / "nonesuch").message == f"{tmp_path}/nonesuch: there is no such file or folder."
    assert fails(tmp_path).message == f"{tmp_path}: there is no data file in it. It is empty."
    (tmp_path / "notes.txt").write_text("x")
    failure = fails(tmp_path)
    assert failure.message == f'{tmp_path}: there is no data file in it. It holds "notes.txt".'
    assert failure.remedy == read.REMEDY


def test_columns_that_cannot_be_told_are_named(tmp_path: Path) -> None:
    write(tmp_path, "train.jsonl", [{"question": "a", "answer": "b"}])
    assert fails(tmp_path).message == (
        'the columns "question" and "answer" are in none of the formats that can be trained on.'
    )
    assert fails(tmp_path, messages_column="mesages").message == (
        'there is no column "mesages". There are "question" and "answer".'
    )
    assert fails(tmp_path, context_column="qestion", response_column="answer").message == (
        'there is no column "qestion". Did you mean "question"? There are "question" and "answer".'
    )


def test_a_format_that_we_do_not_read_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "train.jsonl", [{"text": "a"}])
    assert fails(tmp_path, dataset_extension="webdataset").message == (
        'train.jsonl: the format "webdataset" is not known.'
    )
