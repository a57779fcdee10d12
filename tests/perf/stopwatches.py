"""Stop-watches of other packages beside fabench's own, each as it measures by default, in this process.

- torch: `Timer.blocked_autorange()`, at least 0.2 s.
- triton: `triton.testing.do_bench` itself, on a driver whose events read the host's clock (it has none for a CPU). Its median; its default
  is the mean. There is no cache to flush.
- pyperf: one worker of `Runner` after its calibration of loops, here in this process: 10 values of 0.1 s or more. On its own it would
  start 20 such processes of 3 values. Left out where the package is not installed.
- pytest-benchmark: the `benchmark` fixture with the plugin's defaults (5 rounds or 1 s).

Only fabench gives an interval of the median.
"""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import io
import itertools
import statistics
import time
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch.utils.benchmark
import triton.testing
from pytest_benchmark.fixture import BenchmarkFixture
from pytest_benchmark.utils import NameWrapper
from triton.runtime import driver

from fabench.devices.base import Work
from fabench.devices.cpu import Device
from fabench.measure.timing import FirstCall, time_call
from fabench.median import median, median_interval
from fabench.schema import Measure

__all__ = ["STOPWATCHES", "Reading", "missing"]

Call = Callable[[], None]


@dataclass(frozen=True)
class Reading:
    """What a stop-watch says: the median, its 95 % interval where it gives one, and the seconds that its samples took."""

    median_s: float
    sampled_s: float
    interval_s: tuple[float, float] | None = None


def _now() -> float:
    return time.perf_counter()  # looked up anew, so that a scripted clock is seen


def _fabench(call: Call) -> Reading:
    timing, _ = time_call(Device("cpu"), Work(call), Measure(witness=False), FirstCall(0.0), lambda phase: None)
    samples = timing.samples_s
    return Reading(median(samples), sum(samples) * timing.loops, median_interval(samples))


def _torch(call: Call) -> Reading:
    timer = torch.utils.benchmark.Timer("call()", globals={"call": call}, timer=_now)
    found = timer.blocked_autorange()
    return Reading(found.median, sum(found.raw_times))


class _Event:
    def __init__(self, enable_timing: bool) -> None:
        self.at_s = 0.0

    def record(self) -> None:
        self.at_s = _now()

    def elapsed_time(self, later: _Event) -> float:
        return (later.at_s - self.at_s) * 1e3


_HOST_DRIVER = types.SimpleNamespace(
    get_device_interface=lambda: types.SimpleNamespace(Event=_Event, synchronize=lambda: None),
    get_empty_cache_for_benchmark=lambda: None,
    clear_cache=lambda cache: None,
)


def _triton(call: Call) -> Reading:
    before = getattr(driver, "_active", None)
    driver.set_active(_HOST_DRIVER)
    try:
        times_s = [ms / 1e3 for ms in triton.testing.do_bench(call, return_mode="all")]
    finally:
        driver.set_active(before)
    return Reading(statistics.median(times_s), sum(times_s))


_runner: Any = None
_names = itertools.count()


def _pyperf(call: Call) -> Reading:
    def timed(loops: int) -> float:
        start = _now()
        for _ in range(loops):
            call()
        return _now() - start

    runner = _pyperf_runner()
    with contextlib.redirect_stdout(io.StringIO()):
        runner.args.calibrate_loops, runner.args.loops = True, 0
        (calibration,) = runner.bench_time_func(f"calibration {next(_names)}", timed).get_runs()
        runner.args.calibrate_loops, runner.args.loops = False, calibration.warmups[-1][0]
        values = runner.bench_time_func(f"values {next(_names)}", timed).get_values()
    return Reading(statistics.median(values), sum(values) * runner.args.loops)


def _pyperf_runner() -> Any:
    """pyperf allows one runner per process."""
    global _runner
    if _runner is None:
        import pyperf

        _runner = pyperf.Runner(values=10)
        _runner.parse_args(["--worker", "--calibrate-loops", "--warmups=1"])
    return _runner


def _pytest_benchmark(call: Call) -> Reading:
    make: Any = BenchmarkFixture  # the plugin annotates only a part of itself
    named: Any = NameWrapper
    defaults = {
        "node": types.SimpleNamespace(name="planted", nodeid="planted"),
        "timer": named(_now),
        "disable_gc": False, "min_rounds": 5, "min_time": 5e-6, "max_time": 1.0, "precision": None, "confidence": None,
        "warmup": False, "warmup_iterations": 100000, "calibration_precision": 10,
        "add_stats": lambda stats: None,
        "logger": types.SimpleNamespace(debug=lambda *words, **colours: None),
        "warner": None, "disabled": False, "cprofile": False, "cprofile_loops": None, "cprofile_dump": None,
    }  # fmt: skip
    known = inspect.signature(BenchmarkFixture).parameters  # older releases have no precision
    fixture = make(**{name: value for name, value in defaults.items() if name in known})
    fixture(call)
    found = fixture.stats
    return Reading(found.stats.median, sum(found.stats.data) * found.iterations)


STOPWATCHES: dict[str, Callable[[Call], Reading]] = {
    "fabench": _fabench,
    "torch": _torch,
    "triton": _triton,
    "pyperf": _pyperf,
    "pytest-benchmark": _pytest_benchmark,
}


def missing(name: str) -> str | None:
    """Why a stop-watch can't be used here, or None."""
    if name == "pyperf" and importlib.util.find_spec("pyperf") is None:
        return "pyperf is not installed, so its rows are left out; pip install -e '.[perf]' brings it"
    return None
