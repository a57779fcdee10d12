"""The CUDA device on hardware: the same contract as on its double, and what a double can't tell. Never run so far.

Calls of known time are kernels that count cycles; how long a cycle is, is read by the host's clock just before. So what events are held
to here is a clock that shares nothing with them, within 5 %: launches between kernels, and a clock that moved since, are in that.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

import pytest
import torch

from fabench.devices.base import Call, Device, Unfit, Work, load
from fabench.measure import cell
from fabench.median import median
from fabench.schema import Case, Cell, Job, Measure
from tests.devices.contract import Contract, Rig

pytestmark = pytest.mark.gpu


def nothing() -> None: ...


def cycles_per_s() -> float:
    """By the host's clock around one long kernel, after half a second in which the clocks could rise."""
    for cycles in (500_000_000, 500_000_000, 200_000_000):
        torch.cuda.synchronize()
        start = time.perf_counter()
        torch.cuda._sleep(cycles)
        torch.cuda.synchronize()
        rate = cycles / (time.perf_counter() - start)
    return rate


def spin(seconds: float) -> None:
    """Keeps the host busy."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


@pytest.fixture
def cuda() -> Device:
    device = load("cuda")
    device.prepare(Measure())
    return device


@pytest.fixture
def sleeping() -> Callable[[float], Call]:
    """Makes calls that take the device a known time."""
    rate = cycles_per_s()

    def make(seconds: float) -> Call:
        cycles = round(seconds * rate)
        return lambda: torch.cuda._sleep(cycles)

    return make


def samples(device: Device, clock: str, work: Work, cold: bool = False, loops: int = 1, count: int = 9) -> tuple[float, ...]:
    watch = device.stopwatch(clock, work, cold, nothing)
    found: tuple[float, ...] = ()
    while len(found) < count:
        found += watch.take(loops, count - len(found)).samples_s
    return found


class TestContract(Contract):
    @pytest.fixture
    def rig(self, cuda: Device, sleeping: Callable[[float], Call]) -> Rig:
        def work(seconds: float) -> Work:
            call = sleeping(seconds)
            return Work(call, 8 * 2**20, lambda: call)

        def slow(device_s: float, host_s: float) -> Work:
            call = sleeping(device_s)

            def both() -> None:
                spin(host_s)
                call()

            return Work(both)

        def waiting(seconds: float) -> Work:
            call = sleeping(seconds)

            def both() -> None:
                call()
                torch.cuda.synchronize()

            return Work(both)

        return Rig(
            cuda,
            work=work,
            pause=time.sleep,
            allocate=lambda size: lambda: torch.empty(size, dtype=torch.uint8, device="cuda"),
            durations_s=(200e-6, 3e-3),
            slow=slow,
            waiting=waiting,
            tolerance=0.05,
            most=30,
        )


def test_events_graphs_and_the_host_agree_where_calls_are_long(cuda: Device) -> None:
    a = torch.randn(4096, 4096, device="cuda")
    out = torch.empty_like(a)
    work = Work(lambda: torch.mm(a, a, out=out))
    for _ in range(20):
        work.call()
    read = {clock: median(samples(cuda, clock, work, loops=20)) for clock in cuda.clocks}
    assert read["cuda_host"] == pytest.approx(read["cuda_event"], rel=0.05)
    assert read["cuda_graph"] == pytest.approx(read["cuda_event"], rel=0.05)


def test_small_kernels_are_timed_without_their_launches(cuda: Device) -> None:
    x = torch.zeros(1024, device="cuda")

    def call() -> None:
        spin(50e-6)
        x.add_(1)

    watch = cuda.stopwatch("cuda_event", Work(call), False, nothing)
    batch = watch.take(100, 4)
    assert batch.blocked is True
    assert median(batch.samples_s) < 20e-6
    assert batch.launch_s is not None and batch.launch_s >= 50e-6


def cached_copy() -> Work:
    """A copy of a quarter of the L2, on tensors that can be made anew."""
    size = max(2**20, torch.cuda.get_device_properties(0).L2_cache_size // 8)

    def another() -> Call:
        source, target = (torch.zeros(size, dtype=torch.uint8, device="cuda") for _ in range(2))
        return lambda: target.copy_(source)

    return Work(another(), 2 * size, another)


@pytest.mark.parametrize("clock", ["cuda_event", "cuda_graph"])
def test_cold_calls_are_slower_than_hot_ones(cuda: Device, clock: str) -> None:
    work = cached_copy()
    hot, cold = (median(samples(cuda, clock, work, cold=cold, loops=50)) for cold in (False, True))
    assert cold > hot


def test_what_rotates_touches_more_than_the_l2(cuda: Device) -> None:
    work = cached_copy()
    assert work.touched_bytes is not None
    watch = cuda.stopwatch("cuda_graph", work, True, nothing)
    assert watch.touched_bytes is not None
    assert watch.touched_bytes - work.touched_bytes > torch.cuda.get_device_properties(0).L2_cache_size


def test_a_full_launch_queue_shortens_it_and_not_the_times(cuda: Device, sleeping: Callable[[float], Call]) -> None:
    step = sleeping(20e-6)

    def call() -> None:
        for _ in range(50):
            step()

    watch = cuda.stopwatch("cuda_event", Work(call), False, nothing)
    batch = watch.take(50, 4)  # 10,000 launches
    assert batch.blocked is True
    assert median(batch.samples_s) == pytest.approx(1e-3, rel=0.15)  # 50 gaps between kernels are in it


def test_a_stopwatch_leaves_no_memory_behind(cuda: Device) -> None:
    work = cached_copy()
    cuda.stopwatch("cuda_event", work, True, nothing).take(1, 1)  # the flush buffer stays with the device
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    watch = cuda.stopwatch("cuda_graph", work, True, nothing)
    watch.take(2, 1)
    assert torch.cuda.memory_allocated() > before
    del watch
    assert torch.cuda.memory_allocated() == before


def test_a_failed_capture_leaves_the_device_usable(cuda: Device) -> None:
    x = torch.ones(1024, device="cuda")
    with pytest.raises(Unfit, match="capture failed"):
        cuda.stopwatch("cuda_graph", Work(lambda: float(x.sum())), False, nothing)
    assert samples(cuda, "cuda_event", Work(lambda: x.mul_(1)), loops=50)
    assert float(x.sum()) == 1024


def test_a_sticky_error_is_raised_and_ends_the_process_that_had_it() -> None:
    code = (
        "import torch; from fabench.devices.base import Work, load; from fabench.schema import Measure;"
        "d = load('cuda'); d.prepare(Measure()); x = torch.zeros(4, device='cuda'); i = torch.full((4,), 10**6, device='cuda');"
        "d.stopwatch('cuda_event', Work(lambda: x[i]), False, lambda: None).take(1, 1)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode != 0
    assert "CUDA error" in done.stderr
    assert "Unfit" not in done.stderr


def test_the_drivers_figures_fit_torchs(cuda: Device) -> None:
    peak = cuda.peak(lambda: torch.zeros(2**26, dtype=torch.uint8, device="cuda"))
    assert (peak.delta_bytes, peak.requested_bytes) == (2**26, 2**26)
    assert peak.reserved_bytes is not None and peak.reserved_bytes >= 2**26
    assert peak.process_bytes is None or peak.process_bytes > peak.reserved_bytes
    assert peak.device_bytes is None or peak.device_bytes >= peak.reserved_bytes


def test_energy_is_unknown_or_plausible(cuda: Device) -> None:
    a = torch.randn(4096, 4096, device="cuda")
    call = Work(lambda: a @ a)
    seconds = median(samples(cuda, "cuda_event", call, loops=10))
    joules = cuda.energy(call.call)
    assert joules is None or 20 < joules / seconds < 3000  # watts


def test_the_environment_names_the_board(cuda: Device) -> None:
    facts = cuda.describe()
    assert facts["flush_bytes"] >= 2 * facts["last_level_cache_bytes"] > 0
    assert facts["memory_bytes"] > 2**30
    assert facts["allocator"] in ("native", "cudaMallocAsync")


@pytest.mark.parametrize("name", ["dot_product", "factorized", "sdpa_flash", "sdpa_efficient", "sdpa_cudnn", "sdpa_math"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_cells_end_ok_or_say_why(name: str, dtype: str) -> None:
    case = Case(n=2048, m=2048, heads=4, dtype=dtype, mode="fwd_bwd")
    record = cell.run(Job(Cell(name, "cuda", case), Measure(max_s=0.1)), lambda phase: None)
    assert record.status in ("ok", "unsupported"), record.reason
    if record.status == "ok":
        assert record.timing is not None
        assert record.timing.blocked is True or record.timing.ladder, "a queue that was not complete has its reason"


@pytest.mark.parametrize("mode", ["fwd", "bwd", "fwd_bwd"])
@pytest.mark.parametrize("cache", ["hot", "cold"])
def test_every_mode_can_be_captured(mode: str, cache: str) -> None:
    case = Case(n=4096, m=4096, heads=8, dtype="bfloat16", mode=mode)
    measure = Measure(max_s=0.1, clock="cuda_graph", cache=cache)
    record = cell.run(Job(Cell("factorized", "cuda", case), measure), lambda phase: None)
    assert record.status == "ok", record.reason
    assert record.timing is not None and record.timing.clock == "cuda_graph"
    assert record.timing.touched_bytes is not None
