"""Our own Job, for any cluster with GPUs: the pod structure that KAITO documents, with our trainer in all containers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from kaito_trainer.contract.names import CONFIG_FILE

from ..spec import DataSource, TuningSpec
from ..spec.documents import config_name, config_text
from . import pod
from .merge import merged

BACKOFF_LIMIT: Final = 3
"""Pods that are made anew after one was killed (SIGKILL: a node's memory ran out, a runtime failed). With `failure_rules` an
error of the trainer itself ends the Job at once, since it would come again on a rented GPU, and a pod that the cluster
took away (drained, preempted, evicted) does not count."""
BACKOFF_LIMIT_WITHOUT_RULES: Final = 0
"""A server that cannot tell the trainer's errors from the cluster's would repeat both: then nothing is repeated unasked."""
KEEP: Final = 7 * 24 * 3600
"""Seconds for which an ended Job stays. Its pods hold no GPU any more, and their logs are the curve: a week is long enough to
come back to it after a holiday weekend, and a namespace does not fill up."""
QUEUE_LABEL: Final = "kueue.x-k8s.io/queue-name"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a Job needs to know that is not in the spec: where it goes, and what stands for it there."""

    image: str
    """The trainer's image."""
    source: DataSource | None = None
    """Where the data is, when it was delivered; else the spec's own input."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """For all objects and the pods."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    """For the Job."""
    failure_rules: bool = False
    """Whether the server knows `podFailurePolicy` (Kubernetes 1.26 on)."""


def job(spec: TuningSpec, options: Options, *, rows: int | None = None) -> list[dict[str, Any]]:
    """The ConfigMap with the configuration, and the Job. The spec must have a name.

    Source: KAITO's "Tuning Job" for the pod's structure, batch/v1 for the rest.
    """
    spec = spec.resolved("job", rows=rows)
    return [_config_map(spec, options, rows), _job(spec, options)]


def _config_map(spec: TuningSpec, options: Options, rows: int | None) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": config_name(spec), "namespace": spec.namespace, "labels": dict(options.labels)},
        "data": {CONFIG_FILE: config_text(spec.config)},
    }


def _job(spec: TuningSpec, options: Options) -> dict[str, Any]:
    placement = spec.placement
    labels = {**spec.labels, **placement.labels, **options.labels}
    notes = {**spec.annotations, **placement.annotations}
    template = {
        "metadata": {"labels": labels, **({"annotations": notes} if notes else {})},
        "spec": pod.pod_spec(spec, options.image, options.source or spec.input),
    }
    limit = placement.backoff_limit
    if limit is None:
        limit = BACKOFF_LIMIT if options.failure_rules else BACKOFF_LIMIT_WITHOUT_RULES
    job_spec: dict[str, Any] = {
        "backoffLimit": limit,
        "ttlSecondsAfterFinished": KEEP if placement.keep is None else placement.keep,
        "template": merged(template, placement.pod_template),
    }
    if placement.deadline is not None:
        job_spec["activeDeadlineSeconds"] = placement.deadline
    if options.failure_rules:
        job_spec["podFailurePolicy"] = {"rules": _failure_rules()}
    queue = {QUEUE_LABEL: placement.queue} if placement.queue else {}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": spec.name,
            "namespace": spec.namespace,
            "labels": labels | queue,
            "annotations": {**notes, **options.annotations},
        },
        "spec": job_spec,
    }


def _failure_rules() -> list[dict[str, Any]]:
    """The first rule that fits counts. Source: batch/v1 `PodFailurePolicy`."""
    disrupted = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    # 1: an error that was told; 130 and 143: ended by its user. What is left (137, 139, …) counts for the backoff limit, and
    # so does a killed trainer whose sidecar left with `NO_TRAINER`: the rule looks at all containers.
    codes = {"operator": "In", "values": [1, 130, 143]}
    return [disrupted, {"action": "FailJob", "onExitCodes": codes}]
