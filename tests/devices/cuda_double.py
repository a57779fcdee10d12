"""A double of torch.cuda: the few calls that fabench's CUDA device makes, on a simulated clock, so that its own code runs unchanged.

There are two time lines. The host's moves with every call of the API and with `time.sleep`; a stream's moves as its kernels run, in
their order. A launch costs the host time and returns before the kernel ran; a stream holds a bounded number of launches and then
makes the host wait. Events keep the device's time, in steps of 0.5 us. The L2 keeps what was touched last. Graphs hold kernels that
were launched while they were captured. The allocator counts requests, blocks of 512 B and segments of 2 MiB.

Known durations go in, what a clock reads comes out. What may go wrong on hardware can be planted: see the fields and the methods that
make work. It is a model written from the documentation, not a recording: it shows that fabench's code does what it says with a device
that behaves in this way, and nothing of how fast any GPU is.
"""

from __future__ import annotations

import time
import warnings
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fabench.devices.base import Call, Work

RESOLUTION_S = 0.5e-6
ILLEGAL = "CUDA error: an illegal memory access was encountered"


@dataclass(frozen=True)
class Kernel:
    """Takes `seconds`, or `cold_s` where what it touches (a name and bytes) is not in the L2."""

    seconds: float
    touches: tuple[Any, int] | None = None
    cold_s: float | None = None


class Stream:
    """In-order execution: `free_s` is when everything submitted so far has run."""

    def __init__(self, double: Double) -> None:
        self.double = double
        self.free_s = 0.0
        self.pending: deque[float] = deque()
        self.captured: list[Kernel] | None = None

    def wait_stream(self, other: Stream) -> None:
        self.free_s = max(self.free_s, other.free_s)


class Event:
    """What `torch.cuda.Event` is; the double is filled in by `Double.install`."""

    double: Double

    def __init__(self, enable_timing: bool = False) -> None:
        self.timing = enable_timing
        self.at_s: float | None = None

    def record(self, stream: Stream | None = None) -> None:
        self.double.spend(self.double.record_s)
        self.double.no_capture("record")
        self.at_s = self.double.enqueue(stream or self.double.current, 0.0)

    def query(self) -> bool:
        self.double.spend(self.double.query_s)
        self.double.no_capture("query")
        return self.at_s is None or self.double.now_s >= self.at_s

    def elapsed_time(self, end: Event) -> float:
        if not (self.timing and end.timing) or self.at_s is None or end.at_s is None:
            raise RuntimeError("CUDA error: invalid resource handle")
        if self.double.now_s < end.at_s:
            raise RuntimeError("CUDA error: device not ready")
        return (_steps(end.at_s) - _steps(self.at_s)) * RESOLUTION_S * 1e3


class Graph:
    """What `torch.cuda.CUDAGraph` is."""

    double: Double

    def __init__(self) -> None:
        self.kernels: list[Kernel] = []
        self.uploaded = False

    def capture_begin(self, pool: Any = None) -> None:
        stream = self.double.current
        assert stream is not self.double.default, "a capture on the default stream is not allowed"
        assert self.double.capturing is None
        self.double.capturing, stream.captured, self.double.invalid = stream, [], False

    def capture_end(self) -> None:
        stream = self.double.capturing
        assert stream is not None and stream.captured is not None
        self.kernels, stream.captured, self.double.capturing = stream.captured, None, None
        if self.double.invalid:
            raise RuntimeError("CUDA error: operation failed due to a previous error during capture")
        if not self.kernels:
            warnings.warn("The CUDA Graph is empty. This usually means that the graph was attempted to be captured", stacklevel=2)

    def replay(self) -> None:
        double = self.double
        double.spend(double.launch_s)
        if not self.uploaded:
            double.enqueue(double.current, double.upload_s)
            self.uploaded = True
        double.enqueue(double.current, sum(double.duration(kernel) for kernel in self.kernels))


class Buffer:
    """A tensor as far as a flush needs it."""

    def __init__(self, double: Double, size: int) -> None:
        self.double, self.size = double, size
        self.block = double.allocate(size)

    def zero_(self) -> Buffer:
        self.double.launch(Kernel(self.size / self.double.bytes_per_s, (self, self.size)))
        return self


class Block:
    """Allocated memory; given back with the last reference to it."""

    def __init__(self, double: Double, size: int) -> None:
        self.double, self.size = double, size

    def __del__(self) -> None:
        self.double.count("requested_bytes", -self.size)
        self.double.count("allocated_bytes", -_rounded(self.size, 512))


@dataclass
class Double:
    """The device, the driver and the allocator."""

    now_s: float = 100.0
    launch_s: float = 5e-6
    record_s: float = 0.7e-6
    query_s: float = 0.3e-6
    latency_s: float = 2e-6  # from a launch to an idle device's first step
    upload_s: float = 200e-6  # a graph's first replay
    drift_s: float = 0.0  # every kernel takes so much longer than the one before
    load_s: float = 0.0  # a kernel's first launch: lazily loaded modules, tuning
    held_up_s: float = 0.0  # the host, once, before it launches the next blocker
    queue_depth: int = 1024
    sleep_hz: float = 1.7e9
    l2_bytes: int = 50 * 2**20
    reports_l2: bool = True
    bytes_per_s: float = 2e12
    memory_bytes: int = 80 * 2**30
    backend: str = "native"
    devices: int = 1
    error: str | None = None
    fails_at_s: float | None = None
    invalid: bool = False
    capturing: Stream | None = None
    statistics: dict[str, int] = field(default_factory=dict)
    sleeps: list[float] = field(default_factory=list)
    enqueued: int = 0
    ran: int = 0
    l2_used: int = 0

    def __post_init__(self) -> None:
        self.default = self.current = Stream(self)
        self.streams = [self.default]
        self.l2: OrderedDict[Any, int] = OrderedDict()
        self.loaded: set[Any] = set()

    # The host and the driver.

    def spend(self, seconds: float) -> None:
        """Host time; then an error of the device is told, by whatever call comes next, for ever."""
        self.now_s += seconds
        if self.fails_at_s is not None and self.now_s >= self.fails_at_s:
            self.error = ILLEGAL
        if self.error is not None:
            raise RuntimeError(f"{self.error}\nCUDA kernel errors might be asynchronously reported at some other API call")

    def no_capture(self, what: str) -> None:
        if self.capturing is not None:
            self.invalid = True
            raise RuntimeError(f"CUDA error: operation not permitted when stream is capturing ({what})")

    def enqueue(self, stream: Stream, seconds: float) -> float:
        """Behind everything in the stream; waits for room in its launch queue. When it will have run."""
        while stream.pending and stream.pending[0] <= self.now_s:
            stream.pending.popleft()
        if len(stream.pending) >= self.queue_depth:
            self.now_s = max(self.now_s, stream.pending.popleft())
        stream.free_s = max(stream.free_s, self.now_s + self.latency_s) + seconds
        stream.pending.append(stream.free_s)
        self.enqueued += 1
        return stream.free_s

    def launch(self, kernel: Kernel, stream: Stream | None = None) -> None:
        """What a tensor operation does."""
        stream = self.current if stream is None else stream
        self.spend(self.launch_s)
        if self.capturing is not None:
            if stream is not self.capturing:
                self.no_capture("another stream")
            assert stream.captured is not None
            stream.captured.append(kernel)
            return
        module = kernel.touches or "another module"
        if module not in self.loaded:
            self.loaded.add(module)
            self.now_s += self.load_s
        self.enqueue(stream, self.duration(kernel))

    def duration(self, kernel: Kernel) -> float:
        """By the L2, which holds what was touched last, and by how many kernels ran before."""
        self.ran += 1
        return self._by_cache(kernel) + self.drift_s * self.ran

    def _by_cache(self, kernel: Kernel) -> float:
        if kernel.touches is None:
            return kernel.seconds
        name, size = kernel.touches
        warm = name in self.l2
        self.l2_used -= self.l2.pop(name, 0)
        self.l2[name] = size
        self.l2_used += size
        while self.l2_used > self.l2_bytes:
            self.l2_used -= self.l2.popitem(last=False)[1]
        return kernel.seconds if warm or kernel.cold_s is None else kernel.cold_s

    # torch.cuda.

    def synchronize(self, device: Any = None) -> None:
        self.spend(1e-6)
        self.no_capture("synchronize")
        self.now_s = max([self.now_s, *(stream.free_s for stream in self.streams)]) + 3e-6
        self.spend(0.0)

    def sleep(self, cycles: int) -> None:
        self.now_s, self.held_up_s = self.now_s + self.held_up_s, 0.0
        self.sleeps.append(cycles / self.sleep_hz)
        self.launch(Kernel(cycles / self.sleep_hz))

    def new_stream(self, device: Any = None) -> Stream:
        stream = Stream(self)
        self.streams.append(stream)
        return stream

    @contextmanager
    def on(self, stream: Stream) -> Iterator[None]:
        before, self.current = self.current, stream
        try:
            yield
        finally:
            self.current = before

    # The allocator.

    def count(self, name: str, size: int) -> None:
        current = self.statistics.get(f"{name}.all.current", 0) + size
        self.statistics[f"{name}.all.current"] = current
        peak = f"{name}.all.peak"
        self.statistics[peak] = max(self.statistics.get(peak, 0), current)

    def allocate(self, size: int) -> Block:
        """A block; a new segment where the cached ones have no room. Raises what torch raises where the memory is full."""
        missing = self.statistics.get("allocated_bytes.all.current", 0) + _rounded(size, 512)
        missing -= self.statistics.get("reserved_bytes.all.current", 0)
        if missing > 0:
            if self.statistics.get("reserved_bytes.all.current", 0) + missing > self.memory_bytes:
                raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {size} bytes")
            self.count("reserved_bytes", _rounded(missing, 2 * 2**20))
        self.count("requested_bytes", size)
        self.count("allocated_bytes", _rounded(size, 512))
        return Block(self, size)

    def empty_cache(self) -> None:
        self.statistics["reserved_bytes.all.current"] = _rounded(self.statistics.get("allocated_bytes.all.current", 0), 2 * 2**20)

    def reset_peaks(self, device: Any = None) -> None:
        for name in ("requested_bytes", "allocated_bytes", "reserved_bytes"):
            self.statistics[f"{name}.all.peak"] = self.statistics.get(f"{name}.all.current", 0)

    def memory_stats(self, device: Any = None) -> dict[str, int]:
        """cudaMallocAsync does not count requests."""
        if self.backend == "native":
            return dict(self.statistics)
        return {name: 0 if name.startswith("requested") else size for name, size in self.statistics.items()}

    # Work.

    def work(
        self,
        seconds: float,
        *,
        cold_s: float | None = None,
        touched_bytes: int = 8 * 2**20,
        host_s: float = 0.0,
        kernels: int = 1,
        inside: Callable[[], None] = lambda: None,
        copies: bool = True,
        synchronises: bool = False,
    ) -> Work:
        """A call of `kernels` kernels that takes `seconds` together, after `host_s` of the host's own; `inside` runs at its end."""

        def call_on(buffer: object) -> Call:
            parts = [
                Kernel(seconds / kernels, (f"{id(buffer)} {index}", touched_bytes // kernels), cold_s and cold_s / kernels)
                for index in range(kernels)
            ]

            def call(buffer: object = buffer) -> None:
                self.spend(host_s)
                for part in parts:
                    self.launch(part)
                inside()

            return call

        return Work(call_on(object()), touched_bytes, (lambda: call_on(object())) if copies else None, synchronises)

    def install(self, patch: pytest.MonkeyPatch) -> Double:
        """Puts itself where torch.cuda and the host's clock are."""
        event, graph = type("Event", (Event,), {"double": self}), type("Graph", (Graph,), {"double": self})
        properties = SimpleNamespace(
            name="a double", uuid="00000000-0000", major=9, minor=0, total_memory=self.memory_bytes, multi_processor_count=132,
            L2_cache_size=self.l2_bytes if self.reports_l2 else 0,
        )  # fmt: skip
        really_empty = torch.empty

        def empty(*shape: Any, device: Any = None, **rest: Any) -> Any:
            if device is not None and torch.device(device).type == "cuda":
                return Buffer(self, *shape)
            return really_empty(*shape, device=device, **rest)

        def perf_counter() -> float:
            self.now_s += 5e-8
            return self.now_s

        def sleep(seconds: float) -> None:
            self.now_s += seconds

        def free() -> tuple[int, int]:
            return self.memory_bytes - self.statistics.get("reserved_bytes.all.current", 0), self.memory_bytes

        for name, stand_in in {
            "Event": event, "CUDAGraph": graph, "Stream": self.new_stream, "stream": self.on, "_sleep": self.sleep,
            "current_stream": lambda device=None: self.current, "synchronize": self.synchronize,
            "is_available": lambda: True, "device_count": lambda: self.devices, "set_device": lambda index: None,
            "get_device_properties": lambda index=None: properties, "graph_pool_handle": lambda: (0, 1),
            "mem_get_info": lambda device=None: free(), "memory_stats": self.memory_stats, "empty_cache": self.empty_cache,
            "reset_peak_memory_stats": self.reset_peaks, "get_allocator_backend": lambda: self.backend,
        }.items():  # fmt: skip
            patch.setattr(torch.cuda, name, stand_in)
        patch.setattr(torch, "empty", empty)
        patch.setattr(time, "perf_counter", perf_counter)
        patch.setattr(time, "sleep", sleep)
        return self


def _steps(seconds: float) -> int:
    return int(seconds / RESOLUTION_S)


def _rounded(size: int, unit: int) -> int:
    return -(-size // unit) * unit
