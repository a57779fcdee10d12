"""The L2 of a GPU and the buffer that empties it: twice as large as the L2, overwritten before each cold call.

The size is the device's own, never a fixed number of bytes. What the driver does not report is assumed on the large side, and the
environment shows both (`last_level_cache_bytes` null, `flush_bytes`). An AMD GPU reports its L2 but not the memory-side cache behind
it (256 MB of Infinity Cache on an MI300X, AMD CDNA 3 white paper), so there the larger of both is taken.

Overwriting leaves lines that must be written back when the timed call evicts them, as with the flushes of triton.testing and
nvbench: cold times of all three mean the same.
"""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["Cache"]

_ASSUMED_BYTES = 128 * 2**20
_AMD_MEMORY_SIDE_BYTES = 256 * 2**20


class Cache:
    """`reported_bytes`: what the device says of its L2, or None. `flush_bytes`: the buffer; what is larger leaves nothing in the L2."""

    def __init__(self, device: torch.device, properties: Any) -> None:
        self._device = device
        self._buffer: torch.Tensor | None = None
        self.reported_bytes: int | None = getattr(properties, "L2_cache_size", None) or None
        size = self.reported_bytes or _ASSUMED_BYTES
        self.flush_bytes = 2 * (size if torch.version.hip is None else max(size, _AMD_MEMORY_SIDE_BYTES))

    def allocate(self) -> None:
        """Takes the buffer, before any queue: an allocation may wait for the device."""
        if self._buffer is None:
            self._buffer = torch.empty(self.flush_bytes, dtype=torch.uint8, device=self._device)

    def flush(self) -> None:
        """Overwrites the buffer on the current stream; nothing waits."""
        self.allocate()
        assert self._buffer is not None
        self._buffer.zero_()
