from __future__ import annotations

from pathlib import Path

import pytest

from kaito_jupyter.backends.tail import CHUNK, LONGEST_LINE, Tail, last_lines


def texts(tail: Tail, *, last: bool = False) -> list[str]:
    return [text for lines in tail.read(last=last) for text in lines.texts]


def test_a_file_that_is_not_there_yet_has_no_lines_and_is_found_later(tmp_path: Path) -> None:
    with Tail(tmp_path / "log") as tail:
        assert texts(tail) == []
        (tmp_path / "log").write_text("a\n")
        assert texts(tail) == ["a"]
        assert texts(tail) == []


def test_half_a_line_is_held_back_until_its_newline_or_the_end(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("a\nb")
    with Tail(log) as tail:
        assert texts(tail) == ["a"]
        with log.open("a") as file:
            file.write("c\n\nd")
        assert texts(tail) == ["bc", ""]
        assert texts(tail, last=True) == ["d"]
        assert texts(tail, last=True) == []


def test_half_a_character_is_held_back_too(tmp_path: Path) -> None:
    log = tmp_path / "log"
    whole = "é\n".encode()
    log.write_bytes(whole[:1])
    with Tail(log) as tail:
        assert texts(tail) == []
        log.write_bytes(whole)
        assert texts(tail) == ["é"]


def test_lines_end_at_a_newline_alone(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"10%\r20%\x0b\x0c\x1c\xc2\x85\xe2\x80\xa830%\r\nx\xff\n")
    with Tail(log) as tail:
        assert texts(tail) == ["10%\r20%\x0b\x0c\x1c\x85\u202830%\r", "x\ufffd"]


def test_a_cursor_goes_on_after_the_lines_it_came_with(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("é1\n2\n3")
    with Tail(log) as tail:
        (batch,) = tail.read()
    with log.open("a") as file:
        file.write("!\n4\n")
    with Tail(log, batch.cursor) as tail:
        assert texts(tail) == ["3!", "4"]


@pytest.mark.parametrize("cursor", [None, "", "nonsense", "-5"])
def test_a_cursor_that_is_none_means_the_start(tmp_path: Path, cursor: str | None) -> None:
    (tmp_path / "log").write_text("a\n")
    with Tail(tmp_path / "log", cursor) as tail:
        assert texts(tail) == ["a"]


def test_a_file_that_shrank_or_was_replaced_is_read_from_its_start(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("a\nb\nhalf")
    with Tail(log) as tail:
        assert texts(tail) == ["a", "b"]
        log.write_text("c\n")  # truncated
        assert texts(tail) == ["c"]
        (tmp_path / "new").write_text("a much longer line than before\n")
        (tmp_path / "new").replace(log)
        assert texts(tail) == ["a much longer line than before"]
        with Tail(log, "100000") as late:
            assert texts(late) == ["a much longer line than before"]


def test_a_file_that_was_deleted_is_read_to_its_end(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("a\n")
    with Tail(log) as tail:
        assert texts(tail) == ["a"]
        with log.open("a") as file:
            file.write("b\n")
        log.unlink()
        assert texts(tail, last=True) == ["b"]


def test_long_logs_come_in_few_batches_and_endless_lines_in_pieces(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"line {n}\n" for n in range(200_000)))
    with Tail(log) as tail:
        batches = list(tail.read())
    assert [t for b in batches for t in b.texts] == [f"line {n}" for n in range(200_000)]
    assert len(batches) <= log.stat().st_size // CHUNK + 1
    log.write_text("x" * (LONGEST_LINE + CHUNK) + "\nend\n")
    with Tail(log) as tail:
        found = texts(tail)
    assert "".join(found) == "x" * (LONGEST_LINE + CHUNK) + "end"
    assert max(map(len, found)) <= LONGEST_LINE + CHUNK


def test_the_last_lines_are_read_from_the_end(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_lines(log, 3) == []
    log.write_text("")
    assert last_lines(log, 3) == []
    every = [f"é {n} " + "x" * (n % 97) for n in range(30_000)]
    log.write_text("\n".join(every))
    for count in (0, 1, 7, 29_999, 30_000, 50_000):
        assert last_lines(log, count) == (every[-count:] if count else [])
    assert last_lines(log, None) == every
    some = last_lines(log, None, most_bytes=1000)
    assert some
    assert some == every[-len(some) :]
    log.write_text("a\n\n")
    assert last_lines(log, 2) == ["a", ""]
