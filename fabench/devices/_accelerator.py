"""An accelerator beside CUDA, through what torch's modules for such devices have in common (torch.xpu, torch.mps).

Nothing in this file has ever run on such hardware; tests run it on a stand-in for the module. Two clocks:

*_event   event pairs, where the device is idle when a window begins. There is no blocker in front (torch has none for all of
          these), so a window also holds the time in which the device waits for the host: samples are called not blocked, and calls
          that are short against their launches read too long.
*_host    the host's clock around the calls of a sample and one synchronise

Cold samples overwrite a buffer before each call, outside the window: twice the last-level cache, or where that is not known, more
than any of these devices has (408 MB on Intel's Max 1550). `flush_bytes` in the environment says which.

The peak is the allocator's where it keeps one. Where it only knows what is allocated now (MPS), it is asked after every operator:
what an operator takes and gives back inside itself is not seen.
"""

from __future__ import annotations

import gc
import time
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from fabench.devices._host_load import HostObserver
from fabench.devices._rates import copy_rate, product_rate
from fabench.devices.base import Batch, Call, Observer, Peak, Stopwatch, Unfit, Work
from fabench.devices.base import Device as Base
from fabench.schema import Measure

__all__ = ["NO_FLOAT64", "Accelerator"]

NO_FLOAT64 = "every result is checked in float64 where it was computed, and this device has no float64"
_ASSUMED_FLUSH_BYTES = 512 * 2**20


class Accelerator(Base):
    """`module`: torch's module for the device. `clocks`: the event clock, the host's clock."""

    module: Any
    least_warmup_s = 0.1

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._flush: torch.Tensor | None = None

    @abstractmethod
    def cache_bytes(self) -> int | None:
        """The last-level cache, None where torch does not tell."""

    @property
    def flush_bytes(self) -> int:
        """What a flush overwrites."""
        cache = self.cache_bytes()
        return _ASSUMED_FLUSH_BYTES if cache is None else 2 * cache

    def prepare(self, measure: Measure) -> None:
        """Nothing to set where there is one device."""

    def synchronise(self) -> None:
        """Waits for the device."""
        self.module.synchronize()

    def observer(self) -> Observer:
        """The host's load; torch has no driver's figures of these devices in common."""
        return HostObserver()

    def stopwatch(self, clock: str, work: Work, cold: bool, look: Callable[[], None]) -> Stopwatch:
        """Events, or the host's clock."""
        if clock not in self.clocks:
            raise Unfit(f"{self.name} has no clock {clock!r}; there are {', '.join(self.clocks)}")
        return _Watch(self, clock, clock == self.clocks[0], work.call, cold, look)

    def flush_cache(self) -> None:
        """Overwrites the buffer."""
        if self._flush is None:
            self._flush = torch.empty(self.flush_bytes, dtype=torch.uint8, device=self.torch_device)
        self._flush.zero_()

    def peak(self, call: Call) -> Peak:
        """By the allocator's own peak, or by what it says after every operator."""
        self.synchronise()
        gc.collect()
        self.module.empty_cache()
        if not hasattr(self.module, "max_memory_allocated"):
            return _watched_peak(call, self.module.current_allocated_memory)
        self.module.reset_peak_memory_stats()
        baseline = self.module.memory_allocated()
        result = call()
        self.synchronise()
        highest = self.module.max_memory_allocated()
        del result
        return Peak(highest - baseline, baseline, reserved_bytes=self.module.max_memory_reserved())

    def rates(self) -> dict[str, Any]:
        """Copies of 256 MiB and products of 4096 x 4096."""
        dtypes = (torch.float32, torch.bfloat16, torch.float16)
        return {
            "copy_bytes_per_s": copy_rate(self, 2**29, tries=10),
            "flop_per_s": product_rate(self, dtypes, side=4096, tries=10),
        }


class _Watch(Stopwatch):
    """One window at a time; the device is idle when it begins. Cold samples are the mean of `loops` windows of one call each."""

    def __init__(self, device: Accelerator, clock: str, events: bool, call: Call, cold: bool, look: Callable[[], None]) -> None:
        self.clock = clock
        self._device, self._call, self._cold, self._look = device, call, cold, look
        self._window = self._by_events if events else self._by_host
        self._blocked = False if events else None

    def take(self, loops: int, count: int) -> Batch:
        """Samples one by one."""
        windows = (1,) * loops if self._cold else (loops,)
        samples = []
        for _ in range(count):
            samples.append(sum(self._timed(calls) for calls in windows) / loops)
            self._look()
        if min(samples) <= 0:
            raise Unfit(f"{self.clock} reads 0 s for a whole sample, whose calls are too short for it")
        return Batch(tuple(samples), blocked=self._blocked)

    def _timed(self, calls: int) -> float:
        if self._cold:
            self._device.flush_cache()
        self._device.synchronise()
        return self._window(calls)

    def _by_events(self, calls: int) -> float:
        start, end = (self._device.module.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(calls):
            self._call()
        end.record()
        self._device.synchronise()
        return float(start.elapsed_time(end)) * 1e-3

    def _by_host(self, calls: int) -> float:
        start = time.perf_counter()
        for _ in range(calls):
            self._call()
        self._device.synchronise()
        return time.perf_counter() - start


def _watched_peak(call: Call, allocated: Callable[[], int]) -> Peak:
    baseline = allocated()
    with _AfterOperators(allocated, baseline) as watch:
        result = call()
        watch.look()
    del result
    return Peak(watch.highest - baseline, baseline)


class _AfterOperators(TorchDispatchMode):
    """Keeps the highest number of bytes that was allocated after an operator."""

    def __init__(self, allocated: Callable[[], int], baseline: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._allocated, self.highest = allocated, baseline

    def look(self) -> None:
        self.highest = max(self.highest, self._allocated())

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = operator(*args, **(kwargs or {}))
        self.look()
        return result
