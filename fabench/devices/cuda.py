"""An NVIDIA GPU, or an AMD one through the same torch API: events behind a blocker, graphs, the host's clock; torch's allocator; NVML.

Nothing in this file has run on hardware yet; tests run it on a double of torch.cuda. The rungs of the ladder have a file each:

cuda_event   `_cuda_event`: what the device needs for calls as they are
cuda_graph   `_cuda_graph`: what it needs for replays of them, without launch gaps
cuda_host    `_cuda_host`: what the host waits for

Events are recorded on torch.cuda.current_stream(), the one that kernels are launched on: events on another stream time nothing.

On ROCm `torch.cuda` is HIP, and everything here is called in the same way. What differs: NVML has no such board, so the driver's
figures and energy are None; a memory-side cache is counted into the flush (`_cuda_cache`); the uuid is HIP's.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch

from fabench.devices import _nvml
from fabench.devices._cuda_cache import Cache
from fabench.devices._cuda_energy import joules_per_call
from fabench.devices._cuda_event import EventWatch, UnqueuedWatch
from fabench.devices._cuda_graph import GraphWatch
from fabench.devices._cuda_host import HostWatch
from fabench.devices._cuda_memory import measure_peak
from fabench.devices._cuda_queue import Queue
from fabench.devices._host_load import HostObserver
from fabench.devices._rates import copy_rate, product_rate
from fabench.devices.base import Call, Observer, Peak, Stopwatch, Unfit, Work
from fabench.devices.base import Device as Base
from fabench.schema import Measure

_ALLOCATOR_SETTINGS = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF")


class Device(Base):
    """A GPU that torch.cuda drives."""

    clocks = ("cuda_event", "cuda_graph", "cuda_host")
    least_warmup_s = 0.1  # clocks still rose after 25 ms, and times were 30 % off (triton-lang/triton#2306)

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._known_cache: Cache | None = None

    @property
    def _index(self) -> int:
        return self.torch_device.index or 0

    @property
    def _cache(self) -> Cache:
        if self._known_cache is None:
            self._known_cache = Cache(self.torch_device, torch.cuda.get_device_properties(self._index))
        return self._known_cache

    @property
    def _uuid(self) -> str | None:
        return str(getattr(torch.cuda.get_device_properties(self._index), "uuid", "")) or None

    def missing(self) -> str | None:
        """No CUDA build, no driver, or no such index."""
        if torch.version.cuda is None and torch.version.hip is None:
            return f"torch {torch.__version__} is a build without CUDA"
        if not torch.cuda.is_available():
            return "torch sees no GPU (no driver, or no device that it may use)"
        if self._index >= torch.cuda.device_count():
            return f"{self.name} is not there; torch sees {torch.cuda.device_count()} GPU(s)"
        return None

    def prepare(self, measure: Measure) -> None:
        """Makes the device current: blocker, flush, events and calls are all on its current stream."""
        torch.cuda.set_device(self._index)

    def describe(self) -> dict[str, Any]:
        """Properties that decide a number, what a flush overwrites, the allocator, and what the driver tells."""
        properties = torch.cuda.get_device_properties(self._index)
        board = _nvml.board(self._uuid)
        return {
            "name": properties.name,
            "uuid": self._uuid,
            "capability": f"{properties.major}.{properties.minor}",
            "memory_bytes": properties.total_memory,
            "multiprocessors": properties.multi_processor_count,
            "last_level_cache_bytes": self._cache.reported_bytes,
            "flush_bytes": self._cache.flush_bytes,
            "cuda": torch.version.cuda,
            "hip": torch.version.hip,
            "allocator": torch.cuda.get_allocator_backend(),
            "allocator_settings": {name: os.environ[name] for name in _ALLOCATOR_SETTINGS if name in os.environ},
            **({"nvml": _nvml.missing()} if board is None else board.facts()),
        }

    def synchronise(self) -> None:
        """Waits for all streams of the device."""
        torch.cuda.synchronize(self._index)

    def stopwatch(self, clock: str, work: Work, cold: bool, look: Callable[[], None]) -> Stopwatch:
        """A rung of the ladder; each file says what it reads and what it can't time."""
        if clock == "cuda_graph":
            if work.synchronises:
                raise Unfit("the call waits for the device inside, which can't be captured")
            return GraphWatch(Queue(), work, self._cache if cold else None, look)
        flush = self._cache.flush if cold else None
        if cold:
            self._cache.allocate()
        if clock == "cuda_event":
            if work.synchronises:
                return UnqueuedWatch(work.call, flush, look)
            return EventWatch(Queue(), work.call, flush, look)
        if clock == "cuda_host":
            return HostWatch(work.call, flush, look)
        raise Unfit(f"{self.name} has no clock {clock!r}; there are {', '.join(self.clocks)}")

    def observer(self) -> Observer:
        """Clocks, power and what holds them down, by NVML; the host's load beside."""
        return _nvml.GpuObserver(_nvml.board(self._uuid), HostObserver())

    def energy(self, call: Call) -> float | None:
        """Joules per call by the board's counter; see `_cuda_energy`."""
        return joules_per_call(call, _nvml.board(self._uuid))

    def peak(self, call: Call) -> Peak:
        """Allocator and driver around one call; see `_cuda_memory`."""
        return measure_peak(call, _nvml.board(self._uuid))

    def rates(self) -> dict[str, Any]:
        """Copies of 1 GiB and products of 8192 x 8192."""
        dtypes = (torch.float32, torch.bfloat16, torch.float16)
        return {
            "copy_bytes_per_s": copy_rate(self, 2**31, tries=10),
            "flop_per_s": product_rate(self, dtypes, side=8192, tries=10),
        }
