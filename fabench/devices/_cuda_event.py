"""The rung `cuda_event`: event pairs on the current stream, around calls that stand in a queue behind a blocker (`_cuda_queue`).

Hot: one pair around all calls of a sample. Cold: a pair around each call, after a flush of the L2 that no pair contains.

What it reads is time of the device. Where the device has to wait for the host inside a window, an event pair reads something else,
and a column that mixed both would be wrong without saying so. Therefore:

- work that can't be queued is unfit for this rung, with the reason, and the ladder goes on to `cuda_host`, whose name says that its
  times are the host's: launches and waiting included;
- work that declares that it waits for the device inside (`Work.synchronises`) is timed without a blocker, call by call, and the
  record says `blocked: false`. The waiting is then a part of what such a call does, the author said so, and the window holds
  exactly one pass of it: the device is idle before the window begins and after it ends.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from fabench.devices._cuda_host import HostWatch
from fabench.devices._cuda_queue import RESOLUTION_S, QueuedWatch, elapsed_s, readable, timing_event, wait
from fabench.devices.base import Batch

__all__ = ["EventWatch", "UnqueuedWatch"]


class EventWatch(QueuedWatch):
    """Events around calls as they are; see `QueuedWatch`."""

    clock = "cuda_event"


class UnqueuedWatch(HostWatch):
    """Events around calls that wait for the device inside: one window at a time, begun when the device has nothing left to do."""

    clock = "cuda_event"
    resolution_s = RESOLUTION_S

    def take(self, loops: int, count: int) -> Batch:
        """One by one, in the open."""
        found = super().take(loops, count)
        return replace(found, samples_s=readable(found.samples_s), blocked=False)

    def _window(self, calls: int) -> float:
        stream = torch.cuda.current_stream()
        start, end = timing_event(), timing_event()
        if self._flush is not None:
            self._flush()
        torch.cuda.synchronize()
        start.record(stream)
        for _ in range(calls):
            self._call()
        end.record(stream)
        wait(end, self._look)
        return elapsed_s(start, end)
