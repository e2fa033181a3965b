"""Several processes make one step: each does its rows alone, then all gradients are added up once.

torch's own way (DDP) adds them up while it goes back through the model. A process that runs out of memory there leaves the
others waiting for sums that it cannot make any more. Here nothing is waited for within a step, so a process may make its part
again in pieces, and the others notice nothing but that it took longer. An adapter's gradients are few: what is lost by not
adding them up meanwhile is some milliseconds.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any, Final

import torch
from torch.nn.parallel import DistributedDataParallel

AT_ONCE: Final = 16_000_000
"""Numbers that are added up at once: more would cost memory, fewer time."""


def alone(model: Any) -> contextlib.AbstractContextManager[Any]:
    """Within it, a step of several processes' model adds nothing up."""
    return model.no_sync() if isinstance(model, DistributedDataParallel) else contextlib.nullcontext()


@contextlib.contextmanager
def own_numbers(accelerator: Any) -> Iterator[None]:
    """Within it, nobody asks the other processes for their numbers: they may be at another piece of their rows."""
    if accelerator.num_processes == 1:
        yield
        return
    names = ("gather_for_metrics", "reduce")
    for name in names:
        setattr(accelerator, name, lambda own, *args, **kwargs: own)
    try:
        yield
    finally:
        for name in names:
            delattr(accelerator, name)


def add_up(model: Any, news: bool) -> bool:
    """Make each gradient the mean over all processes. `news`: whether this one has some; returns whether any has."""
    if not isinstance(model, DistributedDataParallel):
        return news
    parameters = [p for p in model.parameters() if p.requires_grad]
    used = torch.tensor([*(p.grad is not None for p in parameters), news], dtype=torch.float32, device=model.device)
    torch.distributed.all_reduce(used)
    *counts, any_news = used.tolist()
    gradients = []
    for parameter, count in zip(parameters, counts, strict=True):
        if count and parameter.grad is None:  # a layer that only another process's rows went through
            parameter.grad = torch.zeros_like(parameter)
        if count:
            gradients.append(parameter.grad)
    for some in _portions(gradients):
        flat = torch.cat([gradient.reshape(-1) for gradient in some])
        torch.distributed.all_reduce(flat)
        flat /= torch.distributed.get_world_size()
        for gradient, mean in zip(some, flat.split([g.numel() for g in some]), strict=True):
            gradient.copy_(mean.view_as(gradient))
    return bool(any_news)


def _portions(gradients: Iterable[Any]) -> Iterator[list[Any]]:
    """In their order, as many as are added up at once; of one type."""
    some: list[Any] = []
    for gradient in gradients:
        if some and (gradient.dtype != some[0].dtype or sum(g.numel() for g in some) + gradient.numel() > AT_ONCE):
            yield some
            some = []
        some.append(gradient)
    if some:
        yield some


def agreed(*values: float) -> tuple[float, ...]:
    """Each value's largest among all processes."""
    return _everyones(values, torch.distributed.ReduceOp.MAX)


def added(*values: float) -> tuple[float, ...]:
    """Each value's sum over all processes."""
    return _everyones(values, torch.distributed.ReduceOp.SUM)


def _everyones(values: tuple[float, ...], operation: Any) -> tuple[float, ...]:
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
        return values
    device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
    together = torch.tensor(values, dtype=torch.float64, device=device)
    distributed.all_reduce(together, operation)
    return tuple(together.tolist())


__all__ = ["add_up", "added", "agreed", "alone", "own_numbers"]
