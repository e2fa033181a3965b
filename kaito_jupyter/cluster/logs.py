"""All that a run has written so far, in one go: for reading, where `follow` is for watching."""

from __future__ import annotations

from typing import Any, Final

from . import pods as p
from .client import Client
from .connection import Stop
from .refusals import Invalid, NotFound
from .resources import PODS

READ_TIMEOUT: Final = 30.0
LINES: Final = 100_000
"""The most lines of one container that are asked for."""


def whole_log(client: Client, namespace: str, labels: str, *, main: str | None, tail: int | None = None) -> list[str]:
    """The lines of all containers of all pods with these labels, a pod after another, in the order in which they run."""
    pods = sorted(client.list(PODS, namespace, labels=labels)[0], key=p.created)
    lines: list[str] = []
    for pod in pods:
        for container in p.containers(pod, main):
            if container.phase != "waiting":
                lines += _lines(client, namespace, p.name(pod), container.name, tail)
    return lines if tail is None else lines[-tail:] if tail else []


def _lines(client: Client, namespace: str, pod: str, container: str, tail: int | None) -> list[str]:
    query: dict[str, Any] = {"container": container, "tailLines": LINES if tail is None else min(tail, LINES)}
    try:
        with client.log(pod, namespace, query, stop=Stop(), read_timeout=READ_TIMEOUT) as chunks:
            text = b"".join(chunks).decode("utf-8", "replace")
    except (Invalid, NotFound):  # it has written nothing yet, or is gone
        return []
    return text.removesuffix("\n").split("\n") if text else []
