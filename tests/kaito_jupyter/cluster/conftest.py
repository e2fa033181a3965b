"""A scripted API server, and a client of it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_server import ApiServer, api_server, kubeconfig

from kaito_jupyter.cluster.client import Client


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with api_server() as running:
        yield running


@pytest.fixture
def client(server: ApiServer, tmp_path: Path) -> Iterator[Client]:
    made = Client.connect(kubeconfig=kubeconfig(tmp_path / "config", server.address, "sesame-12345"), read_timeout=5)
    yield made
    made.close()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `server.crt`, which nobody but itself has signed, and `server.key`."""
    if shutil.which("openssl") is None:
        pytest.skip("the program openssl makes the certificate for this test")
    folder = tmp_path_factory.mktemp("certificate")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=nobody"
    files = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "server.key", "-out", "server.crt"]
    subprocess.run([*command.split(), *files], cwd=folder, check=True, capture_output=True)
    return folder
