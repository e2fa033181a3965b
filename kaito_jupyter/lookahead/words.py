"""What a preview says, in words that text and card share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..presets import is_path

if TYPE_CHECKING:
    from .ahead import Lookahead
    from .drawn import Drawn

SHOWN: Final = 400
"""Tokens of a row that are shown; of a longer one its beginning and what surrounds the cut."""
AROUND: Final = 60
"""Tokens shown on either side of a cut far off."""
LEARNT: Final = {
    "assistant": "the assistant's turns are trained on",
    "completion": "the completions are trained on",
    "text": "all of it is trained on",
}


def learnt(seen: Lookahead) -> str:
    """What is trained on."""
    if seen.target != "kaito":
        return LEARNT[seen.on]
    but = ", but no end of it" if seen.figures.never_stops else ""
    return f"KAITO's own trainer trains on all of it, the prompts too{but}"


def facts(seen: Lookahead) -> list[tuple[str, str]]:
    """Name and value of what the rows come to."""
    f = seen.figures
    about = "" if seen.exact else "about "
    told = [("trained on", f"{about}{share(f.trained, f.kept)} of the tokens that the model sees")]
    limit = "no limit" if f.max_length is None else f"max_length {f.max_length:,}"
    lost = f.tokens - f.kept
    cut = f"{share(f.truncated, f.rows)} of the rows, {share(lost, f.tokens)} of the tokens ({limit})"
    told.append(("cut off", cut if f.truncated else f"nothing ({limit})"))
    if f.untrained:
        told.append(("left out", f"{rows(f.untrained)} without a token to train on"))
    if f.refused:
        told.append(("refused", f"{rows(f.refused)}, by the chat template"))
    told.append(("same prompt", f"{share(f.repeated, f.rows)} of the rows" if f.repeated else "none twice"))
    told.append(("padding", _padding(seen)))
    return told


def _padding(seen: Lookahead) -> str:
    f = seen.figures
    each = (
        f"{f.left / f.packed:.1f} rows each, {share(f.kept, f.packed * (f.max_length or 0))} filled" if f.packed else ""
    )
    if seen.packing and f.packed:
        return f"packed: {f.packed:,} sequences of {f.max_length:,}, {each}"
    wasted = f"{share_of(f.padding)} of what is computed at batch {f.batch}" if f.batch > 1 else "none at batch 1"
    if f.packed and f.left >= 2 * f.packed:
        wasted += f"; packing would make {f.packed:,} sequences of the {f.left:,} rows ({each})"
    return wasted


def spread(seen: Lookahead) -> str:
    """How long the rows are."""
    lengths = seen.figures.lengths
    about = "" if seen.exact else "≈ "
    return f"{about}p50 {lengths.p50:,} · p95 {lengths.p95:,} · max {lengths.max:,}"


def heading(row: Drawn) -> str:
    """What a row is and comes to."""
    why = f" ({row.why})" if row.why else ""
    if row.refusal:
        return f"Row {row.number:,}{why}"
    cut = len(row.ids) - row.seen
    tokens = f"{len(row.ids):,} tokens, {row.trained:,} of them trained on" + (f", {cut:,} cut off" if cut else "")
    return f"Row {row.number:,}{why}: {tokens}"


def stretches(row: Drawn) -> list[range | str]:
    """Which tokens are shown, by their places, with a word of ours where some are left out and at the cut."""
    count = len(row.tokens)
    cut = next((i for i, token in enumerate(row.tokens) if token.cut), count)
    if count <= SHOWN:
        shown = [range(cut), range(cut, count)]
    elif cut <= SHOWN:
        shown = [range(cut), range(cut, min(count, cut + AROUND))]
    else:
        shown = [range(SHOWN - AROUND), range(cut - AROUND, cut), range(cut, min(count, cut + AROUND))]
    result: list[range | str] = []
    at = 0
    for part in shown:
        if part.start > at:
            result.append(f"… {part.start - at:,} more tokens …")
        if part.start == cut < count:
            result.append(f"✂ cut at {row.max_length:,}: {len(row.ids) - row.seen:,} tokens are never seen")
        if len(part):
            result.append(part)
        at = part.stop
    if at < count:
        result.append(f"… {count - at:,} more tokens")
    return result


def share(part: int, whole: int) -> str:
    """As a percentage that never says 0 or 100 of what is not."""
    if not whole or not part:
        return "0 %"
    return share_of(part / whole)


def share_of(part: float) -> str:
    """The same of a fraction."""
    value = 100 * part
    if 0 < value < 0.1 or 99.9 < value < 100:
        return "< 0.1 %" if value < 0.1 else "> 99.9 %"
    return f"{value:.0f} %" if value >= 10 or value == round(value) else f"{value:.1f} %"


def rows(count: int) -> str:
    """So many rows."""
    return "1 row" if count == 1 else f"{count:,} rows"


def model(seen: Lookahead) -> str:
    """The model for people: its id, or its folder's name."""
    return Path(seen.model).name if is_path(seen.model) else seen.model
