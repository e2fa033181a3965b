"""Several short rows in one sequence: only where the loaded model keeps them apart, and with a learning rate to match.

Packed rows are told apart by their positions, which begin anew with each row. Some architectures (falcon, opt, bloom, …)
take no notice and let a row see those before it; nothing fails then, it only learns the wrong thing. So two rows are sent
through the loaded model, alone and packed, before anything is packed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from .contract import TrainingConfig

PROBE: Final = 24
"""Tokens of each of the two rows that are tried."""
LEAKS: Final = 0.2
"""Share of the difference that plain joining makes from which packing counts as leaking. Rounding in bfloat16 makes less than
0.05, and a leak makes about 1."""
MOST: Final = 5.0
"""The most that the learning rate is raised by: five times is what was measured (0.41 against 2.57 after one epoch)."""


def settle(arguments: Any, chosen: dict[str, Any], config: TrainingConfig, rows: Any, length: int) -> Any:
    """The data set to train on: packed where that was asked for (and `why_not` says nothing). What was chosen is noted.

    Fewer steps are made of the same rows, so a learning rate that nobody wrote grows with the rows of a sequence.
    """
    from trl import pack_dataset

    if not arguments.packing:
        return rows
    packed = pack_dataset(rows, length, arguments.packing_strategy)
    chosen["rows_per_sequence"] = round(len(rows) / len(packed), 2)
    if config.TrainingArguments.learning_rate is None and "learning_rate" in chosen:
        arguments.learning_rate *= min(MOST, len(rows) / len(packed))
        chosen["learning_rate"] = arguments.learning_rate
    return packed


def why_not(model: Any, rows: Sequence[Sequence[int]]) -> str:
    """Why rows must not be packed for this model, or nothing when it keeps them apart."""
    import torch

    if len(rows) < 2:
        return "there is only one row"
    first, second = (list(row[:PROBE]) for row in rows)
    was_training = model.training
    model.eval()
    kind = model.config.model_type
    try:
        with torch.no_grad():
            alone = _logits(model, second, list(range(len(second))), len(second))
            joined = _logits(model, first + second, None, len(second))
            packed = _logits(model, first + second, [*range(len(first)), *range(len(second))], len(second))
    except Exception as error:  # noqa: BLE001 (whatever it is, it would come again in training)
        return f"{kind} cannot take packed rows ({type(error).__name__})"
    finally:
        model.train(was_training)
    if float((packed - alone).norm()) > LEAKS * float((joined - alone).norm()):
        return f"{kind} lets packed rows see each other"
    return ""


def _logits(model: Any, ids: list[int], positions: list[int] | None, last: int) -> Any:
    """The logits of the last tokens, as TRL's collator would ask for them: by position, without an attention mask."""
    import torch

    given = {"input_ids": torch.tensor([ids], device=model.device)}
    if positions is not None:
        given["position_ids"] = torch.tensor([positions], device=model.device)
    return model(**given, use_cache=False).logits[0, -last:].float()


__all__ = ["settle", "why_not"]
