"""A run in words and characters: for terminals, for screen readers, and for wherever pictures are not shown."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ..state import duration
from ..state.spent import spent
from ..state.words import amount, describe, shown

if TYPE_CHECKING:
    from ..state import RunState

BLOCKS: Final = "▁▂▃▄▅▆▇█"
WIDTH: Final = 40
"""Characters of a curve or a bar."""
LARGEST: Final = 1e30
"""Values beyond this (a loss that blew up) are left out of curves, where sums of them would overflow."""
_LOOKS: Final = 50
"""Values that a character of a curve is the mean of, at most."""


def sparkline(values: Sequence[float], width: int = WIDTH) -> str:
    """A curve in one line of text, at most `width` characters; what is no number is left out."""
    points = means(values, width)
    if not points:
        return ""
    ordered = sorted(points)
    low, high = ordered[0], ordered[-1 - len(ordered) // 25]  # a few spikes may leave the scale
    span = high - low
    return "".join(BLOCKS[min(7, int(8 * (m - low) / span)) if span > 0 else 3] for m in points)


def means(values: Sequence[float], width: int) -> list[float]:
    """A curve in at most `width` points, each the mean of its stretch; what is no number is left out."""
    count = min(width, len(values))
    found = []
    for i in range(count):
        begin, end = i * len(values) // count, (i + 1) * len(values) // count
        some = [v for v in values[begin : end : max(1, (end - begin) // _LOOKS)] if abs(v) < LARGEST]
        if some:
            found.append(sum(some) / len(some))
    return found


def bar(share: float, width: int = WIDTH) -> str:
    """A progress bar in eighths of a character."""
    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (" ▏▎▍▌▋▊▉"[rest] if rest else "")).ljust(width, "·")


def latest(state: RunState) -> float:
    """The time of the last thing that is known of the run; 0 when no time is."""
    times = [state.ended, state.started, state.created, state.series.last("time"), state.evaluations.last("time")]
    times += [span.ended if span.ended is not None else span.began for span in state.phases[-1:]]
    return max((t for t in times if t is not None), default=0.0)


def summary(state: RunState, name: str = "", now: float | None = None) -> str:
    """The run in a few lines of text: how it stands, its curve, held-out loss, speed, phases, and what went wrong."""
    now = latest(state) if now is None else now
    lines = [" · ".join(part for part in (name, describe(state, now, cause=state.failure is None)) if part)]
    if state.progress is not None and state.state in ("Pending", "Running"):
        lines.append(_row("progress", f"{bar(state.progress)} {100 * state.progress:.0f} %"))
    losses = _ends(state.series["loss"])
    if losses:
        curve = [shown(losses[0]), sparkline(state.series["loss"]), shown(losses[-1])]
        lines.append(_row("loss", " ".join(curve) if len(losses) > 1 else curve[0]))
    held_out = [
        (s, v) for s, v in zip(*(state.evaluations[c] for c in ("global_step", "eval_loss")), strict=True) if v == v
    ]
    if held_out:
        ends = held_out if len(held_out) == 1 else [held_out[0], held_out[-1]]
        lines.append(_row("held out", " → ".join(f"{shown(v)} (step {s:.0f})" for s, v in ends)))
    speed, memory = state.tokens_per_second, state.device_memory_bytes
    each, busy, total = state.step_seconds, state.gpu_utilization, state.train_begin.get("device_memory_total_bytes")
    of = f" of {amount(total, 'bytes')}" if isinstance(total, int | float) else ""
    facts = [
        f"{speed:,.0f} tokens/s" if speed is not None else "",
        f"{shown(each)} s a step" if each is not None else "",
        f"{amount(memory, 'bytes')}{of} memory" if memory is not None else "",
        f"GPU {busy:.0f} % busy" if busy is not None else "",
    ]
    if any(facts):
        lines.append(_row("speed", " · ".join(f for f in facts if f)))
    went = spent(state.series)
    if went is not None:
        lines.append(_row("time", went.describe()))
    spans = [(span.name, span.seconds(now)) for span in state.phases]
    if spans:
        lines.append(_row("phases", " · ".join(n if s is None else f"{n} {duration(s)}" for n, s in spans)))
    if state.adapter and state.state == "Succeeded":
        lines.append(_row("adapter", state.adapter))
    if state.failure is not None:
        lines += _wrapped("problem", f"{state.failure.kind}: {state.failure.message}")
        lines += _wrapped("remedy", state.failure.remedy)
    return "\n".join(lines)


def alt_text(state: RunState, title: str = "", now: float | None = None) -> str:
    """The picture for those who cannot see it, in a sentence or two."""
    now = latest(state) if now is None else now
    said = describe(state, now).replace(" · ", ", ").rstrip(".")
    parts = [f"Loss curve of {title or 'the run'}: {said}."]
    losses = _ends(state.series["loss"])
    if len(losses) > 1:
        way = "fell" if losses[-1] < losses[0] else "rose" if losses[-1] > losses[0] else "stayed"
        parts.append(
            f"Loss {way} from {shown(losses[0])} to {shown(losses[-1])} over {len(state.series):,} logged steps."
        )
    held_out = _ends(state.evaluations["eval_loss"])
    if len(held_out) > 1:
        parts.append(f"Held-out loss went from {shown(held_out[0])} to {shown(held_out[-1])}.")
    return " ".join(parts)


def _ends(column: Sequence[float]) -> list[float]:
    """The first and the last value that are there, or the only one."""
    first = next((i for i, v in enumerate(column) if v == v), None)
    if first is None:
        return []
    last = next(i for i in range(len(column) - 1, -1, -1) if column[i] == column[i])
    return [column[first], column[last]] if last > first else [column[first]]


def _row(name: str, text: str) -> str:
    return f"  {name:<9} {text}"


def _wrapped(name: str, text: str) -> list[str]:
    lines = textwrap.wrap(" ".join(text.split())[:600], 100)
    return [_row(name if i == 0 else "", line) for i, line in enumerate(lines)]
