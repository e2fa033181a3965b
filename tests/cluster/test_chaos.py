"""Chaos: while a run trains, everything between it and its readers breaks at random. In the end every step is there once.

`KAITO_CHAOS_FAULTS` says how many faults (CI: a few; `make chaos`: hundreds), `KAITO_CHAOS_SEED` which. Most happen on a way
to the API server that only this test goes: `wire` breaks connections, `gateway` answers what servers answer on a bad day.
`KAITO_CHAOS_SERVER=1` adds faults of the API server itself, by the test cluster's own program: all who use it feel them.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import chaos_run
import pytest
import yaml
from chaos_run import Account, Control, printer
from gateway import Gateway
from wire import Wire

from kaito_jupyter.cluster.client import Client
from kaito_trainer.contract.events import MARK

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(2400)]

FAULTS = int(os.environ.get("KAITO_CHAOS_FAULTS", "25"))
SEED = int(os.environ.get("KAITO_CHAOS_SEED", "1"))
SERVER = os.environ.get("KAITO_CHAOS_SERVER") == "1"
PROGRAM = Path(__file__).parents[3] / "shared" / "cluster" / "chaos"
PAUSE = (0.05, 0.8)
"""Seconds between two faults."""
FULL = "the log is written full"
WHOLE = re.compile(r"line \d+ (?:y{950}|x{20000}|x{40000}|)")


@pytest.fixture
def control(cluster: Any) -> Iterator[Control]:
    if "KAITO_CLUSTER_SERVE_IP" not in cluster.env:
        pytest.skip("needs an address of this machine that pods reach: KAITO_CLUSTER_SERVE_IP")
    made = Control(cluster.env["KAITO_CLUSTER_SERVE_IP"])
    yield made
    made.close()


@pytest.fixture
def gateway(cluster: Any, tmp_path: Path) -> Iterator[Gateway]:
    config = yaml.safe_load(Path(cluster.kubeconfig).read_text())
    context = next(c["context"] for c in config["contexts"] if c["name"] == config["current-context"])
    made = Gateway(next(c["cluster"] for c in config["clusters"] if c["name"] == context["cluster"]), tmp_path)
    yield made
    made.close()


@pytest.fixture
def wire(gateway: Gateway) -> Iterator[Wire]:
    made = Wire(f"127.0.0.1:{gateway.port}")
    yield made
    made.close()


class Kernels:
    """One process after another that reads the run from its beginning: each ends by SIGKILL, but for the last."""

    def __init__(self, account: Account, namespace: str, name: str, folder: Path) -> None:
        self._words = [str(account.path), namespace, name]
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.count = 0

    def another(self) -> None:
        self.kill()
        self.count += 1
        command = [sys.executable, chaos_run.__file__, *self._words, str(self._file)]
        with self._file.with_suffix(".err").open("wb") as errors:
            self._process = subprocess.Popen(command, stderr=errors)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def end(self) -> Any:
        """What the last one found."""
        assert self._process is not None
        assert self._process.wait(600) == 0, self._file.with_suffix(".err").read_text()
        return json.loads(self._file.read_text())

    @property
    def _file(self) -> Path:
        return self._folder / f"kernel-{self.count}.json"


def program(*words: str) -> None:
    """A fault of the whole cluster. What it waits for is not ours to judge: the run is."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(["bash", str(PROGRAM), *words], check=False, capture_output=True, timeout=120)


def test_every_step_is_there_once_whatever_breaks(
    cluster: Any, namespace: str, control: Control, gateway: Gateway, wire: Wire, tmp_path: Path
) -> None:
    rng = random.Random(SEED)
    place = {"server": f"https://127.0.0.1:{wire.port}", "certificate-authority-data": gateway.authority}
    account = Account(cluster.api, namespace, place, tmp_path / "kubeconfig")
    pace = max(0.05, 1.5 * FAULTS * (sum(PAUSE) / 2 + 0.4) / chaos_run.MOST)
    job = printer("chaos", cluster.env["KAITO_CLUSTER_HOST_IMAGE"], control, seed=SEED, pace=pace)
    Client.connect(namespace=namespace, kubeconfig=cluster.kubeconfig).apply(job)
    before = set(threading.enumerate())
    page, state = chaos_run.reader(account.path, namespace, "chaos")
    kernels = Kernels(account, namespace, "chaos", tmp_path)

    def reload() -> None:
        page.close()
        page.open()

    def burst() -> None:
        control.word = "burst"

    faults: list[tuple[float, str, Callable[[], object]]] = [
        (25, "all connections are reset", wire.cut),
        (25, "all are reset in the middle of an answer", lambda: wire.cut_after(rng.randrange(1, 60_000))),
        (10, "no byte passes", lambda: wire.silence(rng.choice([0.2, 1.0, 4.0]))),
        (8, "connections are refused", lambda: wire.refuse(rng.uniform(0.2, 2.0))),
        (14, "watches are answered 410", gateway.forget),
        (8, "the server has too much to do", lambda: gateway.refuse(rng.choice([429, 500, 503]), rng.randrange(1, 5))),
        (4, "a login is not believed", lambda: gateway.refuse(401)),
        (6, "the token is replaced", lambda: chaos_run.patiently(account.replace)),
        (10, "the page is gone and comes back", reload),
        (8, "the kernel is killed, another begins anew", kernels.another),
        (4, "the log is rotated", gateway.rotate),
        (1, FULL, burst),
    ]
    if SERVER:
        assert PROGRAM.is_file()
        faults += [
            (6, "the API server's connections are dropped", lambda: program("drop-connections")),
            (2, "the API server hangs", lambda: program("pause-apiserver", "2")),
            (1, "the API server forgets its history", lambda: program("forget-history")),
            (1, "the API server is restarted", lambda: program("restart-apiserver")),
        ]
    done: list[str] = []
    began = time.monotonic()
    try:
        kernels.another()
        for _ in range(FAULTS):
            time.sleep(rng.uniform(*PAUSE))
            _, what, inject = rng.choices(faults, [f[0] for f in faults])[0]
            done.append(what)
            inject()
        control.word = "end"
        assert page.over.wait(600), (state.reason, page.trouble)
        found = kernels.end()
        kernels.another()  # when all is over, and nothing breaks any more
        late = kernels.end()
    finally:
        kernels.kill()
        page.close()
    print(
        f"{len(done)} faults in {time.monotonic() - began:.0f} s; {kernels.count} kernels, {wire.cuts} connections cut,"
    )
    print(f"{gateway.told} answers of the gateway's own, {len(state.curve())} steps, {len(state.lines)} lines:")
    print("\n".join(f"  {done.count(what):3} {what}" for what in sorted(set(done))))

    steps = state.train_end["global_step"]
    curve = [(step, 2 + 1 / step) for step in range(1, steps + 1)]
    assert steps >= chaos_run.LEAST
    assert state.curve() == curve
    assert state.status is not None
    assert (state.state, state.status.exit_code) == ("Succeeded", 0)
    assert state.ends == ["Succeeded"], "no false end was told on the way"
    # Not only the steps, which come again in summaries: each line once, but for those that a rotation took.
    # A runtime that is told to begin a new file may tear a line, too.
    words = [line.split() for line in state.lines if WHOLE.fullmatch(line)]
    numbers = [int(word[1]) for word in words]
    assert numbers == sorted(set(numbers))
    torn = [line[:80] for line in state.lines if not (WHOLE.fullmatch(line) or MARK in line or line.startswith("all "))]
    gaps = sum(b - a > 1 for a, b in itertools.pairwise(numbers)) + (numbers[0] > 0)
    assert gaps <= sum("rotated" in remark for remark in state.remarks) + len(torn), state.remarks
    assert len(torn) <= 2 * done.count(FULL), torn
    assert state.lines[-1] == f"all {numbers[-1] + 1}"
    for kernel in (found, late):
        assert [tuple(point) for point in kernel["curve"]] == curve
        assert (kernel["state"], kernel["ends"]) == ("Succeeded", ["Succeeded"])
    deadline = time.monotonic() + 120
    while left := [t.name for t in threading.enumerate() if t not in before and t.name.startswith("kaito")]:
        assert time.monotonic() < deadline, f"threads outlive their run: {left}"
        time.sleep(0.05)
