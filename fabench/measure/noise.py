"""One launch of the noise sheet: in this process, a few medians of the same work per duration class, taken as cells take theirs.

The work is a product of matrices, as large as a class needs, a few times over. What a launch can't see is what differs from process to
process; the parent starts several (`fabench.noise`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import torch

from fabench.devices.base import Call, Device, Work
from fabench.measure.timing import FirstCall, time_call
from fabench.median import median
from fabench.schema import Measure

__all__ = ["CLASSES_S", "noise_floor"]

CLASSES_S = (2e-5, 2e-4, 2e-3, 2e-2)
_MEDIANS = 3
_SMALLEST, _LARGEST = 16, 8192
_WARM_S = 0.1
_BYTES = 4


def noise_floor(device: Device, work: Mapping[str, list[int]] | None = None) -> dict[str, Any]:
    """Per class its medians in seconds with what disturbed them, the work done ([side, products]), and the smallest step of the host's clock.

    `work`: what an earlier launch answered, so that this one does the same; None finds it.
    """
    chosen = dict(work) if work is not None else _calibrate(device)
    calls = {name: _products(device, side, count) for name, (side, count) in chosen.items()}
    _warm(device, calls)
    classes: dict[str, list[dict[str, Any]]] = {name: [] for name in calls}
    for _ in range(_MEDIANS):  # class after class, so that the medians of one class are apart in time
        for name, call in calls.items():
            classes[name].append(_median(device, call, float(name), chosen[name][0]))
    return {"work": chosen, "classes": classes, "clock_step_s": _clock_step()}


def _products(device: Device, side: int, count: int) -> Call:
    a = torch.randn(side, side, device=device.torch_device)
    out = torch.empty_like(a)

    def multiply() -> None:
        for _ in range(count):
            torch.mm(a, a, out=out)

    return multiply


def _calibrate(device: Device) -> dict[str, list[int]]:
    """Side and number of products per class: the smallest side that needs at most eight of them."""
    found: dict[str, list[int]] = {}
    side = _SMALLEST
    for seconds in CLASSES_S:
        while (once := _once(device, side, seconds)) < seconds / 8 and side < _LARGEST:
            side *= 2
        found[f"{seconds:g}"] = [side, max(1, round(seconds / once))]
    return found


def _once(device: Device, side: int, seconds: float) -> float:
    call = _products(device, side, 1)
    call()
    loops = max(1, round(seconds / max(device.sample(call, 1), 1e-7)))
    return max(min(device.sample(call, loops) for _ in range(5)), 1e-9)


def _warm(device: Device, calls: Mapping[str, Call]) -> None:
    start = device.now_s()
    while True:
        for call in calls.values():
            call()
        device.synchronise()
        if device.now_s() - start >= _WARM_S:
            return


def _median(device: Device, call: Call, seconds: float, side: int) -> dict[str, Any]:
    """One median as a cell takes it, with less patience: a launch has a dozen of them. Short work gets as many samples as it would there."""
    measure = Measure(warmup_s=0.02, warmup_max_s=0.04, max_s=max(0.21, 15 * seconds), witness=False)
    timing, _ = time_call(device, Work(call, 2 * side * side * _BYTES), measure, FirstCall(seconds), lambda phase: None)
    count = len(timing.samples_s)
    return {
        "median_s": median(timing.samples_s),
        "minor_faults": None if timing.minor_faults is None else sum(timing.minor_faults) / count,
        "involuntary_switches": None if timing.involuntary_switches is None else sum(timing.involuntary_switches) / count,
    }


def _clock_step() -> float:
    steps: list[float] = []
    while len(steps) < 100:
        before = time.perf_counter()
        while (after := time.perf_counter()) == before:
            pass
        steps.append(after - before)
    return min(steps)
