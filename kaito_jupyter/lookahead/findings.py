"""What a preview has against a start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kaito_trainer.contract import Problem

from .words import model, rows, share

if TYPE_CHECKING:
    from .ahead import Lookahead

CUT_FROM: Final = 0.01
"""Share of rows cut from which it is told."""
LENGTH: Final = "TrainingArguments.max_length"


def problems(seen: Lookahead) -> list[Problem]:
    """Errors, then warnings, then notes; of an estimate nothing is more than a note."""
    f = seen.figures
    found: list[Problem] = []
    if seen.untemplated:
        path = "ModelConfig.chat_template"
        why = f"the rows are conversations, and {model(seen)} has no chat template."
        remedy = "Set it to a Jinja file's path or a one-line template, or take the model's instruct version."
        return [Problem(path, why, remedy)]
    if f.refused:
        remedy = "Change these conversations, or set ModelConfig.chat_template."
        found.append(Problem(seen.name, f"{rows(f.refused)} cannot be rendered. {f.refusal}", remedy))
    elif f.rows and not f.left:
        remedy = "Give rows with an answer, or a larger max_length."
        found.append(Problem(seen.name, f"no row has a token to train on{_within(f.max_length)}.", remedy))
    elif f.untrained:
        why = f"{rows(f.untrained)} without a token to train on{_within(f.max_length)}: left out of the training."
        found.append(Problem(seen.name, why, "Give a larger max_length, or drop them.", "warning"))
    if f.rows and f.truncated / f.rows >= CUT_FROM:
        are = "is" if f.truncated == 1 else "are"
        why = f"{rows(f.truncated)} of {f.rows:,} {are} longer than {f.max_length:,} tokens, and cut there."
        many = f.lengths.p95 > (f.max_length or 0)
        wanted = f"{f.lengths.p95} for 95 % of the rows whole" if many else f"{f.lengths.max} for all rows whole"
        if f.lost:
            why += f" {share(f.lost, f.trained + f.lost)} of what should be learnt is lost."
        found.append(Problem(LENGTH, why, f"Set it to {wanted}, or leave it so.", "warning"))
    if seen.exact:
        return found
    return [Problem(p.path, f"by an estimate, {p.message}", p.remedy, "note") for p in found]


def _within(length: int | None) -> str:
    return "" if length is None else f" within {length:,} tokens"
