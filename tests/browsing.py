"""JupyterLab and Notebook 7 as a person uses them: a server, a page, a notebook, and what is done with them.

The server is on loopback, keeps its settings in a folder of its own, and is gone afterwards, kernels included. Its
configuration makes pages deterministic: no news, no autosave, all cells in the page.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import nbformat
from playwright.sync_api import Locator, Page

CHROMIUM = "/usr/bin/chromium"
CHROMIUM_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SETTINGS = {
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none", "autoStartDefaultKernel": True},
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/docmanager-extension/plugin": {"autosave": False},
}
HARMLESS = ("reading 'schema'", "'filebrowser:open-path' not registered")
"""Errors that Notebook 7 has by itself."""
Ui = Literal["lab", "notebook"]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Server:
    """A Jupyter server with a root folder of its own. `environment` comes on top of `base` (ours), for its kernels too."""

    def __init__(
        self,
        folder: Path,
        environment: dict[str, str],
        *,
        python: str | Path = sys.executable,
        base: Mapping[str, str] = os.environ,
    ) -> None:
        self.root = folder / "notebooks"
        self.root.mkdir()
        self.port, self.token = free_port(), secrets.token_hex(16)
        self.url = f"http://127.0.0.1:{self.port}"
        for name, value in SETTINGS.items():
            file = folder / "settings" / f"{name}.jupyterlab-settings"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(value))
        self._log = folder / "server.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *(str(python), "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1"),
                    f"--port={self.port}",
                    "--ServerApp.port_retries=0",
                    f"--IdentityProvider.token={self.token}",
                    f"--ServerApp.root_dir={self.root}",
                    "--LabApp.news_url=",
                    "--LabApp.extension_manager=readonly",
                    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
                    "--LabApp.expose_app_in_browser=True",
                    "--JupyterNotebookApp.expose_app_in_browser=True",
                ],
                env={
                    **base,
                    "JUPYTER_PLATFORM_DIRS": "1",
                    "JUPYTER_CONFIG_DIR": str(folder / "config"),
                    "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
                    "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
                    "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
                    "IPYTHONDIR": str(folder / "ipython"),
                    **environment,
                },
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_until_up(self, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                self.api("status")
            except OSError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise RuntimeError(self._log.read_text()[-3000:]) from None
                time.sleep(0.1)
            else:
                return

    def api(self, path: str, method: str = "GET") -> Any:
        request = urllib.request.Request(
            f"{self.url}/api/{path}", method=method, headers={"Authorization": f"token {self.token}"}
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            body = answer.read()
        return json.loads(body) if body else None

    def stop_kernels(self) -> None:
        """Kernels are sessions of their own: they don't end with the server."""
        for kernel in self.api("kernels"):
            with contextlib.suppress(urllib.error.URLError):
                self.api(f"kernels/{kernel['id']}", "DELETE")

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self.stop_kernels()
        os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10)


class Notebook:
    """An open notebook, driven by its page."""

    def __init__(self, page: Page, path: Path) -> None:
        self.page, self.path = page, path

    def wait_for_kernel(self, milliseconds: float = 60_000) -> None:
        """Not the status dot: it says "idle" before a kernel is connected, and a cell that is run then is dropped."""
        self.page.wait_for_function(
            """() => {
                const context = window.jupyterapp?.shell?.currentWidget?.sessionContext;
                const kernel = context?.session?.kernel;
                return context?.isReady && kernel?.connectionStatus === 'connected' && kernel?.status === 'idle';
            }""",
            timeout=milliseconds,
        )

    def cell(self, index: int) -> Locator:
        return self.page.locator(".jp-Notebook .jp-Cell").nth(index)

    def output(self, index: int) -> Locator:
        return self.cell(index).locator(".jp-Cell-outputArea").first

    def panel(self, index: int) -> Locator:
        """The live panel in a cell's output."""
        return self.output(index).locator(".kaito-panel")

    def text(self, index: int) -> str:
        return self.output(index).inner_text()

    def run(self, index: int, *, wait: bool = True, milliseconds: float = 60_000) -> None:
        """Click into the cell, Shift+Enter, and wait until [*] has become a new number."""
        cell = self.cell(index)
        prompt = cell.locator(".jp-InputPrompt").first
        before = prompt.inner_text()
        cell.locator(".cm-content").click()
        self.page.keyboard.press("Shift+Enter")
        if wait:
            self.page.wait_for_function(
                "([prompt, before]) => /\\[\\d+\\]/.test(prompt.innerText) && prompt.innerText !== before",
                arg=[prompt.element_handle(), before],
                timeout=milliseconds,
            )

    def command(self, name: str, arguments: dict[str, Any] | None = None) -> None:
        self.page.evaluate(
            "([name, args]) => window.jupyterapp.commands.execute(name, args || {}).then(() => null)", [name, arguments]
        )

    def save(self) -> dict[str, Any]:
        """Save, and give what the file then holds."""
        before = self.path.stat().st_mtime_ns
        self.page.keyboard.press("Escape")
        self.command("docmanager:save")
        deadline = time.monotonic() + 10
        while self.path.stat().st_mtime_ns == before and time.monotonic() < deadline:
            self.page.wait_for_timeout(50)
        content: dict[str, Any] = json.loads(self.path.read_text())
        return content

    def reload(self, *, kernel: bool = True) -> None:
        self.page.reload()
        self.page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
        if kernel:
            self.wait_for_kernel()


class Jupyter:
    """What a test gets: notebooks are written, opened and looked at. `problems` are what the page complained about."""

    def __init__(self, server: Server, page: Page) -> None:
        self.server, self.page = server, page
        self.problems: list[str] = []
        page.on("pageerror", lambda error: self._note(str(error)))
        page.on("console", lambda message: message.type == "error" and self._note(message.text))

    def _note(self, text: str) -> None:
        if not any(harmless in text for harmless in HARMLESS):
            self.problems.append(text)

    def write(self, name: str, cells: list[str]) -> Path:
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(cell, id=f"c{i}") for i, cell in enumerate(cells)],
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        )
        path = self.server.root / name
        nbformat.write(notebook, path)
        return path

    def open(self, path: Path, ui: Ui = "lab", *, kernel: bool = True) -> Notebook:
        """Open a notebook as written, in JupyterLab or Notebook 7; without `kernel`, as a reader who starts none."""
        name = path.relative_to(self.server.root)
        view = {"lab": f"lab/tree/{name}?reset&", "notebook": f"notebooks/{name}?"}[ui]
        self.page.goto(f"{self.server.url}/{view}token={self.server.token}")
        self.page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
        notebook = Notebook(self.page, path)
        if kernel:
            notebook.wait_for_kernel()
        return notebook
