"""The CPU: host clock, pinned threads, and a peak that is exact because the profiler reports every allocation.

The allocator's running sum is the number that repeats from process to process; the resident set does not (it varies with
what malloc keeps), so it is recorded beside it and never judged.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from fabench.devices._blocks import trace
from fabench.devices._host_load import HostObserver, processors
from fabench.devices._rates import copy_rate, product_rate
from fabench.devices.base import Batch, Call, Observer, Peak, Stopwatch, Unfit, Work
from fabench.devices.base import Device as Base
from fabench.schema import Measure

_CACHE_FOLDER = Path("/sys/devices/system/cpu/cpu0/cache")
_DEFAULT_CACHE_BYTES = 64 * 2**20
_RAW = getattr(time, "CLOCK_MONOTONIC_RAW", time.CLOCK_MONOTONIC)


class Device(Base):
    """The host's processor."""

    clocks = ("perf_counter",)

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._flush: torch.Tensor | None = None

    def missing(self) -> str | None:
        """A CPU is always there; "cpu:1" is not."""
        return None if self.name == "cpu" else f"there is no device {self.name}; the CPU is called cpu"

    def prepare(self, measure: Measure) -> None:
        """Threads as asked (the processors they may run on were set before torch was imported, so that OpenMP saw them)."""
        torch.set_num_threads(measure.threads or max(1, len(os.sched_getaffinity(0))))

    def describe(self) -> dict[str, Any]:
        """Model, instruction set as torch sees it, threads, memory."""
        return {
            "name": _model(),
            "capability": torch.backends.cpu.get_cpu_capability(),
            "threads": torch.get_num_threads(),
            "affinity": sorted(processors() or os.sched_getaffinity(0)),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "last_level_cache_bytes": last_level_cache_bytes(),
        }

    def synchronise(self) -> None:
        """Calls return when they are done."""

    def stopwatch(self, clock: str, work: Work, cold: bool, look: Callable[[], None]) -> Stopwatch:
        """Host clocks. Cold runs time one call at a time, each after the cache was overwritten."""
        if clock not in self.clocks:
            raise Unfit(f"{self.name} has no clock {clock!r}; there is {', '.join(self.clocks)}")
        return _HostWatch(self, work.call, cold, look)

    def observer(self) -> Observer:
        """The host's load beside a timing that begins now."""
        return HostObserver()

    def flush_cache(self) -> None:
        """Overwrites twice the last-level cache."""
        if self._flush is None:
            size = 2 * (last_level_cache_bytes() or _DEFAULT_CACHE_BYTES)
            self._flush = torch.zeros(size // 4, dtype=torch.float32)
        self._flush.add_(1.0)

    def peak(self, call: Call) -> Peak:
        """What torch's allocator took and gave back during the call, block by block."""
        return trace(call)

    def rates(self) -> dict[str, Any]:
        """Copies of 8 MiB out of 128 and products of 384 x 384, on the threads in use."""
        return {
            "copy_bytes_per_s": copy_rate(self, 2**28, tries=4, parts=16),
            "flop_per_s": product_rate(self, (torch.float32, torch.float64, torch.bfloat16), side=384, tries=60),
        }


class _HostWatch(Stopwatch):
    """perf_counter around the calls, and CLOCK_MONOTONIC_RAW around the same ones: the kernel never steps or slews that one."""

    clock = "perf_counter"
    witness = "monotonic_raw"

    def __init__(self, device: Device, call: Call, cold: bool, look: Callable[[], None]) -> None:
        self._device, self._call, self._cold, self._look = device, call, cold, look

    def take(self, loops: int, count: int) -> Batch:
        """One by one, with the page faults and involuntary switches of each."""
        samples, witness, faults, switches = [], [], [], []
        for _ in range(count):
            before = resource.getrusage(resource.RUSAGE_SELF)
            seconds, raw_s = self._cold_sample(loops) if self._cold else self._hot_sample(loops)
            after = resource.getrusage(resource.RUSAGE_SELF)
            samples.append(seconds)
            witness.append(raw_s)
            faults.append(after.ru_minflt - before.ru_minflt)
            switches.append(after.ru_nivcsw - before.ru_nivcsw)
            self._look()
        return Batch(tuple(samples), tuple(witness), minor_faults=tuple(faults), involuntary_switches=tuple(switches))

    def _hot_sample(self, loops: int) -> tuple[float, float]:
        call = self._call
        raw = time.clock_gettime(_RAW)
        start = time.perf_counter()
        for _ in range(loops):
            call()
        elapsed = time.perf_counter() - start
        return elapsed / loops, (time.clock_gettime(_RAW) - raw) / loops

    def _cold_sample(self, loops: int) -> tuple[float, float]:
        total = raw_total = 0.0
        for _ in range(loops):
            self._device.flush_cache()
            raw = time.clock_gettime(_RAW)
            start = time.perf_counter()
            self._call()
            total += time.perf_counter() - start
            raw_total += time.clock_gettime(_RAW) - raw
        return total / loops, raw_total / loops


def _model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return "unknown CPU"


def last_level_cache_bytes() -> int | None:
    """Size of the largest cache of the first core, or None where the kernel does not say."""
    sizes = []
    for path in _CACHE_FOLDER.glob("index*/size"):
        try:
            text = path.read_text().strip()
        except OSError:
            continue
        if text.endswith("K") and text[:-1].isdigit():
            sizes.append(int(text[:-1]) * 1024)
    return max(sizes, default=None)
