"""What is deterministic and got worse from one record to another: rules and no statistics, the same for the gate and for stored runs.

peak memory     worse where head's call takes more than a tolerance over base's (allocator bytes, the same in every run)
saved bytes     worse where more is kept for backward
FLOPs           worse where more are counted
accuracy        worse where the error against float64 is twice base's and above a tenth of its tolerance
"""

from __future__ import annotations

from dataclasses import dataclass

from fabench.baseline import Counted
from fabench.schema import Record
from fabench.units import format_bytes, format_count

__all__ = ["EXACT_BYTES", "TOLERANCE_BYTES", "Worse", "counted", "less_accurate", "more", "worse"]

TOLERANCE_BYTES = 2**20
EXACT_BYTES = 4096
_ERROR_FACTOR, _ERROR_SHARE = 2.0, 0.1


@dataclass(frozen=True, slots=True)
class Worse:
    """Something deterministic that got worse. `quantity`: "peak memory", "saved bytes", "FLOPs", "accuracy", or "status" (in words)."""

    quantity: str
    base: float | str
    head: float | str
    text: str


def counted(record: Record) -> Counted:
    """The record's figures that do not depend on a clock."""
    memory = record.memory
    if memory is None:
        return Counted(flop=record.flop)
    return Counted(memory.delta_bytes, memory.saved_bytes, record.flop)


def worse(base: Record | None, head: Record | None, tolerance_bytes: int) -> tuple[Worse, ...]:
    """In what head's record is worse than base's; nothing where a side has none."""
    if base is None or head is None:
        return ()
    return more(counted(base), counted(head), tolerance_bytes) + less_accurate(base, head)


def more(base: Counted, head: Counted, tolerance_bytes: int) -> tuple[Worse, ...]:
    """What head takes more of; what a side does not know is not compared."""
    found: list[Worse] = []
    old, new = base.peak_bytes, head.peak_bytes
    if old is not None and new is not None and new - old > tolerance_bytes:
        found.append(Worse("peak memory", old, new, f"peak memory {_grown(old, new)}"))
    old, new = base.saved_bytes, head.saved_bytes
    if old is not None and new is not None and new > old:
        found.append(Worse("saved bytes", old, new, f"saved for backward {_grown(old, new)}"))
    old, new = base.flop, head.flop
    if old is not None and new is not None and new > old:
        found.append(Worse("FLOPs", old, new, f"{format_count(old, 'FLOP')} -> {format_count(new, 'FLOP')}"))
    return tuple(found)


def _grown(old: int, new: int) -> str:
    """Also where both look alike, how much it is."""
    return f"{format_bytes(old)} -> {format_bytes(new)} (+{format_bytes(new - old)})"


def less_accurate(base: Record, head: Record) -> tuple[Worse, ...]:
    """The first tensor whose error grew to what matters."""
    if base.check is None or head.check is None:
        return ()
    before = {tensor.name: tensor.error for tensor in base.check.tensors}
    for tensor in head.check.tensors:
        old, new = before.get(tensor.name), tensor.error
        if old is not None and new is not None and new > _ERROR_FACTOR * old and new > _ERROR_SHARE * tensor.tolerance:
            return (Worse("accuracy", old, new, f"error of {tensor.name} against float64 {old:.1e} -> {new:.1e}"),)
    return ()
