"""A watch that goes on whatever happens, against a server that misbehaves by script."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from api_server import Answer, ApiServer, Request

from kaito_jupyter.cluster import watch as module
from kaito_jupyter.cluster.client import Client
from kaito_jupyter.cluster.connection import Stop
from kaito_jupyter.cluster.refusals import ClusterError, Forbidden
from kaito_jupyter.cluster.resources import PODS
from kaito_jupyter.cluster.watch import Change, Pause, watch


def item(name: str, version: int, uid: str = "") -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": uid or f"uid-{name}", "resourceVersion": str(version)}}


def told(kind: str, *args: Any) -> bytes:
    return json.dumps({"type": kind, "object": item(*args)}).encode() + b"\n"


def gone() -> bytes:
    error = {"kind": "Status", "code": 410, "message": "too old resource version", "reason": "Expired"}
    return json.dumps({"type": "ERROR", "object": error}).encode() + b"\n"


class Script:
    """Answers lists and watches apart, each in turn; then the watch is quiet."""

    def __init__(self, server: ApiServer, lists: list[Any], watches: list[Answer]) -> None:
        self.lists, self.watches, self.versions = lists, watches, list[str]()
        server.answer = self

    def __call__(self, request: Request) -> Answer:
        if request.query.get("watch"):
            self.versions.append(request.query["resourceVersion"])
            return self.watches.pop(0) if self.watches else Answer(pieces=[])
        found = self.lists.pop(0) if len(self.lists) > 1 else self.lists[0]
        if isinstance(found, Answer):
            return found
        return Answer(body={"metadata": {"resourceVersion": "100"}, "items": found})


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.random, "uniform", lambda *_: 0.01)
    monkeypatch.setattr(module, "LOGIN_PAUSE", 0.01)


def changes(client: Client, count: int, **options: Any) -> list[tuple[str, str, str]]:
    """The first changes: kind, name, resourceVersion."""
    stop = Stop()
    stream: Iterator[Change] = watch(client, PODS, stop=stop, silence=5, **options)
    found = [next(stream) for _ in range(count)]
    stop.set()
    assert list(stream) == []
    return [
        (c.kind, *(c.object["metadata"][k] for k in ("name", "resourceVersion"))) if c.object else (c.kind, "", "")
        for c in found
    ]


SYNCED = ("SYNCED", "", "")


def test_what_is_there_comes_first_and_then_what_changes(server: ApiServer, client: Client) -> None:
    script = Script(
        server,
        [[item("a", 1)]],
        [Answer(pieces=[told("ADDED", "b", 101), told("MODIFIED", "a", 102), told("DELETED", "b", 103)])],
    )
    assert changes(client, 5, labels="x=y") == [
        ("ADDED", "a", "1"),
        SYNCED,
        ("ADDED", "b", "101"),
        ("MODIFIED", "a", "102"),
        ("DELETED", "b", "103"),
    ]
    assert script.versions[0] == "100"
    assert {r.query["labelSelector"] for r in server.requests} == {"x=y"}


def test_it_goes_on_from_where_it_was_when_the_server_ends_it(server: ApiServer, client: Client) -> None:
    script = Script(
        server,
        [[]],
        [
            Answer(pieces=[told("ADDED", "a", 101)]),
            Answer(pieces=[told("BOOKMARK", "", 150)]),
            Answer(pieces=[told("ADDED", "b", 151)]),
        ],
    )
    assert changes(client, 3) == [SYNCED, ("ADDED", "a", "101"), ("ADDED", "b", "151")]
    assert script.versions[:3] == ["100", "101", "150"]


@pytest.mark.parametrize("inside", [True, False], ids=["in the stream", "as the answer"])
def test_a_history_that_is_forgotten_is_listed_anew_and_told_as_changes(
    inside: bool, server: ApiServer, client: Client
) -> None:
    expired = Answer(pieces=[gone()]) if inside else Answer(410, {"message": "too old"})
    Script(
        server,
        [[item("a", 1), item("b", 2), item("c", 3)], [item("a", 1), item("b", 200), item("d", 201)]],
        [expired],
    )
    assert changes(client, 8) == [
        ("ADDED", "a", "1"),
        ("ADDED", "b", "2"),
        ("ADDED", "c", "3"),
        SYNCED,
        ("DELETED", "c", "3"),
        ("MODIFIED", "b", "200"),
        ("ADDED", "d", "201"),
        SYNCED,
    ]


def test_an_object_made_anew_under_its_name_is_another(server: ApiServer, client: Client) -> None:
    Script(server, [[item("a", 1, "one")], [item("a", 9, "two")]], [Answer(pieces=[gone()])])
    assert [c[0] for c in changes(client, 5)] == ["ADDED", "SYNCED", "DELETED", "ADDED", "SYNCED"]


@pytest.mark.parametrize(
    "broken",
    [
        Answer(pieces=[told("ADDED", "a", 101), b'{"type":"ADD'], cut=True),
        Answer(pieces=[told("ADDED", "a", 101), b'{"type":"ADDED","object":{"half":\n']),
        Answer(pieces=[told("ADDED", "a", 101)], cut=True),
    ],
    ids=["cut in a line", "garbled", "cut between lines"],
)
def test_a_broken_stream_is_taken_up_again(broken: Answer, server: ApiServer, client: Client) -> None:
    script = Script(server, [[]], [broken, Answer(503), Answer(pieces=[told("ADDED", "b", 102)])])
    trouble: list[ClusterError | None] = []
    assert changes(client, 3, trouble=trouble.append) == [SYNCED, ("ADDED", "a", "101"), ("ADDED", "b", "102")]
    assert script.versions[:3] == ["100", "101", "101"]
    assert len([t for t in trouble if t]) == 2
    assert trouble[-1] is None, "it is told when the server answers again"


def test_what_was_told_already_is_not_told_again(server: ApiServer, client: Client) -> None:
    again = Answer(pieces=[told("MODIFIED", "a", 1), told("DELETED", "x", 5), told("ADDED", "b", 101)])
    Script(server, [[item("a", 1)]], [again])
    assert changes(client, 3) == [("ADDED", "a", "1"), SYNCED, ("ADDED", "b", "101")]


def test_a_missing_right_ends_it(server: ApiServer, client: Client) -> None:
    refused = {"message": 'User "me" cannot list resource "pods" in API group ""'}
    Script(server, [Answer(403, refused)], [])
    with pytest.raises(Forbidden):
        next(watch(client, PODS, stop=Stop()))


def test_a_login_that_is_refused_may_be_good_again(server: ApiServer, client: Client) -> None:
    Script(server, [Answer(401), Answer(401), [item("a", 1)]], [])
    trouble: list[ClusterError | None] = []
    assert changes(client, 2, trouble=trouble.append) == [("ADDED", "a", "1"), SYNCED]
    assert trouble[0] is not None


def test_pauses_grow_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.random, "uniform", lambda *_: 1.0)
    pause = Pause(0.1, 5.0)
    assert [round(pause.next(), 1) for _ in range(8)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    pause.reset()
    assert pause.next() == 0.1
