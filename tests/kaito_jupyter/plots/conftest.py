"""Runs at every stage, for pictures and text."""

import math

import pytest

from kaito_jupyter.state import RunState
from kaito_jupyter.status import Status
from kaito_trainer.contract import encode
from kaito_trainer.contract import events as ev

T = 1_764_000_000.0


def loss(step, total):
    """Falling, and noisy in a way that is the same each time."""
    return 1.2 + 2.3 * math.exp(-3.5 * step / total) + 0.2 * math.sin(step * 12.9898)


def make(steps, *, total=400, held_out=True, end=None, spike=None, name="loss"):
    state, seq, time = RunState(), 0, T

    def say(payload, seconds):
        nonlocal seq, time
        seq, time = seq + 1, time + seconds
        state.feed(encode(payload, seq=seq, time=time))

    state.apply(Status("Running", created=T - 3, started=T - 2))
    say(ev.Phase(phase="loading", detail="model"), 1)
    say(ev.Phase(phase="tokenizing", done=200, total=400, unit="rows"), 8)
    if steps is None:
        return state
    say(ev.TrainBegin(max_steps=total), 3)
    if held_out:
        say(ev.Evaluate(global_step=0, eval_loss=3.34), 4)
    for step in range(1, steps + 1):
        value = spike if spike and step == 1 else loss(step, total)
        say(
            ev.Log(
                global_step=step,
                loss=value,
                learning_rate=2e-4 * (1 - step / total),
                tokens_per_second=143.2,
                device_memory_bytes=1_900_000_000,
            ),
            0.5,
        )
    if held_out and steps > 1:
        say(ev.Evaluate(global_step=steps, eval_loss=1.75), 4)
    if end == "Failed":
        say(ev.Error(kind="out-of-memory", message="CUDA <b>$out$</b> of memory", remedy="Take a larger GPU."), 1)
    elif end:
        say(
            ev.TrainEnd(
                status="cancelled" if end == "Cancelled" else "completed", global_step=steps, adapter="/mnt/results"
            ),
            1,
        )
    if end:
        state.apply(Status(end, created=T - 3, started=T - 2, ended=time))
    return state


@pytest.fixture(scope="session")
def stages():
    return {
        "nothing": RunState(),
        "before": make(None),
        "no step": make(0),
        "one step": make(1, held_out=False),
        "two steps": make(2),
        "early": make(50),
        "spike": make(60, spike=9000.0),
        "failed early": make(0, end="Failed", held_out=False),
        "failed": make(133, end="Failed"),
        "cancelled": make(200, end="Cancelled"),
        "succeeded": make(400, end="Succeeded"),
        "long": make(5000, total=5000),
    }
