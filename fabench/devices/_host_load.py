"""The host beside a timing, from the kernel's counters: what others took of the processors that this process may run on."""

from __future__ import annotations

from fabench.devices.base import Observer
from fabench.measured import Telemetry

__all__ = ["HostObserver"]


class HostObserver(Observer):
    """Reads the counters when it is made, between samples, and at the end. Elsewhere than on Linux it has nothing to tell."""

    def look(self) -> None:
        """Reads once, unless it was read a moment ago."""

    def finish(self) -> Telemetry:
        """The load between the first reading and now."""
        return Telemetry()
