"""An Intel GPU, through torch.xpu; clocks, flush and peak are `_accelerator`'s. Never run on hardware."""

from __future__ import annotations

from typing import Any

import torch

from fabench.devices._accelerator import NO_FLOAT64, Accelerator
from fabench.schema import Measure


class Device(Accelerator):
    """A GPU that torch.xpu drives."""

    clocks = ("xpu_event", "xpu_host")
    module = torch.xpu

    @property
    def _properties(self) -> Any:
        return torch.xpu.get_device_properties(self.torch_device.index or 0)

    def missing(self) -> str | None:
        """No XPU that torch may use, no such index, or no float64 (Intel's cards for desktops)."""
        if not torch.xpu.is_available():
            return f"torch {torch.__version__} sees no XPU (a build without XPU, no driver, or no device)"
        if (self.torch_device.index or 0) >= torch.xpu.device_count():
            return f"{self.name} is not there; torch sees {torch.xpu.device_count()} XPU(s)"
        return None if self._properties.has_fp64 else NO_FLOAT64

    def prepare(self, measure: Measure) -> None:
        """Makes the device current."""
        torch.xpu.set_device(self.torch_device.index or 0)

    def describe(self) -> dict[str, Any]:
        """Properties that decide a number."""
        properties = self._properties
        return {
            "name": properties.name,
            "memory_bytes": properties.total_memory,
            "driver": properties.driver_version,
            "last_level_cache_bytes": self.cache_bytes(),
            "flush_bytes": self.flush_bytes,
        }

    def cache_bytes(self) -> int | None:
        """Older versions of torch do not tell it."""
        return getattr(self._properties, "last_level_cache_size", None) or None
