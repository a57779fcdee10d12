"""Ways to get a wrong number that no other test covers: what must not be in a timed window, and what must not hide from the ledger."""

import math
import resource
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch

from fabench import devices
from fabench.attention.base import Core
from fabench.devices import cpu
from fabench.devices.base import Stopwatch, Work
from fabench.measure import cell, inputs, memory, subject, timing
from fabench.schema import Case, Cell, Job, Measure, Memory

SHAPE: dict[str, Any] = {"n": 64, "m": 64, "heads": 2, "d_k": 16, "d_v": 16}


def subject_of(core: Core, mode: str = "fwd") -> subject.Subject:
    case = Case(mode=mode, **SHAPE)
    return subject.with_core(case, core, torch.device("cpu"), inputs.make(case, Measure(), torch.device("cpu")))


class Counting:
    """Explicit attention that counts its forward passes."""

    def __init__(self) -> None:
        self.forward_passes = 0

    def __call__(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, padding: torch.Tensor | None = None) -> torch.Tensor:
        self.forward_passes += 1
        return torch.softmax(q @ k.mT, -1) @ v


@pytest.mark.parametrize(("mode", "passes"), [("fwd", 3), ("bwd", 0), ("fwd_bwd", 3)])
def test_a_mode_runs_its_passes_and_accumulates_nothing(mode: str, passes: int) -> None:
    core = Counting()
    made = subject_of(core, mode)
    call = made.call()
    before = core.forward_passes
    results = [call() for _ in range(3)]
    assert core.forward_passes - before == passes
    assert all(leaf.grad is None for leaf in made.wanted)
    for again in results[1:]:
        for first, later in zip(results[0], again, strict=True):
            assert torch.equal(first, later)


def _plain(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, padding: torch.Tensor | None = None) -> torch.Tensor:
    return torch.softmax(q @ k.mT, -1) @ v


def _copying(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, padding: torch.Tensor | None = None) -> torch.Tensor:
    """Another layout wanted inside: copies of all three stand beside the map."""
    q, k, v = (x.transpose(1, 2).contiguous().transpose(1, 2) for x in (q, k, v))
    return _plain(q, k, v)


def _memory(core: Core) -> Memory:
    return memory.measure_memory(devices.base.load("cpu"), subject_of(core), False)


def test_a_hidden_copy_stands_in_the_ledger_and_in_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, copying = _memory(_plain), _memory(_copying)
    assert plain.ledger is not None and copying.ledger is not None
    copies = 3 * 2 * 64 * 16 * 4
    assert copying.ledger.workspace_bytes - plain.ledger.workspace_bytes == copies
    copied: list[int] = []
    original = torch.Tensor.contiguous

    def contiguous(tensor: torch.Tensor, **options: Any) -> torch.Tensor:
        copied.append(tensor.numel())
        return original(tensor, **options)

    call = subject_of(_copying).call()
    monkeypatch.setattr(torch.Tensor, "contiguous", contiguous)
    call()
    assert len(copied) == 3  # not done beforehand, outside the window


def test_inputs_lie_head_first_and_are_the_same_memory_order_for_all() -> None:
    for mode in ("fwd", "bwd"):
        for leaf in subject_of(_plain, mode).wanted:
            assert leaf.shape[:2] == (1, 2)
            assert leaf.is_contiguous()


@pytest.mark.parametrize("step_s", [1e-3, 1e-2])
def test_calls_that_a_coarse_clock_reads_as_zero_are_grouped(step_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def call() -> None:
        now[0] += 1e-5

    monkeypatch.setattr(time, "perf_counter", lambda: math.floor(now[0] / step_s) * step_s)
    measure = Measure(min_sample_s=0.1, warmup_s=0.02, max_s=1.0, witness=False)
    found, _ = timing.time_call(cpu.Device("cpu"), Work(call), measure, timing.FirstCall(0.0), lambda phase: None)
    assert found.loops > 1000
    assert all(sample > 0 for sample in found.samples_s)
    assert sorted(found.samples_s)[len(found.samples_s) // 2] == pytest.approx(1e-5, rel=2 * step_s / 0.1)


def test_memory_is_a_pass_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The profiler that reads the allocator never runs while calls are timed."""
    phases, peaks, windows = ["start"], [], []
    watched, timed = cpu.Device.peak, cpu.Device.stopwatch

    def peak(device: cpu.Device, *given: Any, **named: Any) -> Any:
        peaks.append(phases[-1])
        return watched(device, *given, **named)

    def stopwatch(device: cpu.Device, *given: Any, **named: Any) -> Stopwatch:
        windows.append(phases[-1])
        return timed(device, *given, **named)

    monkeypatch.setattr(cpu.Device, "peak", peak)
    monkeypatch.setattr(cpu.Device, "stopwatch", stopwatch)
    measure = Measure(warmup_s=0.001, warmup_max_s=0.002, max_s=0.01)
    record = cell.run(Job(Cell("factorized", "cpu", Case(**SHAPE)), measure), phases.append)
    assert record.status == "ok", record.reason
    assert set(windows) == {"timing"}
    assert "memory" in peaks
    assert "timing" not in peaks


def _grown(size: int) -> Callable[[], None]:
    def grow() -> None:
        held = bytearray(size)
        held[::4096] = b"\1" * len(held[::4096])

    return grow


def test_the_resident_sets_high_water_mark_starts_anew_and_is_in_bytes() -> None:
    _grown(256 * 2**20)()
    lifetime_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    found = _memory(_plain)
    if found.rss_peak_bytes is None:
        pytest.skip("this kernel does not let the mark start anew")
    assert found.rss_peak_bytes < lifetime_bytes - 100 * 2**20
    assert found.rss_peak_bytes > 50 * 2**20  # an interpreter with torch; KiB would be a thousandth of it


def test_on_a_cpu_what_only_a_gpu_has_is_null() -> None:
    found = _memory(_plain)
    assert (found.requested_bytes, found.reserved_bytes, found.process_bytes, found.device_bytes) == (None,) * 4
    assert found.ledger is not None
    assert (found.ledger.cached_bytes, found.ledger.context_bytes, found.ledger.others_bytes) == (None,) * 3
