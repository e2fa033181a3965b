"""How long a run will take, by what earlier runs of the same model and method on the same GPU node took."""

from __future__ import annotations

from kaito_trainer.contract import train_rows

from ..history import Speed, speeds
from ..presets import find
from ..spec import Target, TuningSpec


def earlier(spec: TuningSpec, target: Target) -> Speed | None:
    """The latest run of the same preset and method at the same place (KAITO's trainer is not as fast as ours), on the same
    node with as many GPUs; None when there was none. Never raises."""
    known = find(spec.preset)
    names = dict.fromkeys([spec.preset, *([known.name] if known else [])])
    found = [s for n in names for s in speeds(n, spec.method, spec.resource.instance_type, backend=target)]
    same = [s for s in found if s.devices in (None, spec.gpus(target))]
    return max(same, key=lambda s: s.ended or 0.0, default=None)


def tokens_of(spec: TuningSpec, target: Target, rows: int | None, each: float, steps: int) -> float:
    """Tokens of a whole run, when a row has so many on average after the cut. Padding is not counted, as no speed counts it."""
    config = spec.effective_config(target, rows=rows)
    t = config.TrainingArguments
    if rows is not None and not (t.max_steps or 0) > 0:
        return each * train_rows(config, rows) * float(t.num_train_epochs or 1)
    whole = float(t.max_length or each) if t.packing else each
    return (
        steps * (t.per_device_train_batch_size or 1) * (t.gradient_accumulation_steps or 1) * spec.gpus(target) * whole
    )


__all__ = ["earlier", "tokens_of"]
