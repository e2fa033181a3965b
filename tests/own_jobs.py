"""Our own Job on the test cluster: whose pods run this checkout."""

from __future__ import annotations

import base64
import json
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kaito_jupyter.backends.cluster.client import Client
from kaito_jupyter.backends.cluster.resources import CLAIMS, PODS, Resource
from kaito_jupyter.backends.job import JobBackend
from kaito_jupyter.status import Lines, RunRef, Status

MODEL = "/workspace/model"
VOLUMES = Resource("", "v1", "persistentvolumes", "PersistentVolume", namespaced=False)


def until(ask: Callable[[], Any], seconds: float = 60.0) -> Any:
    """What it gives as soon as that is true; a test that waits in vain fails."""
    deadline = time.monotonic() + seconds
    while not (found := ask()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)
    return found


def mounting(model: Path, **trainer: Any) -> dict[str, Any]:
    """A pod template in which the trainer finds a model of this machine; `trainer` changes its container."""
    mount = {"name": "model", "mountPath": MODEL, "readOnly": True}
    return {
        "spec": {
            "containers": [{"name": "trainer", "volumeMounts": [mount], **trainer}],
            "volumes": [{"name": "model", "hostPath": {"path": str(model), "type": "Directory"}}],
        }
    }


def push_secret(client: Client, auth_file: str, name: str = "push") -> str:
    """A Secret with that docker login."""
    content = base64.b64encode(Path(auth_file).read_bytes()).decode()
    client.create(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/dockerconfigjson",
            "metadata": {"name": name},
            "data": {".dockerconfigjson": content},
        }
    )
    return name


def claim(client: Client, name: str) -> Path:
    """A bound claim, and where its volume is on this machine. Everybody may write into it: the class knows no fsGroup."""
    size = {"requests": {"storage": "1Gi"}}
    document = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": size},
    }
    client.create(document)
    volume = until(lambda: client.get(CLAIMS, name)["spec"].get("volumeName"))
    facts = client.get(VOLUMES, volume)
    folder = Path(facts["spec"]["hostPath"]["path"])
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(stat.S_IRWXU | stat.S_IRWXG | stat.S_IRWXO)
    return folder


def followed(backend: JobBackend, ref: RunRef) -> tuple[list[tuple[str, str]], list[Status]]:
    """All lines with their containers, and all statuses, to the run's end."""
    lines: list[tuple[str, str]] = []
    statuses: list[Status] = []
    for item in backend.follow(ref, None, threading.Event()):
        if isinstance(item, Lines):
            lines += [(item.source, text) for text in item.texts]
        elif isinstance(item, Status):
            statuses.append(item)
    return lines, statuses


def pods_of(client: Client, name: str) -> list[dict[str, Any]]:
    return client.list(PODS, labels=f"job-name={name}")[0]


def event(kind: str, **fields: Any) -> str:
    """An event's line."""
    return json.dumps({"kaito_event": 1, "type": kind, "seq": 0, "time": 1.0, **fields}, separators=(",", ":"))
