import contextlib
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito_jupyter.magics.line import ExpansionError, expand, split


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", []),
        ("df", ["df"]),
        ("  df   --epochs 3 ", ["df", "--epochs", "3"]),
        ("df --epochs=3;", ["df", "--epochs=3"]),
        ("df ;", ["df"]),
        ("df ; # done", ["df"]),
        ("df --epochs 3  # three --max-steps 9", ["df", "--epochs", "3"]),
        ("df --output image:host/repo#1", ["df", "--output", "image:host/repo#1"]),
        ("df --prompt-column 'the question'", ["df", "--prompt-column", "the question"]),
        ('df --prompt-column="the \\"question\\""', ["df", '--prompt-column=the "question"']),
        ("df --text-column a\\ b", ["df", "--text-column", "a b"]),
        ('df --text-column "a;"', ["df", "--text-column", "a;"]),
        ('"my data.csv" --wait', ["my data.csv", "--wait"]),
        ('df[df["lang"] == "en ]"][:100] --wait', ['df[df["lang"] == "en ]"][:100]', "--wait"]),
        ("df.query('n > 3') --wait", ["df.query('n > 3')", "--wait"]),
        (
            "df --set LoraConfig.target_modules=[q_proj, v_proj]",
            ["df", "--set", "LoraConfig.target_modules=[q_proj, v_proj]"],
        ),
        ('df --set ModelConfig.device_map={"": 0}', ["df", "--set", 'ModelConfig.device_map={"": 0}']),
        ("df --name :-)", ["df", "--name", ":-)"]),
    ],
)
def test_a_line_splits_like_in_a_shell_but_keeps_brackets_whole(line: str, words: list[str]) -> None:
    found = split(line)
    assert [w.text for w in found.words] == words
    assert found.unclosed == ""


@given(st.lists(st.text()))
def test_quoted_words_come_back_as_they_were(words: list[str]) -> None:
    assert [w.text for w in split(shlex.join(words)).words] == words


@given(st.text(alphabet="ab ='\"\\#;[](){}$\n"))
def test_no_line_is_too_odd_to_be_split_and_expanded(line: str) -> None:
    found = split(line)
    for word in found.words:
        assert 0 <= word.begin < len(line)
        with contextlib.suppress(ExpansionError):
            expand(word.text, {"a": 1, "b": "$a {a}"})


@pytest.mark.parametrize(("line", "mark"), [("df --name 'x", "'"), ('df "', '"'), ("df[1 --wait", "["), ("f({", "(")])
def test_what_is_still_open_is_named(line: str, mark: str) -> None:
    assert split(line).unclosed == mark


def test_a_word_knows_where_it_began_and_whether_it_was_quoted() -> None:
    first, second = split("df  'a b'").words
    assert (first.begin, first.quoted) == (0, False)
    assert (second.begin, second.quoted) == (4, True)


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("{n}", "3"),
        ("$n", "3"),
        ("run-{n}-{n * 2}", "run-3-6"),
        ("{d['a']}", "b c"),
        ("{{n}}", "{n}"),
        ("$$n", "$n"),
        ("cost $5 or $none", "cost $5 or $none"),
        ('{"": 0}', '{"": 0}'),
        ('{"a": {"b": 1}}', '{"a": {"b": 1}}'),
        ("{a: 1}", "{a: 1}"),
        ("{}", "{}"),
        ("{n", "{n"),
        ("}", "}"),
        ("{lr}", "1e-05"),
    ],
)
def test_values_of_the_user_are_put_in_and_other_braces_stay(text: str, expanded: str) -> None:
    assert expand(text, {"n": 3, "d": {"a": "b c"}, "lr": 1e-5}) == expanded


def test_an_expression_that_fails_says_why() -> None:
    with pytest.raises(ExpansionError, match="NameError: name 'm' is not defined"):
        expand("{m}", {})
