"""Event protocol, version 1: how a trainer tells the world how it goes.

One JSON object a line on stdout, marked and numbered::

    {"kaito_event":1,"type":"log","seq":7,"time":1764000000.1,"global_step":12,"loss":1.93}

The same lines are appended to `events.jsonl` in the output directory. Types and field names follow Hugging Face's
`TrainerCallback` and its log records. The reader is tolerant: an unknown type or key is kept, a line that is no event
is `None` (and stays a log line), a cut line is no event. `seq` grows by one within a run, across restarts too.

Standard library only.
"""

from __future__ import annotations

import json
import math
import time as _time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Final, Literal, NamedTuple

VERSION: Final = 1
MARK: Final = '{"kaito_event":'
"""Every event line begins with these characters, so that a reader can skip foreign lines without parsing them."""

HISTORY_POINTS: Final = 500
"""The most points that a `history` event carries."""

PHASES: Final = ("downloading", "loading", "tokenizing", "training", "saving", "pushing")
"""What a pod does after it was started, in this order. A run may leave some out."""

ERROR_KINDS: Final = {
    "config": "The configuration cannot work.",
    "dataset": "The data is missing, unreadable or not in a format that can be trained on.",
    "model": "The base model or its tokenizer could not be loaded.",
    "gated-model": "The base model needs an accepted licence and a Hugging Face token.",
    "target-modules": "LoRA's target_modules do not exist in the model.",
    "out-of-memory": "The device ran out of memory.",
    "download": "The data could not be fetched.",
    "push": "The adapter could not be pushed to its registry.",
    "registry-auth": "A registry refused the credentials, or there were none.",
    "disk-full": "The volume is full.",
    "volume": "The volume for the results is missing, or cannot be written to.",
    "dependency": "A Python package is missing or does not fit.",
    "killed": "The process was killed from outside.",
    "reboot": "The machine was restarted under the run.",
    "crash": "The trainer failed in a way that nobody foresaw.",
}
"""Kinds that an `error` event may name, each with what it means."""


class Event(NamedTuple):
    """One event as it is read: the envelope, and the payload's fields as they came."""

    type: str
    seq: int
    time: float
    """Seconds since the epoch, by the trainer's clock."""
    data: dict[str, Any]
    """The payload's fields, by the names of the payload class with this `type`, and any that a newer writer added."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """What an event says; a subclass is one type. `None` fields are not written."""

    TYPE: ClassVar[str]

    def to_dict(self) -> dict[str, Any]:
        values = ((f.name, getattr(self, f.name)) for f in fields(self))
        return {name: value for name, value in values if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase(Payload):
    """The trainer (or a container beside it) went over to another kind of work, or tells how far it is in it."""

    TYPE: ClassVar[str] = "phase"
    phase: str
    """One of `PHASES`."""
    detail: str | None = None
    """For people: what exactly is loaded, downloaded, …"""
    done: int | None = None
    total: int | None = None
    unit: str | None = None
    """What `done` and `total` count: `rows`, `bytes`, …"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainBegin(Payload):
    """Training is about to make its first step."""

    TYPE: ClassVar[str] = "train_begin"
    max_steps: int
    """Optimiser steps that the whole run will make."""
    num_train_epochs: float | None = None
    global_step: int = 0
    """Steps already made, when a checkpoint is resumed."""
    told_to: int | None = None
    """The run goes on after a restart: its steps up to this one were told before and stand. Those of them that lie behind
    `global_step` are made once more, and not told again."""
    trainable_parameters: int | None = None
    total_parameters: int | None = None
    train_rows: int | None = None
    eval_rows: int | None = None
    device: str | None = None
    """Name of the device, as torch calls it."""
    devices: int | None = None
    device_memory_total_bytes: int | None = None
    """What the GPU has; without one, what the machine has or its container may use."""
    model: str | None = None
    method: str | None = None
    loss_on: Literal["assistant", "completion", "text"] | None = None
    """Which tokens are trained on."""
    target_modules: list[str] | None = None
    versions: dict[str, str] | None = None
    choices: dict[str, Any] | None = None
    """Every choice that the trainer made by itself, by its name."""
    reasons: list[dict[str, Any]] | None = None
    """The choices that decide the speed, those that the user wrote among them: `name`, `value`, `why`, `switch` (the field that
    chooses otherwise) and `yours` (whether it was written)."""
    truncated_rows: int | None = None
    """Rows longer than `max_length` tokens, cut at it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Log(Payload):
    """Numbers of one optimiser step (or their mean since the log before)."""

    TYPE: ClassVar[str] = "log"
    global_step: int
    epoch: float | None = None
    loss: float | None = None
    learning_rate: float | None = None
    grad_norm: float | None = None
    num_tokens: float | None = None
    """Tokens seen so far, by all processes."""
    tokens_per_second: float | None = None
    """Of all processes, waiting for data included, checkpoints and evaluations not."""
    samples_per_second: float | None = None
    """Rows of the data, likewise."""
    step_seconds: float | None = None
    """What an optimiser step took, waiting for its data included; the mean since the log before."""
    data_seconds: float | None = None
    """Since the log before: waited for data. Of several processes the longest, as with the next two."""
    save_seconds: float | None = None
    """Since the log before: spent on checkpoints."""
    eval_seconds: float | None = None
    """Since the log before: spent on the held-out rows and prompts."""
    mean_token_accuracy: float | None = None
    device_memory_bytes: int | None = None
    """Peak memory: what torch had allocated on the GPU (without one, what the process had). Of several the most."""
    device_memory_used_bytes: int | None = None
    """In use on the GPU now, whoever uses it. Of several the most."""
    gpu_utilization: float | None = None
    """Percent of the time in which the GPU was at work, by NVML. Of several the least: the others wait for that one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluate(Payload):
    """Numbers on the held-out rows. `global_step` 0 is the base model, before any step."""

    TYPE: ClassVar[str] = "evaluate"
    global_step: int
    eval_loss: float
    epoch: float | None = None
    metrics: dict[str, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Generate(Payload):
    """What the model answers to a few held-out prompts, so that a person sees what was learnt."""

    TYPE: ClassVar[str] = "generate"
    global_step: int
    samples: list[dict[str, str]]
    """Each with `prompt`, `completion` (the model's) and `reference` (the data's)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Save(Payload):
    """A checkpoint is complete on disk, or the adapter is (`final`)."""

    TYPE: ClassVar[str] = "save"
    global_step: int
    path: str
    final: bool | None = None
    seconds: float | None = None
    """How long the training waited for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History(Payload):
    """The curve so far, at most `HISTORY_POINTS` points, so that a late reader needs no old lines.

    `columns` maps a `Log` field to its values, all of one length, `global_step` among them; `evaluations` does the
    same for `Evaluate`.
    """

    TYPE: ClassVar[str] = "history"
    columns: dict[str, list[float | None]]
    evaluations: dict[str, list[float | None]] | None = None
    max_steps: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainEnd(Payload):
    """Training has ended by itself: completed, or cancelled by SIGTERM (then a checkpoint and the adapter are there)."""

    TYPE: ClassVar[str] = "train_end"
    status: Literal["completed", "cancelled"]
    global_step: int
    train_runtime: float | None = None
    """Seconds."""
    train_loss: float | None = None
    eval_loss: float | None = None
    """The held-out loss of the adapter."""
    stopped_early: str | None = None
    """For people: why it ended before its last step, where that was asked for (`early_stopping_patience`)."""
    best_step: int | None = None
    """The step with the best held-out loss, or `metric_for_best_model`; told where the best was asked for."""
    best_eval_loss: float | None = None
    """The held-out loss there."""
    adapter_step: int | None = None
    """The step whose weights the adapter has, where that is not the last one (`load_best_model_at_end`)."""
    adapter: str | None = None
    """Where the adapter lies, as the trainer sees it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Push(Payload):
    """The adapter is in its registry."""

    TYPE: ClassVar[str] = "push"
    image: str
    digest: str
    """Of the manifest: `sha256:…`."""
    bytes: int | None = None
    """Size of the layer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Error(Payload):
    """The run has failed. The last event of a run that fails."""

    TYPE: ClassVar[str] = "error"
    kind: str
    """One of `ERROR_KINDS`."""
    message: str
    remedy: str | None = None
    """What to change, as a sentence."""
    details: list[str] | None = None
    """All problems, when there are several."""


PAYLOADS: Final[Mapping[str, type[Payload]]] = {
    p.TYPE: p for p in (Phase, TrainBegin, Log, Evaluate, Generate, Save, History, TrainEnd, Push, Error)
}
"""Event type -> the class that describes its fields."""


def encode(payload: Payload, *, seq: int, time: float | None = None) -> str:
    """The event as one line without its newline. Numbers that JSON has no word for (NaN, infinity) become null."""
    envelope = {
        "kaito_event": VERSION,
        "type": payload.TYPE,
        "seq": seq,
        "time": round(_time.time() if time is None else time, 3),
    }
    record = envelope | payload.to_dict()
    try:
        return json.dumps(record, separators=(",", ":"), allow_nan=False)
    except ValueError:
        return json.dumps(_finite(record), separators=(",", ":"))


def decode(line: str | bytes) -> Event | None:
    """The event in a line, or None when the line holds none: foreign, cut, of another version, or malformed.

    A prefix before the mark (a log timestamp, a progress bar that ended without a newline) is skipped.
    """
    if isinstance(line, bytes):
        line = line.decode("utf-8", "replace")
    if not line.startswith(MARK):
        start = line.find(MARK)
        if start < 0:
            return None
        line = line[start:]
    try:
        data = _parse(line)
        if data.pop("kaito_event") != VERSION:
            return None
        event = Event(data.pop("type"), data.pop("seq"), data.pop("time"), data)
    except (ValueError, KeyError, AttributeError, RecursionError):
        return None
    if event.type.__class__ is not str or event.seq.__class__ is not int or event.time.__class__ not in (int, float):
        return None
    return event


def _parse(line: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(line)
    return value


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value


__all__ = [
    "ERROR_KINDS",
    "HISTORY_POINTS",
    "MARK",
    "PAYLOADS",
    "PHASES",
    "VERSION",
    "Error",
    "Evaluate",
    "Event",
    "Generate",
    "History",
    "Log",
    "Payload",
    "Phase",
    "Push",
    "Save",
    "TrainBegin",
    "TrainEnd",
    "decode",
    "encode",
]
