"""A stand-in for `python -m kaito_trainer` that trains nothing: it speaks the event protocol, fast or slow, well or badly.

For tests and for trying the faces without torch. It takes the real trainer's arguments after its own, so that it can
take the real one's place::

    export KAITO_LOCAL_TRAINER="python tests/stub_trainer.py --seconds 0.05"     # then %kaito_tune df … as ever
    LocalBackend(command=[sys.executable, "tests/stub_trainer.py", "--steps", "20"])

Steps come from `--steps`, else from `max_steps` in the configuration, else they are 20. The loss is a smooth curve of
the step alone, so that every reader can say what it must have seen (`loss(step)` below). Like the real trainer it logs
each `--log-every` steps, evaluates before the first and after the last one, appends all events to
`results/events.jsonl`, holds `results/trainer.lock`, writes an adapter, and writes the sentinel when it has completed.
On SIGTERM it saves and ends as cancelled (143).

What can go wrong, each at `--at STEP` (default: half way):

    --fail KIND        an `error` event of that kind (`out-of-memory`, `dataset`, …), exit code 1
    --raise            a Python traceback and no event, exit code 1
    --exit CODE        nothing but the exit code
    --hang             no further step, but alive (SIGTERM still ends it)
    --deaf             ignores SIGTERM from the start
    --foreign          between events: foreign lines, `<script>` among them, carriage returns, half lines
    --child            leaves a process of its own behind in its process group
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from kaito_trainer.contract import Payload, encode
from kaito_trainer.contract import events as ev
from kaito_trainer.contract.names import ADAPTER_FILES, EVENTS_FILE, LOCK_FILE, SENTINEL_FILE

FOREIGN = (
    "Some weights were not initialized: <script>document.title='owned'</script>\n",
    "<img src=x onerror=\"document.title='owned'\"> & \u202e\u001b[31mred\u001b[0m\n",
    "\rMap:  10%|█         | 1/10\rMap:  60%|██████    | 6/10\rMap: 100%|██████████| 10/10\n",
    '{"kaito_event":1,"type":"log","seq":',
    "\n",
)


def loss(step: int) -> float:
    """What the curve shows at a step."""
    return round(0.5 + 3.0 * math.exp(-step / 40.0) + 0.05 * math.sin(step), 6)


def eval_loss(step: int) -> float:
    return round(0.7 + 3.0 * math.exp(-step / 40.0), 6)


class Stub:
    def __init__(self, args: argparse.Namespace, root: Path, results: Path, steps: int) -> None:
        self.args, self.root, self.results, self.steps = args, root, results, steps
        self.seq = 0
        self.asked_to_end = False
        self.rows: list[tuple[int, float, float]] = []
        self.evaluations: list[tuple[int, float]] = []
        self.copy = (results / EVENTS_FILE).open("a", encoding="utf-8")

    def emit(self, payload: Payload) -> None:
        line = encode(payload, seq=self.seq)
        self.seq += 1
        for out in (sys.stdout, self.copy):
            out.write(line + "\n")
            if not self.args.unflushed:
                out.flush()

    def sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self.asked_to_end and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.05))

    def run(self) -> int:
        args = self.args
        for phase, total in (("loading", None), ("tokenizing", 100)):
            self.emit(ev.Phase(phase=phase, detail=f"stub {phase}"))
            self.sleep(args.phase_seconds)
            if total:
                self.emit(ev.Phase(phase=phase, done=total, total=total, unit="rows"))
        self.emit(ev.Phase(phase="training"))
        self.emit(
            ev.TrainBegin(
                max_steps=self.steps, num_train_epochs=1.0, train_rows=90, eval_rows=10, device="stub", devices=1,
                trainable_parameters=1_000, total_parameters=100_000, model="stub", method="lora", loss_on="completion",
            )
        )  # fmt: skip
        self.evaluate(0)
        at = args.at if args.at is not None else self.steps // 2
        for step in range(1, self.steps + 1):
            self.sleep(args.seconds)
            if self.asked_to_end:
                return self.end(step - 1, "cancelled")
            if step % args.log_every == 0 or step == self.steps:
                self.log(step)
            if args.foreign and step % 3 == 0:
                self.say_something_else(step)
            if args.eval_every and step % args.eval_every == 0 and step < self.steps:
                self.evaluate(step)
            if args.history_every and step % args.history_every == 0:
                self.history()
            if step == at and (code := self.go_wrong(step)) is not None:
                return code
            if step == at and self.asked_to_end:
                return self.end(step, "cancelled")
        self.evaluate(self.steps)
        return self.end(self.steps, "completed")

    def log(self, step: int) -> None:
        lr = 2e-4 * (1 - step / self.steps)
        self.rows.append((step, loss(step), lr))
        self.emit(
            ev.Log(
                global_step=step, epoch=round(step / self.steps, 4), loss=loss(step), learning_rate=lr, grad_norm=1.0,
                num_tokens=100.0 * step, tokens_per_second=1000.0, device_memory_bytes=2**30,
            )
        )  # fmt: skip

    def evaluate(self, step: int) -> None:
        self.evaluations.append((step, eval_loss(step)))
        self.emit(ev.Evaluate(global_step=step, eval_loss=eval_loss(step), epoch=round(step / self.steps, 4)))
        if step in (0, self.steps):
            sample = {"prompt": "What does <b>f</b> do?", "completion": f"answer {step}", "reference": "It does f."}
            self.emit(ev.Generate(global_step=step, samples=[sample]))

    def history(self) -> None:
        points = self.rows[:: max(1, math.ceil(len(self.rows) / ev.HISTORY_POINTS))]
        self.emit(
            ev.History(
                columns={
                    "global_step": [s for s, _, _ in points],
                    "loss": [v for _, v, _ in points],
                    "learning_rate": [r for _, _, r in points],
                },
                evaluations={
                    "global_step": [s for s, _ in self.evaluations],
                    "eval_loss": [v for _, v in self.evaluations],
                },
                max_steps=self.steps,
            )
        )

    def say_something_else(self, step: int) -> None:
        text = FOREIGN[step // 3 % len(FOREIGN)]
        (sys.stderr if step % 2 else sys.stdout).write(text)
        sys.stdout.flush()

    def go_wrong(self, step: int) -> int | None:
        args = self.args
        if args.child:
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        if args.hang:
            while not self.asked_to_end:
                time.sleep(0.05)
        if args.fail:
            meaning = ev.ERROR_KINDS.get(args.fail, "It failed.")
            self.emit(ev.Error(kind=args.fail, message=f"stub: {meaning}", remedy="Halve the batch size."))
            return 1
        if args.raise_:
            raise RuntimeError(f"the stub was told to fail at step {step}: <script>1</script>")
        code: int | None = args.exit
        return code

    def end(self, step: int, status: str) -> int:
        self.emit(ev.Phase(phase="saving"))
        time.sleep(self.args.save_seconds)
        checkpoint = self.results / f"checkpoint-{step}"
        checkpoint.mkdir(exist_ok=True)
        for folder in (checkpoint, self.results):
            (folder / ADAPTER_FILES[0]).write_text(json.dumps({"peft_type": "LORA", "base_model_name_or_path": "stub"}))
            (folder / ADAPTER_FILES[1]).write_bytes(
                (2).to_bytes(8, "little") + b"{}"
            )  # a safetensors file without tensors
        self.emit(ev.Save(global_step=step, path=str(self.results), final=True))
        self.history()
        done = status == "completed"
        self.emit(
            ev.TrainEnd(
                status="completed" if done else "cancelled", global_step=step, train_runtime=1.0, train_loss=loss(step),
                eval_loss=eval_loss(step) if done else None, adapter=str(self.results),
            )
        )  # fmt: skip
        if done:
            (self.results / SENTINEL_FILE).touch()
        return 0 if done else 143


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seconds", type=float, default=0.0, help="a step")
    parser.add_argument("--phase-seconds", type=float, default=0.0, help="loading, and tokenizing")
    parser.add_argument("--save-seconds", type=float, default=0.0)
    parser.add_argument("--log-every", type=int, default=1)
    parser.add_argument("--eval-every", type=int, default=0)
    parser.add_argument("--history-every", type=int, default=50)
    parser.add_argument("--at", type=int)
    parser.add_argument("--fail", metavar="KIND")
    parser.add_argument("--raise", dest="raise_", action="store_true")
    parser.add_argument("--exit", type=int)
    parser.add_argument("--hang", action="store_true")
    parser.add_argument("--deaf", action="store_true")
    parser.add_argument("--foreign", action="store_true")
    parser.add_argument("--child", action="store_true")
    parser.add_argument("--unflushed", action="store_true", help="many events fast")
    parser.add_argument("command", choices=["train"])
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--mount-root", type=Path, required=True)
    args = parser.parse_args(argv)

    text = args.config.read_text(encoding="utf-8")
    told = re.search(r"^\s*max_steps:\s*(\d+)\s*$", text, re.MULTILINE)
    steps = args.steps or (int(told[1]) if told else 20)
    results: Path = args.mount_root / "results"
    results.mkdir(parents=True, exist_ok=True)
    lock = os.open(results / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    stub = Stub(args, args.mount_root, results, steps)

    def on_sigterm(*_: object) -> None:
        stub.asked_to_end = True

    signal.signal(signal.SIGTERM, signal.SIG_IGN if args.deaf else on_sigterm)
    with contextlib.closing(stub.copy):
        return stub.run()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
