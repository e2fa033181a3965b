"""A run outlives the process that started it: a script that is killed, and a real kernel that is interrupted and shut down."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.manager import AsyncKernelManager

from kaito_jupyter import watch
from kaito_jupyter.backends.local import LocalBackend

STUB = Path(__file__).parents[2] / "stub_trainer.py"
Until = Callable[..., Any]
STEPS = 100
SUBMIT = f"""
import pandas as pd
import kaito_jupyter as kaito
frame = pd.DataFrame({{"prompt": ["q"] * 40, "completion": [f"a{{n}}" for n in range(40)]}})
run = kaito.tune(frame, preset="phi-4-mini-instruct", name="survivor", max_steps={STEPS})
print("submitted", flush=True)
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, local: Callable[..., LocalBackend]) -> LocalBackend:
    """Other processes find the runs there, and train with the stub."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KAITO_LOCAL_TRAINER", f"'{sys.executable}' '{STUB}' --seconds 0.05")
    return LocalBackend(tmp_path / "home" / "kaito-jupyter" / "runs")


def test_a_kernel_killed_in_mid_run_leaves_the_run_alone(
    home: LocalBackend, until: Until, loss: Callable[[int], float]
) -> None:
    kernel = subprocess.Popen(
        [sys.executable, "-c", SUBMIT + "run.wait()"], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert kernel.stdout
    with kernel, kernel.stdout:
        assert kernel.stdout.readline() == "submitted\n"
        until(lambda: any('"global_step":5,' in line for line in home.logs(home.find("survivor"))))
        os.killpg(kernel.pid, signal.SIGKILL)  # as Jupyter does: the kernel and all of its group
    run = watch("survivor")
    assert not run.done
    run.wait()
    assert list(run.history.index) == list(range(1, STEPS + 1))
    assert list(run.history["loss"]) == [loss(n) for n in range(1, STEPS + 1)]


def test_a_real_kernel_is_interrupted_and_shut_down_and_the_run_goes_on(home: LocalBackend) -> None:
    def state() -> str:
        return home.status(home.find("survivor")).state

    async def session() -> None:
        manager = AsyncKernelManager()
        await manager.start_kernel(stderr=subprocess.DEVNULL)
        client = manager.client()
        client.start_channels()
        try:
            await client.wait_for_ready(timeout=60)
            await client.execute_interactive(SUBMIT, timeout=60, output_hook=lambda _: None)
            asked = client.execute("print('waits', flush=True); run.wait()")
            while (await client.get_iopub_msg(timeout=60))["msg_type"] != "stream":
                pass
            await manager.interrupt_kernel()
            while (reply := await client.get_shell_msg(timeout=60))["parent_header"].get("msg_id") != asked:
                pass
            assert reply["content"]["ename"] == "KeyboardInterrupt"
            assert state() == "Running"
        finally:
            client.stop_channels()
            await manager.shutdown_kernel()
            await manager.cleanup_resources()

    asyncio.run(session())
    assert state() == "Running"
    run = watch("survivor")
    run.wait()
    assert list(run.history.index) == list(range(1, STEPS + 1))


def test_an_interpreter_that_ends_while_it_reads_ends_cleanly(home: LocalBackend) -> None:
    done = subprocess.run([sys.executable, "-W", "error", "-c", SUBMIT], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "submitted\n", "")
    watch("survivor").wait()
