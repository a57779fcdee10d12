"""An NVIDIA GPU (or an AMD one, through the same torch API): events on the current stream, torch's allocator, NVML.

Nothing in this file has run on hardware yet. Cold samples flush the L2 before each call, outside the timed window, with a buffer of
twice the L2's size. Events are recorded on torch.cuda.current_stream(), the one the kernels are launched on: events on another
stream time nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch

from fabench.devices._rates import copy_rate, product_rate
from fabench.devices.base import Batch, Call, Peak, Stopwatch, Work
from fabench.devices.base import Device as Base
from fabench.schema import Measure

_MIN_FLUSH_BYTES = 64 * 2**20


class Device(Base):
    """A GPU that torch.cuda drives."""

    clocks = ("cuda_event",)

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._flush: torch.Tensor | None = None

    @property
    def _index(self) -> int:
        return self.torch_device.index or 0

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
        """Makes the device current."""
        torch.cuda.set_device(self._index)

    def describe(self) -> dict[str, Any]:
        """Properties that decide a number, and the driver."""
        properties = torch.cuda.get_device_properties(self._index)
        return {
            "name": properties.name,
            "uuid": str(getattr(properties, "uuid", "")) or None,
            "capability": f"{properties.major}.{properties.minor}",
            "memory_bytes": properties.total_memory,
            "multiprocessors": properties.multi_processor_count,
            "last_level_cache_bytes": getattr(properties, "L2_cache_size", None),
            "cuda": torch.version.cuda,
            "hip": torch.version.hip,
            "allocator_settings": os.environ.get("PYTORCH_CUDA_ALLOC_CONF"),
            "driver": _driver(),
        }

    def synchronise(self) -> None:
        """Waits for all streams of the device."""
        torch.cuda.synchronize(self._index)

    def stopwatch(self, clock: str, work: Work, cold: bool, look: Callable[[], None]) -> Stopwatch:
        """Events on the current stream."""
        return _EventWatch(self, work.call, cold)

    def flush_cache(self) -> None:
        """Overwrites twice the L2."""
        if self._flush is None:
            cache = getattr(torch.cuda.get_device_properties(self._index), "L2_cache_size", 0)
            self._flush = torch.empty(max(2 * cache, _MIN_FLUSH_BYTES) // 4, dtype=torch.int32, device=self.torch_device)
        self._flush.zero_()

    def peak(self, call: Call) -> Peak:
        """torch's allocator, from before the call to its peak; NVML right after, before anything is given back."""
        self.synchronise()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self._index)
        baseline = torch.cuda.memory_allocated(self._index)
        result = call()
        self.synchronise()
        highest = torch.cuda.max_memory_allocated(self._index)
        reserved = torch.cuda.max_memory_reserved(self._index)
        process = _process_bytes(torch.cuda.get_device_properties(self._index))
        del result
        return Peak(highest - baseline, baseline, reserved, process)

    def rates(self) -> dict[str, Any]:
        """Copies of 1 GiB and products of 8192 x 8192."""
        dtypes = (torch.float32, torch.bfloat16, torch.float16)
        return {
            "copy_bytes_per_s": copy_rate(self, 2**31, tries=10),
            "flop_per_s": product_rate(self, dtypes, side=8192, tries=10),
        }


class _EventWatch(Stopwatch):
    """Hot: one event pair around all loops; cold: a pair each, after a flush that the pair does not contain."""

    clock = "cuda_event"

    def __init__(self, device: Device, call: Call, cold: bool) -> None:
        self._device, self._call, self._cold = device, call, cold

    def take(self, loops: int, count: int) -> Batch:
        """Samples one after the other."""
        return Batch(tuple(self._sample(loops) for _ in range(count)))

    def _sample(self, loops: int) -> float:
        stream = torch.cuda.current_stream(self._device.torch_device)
        count = loops if self._cold else 1
        starts, ends = [_event() for _ in range(count)], [_event() for _ in range(count)]
        for start, end in zip(starts, ends, strict=True):
            if self._cold:
                self._device.flush_cache()
            start.record(stream)
            for _ in range(1 if self._cold else loops):
                self._call()
            end.record(stream)
        self._device.synchronise()
        return float(sum(start.elapsed_time(end) for start, end in zip(starts, ends, strict=True))) * 1e-3 / loops


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)


def _driver() -> str | None:
    try:
        import pynvml

        pynvml.nvmlInit()
        version = pynvml.nvmlSystemGetDriverVersion()
    except Exception:  # NVML is optional: no library, no permission, hidden process ids
        return None
    return version.decode() if isinstance(version, bytes) else str(version)


def _process_bytes(properties: Any) -> int | None:
    """What NVML charges to this process on the device with this UUID (NVML's order of devices is not CUDA's)."""
    try:
        import pynvml

        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{properties.uuid}".encode())
        for process in pynvml.nvmlDeviceGetComputeRunningProcesses(handle):
            if process.pid == os.getpid():
                return None if process.usedGpuMemory is None else int(process.usedGpuMemory)
    except Exception:  # as above: unknown is null, never 0
        return None
    return None
