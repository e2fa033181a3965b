"""Jobs that print numbered lines in a real cluster, and somebody who follows them."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from kaito_jupyter.cluster.client import Client
from kaito_jupyter.cluster.follow import follow
from kaito_jupyter.cluster.judge import JobJudge
from kaito_jupyter.cluster.resources import PODS
from kaito_jupyter.status import TERMINAL, Lines, Status

Json = dict[str, Any]


def python(code: str) -> Json:
    """A container that runs that code, unbuffered."""
    return {"command": ["python3", "-uc", code]}


def shell(code: str) -> Json:
    return {"command": ["/bin/sh", "-c", code]}


def job(
    name: str,
    image: str,
    main: Json,
    *,
    init: Mapping[str, Json] | None = None,
    sidecars: Mapping[str, Json] | None = None,
    restart: str = "Never",
    backoff: int = 0,
    **spec: Any,
) -> Json:
    """A Job whose trainer is the container `main`."""

    def containers(given: Mapping[str, Json]) -> list[Json]:
        return [{"name": n, "image": image, **c} for n, c in given.items()]

    pod = {
        "restartPolicy": restart,
        "terminationGracePeriodSeconds": 2,
        "initContainers": containers(init or {}),
        "containers": containers({"main": main, **(sidecars or {})}),
    }
    template = {"spec": pod}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"backoffLimit": backoff, "template": template, **spec},
    }


class Following:
    """A run that is followed in a thread, as a `Run` does it. Remembers all it is told."""

    def __init__(self, client: Client, name: str, since: str | None = None, *, silence: float = 10.0) -> None:
        self.stop = threading.Event()
        self.items: list[Lines | Status | None] = []
        self.error: Exception | None = None
        self._args = (client, name, since, silence)
        self._thread = threading.Thread(target=self._run, name=f"following {name}")
        self._thread.start()

    def _run(self) -> None:
        client, name, since, silence = self._args
        judge = JobJudge(name, "main")
        try:
            for item in follow(
                client,
                namespace=None,
                labels=f"job-name={name}",
                judge=judge,
                since=since,
                stop=self.stop,
                silence=silence,
            ):
                self.items.append(item)
        except Exception as e:  # noqa: BLE001 (told to whoever looks)
            self.error = e

    def __enter__(self) -> Following:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.stop.set()
        self._thread.join(120)
        assert not self._thread.is_alive(), "it did not end"

    def end(self, timeout: float = 270) -> Status:
        """Wait for the run's end: its last status."""
        self._thread.join(timeout)
        if self.error:
            raise self.error
        assert not self._thread.is_alive(), f"still following after {timeout} s: {self.statuses[-3:]}"
        last = self.items[-1]
        assert isinstance(last, Status)
        assert last.state in TERMINAL
        return last

    def until(self, condition: Any, timeout: float = 240) -> None:
        """Wait until `condition(self)`."""
        deadline = time.monotonic() + timeout
        while not condition(self):
            if self.error:
                raise self.error
            assert time.monotonic() < deadline, f"not so in {timeout} s; last: {self.statuses[-3:]}"
            time.sleep(0.05)

    @property
    def statuses(self) -> list[Status]:
        return [i for i in self.items if isinstance(i, Status)]

    @property
    def batches(self) -> list[Lines]:
        return [i for i in self.items if isinstance(i, Lines)]

    def lines(self, source: str = "main") -> list[str]:
        return [text for b in self.batches if b.source == source for text in b.texts]


def only_pod(client: Client, name: str, timeout: float = 240) -> Json:
    """The newest pod of that Job, as soon as there is one."""
    deadline = time.monotonic() + timeout
    while True:
        pods: Sequence[Json] = client.list(PODS, labels=f"job-name={name}")[0]
        if pods:
            return max(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
        assert time.monotonic() < deadline, f"the Job {name} got no pod"
        time.sleep(0.1)
