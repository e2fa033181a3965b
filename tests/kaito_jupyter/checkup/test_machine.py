"""The registry and the trainer's image, against a registry that answers as told."""

from __future__ import annotations

import pytest
from api_server import Answer, ApiServer, Request, api_server

from kaito_jupyter.checkup import machine

DIGEST = "sha256:" + "a" * 64


def host(server: ApiServer) -> str:
    return server.address.removeprefix("http://")


def test_a_push_is_begun_and_given_up_again() -> None:
    with api_server() as server:

        def answer(request: Request) -> Answer:
            if request.method == "POST":
                return Answer(202, headers=(("Location", f"{server.address}/v2/x/blobs/uploads/1"),))
            return Answer(body={})

        server.answer = answer
        line = machine.registry(f"image:{host(server)}/x:1")
        assert (line.mark, line.text) == ("ok", f"This machine's login may push {host(server)}/x:1.")
        assert [r.method for r in server.requests if "uploads" in r.path] == ["POST", "DELETE"]


@pytest.mark.parametrize(("code", "said"), [(401, "docker login"), (403, "docker login"), (500, "Try again")])
def test_a_push_that_is_refused_has_its_remedy(code: int, said: str) -> None:
    with api_server() as server:
        server.script = [Answer(code, {"errors": [{"message": "no"}]})]
        line = machine.registry(f"{host(server)}/x:1")
    assert line.mark == "failed"
    assert said in line.remedy


def test_a_registry_that_is_not_there_and_a_name_that_is_none() -> None:
    gone = ApiServer()
    gone.close()
    assert "cannot be reached" in machine.registry(f"{host(gone)}/x:1").text
    assert machine.registry("image:UPPER CASE!").mark == "failed"
    assert machine.registry(None).mark == "note"


def test_the_trainers_image_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with api_server() as server:
        monkeypatch.setenv("KAITO_TRAINER_IMAGE", f"{host(server)}/trainer:1")
        server.script = [Answer(body={}, headers=(("Docker-Content-Digest", DIGEST),))]
        assert machine.trainer_image().mark == "ok"
        server.script = [Answer(404, {})]
        assert machine.trainer_image().mark == "failed"
    assert machine.trainer_image().mark == "note"
    monkeypatch.delenv("KAITO_TRAINER_IMAGE")
    assert "docker build trainer" in machine.trainer_image().remedy
