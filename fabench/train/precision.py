"""Mixed precision: what torch's autocast computes in half the bits, what a loss has to be scaled by, and where neither is to be had.

A trap on CPUs: the gradient of a bfloat16 3D convolution (3x3x3, stride 1) over a volume of exactly two planes is, with respect to its
weights, off by its whole size or infinite. That was found by comparing it with float32's under torch 2.14.1, on a processor with
AVX-512 BF16; over any other number of planes tried the two agree to 0.4 %. PSMNet's hourglasses make two planes of 16 or 32 disparities.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from fabench.errors import UsageError
from fabench.models.psmnet.network import StackedHourglass

__all__ = ["DTYPES", "autocast", "require", "require_planes", "scaler_for"]

_PLANES_BUG = 32  # disparities: a quarter of them as planes, then twice halved
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def require(precision: str, device: torch.device) -> None:
    """Raises UsageError, with the reason, for a precision that is not known or that `device` can't train in."""
    if precision not in DTYPES:
        raise UsageError(f"{precision[:40]!r} is no precision; there are {', '.join(DTYPES)}")
    if precision == "fp32" or (precision == "bf16" and device.type == "cpu"):
        return
    if device.type != "cuda":
        why = (
            "float16 needs a scaled loss, which is for GPUs of NVIDIA" if precision == "fp16" else "autocast is for CPU and CUDA"
        )
        raise UsageError(f"{precision} can't be trained in on {device.type}: {why}; take --precision fp32")
    if precision == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        name = torch.cuda.get_device_name(device)
        raise UsageError(f"bf16 can't be trained in on {name}: it has no bfloat16 of its own; take --precision fp16 or fp32")


def require_planes(network: torch.nn.Module, precision: str, device: torch.device) -> None:
    """Raises UsageError where the network would make a volume that bfloat16's gradients are wrong over."""
    if (
        device.type == "cpu"
        and precision == "bf16"
        and isinstance(network, StackedHourglass)
        and network.max_disparity <= _PLANES_BUG
    ):
        raise UsageError(
            f"an hourglass of {network.max_disparity} disparities can't be trained in bf16 on a CPU: torch's gradients over the two planes "
            "that it makes are wrong there; take --precision fp32, more disparities, or form=basic"
        )


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Within it torch chooses each operation's precision; parameters stay float32."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, DTYPES[precision])


def scaler_for(precision: str, device: torch.device) -> torch.amp.GradScaler:
    """Keeps float16's small gradients from vanishing; does nothing in the other precisions, whose exponents reach far enough."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")
