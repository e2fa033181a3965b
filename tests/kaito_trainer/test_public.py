"""What may not be downloaded from: addresses inside of somebody's network, however they are named.

In the tests with a server 127.0.0.1 passes for a public address, and 127.0.0.2 does not.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from file_server import CONTENT, Server, Told, file_server, says
from http_servers import Quiet, http_server

from kaito_trainer import public
from kaito_trainer.failures import Failure


@pytest.fixture
def server() -> Iterator[Server]:
    with file_server() as found:
        yield found


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def one_public(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(public, "is_public", lambda address: address == "127.0.0.1")


def test_a_private_address_is_refused_before_anything_is_sent(server: Server, told: Told, tmp_path: Path) -> None:
    for host in ("127.0.0.1", "localhost", "2130706433"):
        url = f"http://{host}:{server.port}/x?sig=canary"
        with pytest.raises(Failure, match=r"leads to the private address (127\.0\.0\.1|::1)\.") as caught:
            told(url, target=tmp_path, allow_private=False)
        assert "canary" not in str(caught.value)
    assert server.seen == []


def test_a_redirect_to_a_private_address_is_refused(
    server: Server, told: Told, tmp_path: Path, one_public: None
) -> None:
    server.plan[:] = [says(302, Location=f"http://127.0.0.2:{server.port}/metadata")]
    with pytest.raises(Failure, match=r"leads to the private address 127\.0\.0\.2"):
        told(server.url(), target=tmp_path, allow_private=False)
    assert len(server.seen) == 1
    assert told(server.url(), target=tmp_path, allow_private=False)[0].read_bytes() == CONTENT


def test_a_name_that_answers_differently_the_second_time_gains_nothing(
    server: Server, told: Told, tmp_path: Path, one_public: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, answers = socket.getaddrinfo, iter(["127.0.0.1", "127.0.0.2"])
    asked: list[str] = []

    def lies(host: str, *args: Any, **options: Any) -> Any:
        if host == "rebinding.example":
            asked.append(host)
            host = next(answers)
        return real(host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", lies)
    elsewhere = socket.create_server(("127.0.0.2", 0))
    with elsewhere, pytest.raises(Failure, match=r"leads to the private address 127\.0\.0\.2"):
        told(f"http://rebinding.example:{elsewhere.getsockname()[1]}/", target=tmp_path, allow_private=False)
    assert len(asked) == 2


def test_a_proxy_is_not_used_to_reach_a_private_address(
    server: Server, told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.url(""))
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(Failure, match=r"leads to the private address 169\.254\.169\.254"):
        told("http://169.254.169.254/metadata", target=tmp_path, allow_private=False)
    assert server.seen == []


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 with its key, signed by nobody."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    make = f"openssl req -x509 -newkey rsa:2048 -nodes -keyout {file}.key -out {file} -days 2 -subj /CN=test"
    subprocess.run([*make.split(), "-addext", "subjectAltName=IP:127.0.0.1"], capture_output=True, check=True)
    file.write_text(file.read_text() + Path(f"{file}.key").read_text())
    return file


class Says(Quiet):
    def do_GET(self) -> None:  # noqa: N802 (as http.server calls it)
        self.say(200, CONTENT)

    def handle(self) -> None:
        with contextlib.suppress(ssl.SSLError):  # who does not trust us hangs up
            super().handle()


def test_https_is_looked_at_as_closely(
    told: Told, tmp_path: Path, certificate: Path, one_public: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with http_server(Says, certificate=certificate) as port:
        url = f"https://127.0.0.1:{port}/x?sig=canary"
        with pytest.raises(Failure, match=r"in 1 try \(its certificate is not trusted\)") as caught:
            told(url, target=tmp_path, allow_private=False)
        assert "canary" not in str(caught.value)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        assert told(url, target=tmp_path, allow_private=False)[0].read_bytes() == CONTENT
        with pytest.raises(Failure, match=r"leads to the private address 127\.0\.0\.2"):
            told(url.replace("127.0.0.1", "127.0.0.2"), target=tmp_path, allow_private=False)


@pytest.mark.parametrize(
    "address",
    """127.0.0.1 10.0.0.1 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 100.100.100.200 0.0.0.0 255.255.255.255
    168.63.129.16 224.0.0.1 ::1 fe80::1%eth0 fc00::1 fd00:ec2::254 ::ffff:10.0.0.1 64:ff9b::a00:1 2002:a00:1:: ::7f00:1
    ff02::1 ::""".split(),
)
def test_addresses_that_are_not_of_the_open_internet(address: str) -> None:
    assert not public.is_public(address)


@pytest.mark.parametrize("address", "1.1.1.1 20.38.98.100 2606:4700:4700::1111 ::ffff:1.1.1.1 64:ff9b::101:101".split())
def test_addresses_of_the_open_internet(address: str) -> None:
    assert public.is_public(address)
