"""What kernel sheets mean: when one is worse than another, and the least time that arithmetic allows on named GPUs.

Everything here is predicted or read from machine code; nothing is measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fabench.sheet import KernelSheet

__all__ = ["GPUS", "Gpu", "bound_s", "faults", "issue_s", "matched", "worse"]


@dataclass(frozen=True, slots=True)
class Gpu:
    """A product's data sheet: memory bandwidth, dense products per second by kind of operand, and instructions of a warp per second.

    The last is multiprocessors x 4 schedulers x boost clock; None where a multiprocessor is built otherwise (AMD).
    """

    name: str
    target: str
    bytes_per_s: float
    half_flop_per_s: float
    tf32_flop_per_s: float
    float32_flop_per_s: float
    issue_per_s: float | None = None


# From the vendors' data sheets, without sparsity.
GPUS = (
    Gpu("A100 SXM 80 GB", "sm_80", 2.039e12, 312e12, 156e12, 19.5e12, 108 * 4 * 1.41e9),
    Gpu("H100 SXM", "sm_90", 3.35e12, 989e12, 495e12, 67e12, 132 * 4 * 1.83e9),
    Gpu("H200", "sm_90", 4.8e12, 989e12, 495e12, 67e12, 132 * 4 * 1.83e9),
    Gpu("B200", "sm_100", 8.0e12, 2250e12, 1100e12, 75e12, 148 * 4 * 1.86e9),
    Gpu("RTX 5090", "sm_120", 1.792e12, 209.5e12, 104.8e12, 104.8e12, 170 * 4 * 2.41e9),
    Gpu("MI300X", "gfx942", 5.3e12, 1307e12, 654e12, 163e12),
)


# Schedules differ by a few instructions for reasons that mean nothing.
_MORE_SLOTS = 1.1


def bound_s(sheet: KernelSheet, gpu: Gpu) -> float:
    """The roofline's least time: bytes at full bandwidth or products at full rate, whichever takes longer."""
    rate = gpu.half_flop_per_s
    if sheet.dtype == "float32":
        rate = gpu.tf32_flop_per_s if sheet.precision == "tf32" else gpu.float32_flop_per_s
    return max((sheet.read_bytes + sheet.written_bytes) / gpu.bytes_per_s, sheet.flop / rate)


def issue_s(sheet: KernelSheet, gpu: Gpu) -> float | None:
    """The least time in which the instructions of the kernel's walk can be issued; None where they can't be counted."""
    if sheet.slots_per_position is None or not sheet.walked or gpu.issue_per_s is None:
        return None
    return sheet.slots_per_position * sheet.walked / gpu.issue_per_s


def faults(sheet: KernelSheet) -> list[str]:
    """What no kernel may do, whatever it did before."""
    if sheet.reason is not None:
        return [f"does not compile: {sheet.reason}"]
    found = []
    if sheet.spills or sheet.stack_bytes:
        found.append(f"spills registers ({sheet.spills} instructions, {sheet.stack_bytes} bytes of stack)")
    if sheet.shared_bytes is not None and sheet.shared_limit_bytes is not None and sheet.shared_bytes > sheet.shared_limit_bytes:
        found.append(f"needs {sheet.shared_bytes:,} bytes of shared memory, {sheet.target} gives {sheet.shared_limit_bytes:,}")
    products = sheet.flop > 0 and (sheet.dtype in ("bfloat16", "float16") or sheet.precision == "tf32")
    if products and not sheet.tensor_instructions:
        found.append("uses no tensor cores")
    if sheet.loads and not sheet.wide_loads:
        found.append("reads nothing 128 bits wide")
    return found


def worse(before: KernelSheet, now: KernelSheet) -> list[str]:
    """In what `now` is worse than `before`; nothing here has noise, so every change for the worse counts."""
    if now.reason is not None and before.reason is None:
        return [f"no longer compiles: {now.reason}"]
    found = []
    for name, words in (
        ("spills", "spilling instructions"), ("stack_bytes", "bytes of stack"), ("shared_bytes", "bytes of shared memory"),
        ("read_bytes", "bytes read"), ("written_bytes", "bytes written"),
    ):  # fmt: skip
        old, new = getattr(before, name), getattr(now, name)
        if old is not None and new is not None and new > old:
            found.append(f"{words}: {old:,} -> {new:,}")
    for name, words in (
        ("tensor_instructions", "tensor-core instructions"),
        ("wide_loads", "128-bit loads"),
        ("wide_stores", "128-bit stores"),
    ):
        if getattr(before, name) and not getattr(now, name):
            found.append(f"{words}: {getattr(before, name)} -> {getattr(now, name) or 'none'}")
    old, new = before.slots_per_position, now.slots_per_position
    if old is not None and new is not None and new > _MORE_SLOTS * old:
        found.append(f"instructions issued for a position: {old:.1f} -> {new:.1f}")
    if before.occupancy is not None and now.occupancy is not None and now.occupancy < before.occupancy:
        found.append(f"occupancy: {before.occupancy:.0%} -> {now.occupancy:.0%}")
    return found


def matched(before: Sequence[KernelSheet], now: Sequence[KernelSheet]) -> tuple[list[tuple[KernelSheet, KernelSheet]], list[str]]:
    """Pairs of the same kernel and case, and the keys of `now` that `before` does not know."""
    known = {sheet.key: sheet for sheet in before}
    return [(known[one.key], one) for one in now if one.key in known], [one.key for one in now if one.key not in known]
