"""Accelerators beside CUDA: their shared code on a stand-in for torch's module, and what they say where they are not there."""

from __future__ import annotations

import weakref
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fabench.devices import _accelerator, base
from fabench.devices.base import Device, Work
from tests.devices.contract import Contract, Rig
from tests.devices.cuda_double import Double


class Memory:
    """Counts the bytes of tensors that exist, as an allocator that only knows the present."""

    def __init__(self) -> None:
        self.held = 0

    def take(self, size: int) -> torch.Tensor:
        tensor = torch.empty(size, dtype=torch.uint8)
        self.held += size
        weakref.finalize(tensor, self._release, size)
        return tensor

    def _release(self, size: int) -> None:
        self.held -= size


def module(double: Double, memory: Memory | None) -> Any:
    """The calls that torch.xpu (with an allocator's peak) and torch.mps (without) have in common."""
    common = {"Event": torch.cuda.Event, "synchronize": double.synchronize, "empty_cache": double.empty_cache}
    if memory is not None:
        return SimpleNamespace(**common, current_allocated_memory=lambda: memory.held)
    return SimpleNamespace(
        **common,
        reset_peak_memory_stats=double.reset_peaks,
        memory_allocated=lambda: double.statistics.get("allocated_bytes.all.current", 0),
        max_memory_allocated=lambda: double.statistics["allocated_bytes.all.peak"],
        max_memory_reserved=lambda: double.statistics["reserved_bytes.all.peak"],
    )


class _Device(_accelerator.Accelerator):
    clocks = ("xpu_event", "xpu_host")

    def __init__(self, double: Double, memory: Memory | None) -> None:
        super().__init__("cuda")  # where the double's flush buffer is
        self.module = module(double, memory)

    def missing(self) -> str | None:
        return None

    def describe(self) -> dict[str, Any]:
        return {"name": "a stand-in", "flush_bytes": self.flush_bytes}

    def cache_bytes(self) -> int | None:
        return 50 * 2**20


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> Double:
    return Double().install(monkeypatch)


class TestContract(Contract):
    @pytest.fixture
    def rig(self, double: Double) -> Rig:
        def rising(seconds: float) -> Work:
            double.drift_s = seconds
            return double.work(seconds)

        def pause(seconds: float) -> None:
            double.now_s += seconds

        return Rig(
            _Device(double, None),
            work=double.work,
            pause=pause,
            allocate=lambda size: lambda: double.allocate(size),
            durations_s=(20e-6, 3e-3),
            waiting=lambda seconds: double.work(seconds, inside=double.synchronize),
            rising=rising,
        )


def test_windows_that_hold_gaps_are_called_not_blocked(double: Double) -> None:
    batch = _Device(double, None).stopwatch("xpu_event", double.work(4e-6, host_s=40e-6), False, lambda: None).take(50, 1)
    assert batch.blocked is False
    assert batch.samples_s[0] == pytest.approx(45e-6, rel=0.02)


def test_cold_calls_find_an_empty_cache(double: Double) -> None:
    device = _Device(double, None)
    work = double.work(1e-3, cold_s=1.5e-3)
    hot, cold = (device.stopwatch("xpu_event", work, cold, lambda: None).take(5, 2).samples_s for cold in (False, True))
    assert hot[1] == pytest.approx(1e-3, rel=0.02)
    assert cold == pytest.approx([1.5e-3] * 2, rel=0.02)


def test_a_peak_without_an_allocators_peak_is_what_was_there_after_an_operator(double: Double) -> None:
    memory = Memory()
    device = _Device(double, memory)
    held = memory.take(1000)

    def call() -> torch.Tensor:
        first = memory.take(2**20)
        (first + 1).sum()
        del first
        return memory.take(2**19)

    assert device.peak(call).delta_bytes == 2**20
    assert device.peak(lambda: memory.take(2**19)).delta_bytes == 2**19
    assert device.peak(lambda: None) == base.Peak(0, 1000)
    assert held.numel() == 1000


@pytest.mark.parametrize("name", ["xpu", "mps"])
def test_one_that_is_not_there_says_why_in_one_line(name: str) -> None:
    device: Device = base.load(name)
    reason = device.missing()
    assert reason is not None and "\n" not in reason
    assert name in reason.lower() or "float64" in reason


def test_an_xpu_without_float64_is_refused_before_a_check_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = SimpleNamespace(name="a card", has_fp64=False, total_memory=1, driver_version="1", last_level_cache_size=2**20)
    monkeypatch.setattr(torch.xpu, "is_available", lambda: True)
    monkeypatch.setattr(torch.xpu, "device_count", lambda: 1)
    monkeypatch.setattr(torch.xpu, "get_device_properties", lambda index: facts)
    device = base.load("xpu")
    assert "float64" in (device.missing() or "")
    assert base.load("xpu:1").missing() == "xpu:1 is not there; torch sees 1 XPU(s)"
    assert device.describe()["flush_bytes"] == 2 * 2**20
    facts.has_fp64 = True
    assert device.missing() is None
    facts.last_level_cache_size = 0
    assert (device.describe()["last_level_cache_bytes"], device.describe()["flush_bytes"]) == (None, 512 * 2**20)


def test_an_apple_gpu_says_what_cells_would_fail_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_built", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert "float64" in (base.load("mps").missing() or "")
    assert "mps:1" in (base.load("mps:1").missing() or "")
