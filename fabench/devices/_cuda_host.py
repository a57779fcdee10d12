"""The rung `cuda_host`: the host's clock around the calls of a sample and one synchronise.

The last rung, and the one that can time anything: its times hold launches and the way back to the host (about 10 us per sample), so
they are the device's only where calls are long. It is also a clock that shares nothing with events: kernels on another stream than
the one that events are recorded on show up as a disagreement of both. Cold samples flush and synchronise before each call.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from fabench.devices.base import Batch, Call, Stopwatch

__all__ = ["HostWatch"]


class HostWatch(Stopwatch):
    """Samples one by one; the device is idle when a window begins."""

    clock = "cuda_host"

    def __init__(self, call: Call, flush: Call | None, look: Callable[[], None]) -> None:
        self._call, self._flush, self._look = call, flush, look

    def take(self, loops: int, count: int) -> Batch:
        """Cold samples are the mean of `loops` windows of one call each."""
        windows = (loops,) if self._flush is None else (1,) * loops
        samples = []
        for _ in range(count):
            samples.append(sum(self._window(calls) for calls in windows) / loops)
            self._look()
        return Batch(tuple(samples))

    def _window(self, calls: int) -> float:
        if self._flush is not None:
            self._flush()
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(calls):
            self._call()
        torch.cuda.synchronize()
        return time.perf_counter() - start
