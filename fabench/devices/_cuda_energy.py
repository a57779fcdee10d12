"""Joules per call, from the board's energy counter around a loop.

The counter steps by 10 ms or more, so single calls can't be read. The loop keeps the device busy for `_LOOP_S` (two groups of calls
in flight, so that it does not wait for the host) after a short run-up to the power that the call draws. The counter is read all along
to see how it steps: a step at each end is lost at worst, so with fewer than `_LEAST_STEPS` steps the answer is None.
"""

from __future__ import annotations

import time
from collections import deque

import torch

from fabench.devices._nvml import Board
from fabench.devices.base import Call

__all__ = ["joules_per_call"]

_RUN_UP_S, _LOOP_S, _GROUP_S = 0.2, 1.5, 0.02
_POLL_S = 1e-3
_LEAST_STEPS = 30


def joules_per_call(call: Call, board: Board | None) -> float | None:
    """None where the counter can't be read, or steps too coarsely for the loop."""
    if board is None or board.energy_j() is None:
        return None
    group = _group(call)
    _loop(call, group, board, _RUN_UP_S)
    calls, readings = _loop(call, group, board, _LOOP_S)
    steps = len(set(readings)) - 1
    return (readings[-1] - readings[0]) / calls if steps >= _LEAST_STEPS else None


def _group(call: Call) -> int:
    """As many calls as take the device about `_GROUP_S`."""
    count = 1
    while True:
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(count):
            call()
        torch.cuda.synchronize()
        if time.perf_counter() - start >= _GROUP_S:
            return count
        count *= 2


def _loop(call: Call, group: int, board: Board, seconds: float) -> tuple[int, list[float]]:
    """How many calls were made, and the counter's readings from before the first to after the last."""
    readings: list[float] = []

    def read() -> None:
        joules = board.energy_j()
        if joules is not None:
            readings.append(joules)

    torch.cuda.synchronize()
    read()
    calls, running = 0, deque[torch.cuda.Event]()
    end = time.perf_counter() + seconds
    while running or calls == 0:
        while len(running) < 2 and (time.perf_counter() < end or calls == 0):
            for _ in range(group):
                call()
            done = torch.cuda.Event()
            done.record(torch.cuda.current_stream())
            running.append(done)
            calls += group
        if running[0].query():
            running.popleft()
            continue
        time.sleep(_POLL_S)
        read()
    read()
    return calls, readings
