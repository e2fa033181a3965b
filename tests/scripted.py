"""A run that does what a test says, in the test's own process: for everything that shows runs.

It has what the panel asks of a run (`kaito_jupyter.panel.feed.Shown`) and takes real event lines, so that what a test
sees went through the real fold.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kaito_jupyter.errors import BackendError
from kaito_jupyter.run.adapter import Adapter
from kaito_jupyter.spec import TuningSpec
from kaito_jupyter.state import RunState
from kaito_jupyter.status import TERMINAL, RunRef, Status
from kaito_trainer.contract import Payload, encode
from kaito_trainer.contract import events as ev


def loss(step: int) -> float:
    """A curve like a real one: falling, and noisy in a way that is the same each time."""
    return (
        0.6
        + 2.4 * math.exp(-step / 90)
        + 0.5 * ((math.sin(step * 12.9898) * 43758.5453) % 1 - 0.5) * math.exp(-step / 700)
    )


class ScriptedRun:
    def __init__(
        self, name: str = "panel-test", preset: str = "HuggingFaceTB/SmolLM2-135M-Instruct", steps: int = 400
    ) -> None:
        self.name = name
        self.steps = steps
        self.ref = RunRef("local", name, "default", f"/tmp/runs/{name}")
        self.spec = TuningSpec(preset=preset, method="lora", name=name)
        self.state = RunState()
        self.lock = threading.RLock()
        self.done = False
        self.reading = True
        self.trouble = ""
        self.heard: float | None = None
        self.clock = time.time
        self.cancelled = 0
        self.resumed: dict[str, bool] | None = None
        self.follower: ScriptedRun | None = None
        self.refuses = ""
        """Why it cannot be resumed, if so."""
        self.lines: list[str] = []
        self.step = 0
        self._seq = 0
        self._callbacks: list[Callable[[], None]] = []

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback) if callback in self._callbacks else None

    def cancel(self) -> None:
        self.cancelled += 1

    def logs(self, tail: int | None = None) -> list[str]:
        return self.lines[-(tail or 0) :]

    def follow_logs(
        self, tail: int = 100, *, events: bool = False, stop: threading.Event | None = None
    ) -> Iterator[str]:
        stop, at = stop or threading.Event(), max(0, len(self.lines) - tail)
        while True:
            yield from self.lines[at : (at := len(self.lines))]
            if self.done or stop.wait(0.05):
                return

    @property
    def adapter(self) -> Any:
        """Its folder, when a test made one."""
        path = Path(self.state.adapter or "/none")
        return Adapter(path) if path.is_dir() else None

    def resume(self, *, fix: bool = False, end: bool = False, on_progress: Any = None) -> ScriptedRun:
        """A run of its own that has begun; what it was called with is kept in `resumed`."""
        self.resumed = {"fix": fix, "end": end}
        if self.refuses:
            raise BackendError(self.refuses)
        again = self.follower = ScriptedRun(f"{self.name}-2", self.spec.preset, self.steps)
        again.begin()
        return again

    def say(self, *lines: str | Payload, tell: bool = True) -> None:
        """Write lines, foreign ones or events, as the trainer would."""
        with self.lock:
            for line in lines:
                if not isinstance(line, str):
                    line = encode(line, seq=self._seq, time=self.clock())
                    self._seq += 1
                self.lines.append(line)
                self.state.feed(line)
        if tell:
            self.tell()

    def status(self, state: Any, reason: str = "", kind: str = "", **times: float) -> None:
        """What the backend says. A terminal state is the end, as with a real run: told to all, then done."""
        with self.lock:
            self.state.apply(Status(state, reason, kind, **times))
        self.tell()
        self.done = state in TERMINAL

    def tell(self) -> None:
        for callback in tuple(self._callbacks):
            callback()

    def begin(self, rows: int = 360) -> None:
        """Up to the first step: phases, `train_begin`, held-out loss and answers of the base model."""
        self.status("Running", created=self.clock(), started=self.clock())
        self.say(
            ev.Phase(phase="loading", detail=self.spec.preset),
            ev.Phase(phase="tokenizing", done=0, total=rows, unit="rows"),
        )
        self.say(ev.Phase(phase="training"))
        self.say(
            ev.TrainBegin(
                max_steps=self.steps, num_train_epochs=2.0, train_rows=rows, eval_rows=40, device="cpu", devices=1,
                trainable_parameters=460_800, total_parameters=134_975_808, method="lora", loss_on="completion",
            )
        )  # fmt: skip
        self.evaluate()

    def evaluate(self) -> None:
        self.say(ev.Evaluate(global_step=self.step, eval_loss=round(loss(self.step) + 0.12, 4)))

    def generate(self, *samples: dict[str, str]) -> None:
        self.say(ev.Generate(global_step=self.step, samples=list(samples)))

    def train(self, until: int, *, seconds: float = 0.0, tell: bool = True) -> None:
        """Make steps, each told at once (or, without `tell`, all at the end)."""
        while self.step < until:
            self.step += 1
            self.say(
                ev.Log(
                    global_step=self.step, epoch=round(2 * self.step / self.steps, 4), loss=round(loss(self.step), 5),
                    learning_rate=2e-4 * (1 - self.step / self.steps), grad_norm=1.0, num_tokens=self.step * 1180.0,
                    tokens_per_second=round(1174.5 + 30 * math.sin(self.step), 1), device_memory_bytes=1_612_000_000,
                ),
                tell=tell,
            )  # fmt: skip
            if seconds:
                time.sleep(seconds)

    def finish(self, adapter: str = "/home/ada/kaito/runs/panel-test/results") -> None:
        self.evaluate()
        self.say(ev.Phase(phase="saving"), ev.Save(global_step=self.step, path=adapter, final=True))
        self.say(ev.TrainEnd(status="completed", global_step=self.step, adapter=adapter))
        self.status("Succeeded", ended=self.clock())
