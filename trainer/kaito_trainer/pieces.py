"""A batch cut into smaller ones whose losses add up to its own: by rows, or, of rows laid end to end, by where they begin."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

Inputs = dict[str, Any]


def size(inputs: Inputs) -> tuple[str, int]:
    """What a batch is counted in, `rows` or `tokens` (of a single sequence that holds many rows), and how many it has."""
    rows, width = inputs["input_ids"].shape
    return ("rows", rows) if rows > 1 or len(_starts(inputs)) < 2 else ("tokens", width)


def cut(inputs: Inputs, rows: int | None, tokens: int | None) -> list[Inputs]:
    """Pieces of at most so many rows, or tokens where the rows lie end to end (a longer row is a piece of its own)."""
    unit, count = size(inputs)
    limit = rows if unit == "rows" else tokens
    if limit is None or count <= limit:
        return [inputs]
    if unit == "rows":
        number = -(-count // limit)
        bounds = [count * i // number for i in range(number + 1)]
        return [_rows(inputs, a, b) for a, b in itertools.pairwise(bounds)]
    return [_stretch(inputs, a, b) for a, b in _stretches([*_starts(inputs), count], limit)]


def shortened(inputs: Inputs, width: int) -> Inputs:
    """The beginning of a batch of one sequence."""
    full = inputs["input_ids"].shape[-1]
    return {k: v[..., :width] if getattr(v, "shape", ())[-1:] == (full,) else v for k, v in inputs.items()}


def _rows(inputs: Inputs, begin: int, end: int) -> Inputs:
    """Some rows of a padded batch, without the padding that only the others needed."""
    count, width = inputs["input_ids"].shape
    piece = {k: v[begin:end] if getattr(v, "shape", ())[:1] == (count,) else v for k, v in inputs.items()}
    mask = piece.get("attention_mask")
    if mask is not None and mask.shape[-1] == width:
        kept = int(mask.any(dim=0).nonzero().max()) + 1
        piece = {k: v[:, :kept] if getattr(v, "shape", ())[1:2] == (width,) else v for k, v in piece.items()}
    return piece


def _starts(inputs: Inputs) -> list[int]:
    """Where rows begin in a single sequence that holds many."""
    positions = inputs.get("position_ids")
    if positions is None or inputs["input_ids"].shape[0] != 1:
        return [0]
    found: list[int] = (positions[0] == 0).nonzero().flatten().tolist()
    return found


def _stretches(bounds: list[int], limit: int) -> Iterator[tuple[int, int]]:
    """Neighbouring rows, as many as the limit takes."""
    begin, end = bounds[0], bounds[0]
    for bound in bounds[1:]:
        if bound - begin > limit and end > begin:
            yield begin, end
            begin = end
        end = bound
    yield begin, end


def _stretch(inputs: Inputs, begin: int, end: int) -> Inputs:
    """A part of a single sequence. The flash kernels' own list of where rows begin is cut with it."""
    width = inputs["input_ids"].shape[-1]
    piece = {k: v[..., begin:end] if getattr(v, "shape", ())[-1:] == (width,) else v for k, v in inputs.items()}
    for name in ("cu_seq_lens_q", "cu_seq_lens_k"):
        if name in inputs:
            ends = inputs[name]
            piece[name] = ends[(ends >= begin) & (ends <= end)] - begin
            piece[name.replace("cu_seq_lens", "max_length")] = int(piece[name].diff().max())
    if "seq_idx" in inputs:
        piece["seq_idx"] = piece["seq_idx"] - piece["seq_idx"].min()
    return piece


__all__ = ["Inputs", "cut", "shortened", "size"]
