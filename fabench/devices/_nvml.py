"""NVIDIA's driver library as far as a cell needs it: a board found by its UUID, facts, memory, energy, looks beside a timing.

NVML is optional: no package, no driver, no permission, a query that this board or driver lacks. Whatever is not told is None.
"""

from __future__ import annotations

import time
from typing import Any

from fabench.devices.base import Observer
from fabench.measured import GpuLook, Telemetry

__all__ = ["Board", "GpuObserver", "board", "lost", "missing"]


class Board:
    """One GPU, or one MIG instance of it, as the driver sees it."""

    def facts(self) -> dict[str, Any]:
        """What identifies the board and decides its speed; None where the driver does not tell."""
        return {}

    def memory(self) -> tuple[int | None, int | None]:
        """This process's bytes, and all used bytes of the device."""
        return None, None

    def energy_j(self) -> float | None:
        """The counter of all energy since the driver was loaded. It steps by 10 ms or more."""
        return None

    def look(self, at_s: float) -> GpuLook:
        """Clocks, power, temperature and what holds the clocks down, now; `at_s` is what the caller's clock says."""
        return GpuLook(at_s)


class GpuObserver(Observer):
    """Looks at a board before, while the host waits, and after; the host's load by `host`. `board` None: the host's load only."""

    def __init__(self, board: Board | None, host: Observer) -> None:
        self._board, self._host = board, host
        self._start = time.perf_counter()

    def look(self) -> None:
        """Reads once, unless it was read a moment ago."""
        self._host.look()

    def finish(self) -> Telemetry:
        """The last look, and everything together."""
        return self._host.finish()


def board(uuid: str | None) -> Board | None:
    """The board with this UUID, as torch writes it or as the driver does ("GPU-...", "MIG-..."); None where it can't be found."""
    return None


def missing() -> str | None:
    """Why the latest `board` found none, or None where it found one."""
    return None


def lost(error: BaseException) -> bool:
    """Whether the driver says by this error that the GPU fell off its bus or needs a reset: nothing will work on it any more."""
    return False
