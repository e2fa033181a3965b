"""Which login is whose, wherever Docker and its helpers keep it."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from kaito_trainer.logins import Login, LoginError, find, logins_of, read


def basic(user: str, password: str = "canary") -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own Docker config, empty at first."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "config.json"


@pytest.mark.parametrize(
    ("repository", "auths", "user"),
    [
        ("reg.io/team/x", {"reg.io": "a"}, "a"),
        ("reg.io/team/x", {"https://reg.io": "a"}, "a"),
        ("reg.io/team/x", {"https://reg.io/v1/": "a"}, "a"),
        ("reg.io/team/x", {"http://reg.io/v2/": "a"}, "a"),
        ("reg.io/team/x", {"reg.io": "a", "reg.io/team": "b", "reg.io/tea": "c"}, "b"),
        ("reg.io/other/x", {"reg.io": "a", "reg.io/team": "b"}, "a"),
        ("reg.io/other/x", {"reg.io/team": "b", "sub.reg.io": "c", "reg.io:443": "d"}, None),
        ("reg.io:5000/x", {"reg.io": "a", "reg.io:5000": "b"}, "b"),
        ("registry-1.docker.io/library/x", {"https://index.docker.io/v1/": "a"}, "a"),
        ("registry-1.docker.io/library/x", {"docker.io": "a"}, "a"),
    ],
)
def test_the_entry_that_fits_best_is_taken(
    docker: Path, repository: str, auths: dict[str, str], user: str | None
) -> None:
    found = find(repository, {key: {"auth": basic(name)} for key, name in auths.items()})
    assert found == (Login(basic=basic(user)) if user else None)


@pytest.mark.parametrize(
    ("entry", "login"),
    [
        ({"auth": "abc"}, Login(basic="abc")),
        ({"username": "u", "password": "p"}, Login(basic=basic("u", "p"))),
        ({"auth": "abc", "username": "u", "password": "p"}, Login(basic="abc")),
        ({"auth": basic("0000"), "identitytoken": "token"}, Login(identity="token")),
        ({}, None),
        ({"username": "u"}, None),
        ("odd", None),
    ],
)
def test_an_entry_holds_a_password_or_an_identity_token(docker: Path, entry: Any, login: Login | None) -> None:
    assert find("reg.io/x", {"reg.io": entry}) == login


def test_what_is_given_goes_before_the_users_own(docker: Path) -> None:
    docker.write_text(json.dumps({"auths": {"reg.io": {"auth": "own"}}}))
    assert find("reg.io/x", {}) == Login(basic="own")
    assert find("reg.io/x", {"reg.io": {"auth": "given"}}) == Login(basic="given")
    assert find("reg.io/x", {"elsewhere.io": {"auth": "given"}}) == Login(basic="own")


@pytest.mark.parametrize("user", ["kaito", "<token>"])
@pytest.mark.parametrize("kind", ["credsStore", "credHelpers"])
def test_credential_helpers_are_asked(
    docker: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, user: str, kind: str
) -> None:
    helper = tmp_path / "docker-credential-test"
    answer = json.dumps({"ServerURL": "reg.io", "Username": user, "Secret": "canary"})
    helper.write_text(f"#!/bin/sh\nread -r host\n[ \"$host\" = reg.io ] && echo '{answer}' || exit 1\n")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    docker.write_text(json.dumps({kind: "test" if kind == "credsStore" else {"reg.io": "test"}}))
    wanted = Login(basic=basic(user)) if user == "kaito" else Login(identity="canary")
    assert find("reg.io/team/x", {}) == wanted
    assert find("other.io/x", {}) is None


def test_helpers_that_fail_and_configs_that_are_broken_say_nothing(docker: Path) -> None:
    for text in ('{"credsStore": "not-installed"}', "no json", "[]", '{"auths": 3}', "{}", '{"auths": {"reg.io": {}}}'):
        docker.write_text(text)
        assert find("reg.io/x", {}) is None


def test_files_of_secrets_are_read_one_over_the_other(tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    first.write_text(json.dumps({"auths": {"a": {"auth": "1"}, "b": {"auth": "1"}}}))
    second.write_text(json.dumps({"auths": {"b": {"auth": "2"}}}))
    assert read([first, second]) == {"a": {"auth": "1"}, "b": {"auth": "2"}}


@pytest.mark.parametrize(
    "text", ["canary", '{"auth": "canary"}', '{"auths": ["canary"]}', '{"auths": {"h": "canary"}}']
)
def test_a_file_that_is_no_docker_config_is_named_and_not_shown(tmp_path: Path, text: str) -> None:
    (tmp_path / "file").write_text(text)
    with pytest.raises(LoginError, match=r"/file cannot be read \(it is no Docker config\)") as caught:
        read([tmp_path / "file"])
    assert "canary" not in str(caught.value)
    with pytest.raises(ValueError, match=r"^no Docker config$"):
        logins_of(text)
    with pytest.raises(LoginError, match="No such file"):
        read([tmp_path / "none"])


def test_a_login_shows_nothing_of_itself() -> None:
    assert "canary" not in f"{Login(basic='canary')!r}{Login(identity='canary')}"
    logins = logins_of('{"auths": {"registry": {"auth": "canary"}}}')
    assert logins["registry"] == {"auth": "canary"}
    assert repr(logins) == "Logins(of registry)"
