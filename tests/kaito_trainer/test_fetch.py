"""Downloads from a real server that cuts, refuses, asks to wait, lies, and changes its mind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from file_server import CONTENT, SHA256, Server, Told, cuts, file_server, says

from kaito_trainer.contract.events import Payload
from kaito_trainer.failures import Failure
from kaito_trainer.fetch import Progress, shown


@pytest.fixture
def server() -> Iterator[Server]:
    with file_server() as found:
        yield found


@pytest.fixture
def told() -> Told:
    return Told()


def test_files_come_under_their_names_and_checked(server: Server, told: Told, tmp_path: Path) -> None:
    files = told(
        server.url("/a/train.parquet?sig=canary"),
        server.url(f"/b/more%20rows.json#sha256={SHA256}"),
        target=tmp_path / "data",
    )
    assert [f.name for f in files] == ["train.parquet", "more rows.json"]
    assert all(f.read_bytes() == CONTENT for f in files)
    assert sorted(p.name for p in (tmp_path / "data").iterdir()) == ["more rows.json", "train.parquet"]
    last = told.events[-1].to_dict()
    assert last == {
        "phase": "downloading",
        "detail": "complete",
        "done": 2 * len(CONTENT),
        "total": 2 * len(CONTENT),
        "unit": "bytes",
    }


def test_what_was_cut_goes_on_where_it_was_cut(server: Server, told: Told, tmp_path: Path) -> None:
    server.plan[:] = [cuts(1_000_000), cuts(500_000, status=206, start=786_432), says(503), says(429, Retry_After="17")]
    (file,) = told(server.url(), target=tmp_path)
    assert file.read_bytes() == CONTENT
    places = [int(asked.removeprefix("bytes=").rstrip("-") or 0) for _, asked, _ in server.seen]
    assert places == sorted(places)
    assert places[0] == 0 < places[1] < places[2] == places[3] == places[4]
    assert {version for _, _, version in server.seen[1:]} == {'"1"'}
    assert told.pauses == [1, 1, 2, 17], "progress starts the count anew; a server may ask for more time"
    assert "train.parquet: its server answered 503, next try in 2 s" in told.details
    assert told.events[-1].to_dict()["done"] == len(CONTENT)


def test_a_file_that_changed_while_it_was_fetched_is_fetched_anew(server: Server, told: Told, tmp_path: Path) -> None:
    server.plan[:] = [cuts(1_000_000, etag='"0"')]
    (file,) = told(server.url(), target=tmp_path)
    assert file.read_bytes() == CONTENT
    assert server.seen[1][2] == '"0"', "asked for the rest of the old one"
    assert told.events[-1].to_dict()["done"] == len(CONTENT)
    server.plan[:] = [cuts(1_000_000), says(416)]
    (file,) = told(server.url(), target=tmp_path)
    assert file.read_bytes() == CONTENT


def test_a_server_that_knows_no_ranges_or_versions_sends_it_all_again(
    server: Server, told: Told, tmp_path: Path
) -> None:
    server.ranges = False
    server.plan[:] = [cuts(1_000_000)]
    assert told(server.url(), target=tmp_path)[0].read_bytes() == CONTENT
    server.etag = ""
    server.plan[:] = [cuts(1_000_000, etag="")]
    assert told(server.url(), target=tmp_path)[0].read_bytes() == CONTENT
    assert server.seen[-1][1] == "", "without a version nobody knows whether it is the same file"


def test_a_server_that_sends_another_part_than_asked_for_is_not_believed(
    server: Server, told: Told, tmp_path: Path
) -> None:
    server.plan[:] = [cuts(1_000_000), says(206, CONTENT[5:], Content_Range=f"bytes 5-{len(CONTENT) - 1}/*")]
    assert told(server.url(), target=tmp_path)[0].read_bytes() == CONTENT


def test_a_cut_is_seen_without_a_length_too(server: Server, told: Told, tmp_path: Path) -> None:
    server.plan[:] = [cuts(1_000_000, length=False)]
    assert told(server.url(), target=tmp_path)[0].read_bytes() == CONTENT
    assert told.events[-1].to_dict().get("total") is None


def test_a_server_that_always_promises_more_than_it_sends_is_given_up(
    server: Server, told: Told, tmp_path: Path
) -> None:
    server.ranges = False
    server.plan[:] = [cuts(400_000 + 300_000 * (i % 2)) for i in range(20)]
    with pytest.raises(Failure, match="could not be fetched in 6 tries") as caught:
        told(server.url("/x.json?sig=canary"), target=tmp_path)
    assert caught.value.kind == "download"
    assert "canary" not in str(caught.value)
    assert not [p for p in tmp_path.iterdir() if not p.name.startswith(".")]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (says(404), "/f?… does not exist: its server answered 404."),
        (says(410), "/f?… does not exist: its server answered 410."),
        (says(403), "/f?… may not be read: its server answered 403."),
        (says(401), "/f?… may not be read: its server answered 401."),
        (says(418), "/f?…: its server answered 418."),
        (says(200, b"<html>", Content_Type="text/html; charset=utf-8"), "/f?… is a web page, not a data file."),
        (says(200, b""), "/f?… is empty."),
        (says(302, Location="ftp://h/x"), "ftp://h/x is no http or https address."),
        (says(302, Location="http://[::1/"), "/f?… could not be fetched in 1 try (no valid address)."),
    ],
    ids=["404", "410", "403", "401", "418", "page", "empty", "ftp", "broken"],
)
def test_what_will_not_pass_is_said_at_once(
    server: Server, told: Told, tmp_path: Path, answer: Callable[[Any], bool], message: str
) -> None:
    server.plan[:] = [answer]
    with pytest.raises(Failure) as caught:
        told(server.url("/f?token=canary"), target=tmp_path)
    assert message in caught.value.message
    assert caught.value.kind == "download"
    assert len(server.seen) == 1
    assert "canary" not in f"{caught.value}{told.details}"


def test_a_server_that_stays_broken_is_given_up_after_six_tries(server: Server, told: Told, tmp_path: Path) -> None:
    server.plan[:] = [says(503)] * 9
    with pytest.raises(Failure, match=r"could not be fetched in 6 tries \(its server answered 503\)"):
        told(server.url(), target=tmp_path)
    assert told.pauses == [1, 2, 4, 8, 16]
    with pytest.raises(Failure, match=r"in 6 tries \(no connection\)"):
        told("http://127.0.0.1:1/x", target=tmp_path)


def test_another_content_than_the_sha256_at_its_end_is_refused(server: Server, told: Told, tmp_path: Path) -> None:
    with pytest.raises(Failure, match=f"sha256 {SHA256}, not {'0' * 64}"):
        told(server.url(f"/x.json#sha256={'0' * 64}"), target=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_one_that_fails_lets_the_others_go(server: Server, told: Told, tmp_path: Path) -> None:
    waiting, goes_on = threading.Event(), threading.Event()

    def stalls(handler: Any) -> bool:
        waiting.set()
        return not goes_on.wait(60)

    def fails(handler: Any) -> bool:
        waiting.wait(60)
        return says(404)(handler)

    server.plan[:] = [stalls, fails]
    with pytest.raises(Failure, match="does not exist"):
        told(server.url("/slow"), server.url("/gone"), target=tmp_path)
    goes_on.set()
    assert not (tmp_path / "slow").exists()


def test_how_far_it_is_is_told_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("kaito_trainer.fetch.time.monotonic", lambda: now)
    told: list[Payload] = []
    progress = Progress(told.append)
    progress.expect(1000)
    for _ in range(40):
        now += 0.125
        progress.add(10, "train.parquet")
    assert [e.to_dict()["done"] for e in told] == [10, 90, 170, 250, 330]
    assert {e.to_dict()["total"] for e in told} == {1000}


def test_redirects_are_followed_and_circles_are_not(server: Server, told: Told, tmp_path: Path) -> None:
    server.plan[:] = [says(302, Location="/b?x=1"), says(307, Location=server.url("/c"))]
    (file,) = told(server.url("/a.json"), target=tmp_path)
    assert (file.name, file.read_bytes()) == ("a.json", CONTENT)
    assert [path for path, _, _ in server.seen] == ["/a.json", "/b?x=1", "/c"]
    server.plan[:] = [says(302, Location="/a.json")] * 9
    with pytest.raises(Failure, match="leads in circles"):
        told(server.url("/a.json"), target=tmp_path)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("https://user:canary@h:8/p?sig=canary#f", "https://h:8/p?…"),
        ("http://user:can/ary@h/p", "An address that cannot be read"),
    ],
)
def test_an_address_is_shown_without_its_secrets(url: str, text: str) -> None:
    assert shown(url) == text
