"""Going on in a log: no line lost, none twice, whatever timestamps do."""

from __future__ import annotations

import random
from typing import NamedTuple

import pytest

from kaito_jupyter.cluster.position import KEPT, SECOND, Position, Replay

T = 1_764_000_000 * SECOND


class Stored(NamedTuple):
    """A line as the node stores it."""

    time: int
    end: int
    """Of its last piece; 0: in one piece."""
    number: int | None


def answer(file: list[Stored], since: int) -> list[Stored]:
    """What a kubelet says: what is not older than the second, in the file's order; of a long line perhaps its rest alone."""
    said = []
    for line in file:
        if line.time >= since * SECOND:
            said.append(line)
        elif line.end >= since * SECOND and line.end:
            said.append(Stored(line.end, 0, None))
    return said


def written(rng: random.Random, count: int) -> list[Stored]:
    """A log: lines of one timestamp, bursts, pauses, lines out of order, long lines."""
    file, now = [], T
    for number in range(count):
        now += rng.choice([0, 0, 1, 1000, SECOND // 50, SECOND // 3, SECOND, 3 * SECOND])
        time = now - rng.choice([0, 0, 0, rng.randrange(SECOND)]) if rng.random() < 0.3 else now
        end = 0
        if rng.random() < 0.1:
            end = time + rng.choice([10, SECOND // 2, SECOND, 2 * SECOND])
            now = max(now, end)
        file.append(Stored(time, end, number))
    return file


@pytest.mark.parametrize("seed", range(400))
def test_reading_with_cuts_and_moves_to_other_processes_gives_every_line_once(seed: int) -> None:
    rng = random.Random(seed)
    file = written(rng, rng.choice([5, 50, 300]))
    position, got, there, rounds = Position(), [], 0, 0
    while len(got) < len(file):
        rounds += 1
        assert rounds < 10_000, "no progress"
        there = min(len(file), max(there, len(got)) + rng.randrange(60))
        said = answer(file[:there], position.since)
        replay = Replay(position)
        for line in said[: rng.randrange(len(said) + 1)]:
            if replay.seen(line.time):
                continue
            position.add(line.time, line.end)
            got.append(line.number)
        assert not replay.rotated
        if rng.random() < 0.5:
            position = Position.parse(str(position))
    assert got == list(range(len(file)))


def read(position: Position, lines: list[int]) -> list[int]:
    """The lines of one answer that are new. As the reader of logs does it."""
    replay, new = Replay(position), []
    for time in lines:
        was = replay.rotated
        seen = replay.seen(time)
        if replay.rotated and not was:
            position.rotated()
        if not seen:
            position.add(time)
            new.append(time)
    return new


def test_after_a_rotation_only_newer_lines_are_new() -> None:
    position = Position()
    old = [T + i * 1000 for i in range(10)]
    assert read(position, old) == old
    rest = old[6:]
    later = [T + SECOND + i for i in range(5)]
    assert read(position, rest + later) == later
    assert read(position, rest + later) == [], "and it can be gone on from there"


def test_a_rotation_that_hides_what_was_read_last_is_a_gap() -> None:
    position = Position()
    read(position, [T, T + 5])
    replay = Replay(position)
    assert not replay.seen(T + 50)
    assert replay.rotated
    assert replay.gap


def test_a_rotation_behind_which_the_last_line_is_still_there_is_no_gap() -> None:
    position = Position()
    read(position, [T, T + 5])
    replay = Replay(position)
    assert replay.seen(T + 5)
    assert replay.rotated
    assert not replay.gap


def test_a_new_instance_begins_anew_and_its_lines_are_later() -> None:
    position = Position()
    read(position, [T, T + 5])
    position.restarted(1)
    assert position.since == 0
    assert read(position, [T + 5, T + SECOND]) == [T + SECOND], (
        "lines counted for the instance before come no second time"
    )
    assert Position.parse(str(position)).restart == 1


def test_a_clock_that_is_set_back_while_we_read_loses_nothing() -> None:
    position = Position()
    before = [T + i * SECOND for i in range(100)]
    back = [T - 300 * SECOND + i * SECOND // 4 for i in range(50)]
    file = before + back
    got = read(position, [*before, back[0]])[100:]  # one stream saw it happen, and was cut then
    for there in range(len(before) + 1, len(file) + 1):
        got += read(position, [t for t in file[:there] if t >= position.since * SECOND])
    assert got == back


def test_memory_stays_bounded() -> None:
    position = Position()
    for i in range(3 * KEPT):
        position.add(T + i * SECOND)
    assert len(position._counts) <= KEPT + 10
    assert position.skip < 10


def test_the_text_is_short_and_comes_back_whole() -> None:
    position = Position()
    read(position, [T + i for i in range(1000)])
    text = str(position)
    assert len(text) < 50
    assert str(Position.parse(text)) == text


@pytest.mark.parametrize("text", ["", "x", "1.2.3", "1.2.3.4.x", "1.2.3.4.5.6"])
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (int's and unpacking's own words)
        Position.parse(text)
