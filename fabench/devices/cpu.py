"""The CPU: host clock, pinned threads, and a peak that is exact because the profiler reports every allocation.

The allocator's running sum is the number that repeats from process to process; the resident set does not (it varies with
what malloc keeps), so it is recorded beside it and never judged.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import torch

from fabench.devices._rates import copy_rate, product_rate
from fabench.devices.base import Call, Peak
from fabench.devices.base import Device as Base
from fabench.schema import Measure

_CACHE_FOLDER = Path("/sys/devices/system/cpu/cpu0/cache")
_DEFAULT_CACHE_BYTES = 64 * 2**20


class Device(Base):
    """The host's processor."""

    clock = "perf_counter"

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
            "affinity": sorted(os.sched_getaffinity(0)),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "last_level_cache_bytes": last_level_cache_bytes(),
        }

    def synchronise(self) -> None:
        """Calls return when they are done."""

    def sample(self, call: Call, loops: int, cold: bool) -> float:
        """Host clock around the calls; cold runs time one call at a time, each after the cache was overwritten."""
        if not cold:
            start = time.perf_counter()
            for _ in range(loops):
                call()
            return (time.perf_counter() - start) / loops
        total = 0.0
        for _ in range(loops):
            self._flush_cache()
            start = time.perf_counter()
            call()
            total += time.perf_counter() - start
        return total / loops

    def _flush_cache(self) -> None:
        if self._flush is None:
            size = 2 * (last_level_cache_bytes() or _DEFAULT_CACHE_BYTES)
            self._flush = torch.zeros(size // 4, dtype=torch.float32)
        self._flush.add_(1.0)

    def peak(self, call: Call) -> Peak:
        """Largest running sum of the profiler's memory events: allocations and releases, in their order."""
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
            result = call()
        del result
        results = profile.profiler.kineto_results if profile.profiler is not None else None
        if results is None:
            raise RuntimeError("torch's profiler returned no results")
        events = [(event.start_ns(), event.nbytes()) for event in results.events() if event.name() == "[memory]"]
        running = highest = 0
        for _, size in sorted(events, key=lambda event: event[0]):
            running += size
            highest = max(highest, running)
        return Peak(delta_bytes=highest)

    def rates(self) -> dict[str, Any]:
        """Copies of 128 MiB and products of 1024 x 1024, on the threads in use."""
        return {
            "copy_bytes_per_s": copy_rate(self, 2**28, tries=4),
            "flop_per_s": product_rate(self, (torch.float32, torch.float64, torch.bfloat16), side=768, tries=3),
        }


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
