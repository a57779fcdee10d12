"""What one call takes of a GPU's memory, by torch's allocator and by the driver.

The baseline is read before the call's output exists and everything that is not in use has been given back, so that the peak is the
call's own. The driver is asked right after the call: the allocator keeps its segments, so that is the process's high-water mark.

torch's allocator only knows tensors. `requested` is what the code asked for; blocks are rounded up to 512 B (`delta_bytes`), and
segments hold blocks (`reserved_bytes`). With `backend:cudaMallocAsync` torch does not count requests and reports 0: that is None here.
"""

from __future__ import annotations

import gc

import torch

from fabench.devices._nvml import Board
from fabench.devices.base import Call, Peak

__all__ = ["measure_peak"]


def measure_peak(call: Call, board: Board | None) -> Peak:
    """Runs `call` once on the current device."""
    counts_requests = torch.cuda.get_allocator_backend() == "native"
    torch.cuda.synchronize()
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_stats()
    result = call()
    torch.cuda.synchronize()
    after = torch.cuda.memory_stats()
    process, device = (None, None) if board is None else board.memory()
    del result
    baseline = _bytes(before, "allocated_bytes.all.current")
    asked = _bytes(before, "requested_bytes.all.current")
    return Peak(
        delta_bytes=_bytes(after, "allocated_bytes.all.peak") - baseline,
        baseline_bytes=baseline,
        baseline_requested_bytes=asked if counts_requests else None,
        requested_bytes=_bytes(after, "requested_bytes.all.peak") - asked if counts_requests else None,
        reserved_bytes=_bytes(after, "reserved_bytes.all.peak"),
        process_bytes=process,
        device_bytes=device,
    )


def _bytes(statistics: dict[str, int], name: str) -> int:
    """A statistic; torch leaves all of them out before the first allocation."""
    return int(statistics.get(name, 0))
