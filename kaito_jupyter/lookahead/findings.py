"""What a preview has against a start."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from kaito_trainer.contract import Problem

from .words import model, rows, share, share_of

if TYPE_CHECKING:
    from .ahead import Lookahead

CUT_FROM: Final = 0.01
"""Share of rows cut from which it is told."""
REPEATED_FROM: Final = 0.1
"""Share of rows with an earlier row's prompt above which it is told: a few are nothing unusual."""
PADDED_FROM: Final = 0.25
"""Share of padding in what is computed from which it is told."""
LENGTH: Final = "TrainingArguments.max_length"
PACKING: Final = "TrainingArguments.packing"


def problems(seen: Lookahead) -> list[Problem]:
    """Errors, then warnings, then notes; of an estimate nothing is more than a note, and nothing has a fix."""
    if seen.untemplated:
        path = "ModelConfig.chat_template"
        why = f"the rows are conversations, and {model(seen)} has no chat template to write them as text."
        remedy = "Set it to a Jinja file's path or a one-line template, or take the model's instruct version."
        return [Problem(path, why, remedy)]
    found = [*_rows(seen), *_cut(seen), *_endless(seen), *_repeated(seen), *_padded(seen)]
    if seen.exact:
        return found
    return [replace(p, message=f"by an estimate, {p.message}", severity="note", fix=()) for p in found]


def _rows(seen: Lookahead) -> Iterator[Problem]:
    """Rows that cannot be trained on."""
    f = seen.figures
    if f.refused:
        what = f"{rows(f.refused)}{_looked(seen)} cannot be written as text for the model. {f.refusal.rstrip('.')}."
        yield Problem(seen.name, what, "Change these conversations, or set ModelConfig.chat_template.")
    elif f.rows and not f.left:
        whole = f.rows == seen.total
        what = f"no row{_looked(seen)} has a token to train on{_within(f.max_length)}."
        remedy = "Give rows with an answer, or a larger max_length."
        yield Problem(seen.name, what, remedy, "error" if whole else "warning", _longer(seen))
    elif f.untrained:
        what = f"{rows(f.untrained)}{_looked(seen)} without a token to train on{_within(f.max_length)}: left out of the training."
        yield Problem(seen.name, what, "Give a larger max_length, or drop them.", "warning", _longer(seen))


def _cut(seen: Lookahead) -> Iterator[Problem]:
    f = seen.figures
    if not f.rows or f.truncated / f.rows < CUT_FROM:
        return
    are = "is" if f.truncated == 1 else "are"
    what = f"{rows(f.truncated)} of {f.rows:,} {are} longer than {f.max_length:,} tokens, and cut there."
    if f.lost:
        what += f" {share(f.lost, f.trained + f.lost)} of what should be learnt is lost."
    if not (fix := _longer(seen)):
        remedy = f"That is all that {model(seen)} takes: shorten or split these rows, or leave it so."
    elif fix[0][1] == f.lengths.p95:
        remedy = f"Set it to {f.lengths.p95} for 95 % of the rows whole, or leave it so."
    elif fix[0][1] == f.lengths.max:
        remedy = f"Set it to {f.lengths.max} for all rows whole, or leave it so."
    else:
        remedy = f"Set it to {fix[0][1]}, the most that {model(seen)} takes, or leave it so."
    yield Problem(LENGTH, what, remedy, "warning", fix)


def _endless(seen: Lookahead) -> Iterator[Problem]:
    """KAITO's trainer masks the end token where it pads, too (field note K2)."""
    f = seen.figures
    if f.never_stops:
        what = "no row's end is trained on, as KAITO's own trainer takes this model's end token for padding: answers may run on without end."
        remedy = (
            "Train with our trainer, which trains it (backend job or local), or a model that pads with another token."
        )
        yield Problem("backend", what, remedy, "warning")


def _longer(seen: Lookahead) -> tuple[tuple[str, int], ...]:
    """The fix for rows that are cut: 95 % of them whole, or all when that is so already, as far as the model takes it."""
    f = seen.figures
    if f.max_length is None or not f.truncated:
        return ()
    wanted = f.lengths.p95 if f.lengths.p95 > f.max_length else f.lengths.max
    wanted = min(wanted, seen.context or wanted)
    return ((LENGTH, wanted),) if wanted > f.max_length else ()


def _repeated(seen: Lookahead) -> Iterator[Problem]:
    f = seen.figures
    if seen.format != "text" and f.rows and f.repeated / f.rows > REPEATED_FROM:  # equal texts the data itself tells
        what = f"{rows(f.repeated)}{_looked(seen)} with the prompt of an earlier row."
        yield Problem(seen.name, what, "If that is not meant, keep one row of each prompt.", "note")


def _padded(seen: Lookahead) -> Iterator[Problem]:
    f = seen.figures
    if seen.packing or f.batch < 2 or f.padding < PADDED_FROM:
        return
    what = f"about {share_of(f.padding)} of what is computed at batch {f.batch} only fills up shorter rows."
    path = "TrainingArguments.per_device_train_batch_size"
    if seen.target == "kaito":
        yield Problem(path, what, "Set it to 1 and gradient_accumulation_steps higher: nothing is padded then.", "note")
    else:
        remedy = "Set packing: true, or train_sampling_strategy: group_by_length."
        yield Problem(path, what, remedy, "note", ((PACKING, True),))


def _looked(seen: Lookahead) -> str:
    """Of how many rows, where not all of them were looked at."""
    f = seen.figures
    return f" of the {f.rows:,} looked at" if f.rows < seen.total else ""


def _within(length: int | None) -> str:
    return "" if length is None else f" within {length:,} tokens"
