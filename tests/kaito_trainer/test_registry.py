"""To whom a registry's credentials go, and to whom not; and how long one waits between tries."""

from __future__ import annotations

import base64
import json
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from http_servers import Quiet, http_server

from kaito_trainer import registry
from kaito_trainer.logins import Login
from kaito_trainer.registry import Damaged, Refused, RegistryError, Remote, expect, explained, parse, with_retries

BASIC = "Basic canary"


class Heard:
    """What a server was told: path and Authorization of each request."""

    def __init__(self) -> None:
        self.port = 0
        self.seen: list[tuple[str, str]] = []
        self.challenge = 'Basic realm="test"'
        self.location = ""

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"


@pytest.fixture
def two() -> Iterator[tuple[Heard, Heard]]:
    """A registry that wants to know who asks, and another server."""

    def handler(heard: Heard, answers: bool) -> type[Quiet]:
        class Handler(Quiet):
            def _any(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                told = self.headers.get("Authorization") or ""
                heard.seen.append((self.path.partition("?")[0], told))
                if answers:
                    return self.say(200, b'{"token": "t"}')
                if told in ("", BASIC) and not told.startswith(heard.challenge[:5]):
                    return self.say(401, WWW_Authenticate=heard.challenge)
                if heard.location and self.command == "GET":
                    return self.say(307, Location=heard.location)
                return self.say(202, Location=heard.location)

            do_GET = do_POST = do_PUT = _any

        return Handler

    ours, other = Heard(), Heard()
    with http_server(handler(ours, False)) as ours.port, http_server(handler(other, True)) as other.port:
        yield ours, other


def remote(heard: Heard) -> Remote:
    return Remote(heard.host, insecure=True, login=Login(basic="canary"))


def test_credentials_are_told_only_when_asked_for_and_only_to_the_registry(two: tuple[Heard, Heard]) -> None:
    ours, other = two
    ours.location = f"http://{other.host}/elsewhere"
    asked = remote(ours)
    begun = asked.ask("POST", f"{ours.host}/v2/x/blobs/uploads/")
    assert ours.seen == [("/v2/x/blobs/uploads/", ""), ("/v2/x/blobs/uploads/", BASIC)]
    asked.request("PUT", asked.location(begun), data=b"blob")
    asked.ask("GET", f"{ours.host}/v2/x/blobs/1")
    assert ours.seen[2:] == [("/v2/x/blobs/1", BASIC)], "not asked a second time"
    assert other.seen == [("/elsewhere", ""), ("/elsewhere", "")]


def test_a_token_service_is_told_them_and_the_registry_only_the_token(two: tuple[Heard, Heard]) -> None:
    ours, other = two
    ours.challenge = f'Bearer realm="http://{other.host}/token",service="s",scope="repository:x:pull"'
    assert remote(ours).ask("GET", f"{ours.host}/v2/x").status_code == 202
    assert other.seen == [("/token", BASIC)]
    assert ours.seen == [("/v2/x", ""), ("/v2/x", "Bearer t")]


def test_a_token_service_without_https_is_told_nothing_by_a_registry_with_it(
    two: tuple[Heard, Heard], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, other = two
    asked = Remote("reg.io", insecure=False, login=Login(basic="canary"))
    answer = requests.Response()
    answer.status_code, answer.headers = 401, requests.structures.CaseInsensitiveDict()
    answer.headers["WWW-Authenticate"] = f'Bearer realm="http://{other.host}/token",service="s"'
    monkeypatch.setattr(asked, "_send", lambda *args: answer)
    assert asked.ask("GET", "reg.io/v2/x") is answer
    assert other.seen == []


def test_what_netrc_holds_is_not_told(
    two: tuple[Heard, Heard], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ours, _ = two
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login u password canary-netrc\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    remote(ours).ask("GET", f"{ours.host}/v2/x")
    assert ours.seen == [("/v2/x", ""), ("/v2/x", BASIC)]


@pytest.mark.parametrize("scheme", ["Basic", "Bearer"])
def test_what_a_registry_says_again_of_a_login_is_not_told(scheme: str) -> None:
    told = base64.b64encode(b"kaito:canary-password").decode() if scheme == "Basic" else "canary-token"

    class Chatty(Quiet):
        def do_GET(self) -> None:  # noqa: N802 (as http.server calls it)
            self.say(403, json.dumps({"errors": [{"message": f"canary-password canary-token {told} no"}]}).encode())

    with http_server(Chatty) as port:
        found = requests.get(f"http://127.0.0.1:{port}/", headers={"Authorization": f"{scheme} {told}"}, timeout=60)
    assert told not in Refused(found).said
    assert ("canary-password" if scheme == "Basic" else "canary-token") not in Refused(found).said
    assert Refused(found).said.endswith(" no")


@pytest.mark.parametrize(
    ("reference", "url"),
    [
        ("reg.io/team/x:v1", "reg.io/v2/team/x/manifests/v1"),
        ("reg.io:5000/x", "reg.io:5000/v2/x/manifests/latest"),
        ("localhost/team/x:v1", "localhost/v2/team/x/manifests/v1"),
        ("[::1]:5000/x:v1", "[::1]:5000/v2/x/manifests/v1"),
        ("ubuntu", "registry-1.docker.io/v2/library/ubuntu/manifests/latest"),
        ("team/x:v1", "registry-1.docker.io/v2/team/x/manifests/v1"),
        ("docker.io/team/x", "registry-1.docker.io/v2/team/x/manifests/latest"),
        (f"reg.io/x:v1@sha256:{'0' * 64}", f"reg.io/v2/x/manifests/sha256:{'0' * 64}"),
        (" reg.io/x:v1 ", "reg.io/v2/x/manifests/v1"),
    ],
)
def test_names_are_read_as_docker_reads_them(reference: str, url: str) -> None:
    assert parse(reference).manifest_url() == url


@pytest.mark.parametrize(
    ("host", "insecure"),
    [("127.0.0.1:5000", True), ("localhost", True), ("[::1]:5000", True), ("10.0.0.1:5000", False), ("reg.io", False)],
)
def test_this_machine_is_spoken_to_by_http(host: str, insecure: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(registry.INSECURE_VARIABLE, raising=False)
    assert registry.is_insecure(host) == insecure
    monkeypatch.setenv(registry.INSECURE_VARIABLE, "a:1, 10.0.0.1:5000 reg.io")
    assert registry.is_insecure(host)


def answer(status: int, body: bytes = b"", **headers: str) -> Refused:
    found = requests.Response()
    found.status_code, found._content, found.reason = status, body, "Reason"
    found.headers.update(headers)
    with pytest.raises(Refused) as caught:
        expect(found, 201)
    return caught.value


@pytest.mark.parametrize(
    ("error", "pauses"),
    [
        (answer(503), [2, 4, 8, 16]),
        (answer(429, **{"Retry-After": "30"}), [30, 30, 30, 30]),
        (answer(429, **{"Retry-After": "3600"}), [60, 60, 60, 60]),
        (answer(401), []),
        (answer(404), []),
        (requests.exceptions.ConnectionError(), [2, 4, 8, 16]),
        (requests.exceptions.ReadTimeout(), [2, 4, 8, 16]),
        (requests.exceptions.SSLError(), []),
        (Damaged(), [2, 4, 8, 16]),
    ],
    ids=lambda value: f"{value!r}"[:30],
)
def test_what_may_pass_is_tried_again_ever_more_slowly(error: Exception, pauses: list[float]) -> None:
    found: list[float] = []

    def fails() -> None:
        raise error

    with pytest.raises(type(error)):
        with_retries(fails, None, pause=found.append)
    assert found == pauses


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (answer(401), "registry-auth", "Cannot push h/x: no or wrong credentials (h answered 401: Reason)."),
        (answer(403, b'{"errors":[{"code":"DENIED"}]}'), "registry-auth", "no right (h answered 403: DENIED)."),
        (
            answer(404, b'{"errors":[{"message":"no such repository"}]}'),
            "registry",
            "h answered 404: no such repository.",
        ),
        (answer(413, b"<html>"), "registry", "Cannot push h/x: h answered 413: Reason."),
        (answer(500, b"[]"), "registry", "h answered 500: Reason."),
        (Damaged(), "registry", "h/x arrived damaged."),
        (requests.exceptions.SSLError("https://u:canary@h"), "registry", "h does not speak https with a certificate"),
        (requests.exceptions.ConnectTimeout("https://u:canary@h"), "registry", "h cannot be reached (ConnectTimeout)."),
    ],
    ids=lambda value: f"{value!r}"[:30],
)
def test_answers_are_told_so_that_a_person_can_act(error: Exception, kind: str, message: str) -> None:
    with pytest.raises(RegistryError) as caught, explained("push", "h/x", "h"):
        raise error
    assert caught.value.kind == kind
    assert message in caught.value.message
    assert caught.value.remedy
    assert "canary" not in str(caught.value)


def test_an_image_that_is_not_there_is_no_fault_of_the_registry() -> None:
    with pytest.raises(RegistryError, match="There is no image h/x"), explained("pull", "h/x", "h"):
        raise answer(404)


def test_no_frame_of_an_interrupt_holds_the_credentials(
    two: tuple[Heard, Heard], monkeypatch: pytest.MonkeyPatch
) -> None:
    """IPython's `%xmode Verbose` shows the variables of each of them."""
    ours = remote(two[0])
    assert ours.ask("GET", f"{two[0].host}/v2/").status_code == 202
    assert ours._authorization == BASIC

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("http.client.HTTPConnection.getresponse", interrupted)

    def work() -> None:
        with explained("push", "x", two[0].host):
            ours.ask("GET", f"{two[0].host}/v2/")

    with pytest.raises(KeyboardInterrupt) as caught:
        work()
    assert caught.value.__suppress_context__
    frames = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
    assert [f for f in frames if BASIC in repr(f.f_locals)] == []
