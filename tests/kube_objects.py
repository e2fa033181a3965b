"""Pods and Jobs as an API server would tell them, for unit tests."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
CREATED = "2026-11-24T13:41:40Z"
STARTED = "2026-11-24T13:41:41Z"
ENDED = "2026-11-24T13:45:00Z"
ENDED_AT = 1_795_527_900.0


def running() -> Json:
    return {"state": {"running": {"startedAt": STARTED}}}


def waiting(reason: str, message: str = "", before: Json | None = None, restarts: int = 0) -> Json:
    state: Json = {"reason": reason} | ({"message": message} if message else {})
    return {"state": {"waiting": state}, "restartCount": restarts} | ({"lastState": before["state"]} if before else {})


def ended(code: int = 0, reason: str = "", message: str = "", at: str = ENDED) -> Json:
    state = {
        "exitCode": code,
        "reason": reason or ("Error" if code else "Completed"),
        "startedAt": STARTED,
        "finishedAt": at,
    }
    return {"state": {"terminated": state | ({"message": message} if message else {})}}


def pod(
    phase: str = "Running",
    *,
    name: str = "run-1-abcde",
    init: dict[str, Json | None] | None = None,
    main: Json | None = None,
    sidecars: dict[str, Json | None] | None = None,
    created: str = CREATED,
    owner: str = "job-uid",
    **status: Any,
) -> Json:
    """A pod whose trainer is the container `trainer`. A container without a status is given as None."""
    inits, beside = init or {}, sidecars or {}
    containers: dict[str, Json | None] = {**beside, "trainer": main}
    return {
        "kind": "Pod",
        "metadata": {
            "name": name,
            "uid": f"uid-{name}",
            "creationTimestamp": created,
            "ownerReferences": [{"uid": owner}],
        },
        "spec": {
            "nodeName": "node-1",
            "initContainers": [{"name": n, "image": f"registry/{n}:1"} for n in inits],
            "containers": [{"name": n, "image": f"registry/{n}:1"} for n in containers],
        },
        "status": {
            "phase": phase,
            "conditions": [{"type": "PodScheduled", "status": "True"}],
            "initContainerStatuses": [{"name": n, **s} for n, s in inits.items() if s is not None],
            "containerStatuses": [{"name": n, **s} for n, s in containers.items() if s is not None],
            **status,
        },
    }


def unscheduled(message: str) -> Json:
    value = pod("Pending")
    del value["spec"]["nodeName"]
    value["status"]["conditions"] = [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    ]
    return value


def job(condition: str = "", *, reason: str = "", message: str = "", **spec: Any) -> Json:
    conditions = []
    if condition:
        conditions.append(
            {"type": condition, "status": "True", "reason": reason, "message": message, "lastTransitionTime": ENDED}
        )
    return {
        "kind": "Job",
        "metadata": {"name": "run-1", "uid": "job-uid", "creationTimestamp": CREATED},
        "spec": spec,
        "status": {"conditions": conditions},
    }


def event(reason: str, message: str, about: str = "run-1-abcde") -> Json:
    return {"reason": reason, "message": message, "involvedObject": {"name": about}, "metadata": {"uid": message}}
