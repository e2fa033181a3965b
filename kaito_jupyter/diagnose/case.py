"""`Case`: what a rule may look at, gathered from how a run stands and from what was asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final

from kaito_trainer.contract import TrainingConfig

from ..hf_logs import REMEDIES
from ..presets import SKUS
from ..spec import Target, TuningSpec
from ..state import Failure, RunState
from ..state.failure import merge
from ..state.words import retrying
from ..status import State, Status

LINES: Final = 60
"""Lines of the log's end that are searched and may be shown."""
TRACE: Final = "+ "
"""How a shell that tells what it does (KAITO's pusher, which waits in a loop) begins its lines."""
BEFORE: Final = ("pending", "downloading", "loading", "tokenizing")
"""Phases in which no example has been trained on."""


KNOWN_BETTER: Final = ("out-of-memory", "target-modules", "gated-model", "killed", "reboot", "crash")
"""Kinds about which the rules know more to do than the program that failed."""


@dataclass(frozen=True, slots=True)
class Case:
    """One run as the rules see it."""

    spec: TuningSpec
    target: Target
    config: TrainingConfig
    """The configuration that runs, defaults included."""
    state: State
    phase: str
    step: int
    total: int | None
    kind: str
    """One of the contract's error kinds, when something has failed and it is known how; else empty."""
    place: str
    """How it stands in the words of the place where it runs."""
    said: str
    """What failed, in the words of the program that failed; empty when it said nothing."""
    advice: str
    """What the program that failed says to do about it; empty when it says no more than its kind does."""
    details: tuple[str, ...]
    lines: tuple[str, ...]
    """The log's last lines that are no events, oldest first."""
    retrying: bool
    """Whether an attempt has failed and another one follows."""
    on_cpu: bool
    """Whether the model is in the machine's own memory, not in a GPU's."""
    checkpointing: bool
    """Whether activations are computed twice already."""

    @property
    def failed(self) -> bool:
        """Whether something has failed, be it tried again or not."""
        return self.state == "Failed" or self.retrying

    @property
    def trained(self) -> bool:
        """Whether at least the first step was under way."""
        return self.phase not in BEFORE

    def words(self) -> dict[str, Any]:
        """What a sentence of the table may name."""
        t = self.config.TrainingArguments
        sku = self.spec.resource.instance_type
        gpu = SKUS.get(sku or "")
        steps = f"step {self.step}" + (f" of {self.total}" if self.total else "")
        return {
            "at": f"at {steps}" if self.step else f"while {self.phase}",
            "batch": t.per_device_train_batch_size or 1,
            "length": t.max_length or 1024,
            "method": self.spec.method,
            "preset": self.spec.preset,
            "modules": _listed(self.config.LoraConfig.target_modules),
            "gpus": self.spec.gpus(self.target),
            "namespace": self.spec.namespace,
            "input": _input(self.spec),
            "output": self.spec.output.image or self.spec.output.path or "the output volume",
            "push_secret": self.spec.output.image_push_secret or "none",
            "node": f"{sku} ({gpu.gpus} × {gpu.gpu})" if gpu else sku or "the cluster's GPU nodes",
            "phase": self.phase,
            "said": self.said,
            "place": self.place,
            "kind": self.kind,
        }


def gather(state: RunState, spec: TuningSpec, target: Target, *, rows: int | None = None) -> Case:
    """All that the rules may look at. Hold the run's lock."""
    status = state.status or Status(state.state)
    again = retrying(state)
    failure = _failure(state, status, again)
    config = spec.effective_config(target, rows=rows)
    choices = state.train_begin.get("choices")
    chosen = choices.get("gradient_checkpointing") if isinstance(choices, dict) else None
    told = config.TrainingArguments.gradient_checkpointing
    return Case(
        spec=spec,
        target=target,
        config=config,
        state=state.state,
        phase=state.phase,
        step=state.global_step,
        total=state.max_steps,
        kind=failure.kind if failure else "",
        place=" ".join(status.reason.split()),
        said=" ".join(failure.message.split()) if failure else "",
        advice=_advice(failure),
        details=failure.details if failure else (),
        lines=tuple(reversed(list(islice((x for x in reversed(state.output) if not x.startswith(TRACE)), LINES)))),
        retrying=again,
        on_cpu=state.train_begin.get("device", "cpu" if target == "local" else "") == "cpu" or spec.gpus(target) == 0,
        # KAITO's trainer computes them twice unless it is told otherwise (TRL's default).
        checkpointing=bool(told) or (told is None and (bool(chosen) or target == "kaito")),
    )


def _failure(state: RunState, status: Status, retrying: bool) -> Failure | None:
    """Why it failed; why the attempt before failed, while it is tried again."""
    if not retrying:
        return state.failure
    return merge(state.failure, replace(status, state="Failed"), reversed(state.output))


def _advice(failure: Failure | None) -> str:
    if failure is None or failure.kind in KNOWN_BETTER or failure.remedy == REMEDIES.get(failure.kind):
        return ""
    return " ".join(failure.remedy.split())


def _listed(value: Any) -> str:
    return (
        ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value or "those that the trainer finds")
    )


def _input(spec: TuningSpec) -> str:
    source = spec.input
    claim = (source.volume_source or {}).get("persistentVolumeClaim") or {}
    if claim:
        return f"the claim {claim.get('claimName')}"
    return (
        source.image or ", ".join(source.urls) or ("the volume" if source.volume_source else "the data that was sent")
    )


__all__ = ["Case", "gather"]
