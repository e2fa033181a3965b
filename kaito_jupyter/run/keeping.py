"""A run that has ended, made into an entry of the history: the events from which its state folds again, and its figures.

Figures are kept to the last bit; only a curve of more than `ROWS` rows is thinned. What looks like a credential is blanked in
every text, as in evidence.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import median
from typing import Any, Final

from kaito_trainer.contract.events import VERSION
from kaito_trainer.contract.names import ADAPTER_FILES

from ..backends.base import Backend
from ..backends.past import PastBackend
from ..diagnose.diagnosis import blanked
from ..errors import KaitoError
from ..history import Archive, Entry, archive
from ..history.entry import SPARKS, key_of
from ..plots.text import means
from ..state import RunState, Series
from ..status import TERMINAL, RunRef

ROWS: Final = 20_000
"""The most rows of a curve that are kept: every n-th of a longer one, and its last."""
log = logging.getLogger(__name__)


def keep(backend: Backend, ref: RunRef, state: RunState, within: Archive | None = None) -> bool:
    """Take an ended run into the history. False when it is there, is none of ours, or the history cannot be used."""
    if isinstance(backend, PastBackend) or ref.backend == "replay" or state.state not in TERMINAL:
        return False
    try:
        kept = archive() if within is None else within
        if kept.holds(key_of(ref, state.created)) and state.revision_number == 1:
            return False
        kept.keep(entry_of(backend, ref, state))
    except KaitoError as error:  # nothing of the run is lost but its place in the history
        log.debug("the run %s is not kept: %s", ref.name, error)
        return False
    return True


def entry_of(backend: Backend, ref: RunRef, state: RunState) -> Entry:
    """All that is kept of it. Asks the backend for spec, rows and adapter."""
    spec, record = backend.spec(ref), backend.record(ref)
    found = backend.adapter(ref)
    speeds = [v for v in state.series["tokens_per_second"] if v == v]
    losses = [v for v in state.series["loss"] if v == v]
    evaluations = zip(state.evaluations["global_step"], state.evaluations["eval_loss"], strict=True)
    held_out = [v for step, v in evaluations if v == v and step > 0]
    begin = state.train_begin
    return Entry(
        key=key_of(ref, state.created),
        name=ref.name,
        namespace=ref.namespace,
        backend=ref.backend,
        location=ref.location,
        state=state.state,
        reason=blanked(state.reason),
        kind="" if state.failure is None else state.failure.kind,
        preset=spec.preset,
        method=spec.method,
        instance_type=spec.resource.instance_type,
        device=_of(begin, "device", str),
        devices=_of(begin, "devices", int),
        rows=record.rows,
        created=state.created,
        started=state.started,
        ended=state.ended,
        steps=state.global_step,
        max_steps=state.max_steps,
        loss=state.loss,
        best_loss=min(losses, default=None),
        eval_loss=state.eval_loss,
        best_eval_loss=min(held_out, default=None),
        tokens=state.num_tokens,
        tokens_per_second=median(speeds) if speeds else None,
        seconds_per_step=state.seconds_per_step,
        adapter=blanked(str(found)) if found else None,
        adapter_bytes=_weights(found) if isinstance(found, Path) else None,
        spark=tuple(means(state.series["loss"], SPARKS)),
        spec=blanked(spec.to_yaml()),
        lines=tuple(lines_of(state)),
    )


def lines_of(state: RunState) -> Iterator[str]:
    """Event lines from which an equal state folds: the same curves, phases, answers and end."""
    for seq, (kind, time, data) in enumerate(_events(state)):
        envelope = {"kaito_event": VERSION, "type": kind, "seq": seq, "time": time or 0.0}
        yield json.dumps(
            envelope | {k: v for k, v in data.items() if k not in envelope}, separators=(",", ":"), default=str
        )


def _events(state: RunState) -> Iterator[tuple[str, float | None, dict[str, Any]]]:
    told = False
    for name, began, _ in state.phases:
        if name == "pending":
            continue
        yield "phase", began, {"phase": name}
        if name == "training" and not told:
            told = True
            yield from _training(state, began)
    if not told and (len(state.series) or len(state.evaluations)):
        yield from _training(state, None)
    for step, samples in state.samples:
        texts = [{key: blanked(text) for key, text in sample.items()} for sample in samples]
        yield "generate", None, {"global_step": step, "samples": texts}
    for saved in state.saves:
        yield "save", saved.time, {"global_step": saved.global_step, "path": saved.path, "final": saved.final}
    if state.adapter and "@" in state.adapter:
        image, _, digest = state.adapter.rpartition("@")
        yield "push", None, {"image": blanked(image), "digest": digest}
    if state.failure is not None:
        kind, message, remedy, details = state.failure
        clean = [blanked(line) for line in details]
        yield "error", state.ended, {"kind": kind, "message": blanked(message), "remedy": remedy, "details": clean}
    elif state.train_end:
        yield "train_end", state.ended, dict(state.train_end)


def _training(state: RunState, began: float | None) -> Iterator[tuple[str, float | None, dict[str, Any]]]:
    """The beginning and the curves. A checkpoint that it went on from is no matter any more: its rows are among them."""
    begin = {k: v for k, v in state.train_begin.items() if k != "told_to"}
    if state.max_steps:
        begin |= {"max_steps": state.max_steps}
    if state.num_train_epochs:
        begin |= {"num_train_epochs": state.num_train_epochs}
    if begin:
        yield "train_begin", began, begin | {"global_step": 0}
    for row in _rows(state.evaluations):
        time = row.pop("time", None)
        yield "evaluate", time, row
    if len(state.series):
        columns = {k: [v if v == v else None for v in column] for k, column in _thinned(state.series)}
        yield "history", began, {"columns": columns, "max_steps": state.max_steps}
    steps = {"phase": "training", "unit": "steps", "done": state.global_step, "total": state.max_steps}
    yield "phase", began, steps


def _thinned(series: Series) -> Iterable[tuple[str, Any]]:
    stride = -(-len(series) // ROWS) or 1
    for name, column in series.columns.items():
        thin = column[::stride]
        if (len(column) - 1) % stride:
            thin.append(column[-1])
        if any(v == v for v in thin):
            yield name, thin


def _rows(series: Series) -> Iterator[dict[str, Any]]:
    for i in range(len(series)):
        row = {name: column[i] for name, column in series.columns.items()}
        yield {name: int(v) if name == "global_step" else v for name, v in row.items() if v == v}


def _weights(folder: Path) -> int | None:
    try:
        return (folder / ADAPTER_FILES[1]).stat().st_size
    except OSError:
        return None


def _of(values: dict[str, Any], name: str, kind: type) -> Any:
    value = values.get(name)
    return value if isinstance(value, kind) else None


__all__ = ["entry_of", "keep", "lines_of"]
