"""A run's state in words: one line for a status bar, a terminal or a screen reader."""

from __future__ import annotations

from typing import TYPE_CHECKING

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


def amount(value: float, unit: str) -> str:
    """A count with its unit; bytes in kB, MB or GB."""
    if unit != "bytes":
        return f"{value:,.0f}"
    for word, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= size:
            return f"{value / size:.1f} {word}"
    return f"{value:.0f} B"


def shown(value: float) -> str:
    """A loss or rate with about four significant digits: `1.93`, `0.0213`, `2.1e-05`."""
    if value and not 1e-3 <= abs(value) < 1e5:
        return f"{value:.3g}"
    text = f"{value:.4g}" if abs(value) < 1 else f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
    return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text


def short(text: str, width: int = WIDTH) -> str:
    """The text's first line, cut."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= width else line[: width - 1].rstrip() + "…"


def steps(state: RunState) -> str:
    """`120/400`, `120`, or nothing before the training."""
    if state.max_steps is None:
        return str(state.global_step) if state.global_step else ""
    return f"{state.global_step}/{state.max_steps}"


def describe(state: RunState, now: float) -> str:
    """One line: what it does, how far it is, how well it goes, how long it still takes."""
    if state.state in ("Succeeded", "Failed", "Cancelled"):
        parts = _over(state, now)
    elif state.phase == "training":
        left = state.seconds_left(now)
        loss, held_out = state.loss, state.eval_loss
        parts = [
            f"training {steps(state)}".rstrip(),
            f"loss {shown(loss)}" if loss is not None else "",
            f"eval loss {shown(held_out)}" if held_out is not None else "",
            f"{duration(left)} left" if left is not None else "",
        ]
    else:
        parts = [state.phase, short(state.phase_detail, 60), _amounts(state), short(state.reason)]
        spent = state.elapsed(now)
        parts.append(duration(spent) if spent is not None and spent >= 1 else "")
    if state.failure is not None and state.state != "Failed":
        parts.append(f"{state.failure.kind}: {short(state.failure.message)}")
    return " · ".join(p for p in parts if p)


def _amounts(state: RunState) -> str:
    if state.phase_done is None:
        return ""
    unit = "" if state.phase_unit == "bytes" else f" {state.phase_unit}".rstrip()
    if not state.phase_total:
        return amount(state.phase_done, state.phase_unit) + unit
    return f"{amount(state.phase_done, state.phase_unit)} of {amount(state.phase_total, state.phase_unit)}{unit}"


def _over(state: RunState, now: float) -> list[str]:
    spent, loss = state.elapsed(now), state.loss
    time = f" in {duration(spent)}" if spent is not None else ""
    if state.state == "Failed":
        where = f"failed while {state.phase}" if state.phase != "pending" else "failed before it began"
        progress = f"at step {steps(state)}" if state.phase == "training" and steps(state) else ""
        failure = state.failure
        return [where, progress, f"{failure.kind}: {short(failure.message)}" if failure else short(state.reason)]
    numbers = [f"loss {shown(loss)}" if loss is not None else ""]
    held_out = [v for v in state.evaluations["eval_loss"] if v == v]
    if held_out:
        change = f"{shown(held_out[0])} → {shown(held_out[-1])}" if len(held_out) > 1 else shown(held_out[0])
        numbers.append(f"eval loss {change}")
    if state.state == "Cancelled":
        return [f"cancelled at step {steps(state)}" if steps(state) else "cancelled", *numbers, short(state.reason)]
    done = f"{state.global_step} steps{time}" if state.global_step else time.strip()
    return ["succeeded", done, *numbers]
