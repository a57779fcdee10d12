"""Planted slow-downs: real work beside each call, as a known share of its time, to see whether a gate finds it.

Work is copies of a small buffer, on the device that the call runs on; how long one takes there is timed against the call itself, in
turns, so that both see the same machine. Nothing is scaled or slept: a sleeping process is another thing than a slower one.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from fabench.devices.base import Call, Device, Stopwatch, Work
from fabench.median import median

__all__ = ["planted"]

_ELEMENTS = 4096
_ROUNDS = 15
_UNITS = 64


def planted(device: Device, work: Work, share: float, watch: Callable[[Work], Stopwatch]) -> Work:
    """`work` with `share` (0.05 = 5 %) more to do. `watch` binds a clock to work."""
    source = torch.ones(_ELEMENTS, device=device.torch_device)
    target = torch.empty_like(source)

    def units() -> None:
        for _ in range(_UNITS):
            target.copy_(source)

    call_s, units_s = _times(watch(work), watch(Work(units)))
    count = max(1, round(share * call_s / units_s * _UNITS))

    def slower(call: Call) -> Call:
        def both() -> object:
            result: object = call()
            for _ in range(count):
                target.copy_(source)
            return result

        return both

    another = work.another
    copies = None if another is None else lambda: slower(another())
    return Work(slower(work.call), work.touched_bytes, copies, work.synchronises)


def _times(call: Stopwatch, units: Stopwatch) -> tuple[float, float]:
    """Medians of both, taken in turns."""
    loops = max(1, math.ceil(1e-3 / call.take(1, 1).samples_s[0]))
    found: tuple[list[float], list[float]] = ([], [])
    for _ in range(_ROUNDS):
        found[0].extend(call.take(loops, 1).samples_s)
        found[1].extend(units.take(4, 1).samples_s)
    return median(found[0]), median(found[1])
