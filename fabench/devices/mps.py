"""An Apple GPU, through torch.mps; clocks, flush and peak are `_accelerator`'s. Never run on hardware.

Its clocks can be used, but cells can't: they are checked in float64 on the device, which Metal does not have. `missing` says so.
"""

from __future__ import annotations

import platform
from typing import Any

import torch

from fabench.devices._accelerator import NO_FLOAT64, Accelerator


class Device(Accelerator):
    """The GPU of an Apple chip; there is one, and torch does not tell its cache."""

    clocks = ("mps_event", "mps_host")
    module = torch.mps

    def missing(self) -> str | None:
        """No MPS in this build or on this machine; or else no float64."""
        if not torch.backends.mps.is_built():
            return f"torch {torch.__version__} is a build without MPS"
        if not torch.backends.mps.is_available():
            return "torch sees no MPS (an Apple GPU, and a macOS that this torch supports)"
        if self.torch_device.index:
            return f"there is no device {self.name}; the only one is called mps"
        return NO_FLOAT64

    def describe(self) -> dict[str, Any]:
        """The chip's architecture; the memory that Metal recommends to stay within."""
        return {
            "name": f"Apple GPU ({platform.machine()})",
            "memory_bytes": torch.mps.recommended_max_memory(),
            "last_level_cache_bytes": None,
            "flush_bytes": self.flush_bytes,
        }

    def cache_bytes(self) -> int | None:
        """Unknown."""
        return None
