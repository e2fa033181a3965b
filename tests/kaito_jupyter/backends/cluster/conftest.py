"""A scripted API server, and a client of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from api_server import ApiServer, api_server, kubeconfig

from kaito_jupyter.backends.cluster.client import Client


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with api_server() as running:
        yield running


@pytest.fixture
def client(server: ApiServer, tmp_path: Path) -> Iterator[Client]:
    made = Client.connect(kubeconfig=kubeconfig(tmp_path / "config", server.address, "sesame-12345"), read_timeout=5)
    yield made
    made.close()
