"""Measured peaks that the roofline is drawn with: best copy bandwidth and best matrix product, each the best of several tries.

The best, not the median: a peak is what the machine can do, and whatever disturbs a try only lowers it. So tries are short on a host,
where others may run: of a hundred tries of a millisecond some are left alone, of three that take many time slices none is (seen: 40 %
of the peak, and every cell beyond what would then be possible).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from fabench.devices.base import Device

__all__ = ["copy_rate", "product_rate"]


def copy_rate(device: Device, total_bytes: int, tries: int, parts: int = 1) -> float:
    """Bytes per second of a copy (read plus written) between two buffers far larger than any cache; `parts` are timed one by one."""
    source = torch.ones(total_bytes // 8, dtype=torch.float32, device=device.torch_device)
    target = torch.empty_like(source)
    target.copy_(source)
    pairs = list(zip(target.chunk(parts), source.chunk(parts), strict=True))

    def part(index: int) -> float:
        to, what = pairs[index % len(pairs)]
        return device.sample(lambda: to.copy_(what), 1) / what.numel()

    return 2 * source.element_size() / min(part(index) for index in range(tries * len(pairs)))


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
