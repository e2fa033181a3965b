"""One Jupyter server for all browser tests, one headless Chromium for a module's; a page and fresh kernels for each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import CHROMIUM, CHROMIUM_ARGUMENTS, Jupyter, Server
from playwright.sync_api import BrowserContext, expect, sync_playwright

expect.set_options(timeout=30_000)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("jupyter")
    tests = Path(__file__).parent.parent
    server = Server(
        folder,
        {
            "XDG_DATA_HOME": str(folder / "data"),
            "XDG_STATE_HOME": str(folder / "state"),
            "MPLCONFIGDIR": str(folder / "matplotlib"),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(path for path in (str(tests), os.environ.get("PYTHONPATH")) if path),
        },
    )
    try:
        server.wait_until_up()
        yield server
    finally:
        server.stop()


# A module's, no session's: while Playwright is open, an event loop runs in this thread, which other tests must not meet.
@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserContext]:
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("chromium"),
            executable_path=CHROMIUM,
            headless=True,
            args=list(CHROMIUM_ARGUMENTS),
            viewport={"width": 1280, "height": 1000},
        )
        context.set_default_timeout(30_000)
        yield context
        context.close()


@pytest.fixture
def jupyter(server: Server, browser: BrowserContext, request: pytest.FixtureRequest) -> Iterator[Jupyter]:
    page = browser.new_page()
    yield Jupyter(server, page)
    page.close()
    server.stop_kernels()
