"""A run's state in words: one line for a status bar, a terminal or a screen reader."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kaito_trainer.contract import encode
from kaito_trainer.contract.events import Evaluate, Log

from ..status import TERMINAL

if TYPE_CHECKING:
    from .fold import RunState

WIDTH = 160
"""The most characters of a message or reason in the line."""


def duration(seconds: float) -> str:
    """`8s`, `2m 10s`, `3h 05m`, `2d 4h`: two units at most."""
    seconds = max(0, round(seconds))
    minutes, s = divmod(seconds, 60)
    hours, m = divmod(minutes, 60)
    days, h = divmod(hours, 24)
    if days:
        return f"{days}d {h}h"
    if hours:
        return f"{hours}h {m:02d}m"
    return f"{m}m {s:02d}s" if minutes else f"{s}s"


def last_words(state: RunState) -> list[str]:
    """The last step's numbers and the last held-out loss as event lines: enough for a list of runs."""
    when, words = state.ended, []
    if state.global_step:
        log = Log(global_step=state.global_step, loss=state.loss, epoch=state.epoch, num_tokens=state.num_tokens)
        words.append(encode(log, seq=0, time=when))
    if state.eval_loss is not None:
        held_out = Evaluate(global_step=state.global_step, eval_loss=state.eval_loss)
        words.append(encode(held_out, seq=1, time=when))
    return words


def amount(value: float, unit: str) -> str:
    """A count with its unit; bytes in kB, MB or GB."""
    if unit != "bytes":
        return f"{value:,.0f}"
    for word, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= size:
            return f"{value / size:.1f} {word}"
    return f"{value:.0f} B"


def shown(value: float) -> str:
    """A loss or rate with about four significant digits: `1.93`, `0.0213`, `2.1e-5`."""
    if value and not 1e-3 <= abs(value) < 1e6:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{_trim(mantissa)}e{int(exponent)}"
    size = abs(value)
    return _trim(f"{value:.4g}" if size < 1 else f"{value:.3f}" if size < 10 else f"{value:.1f}")


def _trim(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def short(text: str, width: int = WIDTH) -> str:
    """The text's first line, cut."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= width else line[: width - 1].rstrip() + "…"


def steps(state: RunState) -> str:
    """`120/400`, `120`, or nothing before the training."""
    if state.max_steps is None:
        return str(state.global_step) if state.global_step else ""
    return f"{state.global_step}/{state.max_steps}"


def retrying(state: RunState) -> bool:
    """Whether an attempt has failed and another one follows, by the place's word."""
    return state.state not in TERMINAL and state.status is not None and bool(state.status.kind)


def describe(state: RunState, now: float, *, cause: bool = True) -> str:
    """One line: what it does, how far it is, how well it goes, how long it still takes; with `cause`, what went wrong."""
    if state.state in TERMINAL:
        parts = _over(state, now)
    elif state.phase == "training":
        left, loss = state.seconds_left(now), state.loss
        parts = [
            f"training {steps(state)}".rstrip(),
            short(state.reason) if retrying(state) else "",
            short(state.phase_detail, 60),
            f"loss {shown(loss)}" if loss is not None else "",
            _held_out(state),
            f"{duration(left)} left" if left is not None else "",
        ]
    else:
        spent = state.elapsed(now)
        parts = [state.phase, short(state.phase_detail, 60), amounts(state), short(state.reason)]
        parts.append(duration(spent) if spent is not None and spent >= 1 else "")
    if cause:
        parts.append(_cause(state))
    if state.revision_number > 1:
        parts.insert(0, f"revision {state.revision_number}")
    return " · ".join(p for p in parts if p)


def _cause(state: RunState) -> str:
    if state.failure is not None:
        return f"{state.failure.kind}: {short(state.failure.message)}"
    return short(state.reason) if state.state in TERMINAL else ""


def _held_out(state: RunState) -> str:
    """The first held-out loss and the last."""
    losses = [v for v in state.evaluations["eval_loss"] if v == v]
    if not losses:
        return ""
    return f"held-out {' → '.join(shown(v) for v in (losses[:1] + losses[-1:])[: len(losses)])}"


def amounts(state: RunState) -> str:
    """How far the phase is: `200 of 400 rows`, `1.2 GB of 7.6 GB`."""
    if state.phase_done is None:
        return ""
    unit = "" if state.phase_unit == "bytes" else f" {state.phase_unit}".rstrip()
    if not state.phase_total:
        return amount(state.phase_done, state.phase_unit) + unit
    return f"{amount(state.phase_done, state.phase_unit)} of {amount(state.phase_total, state.phase_unit)}{unit}"


def ending(state: RunState) -> list[str]:
    """Why it ended before its last step, and whose adapter it left, where the trainer says that these are not the usual ones."""
    end, parts = state.train_end, []
    if state.state == "Succeeded" and isinstance(why := end.get("stopped_early"), str) and why:
        parts.append(f"stopped early, {short(why, 60)}")
    if isinstance(step := end.get("adapter_step"), int):
        parts.append(f"adapter of step {step:,}, the best")
    return parts


def _over(state: RunState, now: float) -> list[str]:
    spent, loss, at = state.elapsed(now), state.loss, steps(state)
    if state.state == "Failed":
        where = f"failed while {state.phase}" if state.phase != "pending" else "failed before it began"
        return [f"{where} at step {at}" if state.phase == "training" and at else where]
    numbers = [f"loss {shown(loss)}" if loss is not None else "", _held_out(state)]
    if state.state == "Cancelled":
        return [f"cancelled at step {at}" if at else "cancelled", *ending(state), *numbers]
    steps_made = f"{at} steps" if state.train_end.get("stopped_early") else f"{state.global_step:,} steps"
    done = steps_made if state.global_step else ""
    time = f"in {duration(spent)}" if spent is not None else ""
    return ["succeeded", f"{done} {time}".strip(), *ending(state), *numbers]
