"""This machine's noise floor: the same work again and again, per duration class."""

from __future__ import annotations

import math
import time
from typing import Any

import torch

from fabench.devices.base import Device

__all__ = ["noise_floor"]

_CLASSES_S = (1e-4, 1e-3, 1e-2)
_SAMPLES = 60
_SIDE = 64


def noise_floor(device: Device) -> dict[str, Any]:
    """Samples in seconds per duration class, of repeated small matrix products; and the smallest step of the host's clock."""
    a = torch.randn(_SIDE, _SIDE, device=device.torch_device)
    out = torch.empty_like(a)

    def multiply() -> None:
        torch.mm(a, a, out=out)

    once = min(device.sample(multiply, 100) for _ in range(20))
    classes = {}
    for seconds in _CLASSES_S:
        loops = max(1, math.ceil(seconds / once))
        classes[f"{seconds:g}"] = [device.sample(multiply, loops) * loops for _ in range(_SAMPLES)]
    steps: list[float] = []
    while len(steps) < 100:
        before = time.perf_counter()
        while (after := time.perf_counter()) == before:
            pass
        steps.append(after - before)
    return {"classes": classes, "clock_step_s": min(steps)}
