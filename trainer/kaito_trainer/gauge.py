"""How full the device's memory is, and how busy its GPU. What cannot be known is None; nothing here ever raises.

Reading is cheap but not free, so it is done at most once in `EVERY` seconds, however short the steps are.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any, Final, NamedTuple

EVERY: Final = 1.0
"""Seconds between two looks at the device. NVML's own figure is a mean over up to a second."""


class Reading(NamedTuple):
    """One process's device."""

    peak: int | None
    """Bytes: the most that torch has held on the GPU since the start, or that the process has held without one."""
    used: int | None
    """Bytes in use on the GPU, whoever uses them: torch's cache, CUDA itself, other processes. None without one."""
    utilization: float | None
    """Percent of the time in which the GPU was at work, by NVML: the mean of the looks since the last reading."""


class Gauge:
    """Looks at this process's device: `look` often, `read` at each log."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._next = float("-inf")
        self._used: int | None = None
        self._busy: list[float] = []
        self._latest: float | None = None  # told again where no look fell between two readings
        self._nvml: tuple[Any, Any] | None = None
        self._tried = False

    def look(self) -> None:
        """Look, unless that was done a moment ago."""
        now = self._now()
        if now < self._next or not on_gpu():
            return
        self._next = now + EVERY
        with contextlib.suppress(Exception):
            import torch

            free, total = torch.cuda.mem_get_info()
            self._used = total - free
        busy = self._utilization()
        if busy is not None:
            self._busy.append(busy)

    def read(self) -> Reading:
        """How it stands, and how busy it was since the last time."""
        self.look()
        if self._busy:
            self._latest = sum(self._busy) / len(self._busy)
            self._busy = []
        return Reading(peak_memory(), self._used, self._latest)

    def _utilization(self) -> float | None:
        if not self._tried:
            self._tried = True
            self._nvml = _nvml()
        if self._nvml is not None:
            module, handle = self._nvml
            with contextlib.suppress(Exception):
                return float(module.nvmlDeviceGetUtilizationRates(handle).gpu)
            self._nvml = self._latest = None  # not supported (a part of a GPU, say), or the driver is gone
        return None


def on_gpu() -> bool:
    """Whether this process computes on a GPU. False, too, before torch has begun to use it."""
    import torch

    return bool(torch.cuda.is_available() and torch.cuda.is_initialized())


def peak_memory() -> int | None:
    """Bytes: see `Reading.peak`."""
    with contextlib.suppress(Exception):
        if on_gpu():
            import torch

            return int(torch.cuda.max_memory_allocated())
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return None


def total_memory() -> int | None:
    """Bytes that the device has: the GPU, or what the machine or its container's limit lets a process have."""
    with contextlib.suppress(Exception):
        if on_gpu():
            import torch

            return int(torch.cuda.mem_get_info()[1])
    return None


def _nvml() -> tuple[Any, Any] | None:
    """NVIDIA's management library, where its Python module is installed, and in it torch's present device."""
    with contextlib.suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # another package of that name warns that it is the old one
        module = importlib.import_module("pynvml")
        module.nvmlInit()
        import torch

        # By its UUID: NVML counts GPUs that CUDA_VISIBLE_DEVICES hides, and in an order of its own.
        uuid = torch.cuda.get_device_properties(torch.cuda.current_device()).uuid
        return module, module.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
    return None


__all__ = ["EVERY", "Gauge", "Reading", "on_gpu", "peak_memory", "total_memory"]
