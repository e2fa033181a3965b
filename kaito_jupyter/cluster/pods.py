"""What a pod's object means, for people and for judges. Pure functions over plain dicts.

The pod's phase alone tells too little: with a sidecar that lives on, a pod whose trainer is dead stays `Running`.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from .loglines import Stamps

Json = Mapping[str, Any]
Role = Literal["init", "main", "sidecar"]

_WAITING: Final = {
    "ContainerCreating": "it is being started",
    "PodInitializing": "it is being started",
    "ErrImagePull": "the image {image} cannot be pulled",
    "ImagePullBackOff": "the image {image} cannot be pulled",
    "ErrImageNeverPull": "the image {image} is not on the node, and must not be pulled",
    "InvalidImageName": "{image} is no name of an image",
    "CreateContainerConfigError": "its container cannot be configured",
    "CreateContainerError": "its container cannot be created",
    "RunContainerError": "its container cannot be started",
    "CrashLoopBackOff": "it keeps failing",
}
STUCK: Final = frozenset(_WAITING) - {"ContainerCreating", "PodInitializing"}
"""Reasons to wait that do not pass by themselves, as a rule."""


class Ending(NamedTuple):
    """How a container ended."""

    exit_code: int
    """Negative: ended by that signal."""
    reason: str
    """The kubelet's word: `Completed`, `Error`, `OOMKilled`, …"""
    message: str
    ended: float | None
    """Seconds since the epoch."""

    @property
    def failed(self) -> bool:
        return self.exit_code != 0

    def __str__(self) -> str:
        if self.reason == "OOMKilled":
            return "needed more memory than its limit allows (OOMKilled)"
        if self.exit_code < 0:
            how = f"was killed by {_signal_name(-self.exit_code)}"
        else:
            how = f"ended with exit code {self.exit_code}"
        extra = self.reason if self.reason not in ("", "Error", "Completed") else ""
        told = ": ".join(t for t in (extra, " ".join(self.message.split())[:300]) if t)
        return f"{how} ({told})" if told else how


class Container(NamedTuple):
    """One container of a pod, as far as its status tells."""

    name: str
    role: Role
    phase: Literal["waiting", "running", "ended"]
    restart: int = 0
    """How often it was started anew."""
    image: str = ""
    started: float | None = None
    """Seconds since the epoch."""
    waiting: str = ""
    """The kubelet's word for why it waits: `ImagePullBackOff`, …"""
    message: str = ""
    """… and its sentence."""
    ending: Ending | None = None
    """How it ended; of a container that waits or runs again, how it ended the time before. None with `ended`: nobody knows."""
    left: bool = False
    """It is told to run in a pod that is over: its end may be to come, or was never told (see `settled`)."""

    @property
    def failed(self) -> bool:
        return self.phase == "ended" and self.ending is not None and self.ending.failed

    def why_waiting(self) -> str:
        """A sentence without its subject; empty when it does not wait."""
        if self.phase != "waiting":
            return ""
        text = _WAITING.get(self.waiting, self.waiting or "it is being started").format(image=self.image)
        if self.waiting == "CrashLoopBackOff" and self.ending:
            return f"{text}: it {self.ending}"
        told = " ".join(self.message.split())[:400]
        return f"{text}: {told}" if told and self.waiting in STUCK else text


def seconds(stamp: str | None) -> float | None:
    """A Kubernetes timestamp as seconds since the epoch; None for none."""
    found = Stamps().read(stamp.encode()) if stamp else None
    return None if found is None else found / 1e9


def now_stamp(at: float | None = None) -> str:
    """A time as Kubernetes writes it, in whole seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def name(item: Json) -> str:
    return str(item["metadata"]["name"])


def uid(item: Json) -> str:
    return str(item["metadata"]["uid"])


def created(item: Json) -> float:
    """Seconds since the epoch."""
    return seconds(item["metadata"].get("creationTimestamp")) or 0.0


def version(item: Json) -> int:
    """How new this state of an object is, beside others of the same object; 0 when the server's word is no number."""
    text = str(item["metadata"].get("resourceVersion") or "")
    return int(text) if text.isdecimal() and text.isascii() else 0


def containers(pod: Json, main: str | None = None) -> list[Container]:
    """All containers: init containers in their order, then the main one, then the sidecars.

    `main` is the trainer's name (the first container's when not given). Init containers that the kubelet keeps running
    (`restartPolicy: Always`) are sidecars.
    """
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    known = {s["name"]: s for part in ("initContainerStatuses", "containerStatuses") for s in status.get(part) or ()}
    ordinary = spec.get("containers") or []
    main = main if main in {c["name"] for c in ordinary} else next((c["name"] for c in ordinary), None)
    roles: list[tuple[Json, Role]] = [
        (c, "sidecar" if c.get("restartPolicy") == "Always" else "init") for c in spec.get("initContainers") or ()
    ]
    roles += [(c, "main") for c in ordinary if c["name"] == main]
    roles += [(c, "sidecar") for c in ordinary if c["name"] != main]
    each = [_container(c, role, known.get(c["name"])) for c, role in roles]
    over = status.get("phase") in ("Succeeded", "Failed")
    return [c._replace(left=True) if over and c.phase == "running" else c for c in each]


def settled(pod: Json, over: Collection[str] | None = None) -> Json:
    """The pod with those containers (all, when None) ended, though the kubelet still tells that they run.

    Before Kubernetes 1.22 it does so for ever, when it ended the pod itself: at its deadline, or to free a node's memory or disk.
    """
    status = pod.get("status") or {}
    if not any(c.left and (over is None or c.name in over) for c in containers(pod)):
        return pod
    changed = {}
    for part in ("initContainerStatuses", "containerStatuses"):
        changed[part] = [
            {**s, "state": {"terminated": {"startedAt": s["state"]["running"].get("startedAt")}}}
            if "running" in (s.get("state") or {}) and (over is None or s["name"] in over)
            else s
            for s in status.get(part) or ()
        ]
    return {**pod, "status": {**status, **changed}}


def _container(spec: Json, role: Role, status: Json | None) -> Container:
    image = str(spec.get("image") or "")
    if status is None:
        return Container(spec["name"], role, "waiting", image=image)
    state, before = status.get("state") or {}, (status.get("lastState") or {}).get("terminated")
    restart = int(status.get("restartCount") or 0)
    if now := state.get("terminated"):
        started = seconds(now.get("startedAt"))
        told = _ending(now) if "exitCode" in now else None
        return Container(spec["name"], role, "ended", restart, image, started, ending=told)
    ending = _ending(before) if before else None
    if now := state.get("running"):
        return Container(spec["name"], role, "running", restart, image, seconds(now.get("startedAt")), ending=ending)
    now = state.get("waiting") or {}
    why, message = str(now.get("reason") or ""), str(now.get("message") or "")
    return Container(spec["name"], role, "waiting", restart, image, None, why, message, ending)


def _ending(terminated: Json) -> Ending:
    code = int(terminated.get("exitCode") or 0)
    if number := int(terminated.get("signal") or 0):
        code = -number
    elif code > 128 and code - 128 in {s.value for s in signal.Signals}:
        code = 128 - code
    return Ending(
        code,
        str(terminated.get("reason") or ""),
        str(terminated.get("message") or ""),
        seconds(terminated.get("finishedAt")),
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def condition(item: Json, kind: str) -> Json | None:
    """An object's condition of that type, when it has one."""
    found: Sequence[Json] = (item.get("status") or {}).get("conditions") or ()
    return next((c for c in found if c.get("type") == kind), None)


def is_true(item: Json, kind: str) -> bool:
    return (condition(item, kind) or {}).get("status") == "True"


def why_pending(pod: Json, main: str | None = None, events: Sequence[Json] = ()) -> str:
    """Why nothing runs in the pod yet, as a sentence; empty when something runs, or nothing is to be said."""
    scheduled = condition(pod, "PodScheduled")
    if scheduled is not None and scheduled.get("status") != "True":
        told = " ".join(str(scheduled.get("message") or "").split()).rstrip(".")
        return f"no node takes the pod: {told}" if told else "no node takes the pod yet"
    if scheduled is None and not (pod.get("spec") or {}).get("nodeName"):
        return "the pod waits for a node"
    each = containers(pod, main)
    for c in each:
        if c.phase == "waiting" and c.waiting in STUCK:
            pulls = pull_failures(events) if "ImagePull" in c.waiting else ""
            return f"{c.name}: {c.why_waiting() if not pulls else c._replace(message=pulls).why_waiting()}"
    if any(c.phase == "running" for c in each):
        return ""
    for c in each:
        if c.phase == "waiting" and c.waiting == "ContainerCreating":
            told = warning(events, ("FailedMount", "FailedAttachVolume", "FailedCreatePodSandBox"))
            return f"{c.name}: {c.why_waiting()}{f', but: {told}' if told else ''}"
    return next((f"{c.name}: {c.why_waiting()}" for c in each if c.phase == "waiting"), "")


def pull_failures(events: Sequence[Json]) -> str:
    """Why an image was not pulled: the kubelet tells it in an event, and in the status only for a moment."""
    told = [str(e.get("message") or "") for e in events if e.get("reason") == "Failed"]
    return next((t for t in reversed(told) if t.startswith("Failed to pull image")), "")


def warning(events: Sequence[Json], reasons: Sequence[str]) -> str:
    """The newest event's message that has one of these reasons."""
    told = [str(e.get("message") or "") for e in events if e.get("reason") in reasons]
    return " ".join(told[-1].split())[:400] if told else ""


def why_ended(pod: Json, main: str | None = None) -> tuple[Container | None, str]:
    """The container to blame for a pod that failed, and why, as a sentence. `(None, "")`: nothing has failed.

    The trainer comes first, then what ended first. Tells an eviction, a lost node and a deadline from a program's error.
    """
    status = pod.get("status") or {}
    told = " ".join(str(status.get("message") or "").split())[:400].rstrip(".")
    dead = [c for c in containers(pod, main) if c.failed]
    dead.sort(key=lambda c: (c.role != "main", (c.ending.ended if c.ending else None) or 0.0))
    if (why := str(status.get("reason") or "")) and status.get("phase") == "Failed":
        who = dead[0] if dead else None
        words = {"Evicted": "the node evicted the pod", "NodeLost": "the pod's node was lost"}
        words |= {
            "DeadlineExceeded": "the pod took longer than its deadline",
            "Shutdown": "the pod's node was shut down",
        }
        words |= {"Terminated": "the pod's node was shut down", "NodeShutdown": "the pod's node was shut down"}
        text = words.get(why, f"the pod failed ({why})")
        return who, f"{text}: {told}" if told else text
    target = condition(pod, "DisruptionTarget")
    if dead and target is not None and target.get("status") == "True":
        return dead[0], f"{dead[0].name} was ended from outside ({_disruption(target)})"
    if away := taken_away(pod):
        return next(iter(dead), None), away
    if dead:
        return dead[0], f"{dead[0].name} {dead[0].ending}"
    if status.get("phase") == "Failed":
        return None, f"the pod failed{': ' + told if told else ''}"
    return None, ""


def taken_away(pod: Json) -> str:
    """Why a pod is (or was) removed though its Job wants it, as a sentence; empty when it is not.

    Ours to call only of a pod whose Job nobody ended: an eviction is a deletion, and before Kubernetes 1.26 looks like one.
    """
    if not pod["metadata"].get("deletionTimestamp"):
        return ""
    target = condition(pod, "DisruptionTarget")
    if target is not None and target.get("status") == "True":
        return f"the pod was ended from outside ({_disruption(target)})"
    return "the pod was evicted or deleted from outside"


def _disruption(target: Json) -> str:
    note = " ".join(str(target.get("message") or "").split())[:300].rstrip(".")
    return f"{target.get('reason')}{': ' + note if note else ''}"


def dead_behind_sidecars(pod: Json, main: str | None = None) -> tuple[Container, list[str]] | None:
    """The container that failed, and those that still run beside it and wait for it; None when that is not the case.

    KAITO's pod with an image output stays so for ever: its pusher waits for a file that will not come. So it stays when the trainer
    has done well and the pusher failed: nobody ends the container that holds the pod open.
    """
    each = containers(pod, main)
    dead = next((c for c in each if c.role == "main" and c.failed), None)
    trained = any(c.role == "main" and c.phase == "ended" and not c.failed for c in each)
    if trained and (pod.get("spec") or {}).get("restartPolicy", "Never") == "Never":
        dead = next((c for c in each if c.role == "sidecar" and c.failed), None)
    alive = [c.name for c in each if c.phase == "running" and not c.left]
    return (dead, alive) if dead and alive else None


def started(pod: Json, main: str | None = None) -> float | None:
    """When the first container was started, in seconds since the epoch."""
    return min((c.started for c in containers(pod, main) if c.started is not None), default=None)


def newest(pods: Sequence[Json]) -> Json | None:
    """The one made last. Times are whole seconds: of two in one, that which is not over."""
    return max(
        pods,
        key=lambda x: (created(x), (x.get("status") or {}).get("phase") not in ("Succeeded", "Failed")),
        default=None,
    )
