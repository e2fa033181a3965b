"""What a run writes on its objects in a cluster, so that any other kernel finds it and knows all about it.

Labels are for finding (a list of runs is one call with a selector), annotations for knowing: the spec itself among them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from ..errors import BackendError
from ..spec import DataSource, Difference, TuningSpec
from ..status import TERMINAL, RunRef, Status
from .base import Record, TuningJob

MANAGED: Final = "app.kubernetes.io/managed-by=kaito-jupyter"
"""Label selector of all that we made."""
RUN_ID: Final = "kaito-jupyter/run-id"
"""Label: one submission. A name may be used again, this never is."""
SPEC: Final = "kaito-jupyter/spec"
SPEC_DIGEST: Final = "kaito-jupyter/spec-digest"
FINGERPRINT: Final = "kaito-jupyter/dataset"
ROWS: Final = "kaito-jupyter/rows"
TOTAL_STEPS: Final = "kaito-jupyter/total-steps"
METHOD: Final = "kaito-jupyter/method"
LAST: Final = "kaito-jupyter/last"
"""The revision, and below it the last numbers as event lines, left by who watched it to its end."""
PRESET: Final = "kaito-jupyter/preset"
SENT: Final = "kaito-jupyter/sent"
"""Where the data was delivered to: a `DataSource` as JSON."""
RESUMED_FROM: Final = "kaito-jupyter/resumed-from"
"""The name of the run that this one goes on for. A spec bears it too."""
REVISION: Final = "kaito-jupyter/revision"
"""How often a spec of that name was submitted while the run lived."""
REPLACES: Final = "kaito-jupyter/replaces"
"""The uid of the Job that was there when this revision was submitted: its log is another curve."""


def labels(run_id: str | None = None) -> dict[str, str]:
    """Labels of an object of a run."""
    name, _, value = MANAGED.partition("=")
    return {name: value, RUN_ID: run_id or uuid.uuid4().hex[:12]}


def facts(job: TuningJob, sent: DataSource | None = None) -> dict[str, str]:
    """All about a run, on the object that stands for it (the Workspace, the Job). `sent`: where its data was delivered to."""
    text = job.spec.to_yaml()
    notes = {
        SPEC: text,
        SPEC_DIGEST: hashlib.sha256(text.encode()).hexdigest()[:16],
        PRESET: job.spec.preset,
        METHOD: job.spec.method,
        RESUMED_FROM: job.spec.annotations.get(RESUMED_FROM),
        SENT: None if sent is None else json.dumps({k: v for k, v in asdict(sent).items() if v}),
        TOTAL_STEPS: None if job.total_steps is None else str(job.total_steps),
    }
    if job.dataset is not None:
        notes |= {FINGERPRINT: job.dataset.fingerprint, ROWS: str(job.dataset.rows)}
    return {k: v for k, v in notes.items() if v is not None}


def spec_of(document: Mapping[str, Any]) -> TuningSpec:
    """The spec that an object was submitted with. Raises `BackendError` when it was not submitted by us."""
    text = _notes(document).get(SPEC)
    if text is None:
        name = document["metadata"]["name"]
        raise BackendError(f"run {name}: it was not submitted from a notebook, so its spec is not known here.")
    return TuningSpec.from_yaml(text)


def sent_of(document: Mapping[str, Any]) -> DataSource:
    """Where the data of a run lies: where we delivered it to, else what its spec names. Raises `BackendError`."""
    text = _notes(document).get(SENT)
    if text is None:
        source = spec_of(document).input
        if source.delivered:
            name = document["metadata"]["name"]
            raise BackendError(f"run {name}: it is not known where its data was put. Start a new run with %kaito_tune.")
        return source
    given = json.loads(text)
    lists = {k: tuple(given[k]) for k in ("urls", "image_pull_secrets") if k in given}
    return DataSource(**{**given, **lists})


def difference(document: Mapping[str, Any], job: TuningJob) -> Difference:
    """Where a job differs from what an object was submitted with. Raises `BackendError` when that was not by us."""
    rows = spec_of(document).diff(job.spec)
    notes, wanted = _notes(document), facts(job)
    if wanted.get(FINGERPRINT) not in (None, notes.get(FINGERPRINT)):
        rows.append(("data", _data(notes), _data(wanted)))
    return Difference(rows)


def _data(notes: Mapping[str, str]) -> str | None:
    mark = notes.get(FINGERPRINT)
    return f"{notes.get(ROWS)} rows ({mark[:12]})" if mark else None


def record_of(document: Mapping[str, Any], ref: RunRef, status: Status) -> Record:
    """A run in a list, from its one object."""
    notes = _notes(document)
    return Record(
        ref,
        status,
        preset=notes.get(PRESET, ""),
        method=notes.get(METHOD, ""),
        rows=_number(notes.get(ROWS)),
        total_steps=_number(notes.get(TOTAL_STEPS)),
        tail=_last(notes, status),
    )


def last(words: Sequence[str], revision: int) -> dict[str, Any]:
    """The change that leaves a run's last numbers on its object."""
    return {"metadata": {"annotations": {LAST: "\n".join([str(revision), *words])}}}


def _last(notes: Mapping[str, str], status: Status) -> tuple[str, ...]:
    """The last numbers of this revision, when somebody left them."""
    revision, *words = notes.get(LAST, "").split("\n")
    return tuple(words) if status.state in TERMINAL and revision == str(status.revision) else ()


def _notes(document: Mapping[str, Any]) -> Mapping[str, str]:
    return (document.get("metadata") or {}).get("annotations") or {}


def _number(text: str | None) -> int | None:
    with contextlib.suppress(ValueError):
        return None if text is None else int(text)
    return None
