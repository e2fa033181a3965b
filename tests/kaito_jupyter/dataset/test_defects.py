"""Bad data, and the exact words about it: where, what, which rows, and how to go on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from kaito_jupyter.dataset import Dataset
from kaito_jupyter.errors import DatasetError

USER = {"role": "user", "content": "Hello?"}
BOT = {"role": "assistant", "content": "Hello."}
GOOD = [USER, BOT]
SAY_ROLES = 'The roles are "system", "user", "assistant" and "tool".'
TURN = 'A conversation is [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}].'
FILL = "Fill them in, or drop the rows"


def talk(*values: Any, index: Any = None) -> pd.DataFrame:
    """A frame of conversations."""
    column = np.empty(len(values), object)
    column[:] = list(values)
    return pd.DataFrame({"messages": column}, index=index)


def pairs(prompt: Any, completion: Any) -> pd.DataFrame:
    return pd.DataFrame({"prompt": prompt, "completion": completion})


def numbered(count: int) -> list[str]:
    return [f"text {i}" for i in range(count)]


BAD: dict[str, tuple[Any, dict[str, str], str]] = {
    # The frame as a whole.
    "no rows": (pairs([], []), {}, "df: it has no rows. Give at least one."),
    "no columns": (
        pd.DataFrame(index=range(3)), {},
        "df: it has no columns. Give rows with messages, with prompt and completion, or with text.",
    ),
    "not data": (
        42, {},
        "df: int is nothing that we can read. Give a pandas DataFrame, a pyarrow Table, a Hugging Face Dataset, or the path of a csv, json, jsonl or parquet file.",
    ),
    "a series": (
        pd.Series(["a"], name="text"), {},
        "df: a Series is one column alone. Give a frame: df.to_frame().",
    ),
    "unknown columns": (
        pd.DataFrame({"title": ["a"], "body": ["b"]}), {},
        'df: none of its columns is one that we know. The columns are "title" and "body". Name the column to train on, for example prompt_column="title" with completion_column="body"; or give messages, prompt and completion, or text.',
    ),
    "one unknown text column": (
        pd.DataFrame({"body": ["a"], "stars": [1]}), {},
        'df: none of its columns is one that we know. The columns are "body" and "stars". Name the column to train on, for example text_column="body"; or give messages, prompt and completion, or text.',
    ),
    "two formats": (
        talk(GOOD).assign(prompt="a", completion="b"), {},
        'df: it can be read in 2 ways: "messages", or "prompt" with "completion". Say which, for example messages_column="messages".',
    ),
    "two answers": (
        pd.DataFrame({"question": ["a"], "answer": ["b"], "response": ["c"]}), {},
        'df: it can be read in 2 ways: "question" with "answer", or "question" with "response". Say which, for example prompt_column="question" with completion_column="answer".',
    ),
    "preferences": (
        pd.DataFrame({"prompt": ["a"], "chosen": ["b"], "rejected": ["c"]}), {},
        'df: `chosen` and `rejected` are preference data, and KAITO tunes on answers to imitate. Train on the chosen ones: messages_column="chosen", or prompt_column with completion_column="chosen".',
    ),
    "a name twice": (
        pd.DataFrame([["a", "b", "c"]], columns=["prompt", "completion", "prompt"]), {},
        "prompt: 2 columns have this name. Rename all but one of them.",
    ),
    # The options.
    "option with a typo": (
        talk(GOOD), {"messages_column": "mesages"},
        'messages_column: df has no column "mesages". Did you mean "messages"? The column is "messages".',
    ),
    "option far off": (
        pairs(["a"], ["b"]), {"text_column": "xyz"},
        'text_column: df has no column "xyz". The columns are "prompt" and "completion".',
    ),
    "options at odds": (
        pairs(["a"], ["b"]), {"prompt_column": "prompt", "text_column": "completion"},
        "prompt_column, text_column: they say different formats. Give messages_column, or prompt_column with completion_column, or text_column.",
    ),
    "half a pair": (
        pd.DataFrame({"q": ["a"], "a": ["b"]}), {"prompt_column": "q"},
        'prompt_column: "q" is only half of a pair. Say completion_column too. The columns are "q" and "a".',
    ),
    # Columns of text.
    "nothing": (
        pairs(["a", None, "c"], ["x", "y", "z"]), {},
        f'prompt: 1 row holds nothing (None or NaN) (row 1). {FILL}: `df = df.dropna(subset=["prompt"])`.',
    ),
    "several times nothing": (
        pairs(["a", "b", "c", "d"], ["x", np.nan, pd.NA, None]), {},
        f'completion: 3 rows hold nothing (None or NaN) (rows 1, 2, 3). {FILL}: `df = df.dropna(subset=["completion"])`.',
    ),
    "more rows than are named": (
        pairs(numbered(1200), [None if i % 100 == 7 else "x" for i in range(1200)]), {},
        f'completion: 12 rows hold nothing (None or NaN) (rows 7, 107, 207, 307, 407, …). {FILL}: `df = df.dropna(subset=["completion"])`.',
    ),
    "thousands": (
        pairs(numbered(3000), [None] * 3000), {},
        f'completion: 3,000 rows hold nothing (None or NaN) (rows 0, 1, 2, 3, 4, …). {FILL}: `df = df.dropna(subset=["completion"])`.',
    ),
    "an index of labels": (
        pairs(["a", "b", ""], ["x", "y", "z"]).set_axis(["u", "v", "w"]), {},
        f"prompt: 1 row is empty text (row 2; index 'w'). {FILL}: `df = df[df[\"prompt\"].str.strip() != \"\"]`.",
    ),
    "an index of numbers": (
        pairs([None, "b", None], ["x", "y", "z"]).set_axis([30, 10, 20]), {},
        f'prompt: 2 rows hold nothing (None or NaN) (rows 0, 2; index 30, 20). {FILL}: `df = df.dropna(subset=["prompt"])`.',
    ),
    "a shifted range": (
        pairs(["a", "b", "c", None], ["w", "x", "y", "z"])[2:], {},
        f'prompt: 1 row holds nothing (None or NaN) (row 1; index 3). {FILL}: `df = df.dropna(subset=["prompt"])`.',
    ),
    "white space": (
        pd.DataFrame({"text": ["a", " \t\n", "　"]}), {},
        f'text: 2 rows are empty text (rows 1, 2). {FILL}: `df = df[df["text"].str.strip() != ""]`.',
    ),
    "numbers among texts": (
        pairs(["a", "b"], ["x", 7]), {},
        'completion: 1 row holds no text but int (for example 7) (row 1). Make it text: `df["completion"] = df["completion"].astype(str)`.',
    ),
    "a column of numbers": (
        pairs(["a", "b"], [1.5, 2.5]), {},
        'completion: 2 rows hold no text but float (for example 1.5) (rows 0, 1). Make it text: `df["completion"] = df["completion"].astype(str)`.',
    ),
    "lists where text belongs": (
        pairs(["a"], [[BOT]]), {},
        "completion: 1 row holds no text but a list (row 0). Give plain text; conversations belong into one column of messages.",
    ),
    "a lone surrogate": (
        pairs(["a", "b"], pd.Series(["x", "\ud800"], dtype=object)), {},
        'completion: 1 row holds text that is not valid Unicode (row 1). Repair it, for example with text.encode("utf-8", "replace").decode().',
    ),
    # Conversations.
    "no conversation": (
        talk(GOOD, None), {},
        f'messages: 1 row holds nothing (None or NaN) (row 1). {FILL}: `df = df.dropna(subset=["messages"])`.',
    ),
    "not a list": (talk(GOOD, 5), {}, f"messages: 1 row holds no list of turns but int (for example 5) (row 1). {TURN}"),
    "one turn alone": (
        talk(GOOD, BOT), {},
        f"messages: 1 row holds no list of turns but a dict (row 1). {TURN}",
    ),
    "bad JSON": (
        talk('[{"role": "user"', "nonsense"), {},
        "messages: 2 rows are text that is not JSON: Expecting ',' delimiter at character 16 of '[{\"role\": \"user\"' (rows 0, 1). Give the list itself, or write it with json.dumps.",
    ),
    "no turns": (talk(GOOD, []), {}, "messages: 1 row is a conversation without turns (row 1). Drop the rows."),
    "a turn of text": (
        talk(GOOD, ["Hello?", "Hello."]), {},
        'messages: 1 row has a turn that is str (for example \'Hello?\') and no dict (row 1). A turn is {"role": "user", "content": "…"}.',
    ),
    "no role": (
        talk(GOOD, [{"content": "x"}, BOT]), {},
        f'messages: 1 row has a turn without "role" (row 1). {SAY_ROLES}',
    ),
    "unknown roles": (
        talk(GOOD, [USER, {"role": "Assistant", "content": "x"}], [USER, {"role": "narrator", "content": "x"}]), {},
        f'messages: 2 rows have turns of the unknown role "Assistant", "narrator" (rows 1, 2). Did you mean "assistant"? {SAY_ROLES}',
    ),
    "a role that is no text": (
        talk(GOOD, [USER, {"role": 1, "content": "x"}]), {},
        f"messages: 1 row has a turn of the unknown role int (for example 1) (row 1). {SAY_ROLES}",
    ),
    "no content": (
        talk(GOOD, [USER, {"role": "assistant", "content": None}]), {},
        'messages: 1 row has a turn without "content" (row 1). Give each turn a text.',
    ),
    "content of parts": (
        talk([{"role": "user", "content": [{"type": "text", "text": "x"}]}, BOT]), {},
        "messages: 1 row has a turn whose content is a list of parts (row 0). Only text can be trained on: join the text parts into one string.",
    ),
    "content of numbers": (
        talk(GOOD, [USER, {"role": "assistant", "content": 4}]), {},
        "messages: 1 row has a turn whose content is int (for example 4) and no text (row 1). Give each turn a text.",
    ),
    "calls of tools": (
        talk([USER, {"role": "assistant", "content": None, "tool_calls": [{"id": 1}]}]), {},
        "messages: 1 row has a turn with `tool_calls` (row 0). Calls of tools cannot be trained on: put them into the content as text, or drop the rows.",
    ),
    "an empty turn": (
        talk(GOOD, [USER, {"role": "assistant", "content": " "}]), {},
        f"messages: 1 row has an empty user or assistant turn (row 1). {FILL}.",
    ),
    "no assistant": (
        talk(*[GOOD if i not in (4, 17, 102) else [USER] for i in range(120)]), {},
        "messages: 3 rows have no assistant turn (rows 4, 17, 102). There is nothing to learn from them: add the answer, or drop the rows.",
    ),
    "broken Unicode in a turn": (
        talk([USER, {"role": "assistant", "content": "\udfff"}]), {},
        'messages: 1 row holds text that is not valid Unicode (row 0). Repair it, for example with text.encode("utf-8", "replace").decode().',
    ),
    "ShareGPT without value": (
        pd.DataFrame({"conversations": [[{"from": "human", "value": "x"}, {"from": "gpt", "text": "y"}]]}), {},
        'conversations: 1 row has a turn without "value" (row 0). Give each turn a text.',
    ),
    # Not from pandas: no line of pandas in the remedy.
    "a table with nulls": (
        pa.table({"text": ["a", None]}), {},
        f"text: 1 row holds nothing (None or NaN) (row 1). {FILL}.",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("data", "options", "message"), BAD.values(), ids=BAD.keys())
def test_a_bad_frame_is_told_in_these_words(data: Any, options: dict[str, str], message: str) -> None:
    with pytest.raises(DatasetError) as caught:
        Dataset.read(data, name="df", **options)
    errors = [p for p in caught.value.problems if p.severity == "error"]
    assert [str(p) for p in errors] == [message]


WARNED: dict[str, tuple[Any, str]] = {
    "repeated rows": (
        pairs(["a", "b", "a", "a"], ["x", "y", "x", "z"]),
        'df: 1 row repeats an earlier one (row 2). They weigh double, and may stand in the training and the held-out rows alike. Drop them: `df = df[~df[["prompt", "completion"]].astype(str).duplicated()]`.',
    ),
    "repeated conversations": (
        talk(GOOD, [USER, BOT], GOOD),
        'df: 2 rows repeat an earlier one (rows 1, 2). They weigh double, and may stand in the training and the held-out rows alike. Drop them: `df = df[~df[["messages"]].astype(str).duplicated()]`.',
    ),
    "last turn": (
        talk(GOOD, [USER, BOT, USER]),
        "messages: 1 row does not end with an assistant turn (row 1). What stands after the last answer is not learnt.",
    ),
    "empty system prompt": (
        talk(GOOD, [{"role": "system", "content": ""}, *GOOD]),
        "messages: 1 row has an empty system or tool turn (row 1). Leave such a turn out.",
    ),
}


@pytest.mark.parametrize(("data", "message"), WARNED.values(), ids=WARNED.keys())
def test_what_can_be_trained_on_only_warns(data: Any, message: str) -> None:
    assert [str(w) for w in Dataset.read(data, name="df").warnings] == [message]


def test_three_defects_give_three_messages_in_one_call() -> None:
    frame = pairs(["a", None, "c", "d"], ["x", "y", " ", 4])
    with pytest.raises(DatasetError) as caught:
        Dataset.read(frame, name="df")
    assert [(p.path, p.message) for p in caught.value.problems] == [
        ("prompt", "1 row holds nothing (None or NaN) (row 1)."),
        ("completion", "1 row is empty text (row 2)."),
        ("completion", "1 row holds no text but int (for example 4) (row 3)."),
    ]
    assert str(caught.value).startswith("3 problems in the data:\n  prompt: 1 row")


def test_a_row_with_two_causes_is_told_twice_but_no_cause_is_told_as_two() -> None:
    two = [{"role": "narrator", "content": "x"}, {"role": "user", "content": 3}]
    with pytest.raises(DatasetError) as caught:
        Dataset.read(talk(two))
    # Neither "no assistant turn" nor "does not end with": both follow from the turns that are broken.
    assert [p.message.partition(" (")[0] for p in caught.value.problems] == [
        '1 row has a turn of the unknown role "narrator"',
        "1 row has a turn whose content is int",
    ]


def test_rows_are_counted_over_chunk_borders() -> None:
    frame = pd.DataFrame({"text": [None if i in (3, 2000, 9999) else f"row {i}" for i in range(10_000)]})
    with pytest.raises(DatasetError, match=r"3 rows hold nothing \(None or NaN\) \(rows 3, 2000, 9999\)"):
        Dataset.read(frame)


@pytest.mark.parametrize(
    "frame",
    [
        pairs(["a", None, "b"], ["x", "y", "z"]),
        pairs(["a", " ", "b"], ["x", "y", "z"]),
        pairs(["a", "b"], [1, 2]),
        pairs(["a", "a", "b"], ["x", "x", "z"]),
        talk(GOOD, GOOD, [USER, {"role": "assistant", "content": "Bye."}]),
        talk(GOOD, None),
        pairs(["a", "b"], ["x", "y"]).rename(columns={"prompt": 'say "it"'}).assign(**{'say "it"': ["a", None]}),
    ],
)
def test_the_line_of_pandas_in_a_remedy_mends_the_frame(frame: pd.DataFrame) -> None:
    options = {} if len(frame.columns) == 1 or "prompt" in frame else {"prompt_column": 'say "it"'}
    try:
        found = Dataset.read(frame, name="df", **options).warnings
    except DatasetError as error:
        found = error.problems
    scope = {"df": frame}
    for problem in found:
        exec(problem.remedy.split("`")[1], {}, scope)
    assert Dataset.read(scope["df"], name="df", **options).warnings == ()


def test_without_a_variable_s_name_a_remedy_holds_no_code() -> None:
    with pytest.raises(DatasetError) as caught:
        Dataset.read(pairs(["a", None], ["x", "y"]), name="my data.csv")
    assert "`" not in str(caught.value)
