"""A pod that lives for as long as a file takes into a claim that the notebook has not mounted.

It fits the "restricted" pod security standard, needs nothing of its image but a shell with the common tools, and is deleted
whatever happens; when even the kernel is gone, it ends by itself.
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from ..cluster import pods as p
from ..cluster.client import Client
from ..cluster.execute import Executed, execute
from ..cluster.refusals import ClusterError
from ..cluster.resources import EVENTS, PODS
from ..errors import BackendError
from ..manifests import pod as names
from ..spec import TuningSpec
from ..spec.documents import MANAGED_BY

IMAGE_VARIABLE: Final = "KAITO_HELPER_IMAGE"
"""Environment variable: the helper's image, when it shall not be the trainer's."""
TRAINER_VARIABLE: Final = "KAITO_TRAINER_IMAGE"
IMAGE: Final = "busybox:1.37"
"""When no image is named: 2 MB, and it has all that is needed."""
LABEL: Final = "kaito-jupyter/helper"
MOUNT: Final = "/claim"
LIVES: Final = 3600
"""Seconds after which it ends by itself."""
START_WITHIN: Final = 300.0
"""Seconds for a node, the volume and the image."""
_LOOK_EVERY: Final = 0.3
_MAIN: Final = "helper"

Json = dict[str, Any]


class Helper:
    """The pod, running. `run` gives it commands."""

    def __init__(self, client: Client, name: str, namespace: str) -> None:
        self._client, self._name, self._namespace = client, name, namespace

    def run(self, script: str, *words: str, stdin: Iterator[bytes] | Sequence[bytes] = ()) -> Executed:
        """Run a shell script; `words` are its `$1`, `$2`, …"""
        command = ["sh", "-c", script, "sh", *words]
        return execute(self._client, self._name, self._namespace, command, container=_MAIN, stdin=stdin)


@contextlib.contextmanager
def helper(client: Client, spec: TuningSpec, claim: str, say: Callable[[str], None]) -> Iterator[Helper]:
    """A pod with the claim mounted at `MOUNT`, for as long as the block lasts.

    Raises `BackendError` when it does not start, with what the cluster says.
    """
    _sweep(client, spec.namespace)
    made = client.create(pod(spec, claim))
    name = p.name(made)
    try:
        say(f"A pod is started that takes the data into the claim {claim}")
        _wait(client, name, spec.namespace, claim)
        yield Helper(client, name, spec.namespace)
    finally:
        # At once: all that it had to do is done, or is not wanted any more.
        with contextlib.suppress(ClusterError):
            client.delete(PODS, name, spec.namespace, uid=p.uid(made), grace_seconds=0)


def image_of(spec: TuningSpec) -> str:
    """The helper's image: the environment's, else the trainer's, else a small public one."""
    env = os.environ
    return env.get(IMAGE_VARIABLE) or spec.placement.image or env.get(TRAINER_VARIABLE) or IMAGE


def pod(spec: TuningSpec, claim: str) -> Json:
    """The pod. It may stand on any node, since those with GPUs may be all that there are."""
    security = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    secrets = [{"name": n} for n in spec.placement.image_pull_secrets]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"kaito-data-{uuid.uuid4().hex[:8]}",
            "namespace": spec.namespace,
            "labels": {MANAGED_BY[0]: MANAGED_BY[1], LABEL: "data"},
        },
        "spec": {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": LIVES,
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": names.USER,  # as the trainer of our own Job, which has to read what it writes
                "runAsGroup": names.USER,
                "fsGroup": names.USER,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": _MAIN,
                    "image": image_of(spec),
                    "command": ["sleep", str(LIVES)],
                    "resources": {
                        "requests": {"cpu": "50m", "memory": "64Mi"},
                        "limits": {"cpu": "1", "memory": "512Mi"},
                    },
                    "securityContext": security,
                    "volumeMounts": [{"name": "claim", "mountPath": MOUNT}],
                }
            ],
            "volumes": [{"name": "claim", "persistentVolumeClaim": {"claimName": claim}}],
            "tolerations": [dict(t) for t in (*names.TOLERATIONS, *spec.placement.tolerations)],
            **({"imagePullSecrets": secrets} if secrets else {}),
        },
    }


def _wait(client: Client, name: str, namespace: str, claim: str) -> None:
    deadline = time.monotonic() + START_WITHIN
    while True:
        found = client.get(PODS, name, namespace)
        (container,) = p.containers(found)
        if container.phase == "running":
            return
        late = time.monotonic() >= deadline
        if late or container.phase == "ended" or container.waiting in p.STUCK:
            why = p.why_pending(found, None, _events(client, name, namespace)) or p.why_ended(found)[1]
            raise BackendError(
                f"the pod that takes data into the claim {claim} does not start: {(why or 'no reason given').rstrip('.')}. "
                f"Its image is {container.image}: name another with {IMAGE_VARIABLE}, or put the data elsewhere (image:REF)."
            )
        time.sleep(_LOOK_EVERY)


def _events(client: Client, name: str, namespace: str) -> list[Json]:
    with contextlib.suppress(ClusterError):
        return client.list(EVENTS, namespace, fields=f"involvedObject.name={name}")[0]
    return []


def _sweep(client: Client, namespace: str) -> None:
    """Delete helpers that have ended by themselves, because their kernel was gone."""
    with contextlib.suppress(ClusterError):
        for old in client.list(PODS, namespace, labels=f"{'='.join(MANAGED_BY)},{LABEL}")[0]:
            if (old.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
                client.delete(PODS, p.name(old), namespace, uid=p.uid(old))


__all__ = ["IMAGE_VARIABLE", "MOUNT", "Helper", "helper", "image_of", "pod"]
