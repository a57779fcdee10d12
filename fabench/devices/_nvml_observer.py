"""Looks at a GPU beside a timing: one before, some while the host has nothing to do but wait, one after. Never inside a window.

Looks are 20 ms apart at least. Where the driver answers slowly they come seldom enough to take a tenth of the time at most, and over
a long timing ever more seldom (the distance doubles every 32 looks), so that a record stays small. Processes and ECC counters are read
before and after only: listing them is slow.
"""

from __future__ import annotations

import time
from dataclasses import replace

from fabench.devices._nvml_board import Board
from fabench.devices.base import Observer
from fabench.measured import GpuLook, Telemetry

__all__ = ["GpuObserver"]

_APART_S = 0.02
_SHARE = 0.1
_DOUBLES_EVERY = 32


class GpuObserver(Observer):
    """`host` tells of the host's load, with looks of its own; `board` None: only that."""

    def __init__(self, board: Board | None, host: Observer) -> None:
        self._board, self._host = board, host
        self._looks: list[GpuLook] = []
        self._foreign: list[dict[int, int | None]] = []
        self._errors: int | None = None
        self._due = self._start = time.perf_counter()
        if board is not None:
            board.failed.clear()
            self._errors = board.ecc_errors()
            self._list(board)
            self._look(board)
            before, self._start = self._start, time.perf_counter()
            self._looks = [replace(look, at_s=look.at_s + before - self._start) for look in self._looks]

    def look(self) -> None:
        """Reads once, unless it was read a moment ago."""
        self._host.look()
        if self._board is not None and time.perf_counter() >= self._due and not self._board.is_lost:
            self._look(self._board)

    def finish(self) -> Telemetry:
        """The last look, and everything together. `reads_failed`: "power: Not Supported", a closed list of names with NVML's reasons."""
        if self._board is None:
            return self._host.finish()
        self._look(self._board)
        telemetry = self._host.finish()
        self._list(self._board)
        processes = {process for listed in self._foreign for process in listed}
        known = len(self._foreign) == 2
        return replace(
            telemetry,
            looks=tuple(self._looks),
            foreign_processes=len(processes) if known else None,
            foreign_bytes=_most(self._foreign) if known else None,
            ecc_errors=self._counted(self._board.ecc_errors()),
            reads_failed=tuple(f"{what}: {why}" for what, why in self._board.failed.items()),
        )

    def _look(self, board: Board) -> None:
        before = time.perf_counter()
        self._looks.append(board.look(before - self._start))
        after = time.perf_counter()
        apart = _APART_S * 2 ** (len(self._looks) // _DOUBLES_EVERY)
        self._due = before + max(apart, (after - before) / _SHARE)

    def _list(self, board: Board) -> None:
        listed = board.foreign()
        if listed is not None:
            self._foreign.append(listed)

    def _counted(self, errors: int | None) -> int | None:
        """Errors since the beginning; None where a count is missing, or smaller than before (the driver was loaded anew)."""
        if errors is None or self._errors is None or errors < self._errors:
            return None
        return errors - self._errors


def _most(lists: list[dict[int, int | None]]) -> int | None:
    """The most bytes that foreign processes held at one time; None where the driver does not say of one of them."""
    sums = []
    for listed in lists:
        sizes = [size for size in listed.values() if size is not None]
        if len(sizes) < len(listed):
            return None
        sums.append(sum(sizes))
    return max(sums, default=None)
