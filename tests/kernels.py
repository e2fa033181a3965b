"""A real IPython kernel that a test runs cells in, and kills."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import KernelManager

LONG = 300.0


class Kernel:
    """One kernel process. `home` is all that it keeps on this machine: the user's folders lie below it."""

    def __init__(self, home: str | os.PathLike[str], environment: Mapping[str, str]) -> None:
        place = {"HOME": str(home), "XDG_STATE_HOME": f"{home}/state", "IPYTHONDIR": f"{home}/ipython"}
        self._manager = KernelManager()
        paths = os.pathsep.join(p for p in sys.path if p)
        self._manager.start_kernel(
            env={**os.environ, "PYTHONPATH": paths, **place, **environment}, cwd=str(home), stderr=subprocess.DEVNULL
        )
        self._client: BlockingKernelClient = self._manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=LONG)

    def run(self, code: str) -> str:
        """What the cell prints. An error in it is one of the test."""
        said: list[str] = []

        def take(message: dict[str, object]) -> None:
            content = message["content"]
            assert isinstance(content, dict)
            if message["msg_type"] == "stream":
                said.append(str(content["text"]))
            elif message["msg_type"] == "error":
                said.append("\n".join(content["traceback"]))

        reply = self._client.execute_interactive(code, timeout=LONG, output_hook=take, store_history=False)
        assert reply["content"]["status"] == "ok", "".join(said)
        return "".join(said)

    def kill(self) -> None:
        """As the machine does it when memory is short: without a word."""
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)
        self._manager.cleanup_resources()


@contextmanager
def kernel(home: str | os.PathLike[str], environment: Mapping[str, str]) -> Iterator[Kernel]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zmq and asyncio have their own about loops
        made = Kernel(home, environment)
        try:
            yield made
        finally:
            made.kill()
