"""The documentation's site in a browser: it asks nobody but its own server for anything, and its search finds what it holds."""

from __future__ import annotations

import os
import subprocess
import sys
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from http_servers import http_server
from playwright.sync_api import BrowserContext, expect

ROOT = Path(__file__).parents[2]
PATIENCE = 120_000
"""Milliseconds: the search reads its index in a worker, on a machine that does other things, too."""

pytestmark = pytest.mark.browser


def test_the_site_needs_nobody_else_and_finds_a_word(browser: BrowserContext, tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        check=True,
    )

    class Site(SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(tmp_path))

        def log_message(self, format: str, *args: Any) -> None:
            pass

    page = browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    with http_server(Site) as port:
        home = f"http://127.0.0.1:{port}/"
        for name in ("index.html", "reference/options.html", "notebooks/compare-runs.html"):
            page.goto(home + name)
            expect(page.locator("h1")).to_be_visible(timeout=PATIENCE)
        page.get_by_placeholder("Search").fill("early stopping patience")
        expect(page.locator(".md-search-result__link").first).to_be_visible(timeout=PATIENCE)
        found = page.locator(".md-search-result__link").evaluate_all("links => links.map(link => link.href)")
        page.close()
    assert any("reference/options.html" in link for link in found), found
    assert {url for url in asked if not url.startswith((home, "data:", "blob:"))} == set()
