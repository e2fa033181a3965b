"""Calls: what is sent, what is tried again, and what happens when tokens, servers and ways fail."""

from __future__ import annotations

import socket
import ssl
import threading
import traceback
from pathlib import Path
from typing import Any

import pytest
from api_server import Answer, ApiServer, Request, kubeconfig

from kaito_jupyter.cluster import client as module
from kaito_jupyter.cluster import transport
from kaito_jupyter.cluster.client import Client
from kaito_jupyter.cluster.connection import Stop, Stopped
from kaito_jupyter.cluster.refusals import (
    Conflict,
    Forbidden,
    NotFound,
    ServerFailed,
    Unauthorized,
    Unreachable,
    Untrusted,
)
from kaito_jupyter.cluster.resources import CONFIG_MAPS, JOBS, NODES, PODS, WORKSPACES, resource_of

JOB = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "run-1"}, "spec": {}}


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport.random, "uniform", lambda *_: 0.01)


def test_the_token_is_sent_and_the_path_is_the_namespaces(server: ApiServer, client: Client) -> None:
    server.script = [Answer(body={"kind": "Pod"})]
    assert client.get(PODS, "a/b") == {"kind": "Pod"}
    asked = server.requests[0]
    assert (asked.method, asked.path) == ("GET", "/api/v1/namespaces/team-a/pods/a%2Fb")
    assert asked.headers["authorization"] == "Bearer sesame-12345"


def test_a_list_comes_in_pages_and_each_item_knows_its_kind(server: ApiServer, client: Client) -> None:
    server.script = [
        Answer(body={"metadata": {"continue": "more"}, "items": [{"metadata": {"name": "a"}}]}),
        Answer(body={"metadata": {"resourceVersion": "7"}, "items": [{"metadata": {"name": "b"}}]}),
    ]
    items, version = client.list(JOBS, labels="a=b", everywhere=True)
    assert [(i["kind"], i["apiVersion"], i["metadata"]["name"]) for i in items] == [
        ("Job", "batch/v1", "a"),
        ("Job", "batch/v1", "b"),
    ]
    assert version == "7"
    assert server.requests[0].path == "/apis/batch/v1/jobs"
    assert server.requests[0].query == {"labelSelector": "a=b", "limit": "500"}
    assert server.requests[1].query["continue"] == "more"


@pytest.mark.parametrize(("dry_run", "force"), [(False, False), (True, False), (False, True)])
def test_an_apply_is_ours_strict_and_takes_nothing_unasked(
    server: ApiServer, client: Client, dry_run: bool, force: bool
) -> None:
    client.apply(JOB, dry_run=dry_run, force=force)
    asked = server.requests[0]
    assert (asked.method, asked.path) == ("PATCH", "/apis/batch/v1/namespaces/team-a/jobs/run-1")
    assert asked.headers["Content-Type"] == "application/apply-patch+yaml"
    expected = {"fieldManager": "kaito-jupyter", "fieldValidation": "Strict", "force": str(force).lower()}
    assert asked.query == expected | ({"dryRun": "All"} if dry_run else {})
    assert asked.body == JOB


def test_the_documents_own_namespace_counts(server: ApiServer, client: Client) -> None:
    client.apply(JOB | {"metadata": {"name": "x", "namespace": "team-b"}})
    assert "/namespaces/team-b/" in server.requests[0].path


def test_a_kind_that_we_do_not_send_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="apps/v1 Deployment is not a kind"):
        resource_of({"apiVersion": "apps/v1", "kind": "Deployment"})


def test_a_delete_takes_what_is_owned_along_and_only_the_one_that_is_meant(server: ApiServer, client: Client) -> None:
    assert client.delete(JOBS, "run-1", uid="u", grace_seconds=3)
    assert server.requests[0].body == {
        "kind": "DeleteOptions",
        "apiVersion": "v1",
        "propagationPolicy": "Background",
        "preconditions": {"uid": "u"},
        "gracePeriodSeconds": 3,
    }
    server.script = [Answer(404, {"message": "no", "details": {"name": "run-1"}})]
    assert not client.delete(JOBS, "run-1")
    server.script = [Answer(409, {"message": "the UID in the precondition does not match"})]
    with pytest.raises(Conflict):
        client.delete(JOBS, "run-1", uid="other")


def test_an_object_that_is_not_there_is_none_to_find(server: ApiServer, client: Client) -> None:
    server.script = [Answer(404, {"message": "no", "details": {"name": "x"}})]
    assert client.find(JOBS, "x") is None
    with pytest.raises(NotFound):
        client.get(JOBS, "x")


def test_a_kind_is_served_when_discovery_lists_it(server: ApiServer, client: Client) -> None:
    server.script = [Answer(body={"resources": [{"name": "workspaces"}]}), Answer(404, b"404 page not found")]
    assert client.serves(WORKSPACES)
    assert not client.serves(WORKSPACES)
    assert server.requests[0].path == "/apis/kaito.sh/v1beta1"


def test_the_server_judges_what_we_may(server: ApiServer, client: Client) -> None:
    server.script = [Answer(201, {"status": {"allowed": True}}), Answer(201, {"status": {}})]
    assert client.allowed("get", PODS, subresource="log")
    assert not client.allowed("list", NODES)
    attributes = [r.body["spec"]["resourceAttributes"] for r in server.requests]
    assert attributes[0] == {
        "verb": "get",
        "group": "",
        "resource": "pods",
        "subresource": "log",
        "namespace": "team-a",
    }
    assert "namespace" not in attributes[1]


def test_what_passes_is_tried_again_and_then_told(server: ApiServer, client: Client) -> None:
    server.script = [Answer(503), Answer(429, headers=(("Retry-After", "0.01"),)), Answer(body={"ok": 1})]
    assert client.get(PODS, "x") == {"ok": 1}
    server.script = [Answer(500, {"message": "etcd is away"})]
    server.requests.clear()
    with pytest.raises(ServerFailed, match="etcd is away"):
        client.get(PODS, "x")
    assert len(server.requests) == transport.ATTEMPTS


def test_a_create_is_tried_again_only_when_it_was_turned_away_undone(server: ApiServer, client: Client) -> None:
    """A server that failed may have created it; one that is too busy, or not ready for it yet, has not."""
    thing = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}
    server.script = [Answer(500, {"message": "etcd is away"})]
    with pytest.raises(ServerFailed):
        client.create(thing)
    assert len(server.requests) == 1
    no_token = {"message": "No API token found for service account", "reason": "ServerTimeout"}
    soon = (("Retry-After", "0.01"),)
    server.script = [Answer(500, no_token, headers=soon), Answer(429, headers=soon), Answer(body={"ok": 1})]
    assert client.create(thing) == {"ok": 1}


def test_what_does_not_pass_is_told_at_once(server: ApiServer, client: Client) -> None:
    server.script = [Answer(403, {"message": 'User "me" cannot list resource "pods" in API group ""'})]
    with pytest.raises(Forbidden):
        client.list(PODS)
    assert len(server.requests) == 1


def test_an_answer_that_is_no_json_is_no_api_server(server: ApiServer, client: Client) -> None:
    server.script = [Answer(200, b"<html>hello</html>")]
    with pytest.raises(Exception, match="the answer is no JSON"):
        client.get(PODS, "x")


class Rotating:
    """A server whose token changes."""

    def __init__(self, server: ApiServer, token: str) -> None:
        self.token = token
        server.answer = self

    def __call__(self, request: Request) -> Answer:
        known = request.headers.get("authorization") == f"Bearer {self.token}"
        return Answer(body={"token": self.token}) if known else Answer(401, {"message": "Unauthorized"})


def test_a_rotated_token_is_read_anew_once(server: ApiServer, tmp_path: Path) -> None:
    gate = Rotating(server, "one")
    path = tmp_path / "config"
    client = Client.connect(kubeconfig=kubeconfig(path, server.address, "one"))
    assert client.get(PODS, "x") == {"token": "one"}
    gate.token = "two"
    kubeconfig(path, server.address, "two")
    assert client.get(PODS, "x") == {"token": "two"}
    assert len(server.requests) == 3
    gate.token = "three"
    with pytest.raises(Unauthorized, match="log in again"):
        client.get(PODS, "x")
    assert len(server.requests) == 5, "one new login, and no more"


def test_a_stream_is_opened_with_the_new_token_too(server: ApiServer, tmp_path: Path) -> None:
    Rotating(server, "two")
    path = tmp_path / "config"
    client = Client.connect(kubeconfig=kubeconfig(path, server.address, "one"))
    kubeconfig(path, server.address, "two")
    with client.log("pod", None, {}, stop=Stop(), read_timeout=5) as pieces:
        assert b"".join(pieces) == b'{"token": "two"}'


def test_many_threads_log_in_anew_together(server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Rotating(server, "one")
    path = tmp_path / "config"
    client = Client.connect(kubeconfig=kubeconfig(path, server.address, "one"))
    logins = []
    real = module.log_in
    monkeypatch.setattr(module, "log_in", lambda *a: logins.append(1) or real(*a))
    gate.token = "two"
    kubeconfig(path, server.address, "two")
    together = threading.Barrier(8)
    got: list[Any] = []

    def ask() -> None:
        together.wait()
        got.append(client.get(PODS, "x"))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert got == [{"token": "two"}] * 8
    assert len(logins) == 1


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def test_a_refused_connection(tmp_path: Path) -> None:
    client = Client.connect(kubeconfig=kubeconfig(tmp_path / "c", f"http://127.0.0.1:{closed_port()}", "CANARY"))
    with pytest.raises(
        Unreachable, match=r"no connection to 127.0.0.1:\d+ \(\[Errno 111\] Connection refused\)"
    ) as refused:
        client.list(PODS)
    assert "CANARY" not in str(refused.value)


def test_a_name_that_nobody_knows(tmp_path: Path) -> None:
    client = Client.connect(kubeconfig=kubeconfig(tmp_path / "c", "http://no-such-host.invalid", "t"))
    with pytest.raises(Unreachable, match=r"the name of no-such-host\.invalid is unknown here"):
        client.list(PODS)


def test_a_server_that_does_not_answer(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        client = Client.connect(kubeconfig=kubeconfig(tmp_path / "c", address, "t"), read_timeout=0.1)
        with pytest.raises(Unreachable, match="does not answer"):
            client.list(PODS)


def test_a_server_that_nobody_has_signed_for(tmp_path: Path, server: ApiServer, certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "server.crt", certificate / "server.key")
    server._http.socket = context.wrap_socket(server._http.socket, server_side=True)
    client = Client.connect(kubeconfig=kubeconfig(tmp_path / "c", server.address.replace("http", "https"), "t"))
    with pytest.raises(Untrusted, match=r"no trusted connection to .*certificate"):
        client.list(PODS)


def test_a_connection_that_is_cut_in_the_handshake_may_stand_the_next_time(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as rude:

        def cut() -> None:
            for _ in range(transport.ATTEMPTS):
                rude.accept()[0].close()

        thread = threading.Thread(target=cut)
        thread.start()
        address = f"https://127.0.0.1:{rude.getsockname()[1]}"
        client = Client.connect(kubeconfig=kubeconfig(tmp_path / "c", address, "t"))
        with pytest.raises(Unreachable, match="broke off") as refused:
            client.list(PODS)
        thread.join()
    assert refused.value.passing


def test_a_broken_answer_is_no_whole_one(server: ApiServer, client: Client) -> None:
    server.script = [Answer(pieces=[b"a\n", b"b"], cut=True)]
    got: list[bytes] = []
    with client.log("pod", None, {}, stop=Stop(), read_timeout=5) as pieces:
        got += [next(pieces), next(pieces)]
        with pytest.raises(Unreachable, match="broke off"):
            next(pieces)
    assert got == [b"a\n", b"b"]
    assert server.requests[0].path == "/api/v1/namespaces/team-a/pods/pod/log"


@pytest.mark.parametrize("where", ["in the stream", "before the answer"])
def test_a_stop_wakes_a_reader_at_once(where: str, server: ApiServer, tmp_path: Path) -> None:
    stop, done, hold = Stop(), threading.Event(), threading.Event()
    if where == "in the stream":
        address = server.address
        server.script = [Answer(pieces=[b"first\n"], hold=hold)]
    else:
        silent = socket.create_server(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
    client = Client.connect(kubeconfig=kubeconfig(tmp_path / "c", address, "t"), read_timeout=60)
    began = threading.Event()

    def read() -> None:
        try:
            began.set()
            with client.log("pod", None, {}, stop=stop, read_timeout=60) as pieces:
                for _ in pieces:
                    pass
        except Stopped:
            done.set()

    thread = threading.Thread(target=read)
    thread.start()
    began.wait()
    assert not done.wait(0.2)
    stop.set()
    assert done.wait(10), "it would take 60 s by itself"
    thread.join()
    hold.set()
    assert not stop._sockets
    if where != "in the stream":
        silent.close()


def test_a_stop_that_was_set_before_ends_the_call(client: Client) -> None:
    stop = Stop()
    stop.set()
    with pytest.raises(Stopped):
        client.get(CONFIG_MAPS, "x", stop=stop)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("a defect"), ConnectionResetError()])
def test_no_frame_of_what_is_raised_holds_the_token(
    client: Client, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """IPython's `%xmode Verbose` shows the variables of each of them."""

    def broken(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("http.client.HTTPConnection.getresponse", broken)
    with pytest.raises((type(error), Unreachable)) as caught:
        client.patch(JOBS, "run-1", {})
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    frames = [f for f, _ in traceback.walk_tb(caught.value.__traceback__) if f.f_code.co_name != broken.__name__]
    assert any(frame.f_code.co_name == "_request" for frame in frames)
    assert [f for f in frames if "sesame-12345" in repr(f.f_locals)] == []
