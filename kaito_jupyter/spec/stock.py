"""What KAITO's own trainer cannot take, found before the GPU is rented. Its webhook lets all of this pass.

Source: KAITO v0.12, `presets/workspace/tuning/text-generation/{cli,parser,dataset,fine_tuning}.py`, run with its pinned libraries.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from kaito_trainer.contract import Problem, TrainingConfig
from kaito_trainer.contract.fields import known
from kaito_trainer.contract.names import MOUNT_ROOT
from kaito_trainer.contract.problems import listing, shown
from kaito_trainer.contract.sections import TrainerSection

from . import parser

if TYPE_CHECKING:
    from .model import TuningSpec

EXTENSIONS: Final = ("csv", "json", "parquet", "arrow", "webdataset")
"""KAITO's trainer takes the first file whose name holds one of these."""


def problems(spec: TuningSpec) -> list[Problem]:
    """What would fail, or have no effect, in KAITO's tuning pod."""
    config = spec.effective_config("kaito")
    return [
        *_batch(config),
        *_collator(config),
        *_shapes(spec.config),
        *parser.problems(config),
        *_modules(spec, config),
        *_data(spec, config),
        *_ours(spec),
    ]


def _batch(config: TrainingConfig) -> Iterator[Problem]:
    arguments = config.TrainingArguments
    evaluates = arguments.eval_strategy in ("steps", "epoch")
    for name, matters in (("per_device_train_batch_size", True), ("per_device_eval_batch_size", evaluates)):
        size = getattr(arguments, name)
        if not matters or not isinstance(size, int) or size <= 1:
            continue
        remedy, fix = "Use 1", [(f"TrainingArguments.{name}", 1)]
        if name == "per_device_train_batch_size":
            before = arguments.gradient_accumulation_steps
            more = size * (before if isinstance(before, int) else 1)
            remedy += f", and gradient_accumulation_steps: {more} for the same steps"
            fix.append(("TrainingArguments.gradient_accumulation_steps", more))
        yield Problem(
            f"TrainingArguments.{name}",
            f"batches of {size} fail in KAITO's trainer as soon as two examples differ in length.",
            f"{remedy}.",
            fix=tuple(fix),
        )


def _collator(config: TrainingConfig) -> Iterator[Problem]:
    arguments = config.TrainingArguments
    for name, value in (("packing", arguments.packing), ("padding_free", arguments.extra.get("padding_free"))):
        if value is True:
            yield Problem(
                f"TrainingArguments.{name}",
                "KAITO's trainer makes its batches itself (it brings its own collator), and fails with this.",
                "Leave it out, or train with our trainer (backend job or local).",
                fix=((f"TrainingArguments.{name}", None),),
            )
    for name in ("assistant_only_loss", "completion_only_loss"):
        if getattr(arguments, name) is True:
            yield Problem(
                f"TrainingArguments.{name}",
                "KAITO's trainer makes its batches itself (it brings its own collator), and trains on the prompts too.",
                "Train with our trainer (backend job or local) for a loss on the answers only.",
                severity="warning",
            )


def _shapes(said: TrainingConfig) -> Iterator[Problem]:
    """The pod flattens the sections to command-line arguments: nested values don't survive that, nor do empty lists.

    Nor would null; but a key without a value is unset here, and never sent.
    """
    for section in said.sections():
        if section.NAME == TrainerSection.NAME:
            continue
        for name, value in section.to_dict().items():
            path = f"{section.NAME}.{name}"
            field = known("stock", section.NAME).get(name)
            if field is not None and not field.readable:
                continue  # no value of it can be read, as `parser` says
            text = (
                json.dumps(value, default=str, ensure_ascii=False) if isinstance(value, Mapping | list | tuple) else ""
            )
            written = f"Write it as text: {name}: '{text}'"
            if isinstance(value, Mapping):
                what = "KAITO's trainer cannot read a mapping here."
                yield Problem(path, what, written, fix=((path, text),))
            elif isinstance(value, list | tuple) and not value:
                what = "KAITO's trainer cannot read an empty list."
                yield Problem(path, what, "Leave it out.", fix=((path, None),))
            elif isinstance(value, list | tuple) and any(isinstance(v, list | tuple | Mapping | None) for v in value):
                yield Problem(path, "KAITO's trainer reads flat lists only.", written, fix=((path, text),))


def _modules(spec: TuningSpec, config: TrainingConfig) -> Iterator[Problem]:
    path, modules = "LoraConfig.target_modules", config.LoraConfig.target_modules
    if spec.config.LoraConfig.target_modules == "all-linear" and isinstance(modules, list):
        yield Problem(
            path, f'"all-linear" is not understood by KAITO\'s trainer. Sent instead: {", ".join(modules)}.', "", "note"
        )
    elif modules == "all-linear":
        yield Problem(path, '"all-linear" is not understood by KAITO\'s trainer.', "List the layers by name.")
    elif isinstance(modules, str) and not re.fullmatch(r"[\w.]+", modules):
        yield Problem(
            path, f"{shown(modules)} is a pattern, and KAITO's trainer takes names.", "List the layers by name."
        )


def _data(spec: TuningSpec, config: TrainingConfig) -> Iterator[Problem]:
    dataset, urls = config.DatasetConfig, spec.input.urls if spec.input.store is None else ()
    for name in ("context_column", "response_column", "messages_column"):
        if getattr(dataset, name) is not None:
            yield Problem(
                f"DatasetConfig.{name}",
                "KAITO's trainer does not use it.",
                "Name the columns messages, or prompt and completion, or text.",
                severity="warning",
            )
    if isinstance(dataset.dataset_path, str) and dataset.dataset_path.startswith(f"{MOUNT_ROOT}/"):
        yield Problem(
            "DatasetConfig.dataset_path",
            f"KAITO's trainer puts {MOUNT_ROOT}/ before it, and would look for {MOUNT_ROOT}{dataset.dataset_path}.",
            f'Write "{dataset.dataset_path[len(MOUNT_ROOT) + 1 :]}".',
            fix=(("DatasetConfig.dataset_path", dataset.dataset_path[len(MOUNT_ROOT) + 1 :]),),
        )
    if len(urls) > 1:
        yield Problem(
            "tuning.input.urls",
            f"{len(urls)} addresses are given, and KAITO's trainer reads one file, whichever it finds first.",
            "Give one address.",
        )
    for i, url in enumerate(urls):
        if dataset.dataset_path is None and isinstance(url, str):
            yield from _file_name(f"tuning.input.urls[{i}]", url, dataset.dataset_extension is not None)


def _file_name(path: str, url: str, told: bool) -> Iterator[Problem]:
    try:
        name = PurePosixPath(urlsplit(url).path).name
    except ValueError:
        return  # told already
    held = [e for e in EXTENSIONS if e in name.lower()]
    if not held:
        yield Problem(
            path,
            f"{shown(name)} names no format, and KAITO's trainer finds its file by that.",
            f"The last part of the address must hold {listing(EXTENSIONS)}.",
        )
    elif len(held) > 1 and not told:
        yield Problem(
            path,
            f"{shown(name)} names {listing(held, 'and')}: KAITO's trainer takes one of them by chance.",
            "Set DatasetConfig.dataset_extension, or give the file another name.",
        )


def _ours(spec: TuningSpec) -> Iterator[Problem]:
    if spec.config.TrainerOptions.to_dict():
        yield Problem(
            TrainerSection.NAME,
            "these are options of our own trainer, which KAITO's does not know.",
            "They are left out.",
            severity="note",
        )
