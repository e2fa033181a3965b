"""The model card that goes with an adapter: what it was made of, how, and how well, for who finds it a year later."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from . import read
from .contract import TrainingConfig
from .contract.events import Event, TrainBegin, TrainEnd, decode
from .contract.names import EVENTS_FILE

CARD_FILE: Final = "README.md"
"""As the Hugging Face hub names it."""
POINTS: Final = 12
"""Rows of the table of losses."""
MODE: Final = 0o644
"""Readable by the sidecar that pushes it, under another user."""
SECRET: Final = ("token", "password", "secret", "api_key")
"""Parts of the names of options whose values stay out of the card, such as `hub_token`."""


def write(folder: Path, begin: TrainBegin, end: TrainEnd, config: TrainingConfig, data: Path) -> None:
    """Write the card beside the adapter in `folder`; `data` is the data file, or the folder with the data files.

    It never raises: no card is worth a training.
    """
    try:
        files = read.find(data, config.DatasetConfig.dataset_extension)
        text = card(begin, end, config, fingerprints(files), _events(folder / EVENTS_FILE))
        written = folder / f".{CARD_FILE}"
        written.write_text(text, encoding="utf-8")
        written.chmod(MODE)
        written.replace(folder / CARD_FILE)
    except Exception as error:  # noqa: BLE001 (no card is worth a training)
        print(f"no model card could be written: {error!r}", file=sys.stderr)  # noqa: T201 (for the log's reader)


def fingerprints(files: Iterable[Path]) -> dict[str, str]:
    """File name -> sha256 of its content."""
    found = {}
    for path in files:
        with path.open("rb") as file:
            found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def card(
    begin: TrainBegin,
    end: TrainEnd,
    config: TrainingConfig,
    data: Mapping[str, str],
    events: Iterable[Event],
) -> str:
    """The card's text, in Markdown with Hugging Face's front matter."""
    model = begin.model or "an unnamed model"
    of_hub = not model.startswith((".", "/", "~"))
    method = "QLoRA" if begin.method == "qlora" else "LoRA"
    front: dict[str, Any] = {"base_model": model} if of_hub else {}
    front |= {"library_name": "peft", "pipeline_tag": "text-generation", "tags": [method.lower(), "sft", "kaito"]}
    name = model if of_hub else Path(model).name
    step = f"{end.global_step} of {begin.max_steps}" if begin.max_steps else str(end.global_step)
    how = "" if end.status == "completed" else " It was ended early."
    if end.stopped_early:
        how = f" It was stopped early: {end.stopped_early}."
    if end.adapter_step is not None:
        how += f" The adapter is that of step {end.adapter_step}, the best on the held-out rows."
    parts = [
        f"---\n{_yaml(front)}---",
        f"# {method} adapter of {name}",
        f"Fine-tuned by kaito-trainer on {time.strftime('%Y-%m-%d', time.gmtime())}, {step} steps.{how} Base model: `{model}`.",
        "## Losses",
        _losses(end, events),
        "## Data",
        _data(begin, data),
        "## Configuration",
        f"```yaml\n{_yaml(_open(config.to_document()))}```",
    ]
    if begin.choices:
        parts += ["Chosen by the trainer:", f"```yaml\n{_yaml(_open(begin.choices))}```"]
    facts = {
        "Trained parameters": _of(begin.trainable_parameters, begin.total_parameters),
        "Target modules": ", ".join(begin.target_modules or ()),
        "Device": f"{begin.devices or 1} × {begin.device}" if begin.device else "",
        "Time": f"{end.train_runtime:.0f} s" if end.train_runtime else "",
        "Software": ", ".join(f"{k} {v}" for k, v in (begin.versions or {}).items()),
    }
    parts += ["## Run", _table(("", ""), [(k, v) for k, v in facts.items() if v])]
    return "\n\n".join(parts) + "\n"


def _losses(end: TrainEnd, events: Iterable[Event]) -> str:
    """A table of at most `POINTS` steps. After a restart a step may be there twice: the last one counts."""
    train: dict[int, float] = {}
    held_out: dict[int, float] = {}
    for event in events:
        step = event.data.get("global_step")
        if not isinstance(step, int):
            continue
        if event.type == "log" and isinstance(loss := event.data.get("loss"), int | float):
            train[step] = loss
        elif event.type == "evaluate" and isinstance(loss := event.data.get("eval_loss"), int | float):
            held_out[step] = loss
    if end.eval_loss is not None:
        held_out[end.global_step if end.adapter_step is None else end.adapter_step] = end.eval_loss
    steps = sorted(train)
    if len(steps) > POINTS:
        steps = [steps[round(i * (len(steps) - 1) / (POINTS - 1))] for i in range(POINTS)]
    shown = sorted({*steps, *(held_out if len(held_out) <= POINTS else sorted(held_out)[:: len(held_out) // POINTS])})
    rows = [(str(s), *(f"{v[s]:.4g}" if s in v else "" for v in (train, held_out))) for s in shown]
    return _table(("Step", "Training loss", "Loss on held-out rows"), rows) if rows else "None were recorded."


def _data(begin: TrainBegin, data: Mapping[str, str]) -> str:
    said = [f"{begin.train_rows or 0} rows trained on, {begin.eval_rows or 0} held out."]
    if begin.loss_on:
        said.append(
            {"assistant": "The assistant's turns", "completion": "The completions", "text": "The whole text"}[
                begin.loss_on
            ]
        )
        said[-1] += " were learnt."
    if begin.truncated_rows:
        said.append(f"{begin.truncated_rows} rows were cut at the longest length.")
    return " ".join(said) + "\n\n" + _table(("File", "sha256"), [(n, f"`{digest}`") for n, digest in data.items()])


def _open(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without the values that may be secret."""
    found = {}
    for key, value in values.items():
        if any(word in str(key).lower() for word in SECRET) and not isinstance(value, int | float | bool):
            continue  # numbers are counts, such as sample_tokens
        found[key] = _open(value) if isinstance(value, Mapping) else value
    return found


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _of(some: int | None, all_: int | None) -> str:
    return f"{some:,} of {all_:,}" if some and all_ else ""


def _yaml(values: Mapping[str, Any]) -> str:
    text: str = yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True, width=100)
    return text


def _events(file: Path) -> list[Event]:
    with file.open("rb") as lines:
        return [event for line in lines if (event := decode(line)) is not None]


__all__ = ["CARD_FILE", "card", "fingerprints", "write"]
