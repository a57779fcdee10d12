"""Floating-point operations of a call, counted from the operators that really run, with torch's formulas.

torch's own FlopCounterMode tracks modules too, which autograd.grad refuses inside one; its formulas (`flop_registry`, open to any
operator through `register_flop_formula`) are all that is needed here. A multiply-add counts 2; elementwise work counts nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

__all__ = ["count"]


class _Counter(TorchDispatchMode):
    """Adds up the formula of every operator that has one."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func.overloadpacket)
        if formula is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=result)
        return result


def count(call: Callable[[], Any]) -> int | None:
    """FLOPs of one `call`; None where no operator had a formula: then the number is unknown, not zero."""
    with _Counter() as counter:
        call()
    return counter.total or None
