"""Data and spec → what the model will see of it, before anything is paid for."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from kaito_trainer.contract import Problem, TrainingConfig
from kaito_trainer.data import Example
from kaito_trainer.defaults import max_length
from kaito_trainer.failures import Failure
from kaito_trainer.tokens import LossOn, Tokenizing, loss_on

from ..chat import ChatTemplate, RenderError, model_folder
from ..dataset import Dataset
from ..errors import InputError, SpecError
from ..presets import find
from ..spec import Target, TuningSpec, build_spec
from .drawn import Drawn, draw
from .estimate import CHATML, Estimate
from .measure import Differs, Figures, Numbered, figures
from .quick import Quick
from .stock import StockTokenizing
from .tokenizer import ModelTokenizer, NoTokenizer, Tokens

ROWS: Final = 100_000
"""Rows that are all looked at; of more, every second, every third, …"""
TOKENS: Final = 5_000_000
"""Tokens that are all looked at row by row: two cores make and label as many in 5 seconds (2 µs of CPU time each)."""
QUICK_TOKENS: Final = 15_000_000
"""The same of rows that are counted by their words (0.5 µs each)."""
QUICK_FROM: Final = 2000
"""Rows from which it pays to learn the words."""
ESTIMATED: Final = 0.2
"""Share of both where there is no tokenizer: an estimate need not know every row, and is made in Python."""
PROBE: Final = 200
"""First rows that tell how many tokens a character makes."""
BATCH: Final = 512
STAND_IN: Final = "ChatML, as there is no template"
UNREAD: Final = "ChatML, as the template is elsewhere"
GLANCE: Final = 500
"""Rows of the one line before a start."""


@dataclass(frozen=True, repr=False)
class Lookahead:
    """What the model will see of some data: figures of all rows, and a few rows token by token."""

    name: str
    """What the user calls the data."""
    model: str
    format: str
    on: LossOn
    """What is trained on: the `assistant`'s turns, the `completion`, or all `text`."""
    exact: bool
    """Whether the model's own tokenizer and chat template were at hand; else tokens are estimated."""
    figures: Figures
    rows: tuple[Drawn, ...]
    total: int
    """Rows of the data."""
    packing: bool
    """Whether the configuration asks for packed rows."""
    target: Target = "local"
    """Whose trainer it would be."""
    context: int | None = None
    """The model's longest sequence in tokens; None when it is not known here."""
    untemplated: bool = False
    """Whether conversations meet a model that is here and has no chat template."""
    notes: tuple[str, ...] = ()
    """How it was looked at, and what that leaves open."""

    @property
    def problems(self) -> list[Problem]:
        """What speaks against a start with this data, worst first."""
        from .findings import problems

        return problems(self)

    @property
    def mean(self) -> float | None:
        """Tokens of a row on average, as far as the model sees them; None when no row is trained on."""
        return self.figures.kept / self.figures.left if self.figures.left else None

    @property
    def line(self) -> str:
        """All in one line."""
        from .text import line

        return line(self)

    def __repr__(self) -> str:
        from .text import text

        return text(self)

    def _repr_html_(self) -> str:
        from .look import html

        return html(self)


def preview(
    data: Any,
    *,
    preset: str | Path,
    backend: Target = "local",
    rows: int = 3,
    messages_column: str | None = None,
    prompt_column: str | None = None,
    completion_column: str | None = None,
    text_column: str | None = None,
    **options: Any,
) -> Lookahead:
    """Show what the model will see of the data: nothing is started, and no model is loaded.

    `data`, `preset`, the columns and the training's options are those of `tune`. `backend` is where it would run (KAITO's
    own trainer learns the prompts too); `rows` how many rows are shown token by token. Needs the model's tokenizer alone,
    from its folder or from the Hugging Face cache; without it tokens are estimated, and the preview says so.
    Raises `DatasetError` or `SpecError` with all problems.
    """
    columns = (messages_column, prompt_column, completion_column, text_column)
    known = {k: options.pop(k) for k in ("method", "config", "assignments") if k in options}
    spec = build_spec(preset=preset, target=backend, options=options, **known)
    if not isinstance(data, Dataset) or any(columns):
        data = Dataset.read(
            data,
            messages_column=messages_column,
            prompt_column=prompt_column,
            completion_column=completion_column,
            text_column=text_column,
        )
    return look_ahead(data, spec, backend, rows)


def look_ahead(dataset: Dataset, spec: TuningSpec, target: Target = "local", rows: int = 3) -> Lookahead:
    """The preview of a checked spec. Raises `SpecError` when the configuration asks for what the data does not have."""
    return _look(dataset, spec, target, rows, None)


def glance(dataset: Dataset, spec: TuningSpec, target: Target = "local") -> Lookahead:
    """The same of the first rows alone, at once."""
    return _look(dataset, spec, target, 0, GLANCE)


def looked(dataset: Dataset, spec: TuningSpec, target: Target) -> tuple[Lookahead | None, list[Problem]]:
    """A glance for a check, which must not fail: without one, what stood in its way."""
    try:
        return glance(dataset, spec, target), []
    except InputError as error:
        return None, list(error.problems)
    except Exception as error:  # noqa: BLE001 (a template is somebody's program; a look must not stop a check)
        why = f"it could not be shown as the model will see it: {' '.join(str(error).split())[:200]}."
        return None, [Problem(dataset.name, why, "Its preview says more (--preview).", "note")]


def _look(dataset: Dataset, spec: TuningSpec, target: Target, shown: int, first: int | None) -> Lookahead:
    config = spec.effective_config(target, rows=dataset.rows)
    known = find(spec.preset)  # KAITO's trainer has it in its image, and is told no id
    model = config.ModelConfig.pretrained_model_name_or_path or (known.hugging_face_id if known else spec.preset)
    notes: list[str] = []
    on = _loss_on(dataset, config, target, notes)
    tokenizer, template = _means(dataset, str(model), config, notes)
    context = _context(str(model))
    renderer = template.renderer if template else None
    limit, ends = max_length(config, context), set(tokenizer.ends)
    if target == "kaito":
        tokenizing: Tokenizing = StockTokenizing(tokenizer, dataset.format, limit, ends, renderer)
    else:
        tokenizing = Tokenizing(tokenizer, dataset.format, on, limit, ends, renderer)
    exact = tokenizer.exact and (template is None or template.origin not in (STAND_IN, UNREAD))
    arguments = config.TrainingArguments
    batch = arguments.per_device_train_batch_size or 1
    padded = 1 if arguments.extra.get("padding_free") else batch
    counted, odd = _figures(dataset, tokenizing, tokenizer, padded, first, notes)
    chosen = list(enumerate(map(_example, dataset.sample(shown)))) if shown else []
    drawn = [draw(number, example, tokenizing, tokenizer) for number, example in chosen]
    if shown:
        seen = {number for number, _ in chosen}
        drawn += [draw(n, e, tokenizing, tokenizer, why) for why, (n, e) in odd.items() if n not in seen]
    return Lookahead(
        name=dataset.name,
        model=str(model),
        format=dataset.format,
        on=on,
        exact=exact,
        figures=counted,
        rows=tuple(drawn),
        total=dataset.rows,
        packing=bool(arguments.packing),
        target=target,
        context=context,
        untemplated=tokenizer.exact and template is not None and template.origin == STAND_IN,
        notes=tuple(notes),
    )


def _figures(
    dataset: Dataset, tokenizing: Tokenizing, tokenizer: Tokens, batch: int, first: int | None, notes: list[str]
) -> tuple[Figures, dict[str, Numbered]]:
    """What the rows come to: the first so many, else all, or every second, third, … of more than can be looked at."""
    if first is not None:
        notes += [f"Of the first {first:,} rows."] if dataset.rows > first else []
        return figures([list(enumerate(map(_example, dataset.sample(first))))], tokenizing, batch)
    quick = Quick.of(tokenizing, tokenizer) if dataset.rows >= QUICK_FROM else None
    if quick is not None:
        step = _step(dataset, tokenizing, QUICK_TOKENS)
        with contextlib.suppress(Differs):
            found = figures(_examples(dataset, step), tokenizing, batch, quick)
            notes += _sampled(dataset, step)
            return found
    step = _step(dataset, tokenizing, TOKENS if tokenizer.exact else int(ESTIMATED * TOKENS))
    notes += _sampled(dataset, step)
    return figures(_examples(dataset, step), tokenizing, batch)


def _sampled(dataset: Dataset, step: int) -> list[str]:
    if step == 1:
        return []
    return [f"Every {_ordinal(step)} row was looked at, {-(-dataset.rows // step):,} of {dataset.rows:,}."]


def _loss_on(dataset: Dataset, config: TrainingConfig, target: Target, notes: list[str]) -> LossOn:
    if target == "kaito":
        if dataset.format != "text":
            notes.append("KAITO's own trainer learns the prompts too, whatever the configuration says.")
        return "text"
    try:
        return loss_on(dataset.format, config)
    except Failure as failure:
        path, _, message = failure.message.partition(": ")
        raise SpecError([Problem(path, message, failure.remedy or "")]) from failure


def _means(
    dataset: Dataset, model: str, config: TrainingConfig, notes: list[str]
) -> tuple[ModelTokenizer | Estimate, ChatTemplate | None]:
    """Tokenizer and, for conversations, chat template; stand-ins where they are not at hand, which the notes tell."""
    extra = config.TrainingArguments.extra
    tokenizer: ModelTokenizer | Estimate
    try:
        tokenizer = ModelTokenizer.of(model, extra.get("eos_token"))
    except NoTokenizer as error:
        tokenizer = Estimate()
        notes.append(
            f"An estimate: {error}, so tokens are guessed by characters of each kind (about a tenth off for English and "
            "code). With its tokenizer.json in the Hugging Face cache the preview is exact."
        )
    if dataset.format != "conversational":
        return tokenizer, None
    said = config.ModelConfig.chat_template or extra.get("chat_template_path")
    origin, why = STAND_IN, f"{model} has no chat template on this machine"
    try:
        template = ChatTemplate.of(model, str(said) if said else None)
    except (RenderError, OSError, UnicodeDecodeError) as error:  # a file that only the pod has, or a broken one
        template, origin, why = None, UNREAD, str(error).rstrip(".")
    if template is None:
        notes.append(f"The roles are marked as ChatML: {why}.")
        template = ChatTemplate(CHATML, {"eos_token": tokenizer.eos_token}, origin)
    return tokenizer, replace(template, added=tuple({*template.added, *tokenizer.added}))


def _context(model: str) -> int | None:
    """The model's longest sequence in tokens, by its `config.json`, else by what is known of KAITO's presets."""
    folder = model_folder(model)
    known = find(model)
    try:
        told = json.loads((folder / "config.json").read_text(encoding="utf-8")) if folder else {}
    except (OSError, ValueError):
        told = {}
    value = told.get("max_position_embeddings") if isinstance(told, dict) else None
    return value if isinstance(value, int) else known.context_length if known else None


def _step(dataset: Dataset, tokenizing: Tokenizing, most: int) -> int:
    """1 when all rows are looked at, else every which one, so that they have so many tokens at most."""
    rows = math.ceil(dataset.rows / (ROWS * min(1.0, most / TOKENS)))
    if dataset.rows <= PROBE:
        return rows
    first, _ = figures([list(enumerate(map(_example, dataset.sample(PROBE))))], tokenizing, 1)
    tokens = first.tokens / max(first.rows - first.refused, 1) * dataset.rows
    return max(1, rows, math.ceil(tokens / most))


def _examples(dataset: Dataset, step: int) -> Iterator[list[tuple[int, Example]]]:
    for start, rows in dataset.every(step):
        numbered = [(start + step * i, _example(row)) for i, row in enumerate(rows)]
        for at in range(0, len(numbered), BATCH):
            yield numbered[at : at + BATCH]


def _example(row: dict[str, Any]) -> Example:
    """A row as the trainer reads it from the file that is sent."""
    if "messages" in row:
        return Example(messages=row["messages"])
    return Example(prompt=row.get("prompt", ""), completion=row["completion"] if "prompt" in row else row["text"])


def _ordinal(number: int) -> str:
    return {2: "second", 3: "third"}.get(number, f"{number}th")


__all__ = ["Lookahead", "glance", "look_ahead", "looked", "preview"]
