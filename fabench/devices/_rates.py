"""Measured peaks that the roofline is drawn with: best copy bandwidth and best matrix product, each the best of several tries.

The best, not the median: a peak is what the machine can do, and whatever disturbs a try only lowers it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from fabench.devices.base import Device

__all__ = ["copy_rate", "product_rate"]


def copy_rate(device: Device, total_bytes: int, tries: int) -> float:
    """Bytes per second of a copy (read plus written) between two buffers far larger than any cache."""
    source = torch.ones(total_bytes // 8, dtype=torch.float32, device=device.torch_device)
    target = torch.empty_like(source)
    target.copy_(source)
    best = min(device.sample(lambda: target.copy_(source), 1) for _ in range(tries))
    return 2 * source.numel() * source.element_size() / best


def product_rate(device: Device, dtypes: Sequence[torch.dtype], side: int, tries: int) -> dict[str, float]:
    """FLOP per second of a square matrix product, per dtype that the device multiplies."""
    rates = {}
    for dtype in dtypes:
        a = torch.randn(side, side, device=device.torch_device).to(dtype)
        b = torch.randn(side, side, device=device.torch_device).to(dtype)
        out = torch.empty_like(a)

        def multiply(a: torch.Tensor = a, b: torch.Tensor = b, out: torch.Tensor = out) -> None:
            torch.mm(a, b, out=out)

        multiply()
        best = min(device.sample(multiply, 1) for _ in range(tries))
        rates[str(dtype).removeprefix("torch.")] = 2 * side**3 / best
    return rates
