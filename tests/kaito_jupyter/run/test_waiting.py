from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from kaito_jupyter import RunFailed
from kaito_jupyter.errors import KaitoError, WaitTimeout
from kaito_jupyter.run import Run

Start = Callable[..., Run]


def test_plain_code_blocks(start: Start) -> None:
    run = start("--seconds", "0.01")
    assert run.wait() is run
    assert run.done
    assert run.wait(timeout=5) is run


def test_a_wait_that_is_over_says_how_far_the_run_is_and_leaves_it_alone(start: Start) -> None:
    run = start("--hang", name="slow")
    with pytest.raises(
        WaitTimeout, match=r"^run slow: it has not ended within 0\.5 s: .*It goes on; wait again\.$"
    ) as told:
        run.wait(timeout=0.5)
    assert isinstance(told.value, TimeoutError)
    assert isinstance(told.value, KaitoError)
    assert run.state.state == "Running"


def test_a_coroutine_awaits(start: Start) -> None:
    run = start("--seconds", "0.02")
    ticks: list[float] = []

    async def tick() -> None:
        while True:
            ticks.append(time.monotonic())
            await asyncio.sleep(0.01)

    async def main() -> Run:
        ticking = asyncio.create_task(tick())
        try:
            return await run.wait()
        finally:
            ticking.cancel()

    assert asyncio.run(main()) is run
    assert len(ticks) > 10  # the loop was free


def test_several_are_awaited_at_once(start: Start) -> None:
    runs = [start("--seconds", "0.01", name=f"run-{n}") for n in range(3)]

    async def main() -> list[Any]:
        listed = await asyncio.gather(*[run.wait() for run in runs])
        again = await asyncio.gather(*(run.wait(timeout=5) for run in runs))
        mapped = await asyncio.gather(*map(lambda run: run.wait(), runs))  # noqa: C417
        return [listed, again, mapped]

    assert asyncio.run(main()) == [runs] * 3


def test_a_run_itself_can_be_awaited(start: Start) -> None:
    run = start()

    async def main() -> Run:
        return await run

    assert asyncio.run(main()) is run


def test_awaiting_fails_and_times_out_like_blocking(start: Start) -> None:
    failing, hanging = start("--fail", "dataset", name="failing"), start("--hang", name="hanging")

    async def fails() -> None:
        await failing.wait()

    async def hangs() -> None:
        await hanging.wait(timeout=0.3)

    with pytest.raises(RunFailed, match="dataset"):
        asyncio.run(fails())
    with pytest.raises(WaitTimeout):
        asyncio.run(hangs())


def test_a_task_that_waits_can_be_cancelled_and_the_run_goes_on(start: Start) -> None:
    run = start("--hang")

    async def main() -> None:
        task = asyncio.ensure_future(run.wait())
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert run.state.state == "Running"


def test_an_interrupt_ends_the_wait_and_not_the_run(start: Start) -> None:
    run = start("--hang")
    timer = threading.Timer(0.3, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        run.wait()
    timer.join()
    assert run.backend.status(run.ref).state == "Running"


def test_cells_wait_in_both_ways(start: Start) -> None:
    """As a kernel runs them: in a loop that is running, an `await` in the cell or none."""
    shell = InteractiveShell()
    shell.user_ns["start"] = start
    cells = [
        "import asyncio\nrun = start(name='one')\nwaited = await run.wait()\nassert waited is run",
        "run = start(name='two')\nassert run.wait() is run and run.done",
        "run = start(name='three')\nassert (await run) is run",
        "runs = [start(name=f'n{n}') for n in range(2)]\nassert await asyncio.gather(*[r.wait() for r in runs]) == runs",
        "def plain(run):\n    return run.wait()\nassert plain(start(name='four')).done",
        "async def nested(run):\n    return await run.wait()\nassert (await nested(start(name='five'))).done",
    ]

    async def kernel() -> None:
        for cell in cells:
            result = await shell.run_cell_async(cell, transformed_cell=cell)
            result.raise_error()

    asyncio.run(kernel())
