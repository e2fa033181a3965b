"""YAML as people mean it."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kaito_jupyter.errors import SpecError
from kaito_jupyter.spec.text import annotated, dump, load, load_all

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(exclude_categories=("Cs",))),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(st.characters(exclude_categories=("Cs",)), max_size=5), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2e-4", 2e-4),
        ("1E5", 1e5),
        ("-3e+2", -300.0),
        ("1.5e3", 1500.0),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("False", False),
        ("2024-01-01", "2024-01-01"),
        ("=", "="),
        ("", None),
        ("~", None),
        ("0.5", 0.5),
        ("12", 12),
        ("'12'", "12"),
        ("1e5x", "1e5x"),
    ],
)
def test_a_value_is_read_as_a_person_means_it(text, value):
    read = load(text, "x")
    assert read == value
    assert type(read) is type(value)


@given(PLAIN)
def test_what_is_written_is_read_again_by_us_and_by_anybody(value):
    assert load(dump(value), "x") == value
    assert yaml.safe_load(dump(value)) == value


@given(st.text())
def test_any_text_is_read_or_refused_in_words(text):
    try:
        load_all(text, "here")
    except SpecError as error:
        (problem,) = error.problems
        assert problem.path == "here"
        assert problem.message.startswith("this is no YAML: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", 'here: this is no YAML: "a" is given twice (line 2, column 1). Correct that line.'),
        ("a: [1", "here: this is no YAML: expected ',' or ']', but got '<stream end>' (line 1, column 6). Correct that line."),
        ("[" * 5000, "here: this YAML is nested too deeply. Give plain sections and keys."),
        ("!!python/object:os.system x", "here: this is no YAML: could not determine a constructor for the tag 'tag:yaml.org,2002:python/object:os.system' (line 1, column 1). Correct that line."),
        ("\x00", "here: this is no YAML: unacceptable character #x0000: special characters are not allowed. Correct that line."),
    ],
    ids=["twice", "cut", "deep", "object", "control"],
)  # fmt: skip
def test_what_is_no_yaml_is_told_with_its_line(text, message):
    with pytest.raises(SpecError) as raised:
        load(text, "here")
    assert str(raised.value) == message


def test_a_merge_key_is_no_duplicate():
    assert load("a: &a {x: 1}\nb:\n  <<: *a\n  y: 2", "x")["b"] == {"x": 1, "y": 2}


@given(
    st.dictionaries(st.text(max_size=4), st.dictionaries(st.text(max_size=4), PLAIN, max_size=3) | PLAIN, max_size=3)
)
def test_comments_change_nothing(sections):
    reasons = {f"{s}.{k}": "why" for s, keys in sections.items() if isinstance(keys, dict) for k in keys}
    assert load(annotated(sections, {}), "x") == (sections or None)
    short = {s: dict.fromkeys(keys, 1) if isinstance(keys, dict) else keys for s, keys in sections.items()}
    assert load(annotated(short, reasons), "x") == (short or None)


def test_a_reason_stands_beside_its_key():
    sections = {"A": {"x": 1, "y": ["a", "b"]}, "B": {}}
    assert annotated(sections, {"A.x": "why", "A.y": "both"}) == (
        "A:\n  x: 1  # why\n  y:  # both\n    - a\n    - b\nB: {}\n"
    )
