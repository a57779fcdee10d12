"""The CUDA device's own code on a double of torch.cuda: the contract, and what it does where things go wrong."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch

from fabench.devices import _cuda_cache, _cuda_graph, _cuda_queue, _nvml
from fabench.devices.base import Call, Device, Unfit, Work, load
from fabench.measure import timing
from fabench.measured import Timing
from fabench.median import median
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
    replay = cuda.stopwatch("cuda_graph", work, False, nothing).take(50, 1)
    assert replay.samples_s[0] == pytest.approx(4e-6, rel=0.01)
    assert replay.launch_s is None  # what a replay takes to submit is not what the call takes


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


def test_a_flush_does_not_hide_the_host_of_a_call_that_waits(double: Double, cuda: Device) -> None:
    work = double.work(100e-6, host_s=40e-6, inside=double.synchronize, synchronises=True)
    hot, cold = (read(cuda, "cuda_event", work, cold=cold, loops=20) for cold in (False, True))
    assert cold == pytest.approx(hot, rel=0.02)
    assert cold > 145e-6


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


# The blocker.


@pytest.mark.parametrize("sleep_hz", [1e8, 2.1e8, 1.98e9, 6e9])
def test_the_blocker_is_as_long_as_needed_at_any_clock(sleep_hz: float, monkeypatch: pytest.MonkeyPatch) -> None:
    double = Double(sleep_hz=sleep_hz).install(monkeypatch)
    batch = load("cuda").stopwatch("cuda_event", double.work(30e-6), False, nothing).take(100, 8)
    assert batch.blocked is True
    assert batch.samples_s == pytest.approx([30e-6] * len(batch.samples_s), rel=0.01)
    assert max(double.sleeps) < 0.2


def test_a_clock_that_rises_makes_blockers_too_short_once(double: Double, cuda: Device) -> None:
    work = double.work(30e-6, host_s=100e-6)
    watch = cuda.stopwatch("cuda_event", work, False, nothing)
    watch.take(50, 1)
    double.sleep_hz *= 8
    before = len(double.sleeps)
    assert watch.take(50, 1).samples_s == pytest.approx([30e-6], rel=0.01)
    again = len(double.sleeps)
    assert watch.take(50, 1).samples_s == pytest.approx([30e-6], rel=0.01)
    assert (again - before, len(double.sleeps) - again) == (2, 1)


def test_a_host_that_is_held_up_before_the_blocker_does_not_shorten_the_next(double: Double, cuda: Device) -> None:
    watch = cuda.stopwatch("cuda_event", double.work(30e-6, host_s=100e-6), False, nothing)
    watch.take(50, 1)
    double.held_up_s = 0.2
    watch.take(50, 1)
    before = len(double.sleeps)
    assert watch.take(50, 1).samples_s == pytest.approx([30e-6], rel=0.01)
    assert len(double.sleeps) - before == 1


def test_the_driver_is_looked_at_while_the_queue_works(double: Double, cuda: Device) -> None:
    looks: list[float] = []
    watch = cuda.stopwatch("cuda_event", double.work(3e-3), False, lambda: looks.append(double.now_s))
    before = double.now_s
    watch.take(10, 2)
    assert len([at for at in looks if before < at < double.now_s]) > 100


def test_a_host_that_is_held_up_once_costs_a_retry_and_no_samples(double: Double, cuda: Device) -> None:
    hiccups = iter([0.0] * 40 + [30e-3] + [0.0] * 10**4)

    def hiccup() -> None:
        double.now_s += next(hiccups)

    watch = cuda.stopwatch("cuda_event", double.work(30e-6, inside=hiccup), False, nothing)
    batch = watch.take(10, 16)
    assert len(batch.samples_s) == 16
    assert batch.samples_s == pytest.approx([30e-6] * 16, rel=0.01)


def test_a_device_that_never_finishes_is_not_waited_for_for_ever(
    double: Double, cuda: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _cuda_queue.PATIENCE_S == 600
    monkeypatch.setattr(_cuda_queue, "PATIENCE_S", 2.0)
    with pytest.raises(TimeoutError, match="did not finish what was queued within 2 s"):
        read(cuda, "cuda_event", double.work(1e6))


# Faults.


def test_a_sticky_error_is_never_taken_for_a_reason_to_try_the_next_clock(double: Double, cuda: Device) -> None:
    for clock in cuda.clocks:
        double.error = None

        def poison() -> None:
            double.fails_at_s = double.now_s + 30e-6

        with pytest.raises(RuntimeError, match="illegal memory access"):
            read(cuda, clock, double.work(300e-6, inside=poison), loops=5)
        double.fails_at_s = None
        with pytest.raises(RuntimeError, match="illegal memory access"):
            cuda.synchronise()


def test_a_capture_that_fails_says_why_and_leaves_the_device_usable(double: Double, cuda: Device) -> None:
    with pytest.raises(Unfit, match="capture failed: CUDA error: operation not permitted when stream is capturing"):
        read(cuda, "cuda_graph", double.work(1e-3, inside=double.synchronize))
    assert double.capturing is None and double.current is double.default
    assert read(cuda, "cuda_event", double.work(1e-3)) == pytest.approx(1e-3, rel=0.01)


def test_copies_without_room_are_refused_before_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    double = Double(memory_bytes=2**28).install(monkeypatch)
    with pytest.raises(Unfit, match="14 copies take 112 MiB, more than half of the 156 MiB that are free"):
        double.statistics["reserved_bytes.all.current"] = 100 * 2**20
        load("cuda").stopwatch("cuda_graph", double.work(1e-3), True, nothing)


def test_copies_that_run_out_of_memory_are_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    double = Double(memory_bytes=2**28).install(monkeypatch)

    def another() -> Call:
        block = double.allocate(2**25)
        return lambda: block

    with pytest.raises(Unfit, match="capture failed: CUDA out of memory"):
        load("cuda").stopwatch("cuda_graph", Work(lambda: None, 8 * 2**20, another), True, nothing)
    assert double.statistics["allocated_bytes.all.current"] == 0


@pytest.mark.parametrize(
    ("touched", "copies", "why"),
    [(1000, True, "more than 1024"), (8 * 2**20, False, "can't be copied"), (None, True, "does not say how large")],
)
def test_a_cold_replay_that_can_not_rotate_says_why(
    double: Double, cuda: Device, touched: int | None, copies: bool, why: str
) -> None:
    work = double.work(1e-3, copies=copies)
    with pytest.raises(Unfit, match=why):
        cuda.stopwatch("cuda_graph", Work(work.call, touched, work.another), True, nothing)


def test_a_call_that_waits_and_says_so_is_not_captured(cuda: Device) -> None:
    with pytest.raises(Unfit, match="waits for the device inside"):
        cuda.stopwatch("cuda_graph", Work(nothing, synchronises=True), False, nothing)


# The ladder as the timing uses it.


def timed(device: Device, work: Work, **settings: Any) -> Timing:
    measure = Measure(min_samples=6, max_s=0.2, warmup_s=0.01, **settings)
    found, _ = timing.time_call(device, work, measure, timing.FirstCall(0.5), lambda phase: None)
    return found


def test_the_ladder_ends_on_the_first_clock_that_fits_and_keeps_the_reasons(double: Double, cuda: Device) -> None:
    double.load_s = 30e-3
    best = timed(cuda, double.work(150e-6, host_s=20e-6))
    assert (best.clock, best.ladder, best.blocked) == ("cuda_event", (), True)
    assert median(best.samples_s) == pytest.approx(150e-6, rel=0.01)
    assert best.launch_s == pytest.approx(25e-6, rel=0.05)
    waits = timed(cuda, double.work(2e-3, inside=double.synchronize))
    assert (waits.clock, waits.blocked) == ("cuda_host", None)
    assert [reason.partition(":")[0] for reason in waits.ladder] == ["cuda_event", "cuda_graph"]


def test_a_second_clock_shows_what_events_do_not_see(double: Double, cuda: Device) -> None:
    other = double.new_stream()

    def partly() -> None:
        double.launch(Kernel(5e-6))
        double.launch(Kernel(250e-6), other)

    found = timed(cuda, Work(partly))
    assert found.clock == "cuda_event" and found.witness is not None and found.witness.clock == "cuda_host"
    assert median(found.witness.samples_s) > 10 * median(found.samples_s)
    honest = timed(cuda, double.work(250e-6))
    assert honest.witness is not None
    assert median(honest.witness.samples_s) == pytest.approx(median(honest.samples_s), rel=0.02)


# Memory, energy, facts.


class Board(_nvml.Board):
    """Tells what it was given; its counter has taken `watts` all along and steps every `step_s`."""

    def __init__(self, double: Double, step_s: float | None = 0.02) -> None:
        self.double, self.step_s = double, step_s

    def facts(self) -> dict[str, Any]:
        return {"driver": "580.1", "power_limit_w": 700.0}

    def memory(self) -> tuple[int | None, int | None]:
        reserved = self.double.statistics["reserved_bytes.all.current"]
        return reserved + 500 * 2**20, reserved + 800 * 2**20

    def energy_j(self) -> float | None:
        self.double.now_s += 2e-3
        return None if self.step_s is None else self.double.now_s // self.step_s * self.step_s * 400


@pytest.fixture
def board(double: Double, monkeypatch: pytest.MonkeyPatch) -> Board:
    board = Board(double)
    monkeypatch.setattr(_nvml, "board", lambda uuid: board)
    return board


def test_the_peak_knows_what_was_asked_for_what_was_rounded_and_what_the_driver_sees(
    double: Double, cuda: Device, board: Board
) -> None:
    held = double.allocate(1000)
    peak = cuda.peak(lambda: [double.allocate(1500), double.allocate(3 * 2**20)])
    assert (peak.baseline_bytes, peak.baseline_requested_bytes) == (1024, 1000)
    assert (peak.delta_bytes, peak.requested_bytes) == (1536 + 3 * 2**20, 1500 + 3 * 2**20)
    assert peak.reserved_bytes == 4 * 2**20
    assert peak.process_bytes == 504 * 2**20
    assert peak.device_bytes == 804 * 2**20
    assert held.size == 1000


def test_what_cuda_malloc_async_does_not_count_is_unknown(double: Double, cuda: Device, board: Board) -> None:
    double.backend = "cudaMallocAsync"
    peak = cuda.peak(lambda: double.allocate(2**20))
    assert (peak.requested_bytes, peak.baseline_requested_bytes) == (None, None)
    assert peak.delta_bytes == 2**20
    assert cuda.describe()["allocator"] == "cudaMallocAsync"


def test_a_peak_of_an_earlier_cell_is_not_this_ones(double: Double, cuda: Device) -> None:
    double.allocate(2**30)
    peak = cuda.peak(lambda: double.allocate(2**20))
    assert (peak.delta_bytes, peak.reserved_bytes) == (2**20, 2 * 2**20)
    assert (peak.process_bytes, peak.device_bytes) == (None, None)


def test_out_of_memory_is_raised_as_torch_raises_it(double: Double, cuda: Device) -> None:
    with pytest.raises(torch.OutOfMemoryError):
        cuda.peak(lambda: double.allocate(2**40))


@pytest.mark.parametrize("seconds", [40e-6, 3e-3, 0.3])
def test_energy_is_power_times_time(double: Double, cuda: Device, board: Board, seconds: float) -> None:
    assert cuda.energy(double.work(seconds).call) == pytest.approx(400 * seconds, rel=0.04)


@pytest.mark.parametrize("step_s", [None, 0.2])
def test_energy_that_can_not_be_read_finely_enough_is_unknown(
    double: Double, cuda: Device, board: Board, step_s: float | None
) -> None:
    board.step_s = step_s
    assert cuda.energy(double.work(1e-3).call) is None


def test_the_environment_says_what_decides_a_number(
    double: Double, cuda: Device, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
    facts = cuda.describe()
    assert facts["allocator_settings"] == {"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True"}
    assert (facts["driver"], facts["power_limit_w"], facts["capability"]) == ("580.1", 700.0, "9.0")
    assert (facts["last_level_cache_bytes"], facts["flush_bytes"]) == (50 * 2**20, 100 * 2**20)


def test_a_device_that_is_not_there_says_so(double: Double) -> None:
    assert load("cuda:1").missing() == "cuda:1 is not there; torch sees 1 GPU(s)"


def test_rocm_is_the_same_device_with_a_larger_flush(double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "hip", "6.2")
    monkeypatch.setattr(torch.version, "cuda", None)
    double.sleep_hz = 1e8
    device = load("cuda")
    assert device.missing() is None
    assert device.describe()["flush_bytes"] == 512 * 2**20
    assert read(device, "cuda_event", double.work(100e-6, cold_s=160e-6), cold=True, loops=10) == pytest.approx(160e-6, rel=0.01)
