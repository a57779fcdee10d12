"""The CUDA device's own code on a double of torch.cuda: the contract, and what it does where things go wrong."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch

from fabench.devices import _cuda_cache, _cuda_graph
from fabench.devices.base import Call, Device, Unfit, Work, load
from fabench.schema import Measure
from tests.devices.contract import Contract, Rig
from tests.devices.cuda_double import Double, Kernel


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> Double:
    return Double().install(monkeypatch)


@pytest.fixture
def cuda(double: Double) -> Device:
    device = load("cuda")
    device.prepare(Measure())
    return device


def nothing() -> None: ...


class TestContract(Contract):
    @pytest.fixture
    def rig(self, double: Double, cuda: Device) -> Rig:
        def rising(seconds: float) -> Work:
            double.drift_s = seconds
            return double.work(seconds)

        def pause(seconds: float) -> None:
            double.now_s += seconds

        return Rig(
            cuda,
            work=double.work,
            pause=pause,
            allocate=lambda size: lambda: double.allocate(size),
            durations_s=(20e-6, 3e-3),
            cached=lambda hot_s, cold_s: double.work(hot_s, cold_s=cold_s),
            slow=lambda device_s, host_s: double.work(device_s, host_s=host_s),
            waiting=lambda seconds: double.work(seconds, inside=double.synchronize),
            rising=rising,
        )


def read(device: Device, clock: str, work: Work, cold: bool = False, loops: int = 1) -> float:
    return device.stopwatch(clock, work, cold, nothing).take(loops, 1).samples_s[0]


def naive(double: Double, call: Call, loops: int) -> float:
    """What a pair of events reads that is recorded around calls as they are submitted."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(loops):
        call()
    end.record()
    double.synchronize()
    return float(start.elapsed_time(end)) * 1e-3 / loops


# The pitfalls of a GPU's clock. Each test first shows that the double has the pitfall, then that the device is not caught by it.


def test_pitfall_launches_are_asynchronous(double: Double, cuda: Device) -> None:
    work = double.work(250e-6)
    before = time.perf_counter()
    work.call()
    assert time.perf_counter() - before < 10e-6
    for clock in cuda.clocks:
        assert read(cuda, clock, work, loops=20) == pytest.approx(250e-6, rel=0.01), clock


def test_pitfall_events_hold_the_gaps_in_which_the_device_waits_for_the_host(double: Double, cuda: Device) -> None:
    work = double.work(4e-6, host_s=40e-6)
    assert naive(double, work.call, 50) > 40e-6
    batch = cuda.stopwatch("cuda_event", work, False, nothing).take(50, 1)
    assert batch.samples_s[0] == pytest.approx(4e-6, rel=0.01)
    assert batch.launch_s == pytest.approx(45e-6, rel=0.02)
    assert read(cuda, "cuda_graph", work, loops=50) == pytest.approx(4e-6, rel=0.01)


def test_pitfall_a_call_that_waits_for_the_device_can_not_hang_the_queue(double: Double, cuda: Device) -> None:
    work = double.work(300e-6, inside=double.synchronize)
    began = double.now_s
    for clock, why in (
        ("cuda_event", "waits for the device inside"),
        ("cuda_graph", "capture failed: CUDA error: operation not"),
    ):
        with pytest.raises(Unfit, match=why):
            read(cuda, clock, work, loops=20)
    assert double.now_s - began < 1
    assert read(cuda, "cuda_host", work, loops=20) == pytest.approx(310e-6, rel=0.02)


def test_pitfall_a_full_launch_queue_makes_the_host_wait(double: Double, cuda: Device) -> None:
    work = double.work(400e-6, kernels=40)
    watch = cuda.stopwatch("cuda_event", work, False, nothing)
    many = watch.take(4, 16)  # 2,560 launches
    assert 1 <= len(many.samples_s) < 7
    assert many.blocked is True
    one = watch.take(100, 1)  # 4,000 launches in one sample: in several windows
    for batch in (many, one):
        assert batch.samples_s == pytest.approx([400e-6] * len(batch.samples_s), rel=0.01)
        assert batch.launch_s == pytest.approx(200e-6, rel=0.05)


def test_a_call_with_more_launches_than_the_queue_holds_is_left_to_graphs(double: Double, cuda: Device) -> None:
    work = double.work(20e-3, kernels=2000)
    with pytest.raises(Unfit, match="launch queue is full"):
        read(cuda, "cuda_event", work)
    assert read(cuda, "cuda_graph", work, loops=3) == pytest.approx(20e-3, rel=0.01)


def test_a_host_slower_than_the_longest_blocker_is_said(double: Double, cuda: Device) -> None:
    work = double.work(1e-3, host_s=0.6)
    with pytest.raises(Unfit, match=r"one call took the host 0\.6 s to submit"):
        read(cuda, "cuda_event", work, loops=2)
    assert max(double.sleeps) < 0.6


def test_pitfall_kernels_on_another_stream_than_the_events(double: Double, cuda: Device) -> None:
    other = double.new_stream()
    elsewhere = Work(lambda: double.launch(Kernel(250e-6), other))
    with pytest.raises(Unfit, match="another stream"):
        read(cuda, "cuda_event", elsewhere)
    with pytest.raises(Unfit, match="another stream"):
        read(cuda, "cuda_graph", elsewhere)

    def partly() -> None:
        double.launch(Kernel(5e-6))
        double.launch(Kernel(250e-6), other)

    events, host = (read(cuda, clock, Work(partly), loops=20) for clock in ("cuda_event", "cuda_host"))
    assert events == pytest.approx(5e-6, rel=0.05)
    assert host > 10 * events  # the second clock shows it


def test_pitfall_the_l2_is_warm_from_the_sample_before(double: Double, cuda: Device) -> None:
    work = double.work(100e-6, cold_s=160e-6)
    work.call()
    assert naive(double, work.call, 10) == pytest.approx(100e-6, rel=0.01)
    for clock in ("cuda_event", "cuda_graph"):
        assert read(cuda, clock, work, cold=True, loops=10) == pytest.approx(160e-6, rel=0.01), clock


@pytest.mark.parametrize("l2_bytes", [4 * 2**20, 50 * 2**20, 126 * 2**20, 400 * 2**20])
def test_pitfall_a_flush_of_fixed_size(l2_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    double = Double(l2_bytes=l2_bytes).install(monkeypatch)
    work = double.work(100e-6, cold_s=160e-6, touched_bytes=2 * 2**20)
    device = load("cuda")
    assert read(device, "cuda_event", work, cold=True, loops=10) == pytest.approx(160e-6, rel=0.01)
    assert device.describe()["flush_bytes"] == 2 * l2_bytes
    monkeypatch.setattr(_cuda_cache.Cache, "__init__", fixed_flush)
    fixed = read(load("cuda"), "cuda_event", work, cold=True, loops=10)
    assert fixed == pytest.approx(100e-6 if l2_bytes > 256 * 2**20 else 160e-6, rel=0.01)


def fixed_flush(cache: Any, device: torch.device, properties: Any) -> None:
    cache._device, cache._buffer, cache.reported_bytes, cache.flush_bytes = device, None, None, 256 * 2**20


def test_an_l2_that_is_not_reported_is_assumed_large_and_null_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    Double(reports_l2=False).install(monkeypatch)
    facts = load("cuda").describe()
    assert facts["last_level_cache_bytes"] is None
    assert facts["flush_bytes"] == 256 * 2**20


def test_pitfall_the_flush_in_the_window(double: Double, cuda: Device) -> None:
    work = double.work(4.8e-6)
    flush = double.work(52e-6, touched_bytes=100 * 2**20)

    def both() -> None:
        flush.call()
        work.call()

    assert read(cuda, "cuda_event", Work(both), loops=200) > 50e-6
    assert read(cuda, "cuda_event", work, cold=True, loops=200) == pytest.approx(4.8e-6, rel=0.02)
    assert read(cuda, "cuda_host", work, cold=True, loops=10) < 20e-6


def test_pitfall_too_few_rotations_measure_a_warm_l2(double: Double, cuda: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    work = double.work(100e-6, cold_s=160e-6, touched_bytes=8 * 2**20)
    watch = cuda.stopwatch("cuda_graph", work, True, nothing)
    assert watch.touched_bytes is not None and watch.touched_bytes - 8 * 2**20 >= 2 * double.l2_bytes
    for _ in range(5):  # fewer calls in a sample than copies: the next sample goes on where this one ended
        assert watch.take(3, 1).samples_s == pytest.approx([160e-6], rel=0.01)
    monkeypatch.setattr(_cuda_graph, "_rotations", lambda work, cache: 4)
    assert read(cuda, "cuda_graph", work, cold=True, loops=8) == pytest.approx(100e-6, rel=0.01)


def test_pitfall_replays_are_never_flushed_and_flushed_rows_never_replayed(
    double: Double, cuda: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[None] = []
    monkeypatch.setattr(_cuda_cache.Cache, "flush", lambda cache: flushed.append(None))
    work = double.work(100e-6)
    rotated = cuda.stopwatch("cuda_graph", work, True, nothing)
    rotated.take(10, 2)
    assert not flushed
    assert rotated.touched_bytes == 14 * 8 * 2**20
    assert cuda.stopwatch("cuda_graph", work, False, nothing).touched_bytes == 8 * 2**20
    by_flush = cuda.stopwatch("cuda_event", work, True, nothing)
    by_flush.take(10, 1)
    assert len(flushed) == 10
    assert by_flush.touched_bytes is None


def test_pitfall_a_first_launch_loads_and_a_first_replay_uploads(double: Double, cuda: Device) -> None:
    double.load_s, double.upload_s = 20e-3, 30e-3
    for clock in ("cuda_event", "cuda_graph"):
        batch = cuda.stopwatch(clock, double.work(200e-6), False, nothing).take(2, 1)
        assert batch.samples_s == pytest.approx([200e-6], rel=0.01), clock


def test_pitfall_events_step_by_half_a_microsecond(double: Double, cuda: Device) -> None:
    work = double.work(1.3e-6)
    assert round(naive(double, work.call, 1) / 0.5e-6, 6).is_integer()
    assert read(cuda, "cuda_event", work, loops=100) == pytest.approx(1.3e-6, rel=0.01)
    with pytest.raises(Unfit, match="events read 0 s"):
        read(cuda, "cuda_event", double.work(1e-9))
