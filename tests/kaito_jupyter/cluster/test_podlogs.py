"""One container's log to its end, from a server that cuts, repeats, rotates and forgets by script."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import pytest
from api_server import Answer, ApiServer, Request

from kaito_jupyter.cluster import podlogs, watch
from kaito_jupyter.cluster.client import Client
from kaito_jupyter.cluster.connection import Stop
from kaito_jupyter.cluster.podlogs import Source
from kaito_jupyter.cluster.pods import Container, now_stamp, seconds
from kaito_jupyter.cluster.position import SECOND, Position
from kaito_jupyter.cluster.refusals import Forbidden

SOURCE = Source("pod", "trainer", "team-a")
RUNNING = Container("trainer", "main", "running")
ENDED = Container("trainer", "main", "ended")
T = 1_795_527_700 * SECOND


def stamp(time: int) -> str:
    return f"{now_stamp(time // SECOND)[:-1]}.{time % SECOND:09d}Z"


class Node:
    """A kubelet with one container: knows its log, and breaks answers off by a list of sizes."""

    def __init__(self, server: ApiServer, log: list[tuple[int, str]]) -> None:
        self.log = log
        self.previous: list[tuple[int, str]] = []
        self.cuts: list[int] = []
        """For each answer with lines: after how many bytes it breaks off."""
        self.clean_cuts = False
        """Whether a cut looks like a good end."""
        server.answer = self

    def __call__(self, request: Request) -> Answer:
        query = request.query
        since = (seconds(query["sinceTime"]) or 0) * SECOND if "sinceTime" in query else 0
        log = self.previous if query.get("previous") else self.log
        text = "".join(f"{stamp(time)} {line}\n" for time, line in log if time >= since).encode()
        if self.cuts and text:
            text = text[: self.cuts.pop(0)]
            return Answer(pieces=[text] if text else [], cut=not self.clean_cuts)
        return Answer(pieces=[text[i : i + 700] for i in range(0, len(text), 700)])


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch.random, "uniform", lambda *_: 0.001)
    monkeypatch.setattr(podlogs, "NOT_YET", 0.001)
    monkeypatch.setattr(podlogs, "LOGIN_PAUSE", 0.001)


def read(
    client: Client, look: Callable[[], Container | None], position: Position | None = None, **options: Any
) -> list[str]:
    """All lines to the end; remarks begin with an exclamation mark."""
    found = []
    for chunk in podlogs.follow(client, SOURCE, position=position, look=look, stop=Stop(), silence=5, **options):
        found += [line.text for line in chunk.lines] + ([f"! {chunk.remark}"] if chunk.remark else [])
    return found


def numbered(count: int, step: int = SECOND // 7) -> list[tuple[int, str]]:
    return [(T + i * step, f"line {i}") for i in range(count)]


def words(count: int) -> list[str]:
    return [f"line {i}" for i in range(count)]


def test_the_log_of_a_container_that_has_ended_is_read_once(server: ApiServer, client: Client) -> None:
    Node(server, numbered(30))
    assert read(client, lambda: ENDED) == words(30)
    assert server.requests[0].query == {"container": "trainer", "timestamps": "true"}


@pytest.mark.parametrize("clean", [False, True], ids=["cut", "ended as if it were whole"])
@pytest.mark.parametrize("seed", range(20))
def test_broken_answers_lose_and_double_nothing(seed: int, clean: bool, server: ApiServer, client: Client) -> None:
    rng = random.Random(seed)
    node = Node(server, numbered(60, rng.choice([0, 1, SECOND // 7, SECOND])))
    node.clean_cuts = clean
    node.cuts = [rng.randrange(3000) for _ in range(12)]
    if clean:  # an answer may end early thrice in a row at most: then it counts as all there is
        node.cuts = [c for i, c in enumerate(node.cuts) if i % 2 == 0]
        node.cuts = [max(c, 200 + 400 * i) for i, c in enumerate(node.cuts)]
    states = iter([RUNNING] * 6)
    assert read(client, lambda: next(states, ENDED)) == words(60)


def test_bursts_of_many_lines_are_gone_on_with_wherever_they_break_off(server: ApiServer, client: Client) -> None:
    node = Node(server, numbered(3000, 1000))
    node.cuts = [5_000, 60_000, 70_000, 71_000, 100_000]
    assert read(client, lambda: ENDED) == words(3000)


def test_a_stream_that_ends_is_not_the_end_of_the_container(server: ApiServer, client: Client) -> None:
    node = Node(server, [])
    looks = 0

    def look() -> Container:
        nonlocal looks
        looks += 1
        node.log = numbered(min(looks, 30))
        return ENDED if looks >= 30 else RUNNING

    assert read(client, look) == words(30)
    assert looks >= 30


def test_a_log_that_ends_at_once_twice_is_over_when_its_pod_is(server: ApiServer, client: Client) -> None:
    """Old kubelets tell for ever that containers run in a pod that they ended; while one does, its lines come."""
    node = Node(server, numbered(10))
    looks = 0

    def look() -> Container:
        nonlocal looks
        looks += 1
        if looks == 3:
            node.log = numbered(20)  # it was still at work
        return RUNNING._replace(left=True)

    assert read(client, look) == words(20)


@pytest.mark.parametrize("meanwhile", [0, 3], ids=["nothing was written", "lines were written"])
def test_a_stream_that_was_silent_goes_on_without_all_that_was_read(
    meanwhile: int, server: ApiServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(podlogs, "LONG_REPLAY", 20)
    node, silent, states = Node(server, numbered(30, 1)), 0, [RUNNING]
    never = threading.Event()

    def answer(request: Request) -> Answer:
        nonlocal silent
        if "follow" not in request.query:
            return node(request)
        silent += 1
        if silent == 1:  # connected, and no byte comes
            node.log = numbered(30 + meanwhile, 1)
            return Answer(pieces=[], hold=never)
        states.append(ENDED)
        tail = node.log[-1:] if "tailLines" in request.query else node.log
        node.log = numbered(node.log and len(node.log) + 2, 1)
        text = "".join(f"{stamp(time)} {line}\n" for time, line in [*tail, *node.log[-2:]]).encode()
        return Answer(pieces=[text])

    server.answer = answer
    found = []
    for chunk in podlogs.follow(client, SOURCE, look=lambda: states[-1], stop=Stop(), silence=1):
        found += [line.text for line in chunk.lines]
    never.set()
    assert found == words(32 + meanwhile)
    follows = [r.query for r in server.requests if "follow" in r.query]
    assert follows[1]["tailLines"] == "1"
    assert "sinceTime" not in follows[1]


def test_a_log_that_is_rotated_twice_before_a_new_line_was_read_tells_what_may_be_missing(
    server: ApiServer, client: Client
) -> None:
    node, whole, looks = Node(server, numbered(30)), numbered(60), 0

    def look() -> Container:
        nonlocal looks
        looks += 1
        # All of it, then the end of what was read, then what came long after.
        node.log = {1: whole[:30], 2: whole[:30], 3: whole[25:30], 4: whole[25:30]}.get(looks, whole[50:])
        return RUNNING if looks < 6 else ENDED

    assert read(client, look) == [
        *words(30), "! trainer's log was rotated: lines may be missing here", *words(60)[50:],
    ]  # fmt: skip


def test_what_is_written_last_is_read_after_the_end_is_known(server: ApiServer, client: Client) -> None:
    node = Node(server, numbered(5))
    states = iter([RUNNING, RUNNING])

    def look() -> Container:
        if found := next(states, None):
            return found
        node.log = numbered(9)
        return ENDED

    assert read(client, look) == words(9)


def test_a_container_that_has_not_started_is_waited_for(server: ApiServer, client: Client) -> None:
    Node(server, numbered(3))
    states = iter([Container("trainer", "main", "waiting")] * 5)
    assert read(client, lambda: next(states, ENDED)) == words(3)


def test_another_process_goes_on_where_the_first_was(server: ApiServer, client: Client) -> None:
    node = Node(server, numbered(10))
    position = Position()
    assert read(client, lambda: ENDED, position) == words(10)
    node.log = numbered(25)
    assert read(client, lambda: ENDED, Position.parse(str(position))) == words(25)[10:]


def test_a_rotated_log_goes_on_and_what_may_be_missing_is_told(server: ApiServer, client: Client) -> None:
    node = Node(server, numbered(10))
    position = Position()
    read(client, lambda: ENDED, position)
    node.log = numbered(30)[20:]
    remark, *lines = read(client, lambda: ENDED, position)
    assert remark == "! trainer's log was rotated: lines may be missing here"
    assert lines == words(30)[20:]


def test_a_log_that_was_emptied_ends_after_all(server: ApiServer, client: Client) -> None:
    node = Node(server, numbered(10))
    position = Position()
    read(client, lambda: ENDED, position)
    node.log = []
    assert read(client, lambda: ENDED, position) == []


def test_the_rest_of_the_instance_before_comes_before_the_new_ones_lines(server: ApiServer, client: Client) -> None:
    node = Node(server, numbered(10))
    position = Position()
    states = iter([RUNNING, RUNNING])

    def look() -> Container:
        if found := next(states, None):
            return found
        node.previous = numbered(15)
        node.log = [(T + 100 * SECOND, "again")]
        return ENDED._replace(restart=1)

    assert read(client, look, position) == [*words(15), "again"]
    assert position.restart == 1


def test_of_a_container_that_was_restarted_long_ago_what_is_there_is_read(server: ApiServer, client: Client) -> None:
    node = Node(server, [(T + 100 * SECOND, "last")])
    node.previous = [(T, "last but one")]
    assert read(client, lambda: ENDED._replace(restart=4)) == ["last but one", "last"]


def test_a_pod_that_is_gone_ends_it(server: ApiServer, client: Client) -> None:
    server.script = [Answer(404, {"message": 'pods "pod" not found', "details": {"name": "pod"}})]
    assert read(client, lambda: RUNNING) == []
    assert read(client, lambda: None) == []


def test_a_log_that_cannot_be_had_is_given_up_with_a_word(server: ApiServer, client: Client) -> None:
    server.script = [Answer(500, {"message": "dial tcp 10.0.0.7:10250: no route to host"})]
    (remark,) = read(client, lambda: ENDED, patience=0.05)
    assert remark.startswith("! the end of trainer's log cannot be had: ")
    assert "no route to host" in remark


def test_the_kubelets_excuses_are_no_lines(server: ApiServer, client: Client) -> None:
    excuse = b"unable to retrieve container logs for containerd://5f7fae\n"
    server.script = [Answer(pieces=[excuse])]
    (remark,) = read(client, lambda: ENDED, patience=0.05)
    assert remark == f"! the end of trainer's log cannot be had: {excuse.decode().strip()}"


def test_a_missing_right_is_told_at_once(server: ApiServer, client: Client) -> None:
    server.script = [Answer(403, {"message": 'User "me" cannot get resource "pods/log" in API group ""'})]
    with pytest.raises(Forbidden, match="pods/log"):
        read(client, lambda: RUNNING)


def test_it_tells_when_it_has_caught_up(server: ApiServer, client: Client) -> None:
    Node(server, numbered(3))
    states = iter([RUNNING] * 3)
    chunks = list(podlogs.follow(client, SOURCE, look=lambda: next(states, ENDED), stop=Stop(), silence=5))
    caught_up = [i for i, c in enumerate(chunks) if c.caught_up]
    assert len(caught_up) == 1
    assert sum(len(c.lines) for c in chunks[: caught_up[0]]) == 3
    assert "follow" not in server.requests[0].query
    assert server.requests[1].query["follow"] == "true"
