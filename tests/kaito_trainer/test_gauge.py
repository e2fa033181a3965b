"""How full and how busy the device is, with a GPU and NVIDIA's library in their places."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from kaito_trainer import gauge
from kaito_trainer.gauge import EVERY, Gauge

pytestmark = pytest.mark.usefixtures("libraries")

GB = 10**9


class Gpu:
    """What torch says of a GPU, and what NVML says of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free, self.total, self.peak, self.uuid = 50 * GB, 80 * GB, 21 * GB, "3a0f-b7"
        self.busy: list[Any] = []
        self.asked: list[str] = []
        self.looks = 0
        self.now = 0.0
        for name, value in {
            "is_available": lambda: True,
            "is_initialized": lambda: True,
            "mem_get_info": self._memory,
            "max_memory_allocated": lambda: self.peak,
            "current_device": lambda: 0,
            "get_device_properties": lambda device: SimpleNamespace(uuid=self.uuid),
        }.items():
            monkeypatch.setattr(f"torch.cuda.{name}", value)
        nvml: Any = ModuleType("pynvml")
        nvml.nvmlInit = lambda: None
        nvml.nvmlDeviceGetHandleByUUID = self._handle
        nvml.nvmlDeviceGetUtilizationRates = self._rates
        monkeypatch.setitem(sys.modules, "pynvml", nvml)

    def _handle(self, uuid: str) -> str:
        self.asked.append(uuid)
        return uuid

    def _memory(self) -> tuple[int, int]:
        self.looks += 1
        return self.free, self.total

    def _rates(self, handle: str) -> Any:
        busy = self.busy.pop(0)
        if isinstance(busy, Exception):
            raise busy
        return SimpleNamespace(gpu=busy, memory=1)


@pytest.fixture
def gpu(libraries: None, monkeypatch: pytest.MonkeyPatch) -> Gpu:
    return Gpu(monkeypatch)


def test_a_gpu_tells_torchs_peak_its_own_use_and_the_mean_of_how_busy_it_was(gpu: Gpu) -> None:
    gpu.busy = [90, 70, 20]
    looking = Gauge(lambda: gpu.now)
    looking.look()
    gpu.now += EVERY
    assert looking.read() == (21 * GB, 30 * GB, 80.0)
    gpu.now += EVERY
    gpu.free = 10 * GB
    assert looking.read() == (21 * GB, 70 * GB, 20.0)
    assert gpu.asked == ["GPU-3a0f-b7"], "by UUID: NVML's numbers are not torch's"
    assert gauge.total_memory() == 80 * GB


def test_steps_that_are_short_do_not_make_it_look_more_often(gpu: Gpu) -> None:
    gpu.busy = [50, 60]
    looking = Gauge(lambda: gpu.now)
    for _ in range(100):
        gpu.now += EVERY / 60
        looking.look()
        assert looking.read().utilization in (50, 60), "between two looks the latest is told"
    assert gpu.looks == 2


def test_a_gpu_whose_use_nvml_does_not_know_is_not_asked_again(gpu: Gpu) -> None:
    gpu.busy = [75, RuntimeError("Not Supported"), 99]
    looking = Gauge(lambda: gpu.now)
    assert looking.read().utilization == 75
    for _ in range(3):
        gpu.now += EVERY
        assert looking.read() == (21 * GB, 30 * GB, None)
    assert gpu.busy == [99]


def test_without_nvidias_library_memory_is_told_alone(gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)  # an import of it fails
    assert Gauge().read() == (21 * GB, 30 * GB, None)


def test_a_driver_that_fails_costs_the_numbers_and_not_the_training(gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> Any:
        raise RuntimeError("CUDA error: unknown error")

    for name in ("mem_get_info", "max_memory_allocated", "current_device"):
        monkeypatch.setattr(f"torch.cuda.{name}", fail)
    assert Gauge().read() == (None, None, None)
    assert gauge.total_memory() is None


def test_without_a_gpu_the_process_and_its_machine_are_told() -> None:
    reading = Gauge().read()
    assert (reading.used, reading.utilization) == (None, None)
    total = gauge.total_memory()
    assert reading.peak is not None
    assert total is None or 50e6 < reading.peak < total
