"""What a panel's update costs, in a real kernel: bytes to the browser and the kernel's CPU, at four lengths of run.

Side by side with what a notebook does otherwise, a matplotlib picture drawn again into the same output. An update is five
new steps, as with a quick trainer at our rate. Bytes are those of the WebSocket message that a Jupyter server makes of it
(protocol v1.kernel.websocket.jupyter.org); CPU is the whole kernel process's, so that its sending thread counts too.

    python benchmarks/bench_panel.py [--quick]
"""

from __future__ import annotations

import json
import sys
from typing import Any

from jupyter_client.manager import start_new_kernel

GOAL_BYTES = 1000
GOAL_MS = 3.0
STEPS = 5
"""New rows an update."""

CHILD = """
import json, math, threading, time
from types import SimpleNamespace
from IPython.display import display
from kaito_jupyter.panel.live import Panel
from kaito_jupyter.plots import png
from kaito_jupyter.spec import TuningSpec
from kaito_jupyter.state import RunState
from kaito_jupyter.status import RunRef
from kaito_trainer.contract import encode, events

def row(step):
    return encode(events.Log(
        global_step=step, epoch=step / 1e5, loss=2 * math.exp(-step / 3e4) + 0.1 * math.sin(step), learning_rate=2e-4 * (1 - step / 2e5),
        grad_norm=1.0, num_tokens=1180.0 * step, tokens_per_second=1170.0 + step % 7, device_memory_bytes=10**9,
    ), seq=step, time=1.7e9 + step)

def run_of(length):
    state = RunState()
    state.feed(encode(events.Phase(phase="training"), seq=0, time=1.7e9))
    for step in range(1, length + 1):
        state.feed(row(step))
    return SimpleNamespace(
        name="bench", ref=RunRef("local", "bench", "default", "/tmp/bench"), spec=TuningSpec(preset="phi-4-mini-instruct", name="bench"),
        state=state, lock=threading.RLock(), done=False, reading=True, heard=None, trouble="", subscribe=lambda callback: lambda: None)

def cpu_of(run, times, update):
    total = 0.0
    for _ in range(times):
        for step in range(run.state.global_step + 1, run.state.global_step + 1 + STEPS):
            run.state.feed(row(step))
        time.sleep(0.02)
        began = time.process_time()
        update()
        time.sleep(0.03)  # the kernel's sending thread
        total += time.process_time() - began
    return 1e3 * total / times

def measure(length, times):
    from kaito_jupyter.panel.live import make_widget
    run = run_of(length)
    panel = Panel(run)
    panel.widget = make_widget(panel.id, panel._on_message)
    panel._send(panel.feed.everything)
    ours = cpu_of(run, times, lambda: panel._send(panel.feed.news))
    place = display({"text/plain": ""}, raw=True, display_id=True)
    draw = lambda: place.update({"image/png": png(run.state), "text/plain": ""}, raw=True)
    draw()
    return {"ours": ours, "picture": cpu_of(run, max(2, times // 5), draw)}
"""


def websocket_bytes(frames: list[bytes]) -> int:
    """Length of the message that the server sends to the browser for these frames of the kernel's iopub socket."""
    parts = frames[frames.index(b"<IDS|MSG>") + 2 :]  # header, parent header, metadata, content, buffers
    offsets = 2 + len(parts)
    return 8 * (1 + offsets) + len("iopub") + sum(len(part) for part in parts)


def kind(frames: list[bytes]) -> str:
    """What a message is: a widget's own, a picture, or something else."""
    parts = frames[frames.index(b"<IDS|MSG>") + 2 :]
    header, content = json.loads(parts[0]), json.loads(parts[3])
    if header["msg_type"] == "comm_msg" and content["data"].get("method") == "custom":
        return "ours" if content["data"]["content"]["k"] == "new" else ""
    return "picture" if header["msg_type"] == "update_display_data" else ""


class Kernel:
    """A kernel that runs the child's code, watched on the wire."""

    def __init__(self) -> None:
        self.manager, self.client = start_new_kernel()
        self.run(f"STEPS = {STEPS}" + CHILD)

    def run(self, code: str) -> tuple[Any, dict[str, list[int]]]:
        """What the code printed as JSON (if it did), and the bytes of each message of a kind."""
        sizes: dict[str, list[int]] = {}
        value = None
        request = self.client.execute(code)
        while True:
            frames = self.client.iopub_channel.socket.recv_multipart()
            header, parent, _, content, *_ = (json.loads(p) for p in frames[frames.index(b"<IDS|MSG>") + 2 :][:4])
            if what := kind(frames):
                sizes.setdefault(what, []).append(websocket_bytes(frames))
            if parent.get("msg_id") != request:
                continue
            if header["msg_type"] == "error":
                raise RuntimeError("\n".join(content["traceback"]))
            if header["msg_type"] == "stream":
                value = json.loads(content["text"])
            if header["msg_type"] == "status" and content["execution_state"] == "idle":
                return value, sizes

    def stop(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


def main(quick: bool = False) -> dict[str, float]:
    """Print the comparison; the figures come back for the summary."""
    lengths = (100, 1_000, 10_000) if quick else (100, 1_000, 10_000, 100_000)
    figures: dict[str, float] = {}
    kernel = Kernel()
    try:
        kernel.run("import json; json.dumps(measure(50, 5))")  # imports, fonts
        print(f"an update of a panel ({STEPS} new steps), against a matplotlib picture drawn again")
        print(
            f"{'steps so far':>14} {'bytes':>8} {'picture':>9} {'ratio':>7} {'CPU ms':>9} {'picture':>9} {'ratio':>7}"
        )
        for length in lengths:
            cpu, sizes = kernel.run(f"print(json.dumps(measure({length}, {10 if quick else 40})))")
            ours, picture = (sum(sizes[what]) / len(sizes[what]) for what in ("ours", "picture"))
            print(
                f"{length:>14,} {ours:>8.0f} {picture:>9,.0f} {picture / ours:>6.0f}× "
                f"{cpu['ours']:>9.2f} {cpu['picture']:>9.1f} {cpu['picture'] / cpu['ours']:>6.0f}×"
            )
            figures |= {
                f"panel_bytes_{length}": ours,
                f"panel_ms_{length}": cpu["ours"],
                f"panel_bytes_ratio_{length}": picture / ours,
                f"panel_cpu_ratio_{length}": cpu["picture"] / cpu["ours"],
            }
    finally:
        kernel.stop()
    worst_bytes = max(
        value for name, value in figures.items() if name.startswith("panel_bytes_") and "ratio" not in name
    )
    worst_ms = max(value for name, value in figures.items() if name.startswith("panel_ms_"))
    print(
        f"at any length: at most {worst_bytes:.0f} bytes (goal {GOAL_BYTES}) and {worst_ms:.2f} ms (goal {GOAL_MS:g})"
    )
    return figures


if __name__ == "__main__":
    main("--quick" in sys.argv)
