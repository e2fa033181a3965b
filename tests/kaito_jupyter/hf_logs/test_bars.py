"""Bars, and lines as a terminal shows them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito_jupyter.hf_logs import visible
from kaito_jupyter.hf_logs.bars import BAR, bar


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  3%|▎         | 31/1024 [00:12<06:31,  2.53it/s]", (31, 1024, 12, True, "")),
        ("100%|██████████| 7/7 [1:02:03<00:00, 12.00s/it]", (7, 7, 3723, True, "")),
        ("  0%|          | 0/40 [00:00<?, ?it/s]", (0, 40, 0, True, "")),
        (" 40%|████      | 1.2G/3.0G [00:12<00:18, 98.1MB/s]", (1.2e9, 3e9, 12, False, "bytes")),
        (" 50%|#####     | 5/10 [00:01<00:01, 3.00 examples/s]", (5, 10, 1, False, "examples")),
        (" 50%|#####     | 5/10 [00:01<00:01, 3.00it/s, loss=2.5]", (5, 10, 1, True, "")),
    ],
)
def test_bars_are_read(text, expected):
    found = bar(BAR.search(text))
    assert (found.done, found.total, found.spent, found.counts_steps, found.unit) == expected


def test_a_bar_of_nothing_is_none():
    assert bar(BAR.search("  0%|          | 0/0 [00:00<?, ?it/s]")) is None
    assert bar(BAR.search("  0%|          | 1.2.3/4 [00:00<?, ?it/s]")) is None


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("plain text", "plain text"),
        ("\x1b[31mred\x1b[0m and \x1b]0;title\x07more", "red and more"),
        ("first\rsecond\r", "second"),
        ("\r  3%|▎ | 31/1024 [00:12<06:31, 2.53it/s]\r        \r{'loss': '2'}", "{'loss': '2'}"),
        ("  3%|▎ | 31/1024 [00:12<06:31, 2.53it/s]", ""),
        ("  3%|▎ | 31/1024 [00:12<06:31, 2.53it/s]Saved.", "Saved."),
        ("a\tb\x00\x07c  ", "a    bc"),
        ("<b>bold</b> · ✓", "<b>bold</b> · ✓"),
        ("", ""),
    ],
)
def test_what_a_terminal_shows(line, shown):
    assert visible(line) == shown


@given(st.text())
def test_no_control_character_is_left(line):
    assert not [c for c in visible(line) if ord(c) < 32 or ord(c) == 127]
