"""Bytes of a log into lines."""

from __future__ import annotations

import random

import pytest

from kaito_jupyter.cluster.loglines import LONGEST, LineReader, Stamps

STAMP = "2026-11-24T13:41:41.606276388Z"
T = 1_795_527_701_606_276_388


def texts(*pieces: bytes) -> list[str]:
    reader = LineReader()
    return [line.text for piece in pieces for line in reader.feed(piece)]


@pytest.mark.parametrize(
    ("stamp", "nanoseconds"),
    [
        (STAMP, T),
        ("2026-11-24T13:41:41Z", T - 606_276_388),
        ("2026-11-24T13:41:41.6Z", T - 6_276_388),
        ("2026-11-24T15:41:41.606276388+02:00", T),
        ("2026-11-24T08:11:41.606276388-05:30", T),
        ("unable", None),
        ("", None),
        ("2026-11-24T13:41:41", None),
        ("2026-11-24T13:41:41.60x276388Z", None),
        ("2026-13-24T13:41:41.606276388Z", None),
    ],
)
def test_timestamps_are_read_to_the_nanosecond(stamp: str, nanoseconds: int | None) -> None:
    assert Stamps().read(stamp.encode()) == nanoseconds


def test_lines_are_whole_wherever_the_answer_was_split() -> None:
    log = b"".join(f"{STAMP} line {i}\n".encode() for i in range(50))
    rng = random.Random(1)
    for _ in range(50):
        cuts = sorted(rng.randrange(len(log)) for _ in range(8))
        pieces = [log[a:b] for a, b in zip([0, *cuts], [*cuts, len(log)], strict=True)]
        assert texts(*pieces) == [f"line {i}" for i in range(50)]


def test_a_half_line_is_no_line_until_the_writer_has_ended() -> None:
    reader = LineReader()
    assert reader.feed(f"{STAMP} half".encode()) == []
    (line,) = reader.finish()
    assert (line.time, line.text) == (T, "half")
    assert reader.finish() == []


def test_empty_lines_and_spaces_stay() -> None:
    assert texts(f"{STAMP} \n{STAMP}   x \n".encode()) == ["", "  x "]


def test_carriage_returns_stay_within_their_line() -> None:
    assert texts(f"{STAMP} 1%\r2%\r3%\n".encode()) == ["1%\r2%\r3%"]


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert texts(STAMP.encode() + b" bad \xff\xfe bytes\n") == ["bad �� bytes"]


def test_timestamps_inside_a_long_line_are_taken_out_and_the_last_is_told() -> None:
    later = "2026-11-24T13:41:43.000000001Z"
    content = ["x" * 16384, "y" * 16384, "z"]
    reader = LineReader()
    (line,) = reader.feed(f"{STAMP} {content[0]}{STAMP} {content[1]}{later} {content[2]}\n".encode())
    assert line.text == "".join(content)
    assert (line.time, line.end) == (T, 1_795_527_703_000_000_001)


def test_what_a_program_prints_as_a_timestamp_stays() -> None:
    content = "x" * 9000 + f" {STAMP} " + "y" * 9000
    assert texts(f"{STAMP} {content}\n".encode()) == [content]


def test_a_line_without_end_is_cut_and_still_one_line() -> None:
    piece = b"x" * 65536
    reader = LineReader()
    reader.feed(STAMP.encode() + b" ")
    for _ in range(40):
        assert reader.feed(piece) == []
    (line,) = reader.feed(f"\n{STAMP} next\n".encode())[:1]
    assert len(line.text) < LONGEST + 100
    assert "more bytes of this line are not shown" in line.text


def test_the_kubelets_own_words_are_no_lines() -> None:
    reader = LineReader()
    lines = reader.feed(f"{STAMP} a\nunable to retrieve container logs for containerd://x\n".encode())
    assert [line.text for line in lines] == ["a"]
    assert reader.remarks == ["unable to retrieve container logs for containerd://x"]


def test_lines_are_passed_over_wherever_the_answer_was_split() -> None:
    log = b"".join(f"{STAMP} line {i}\n".encode() for i in range(50))
    rng = random.Random(2)
    for _ in range(50):
        cuts = sorted(rng.randrange(len(log)) for _ in range(8))
        reader, left, kept = LineReader(), rng.randrange(50), []
        expected = [f"line {i}" for i in range(left, 50)]
        for a, b in zip([0, *cuts], [*cuts, len(log)], strict=True):
            dropped, rest = reader.drop(log[a:b], left) if left else (0, log[a:b])
            left -= dropped
            kept += [line.text for line in reader.feed(rest)]
        assert kept == expected
