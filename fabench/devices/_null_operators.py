"""Every operator that runs while a cell is measured on the null device: what it would cost, what memory it leaves, what goes wrong.

Operators run on the CPU, so that results are right. What they cost is scripted: bytes of their tensors or torch's FLOP formula, by the
script's rates. Views cost nothing, as they launch nothing. A block lives from the operator that returned it until its storage is gone, as
torch's allocators count it; what operators need inside is not seen.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from fabench.devices._null_faults import Planted
from fabench.devices._null_script import Script

__all__ = ["Blocks", "Operators", "Spent"]


@dataclass(slots=True)
class Spent:
    """What was submitted: the device's seconds before any noise, and launches."""

    busy_s: float = 0.0
    launches: int = 0


class Blocks:
    """The allocator's counters: bytes of live blocks as asked for and as rounded, and the highest of both since `mark`."""

    def __init__(self, block_bytes: int) -> None:
        self._block_bytes = block_bytes
        self._live: dict[int, Any] = {}
        self.requested = self.allocated = self.highest_requested = self.highest = self.highest_ever = 0

    def mark(self) -> None:
        """Peaks begin anew."""
        self.highest_requested, self.highest = self.requested, self.allocated

    def add(self, storage: torch.UntypedStorage) -> None:
        """A block, unless it is known."""
        address, size = storage.data_ptr(), storage.nbytes()
        if size == 0 or address in self._live:
            return
        rounded = -(-size // self._block_bytes) * self._block_bytes

        def gone(reference: Any) -> None:
            if self._live.get(address) is reference:
                del self._live[address]
                self.requested -= size
                self.allocated -= rounded

        self._live[address] = weakref.ref(storage, gone)
        self.requested += size
        self.allocated += rounded
        self.highest_requested = max(self.highest_requested, self.requested)
        self.highest = max(self.highest, self.allocated)
        self.highest_ever = max(self.highest_ever, self.allocated)


class Operators(TorchDispatchMode):
    """Watches while it is entered. `submitted` is what the host has not waited for yet."""

    def __init__(self, script: Script, planted: Planted) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._script, self._planted = script, planted
        self.submitted = Spent()
        self.blocks = Blocks(script.memory.block_bytes)

    @classmethod
    def is_infra_mode(cls) -> bool:
        """torch.compile stops at modes that change what operators do; this one watches."""
        return True

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._planted.operator()
        if func is torch.ops.aten._local_scalar_dense.default:
            self._planted.wait()  # a number for the host
        result = func(*args, **(kwargs or {}))
        given = list(_tensors((args, kwargs)))
        addresses = {tensor.untyped_storage().data_ptr() for tensor in given}
        got = [tensor for tensor in _tensors(result) if tensor.untyped_storage().data_ptr() not in addresses]
        if got or func._schema.is_mutable:
            self._submit(func, args, kwargs or {}, result, [*given, *got])
        for tensor in got:
            self.blocks.add(tensor.untyped_storage())
            if self._planted.spoils and tensor.is_floating_point():
                tensor.fill_(float("nan"))
        self._fits()
        return result

    def _submit(self, func: Any, args: Any, kwargs: Any, result: Any, touched: list[torch.Tensor]) -> None:
        speed = self._script.speed
        formula = flop_registry.get(func.overloadpacket)
        flop = 0 if formula is None else formula(*args, **kwargs, out_val=result)
        moved = sum(tensor.numel() * tensor.element_size() for tensor in touched)
        self.submitted.busy_s += max(speed.operator_s, moved / speed.bytes_per_s, flop / speed.flop_per_s)
        self.submitted.launches += 1

    def _fits(self) -> None:
        room, foreign = self._script.memory, self._script.driver.foreign_bytes
        free = room.bytes - room.context_bytes - foreign
        if self.blocks.allocated > free:
            raise torch.OutOfMemoryError(
                f"CUDA out of memory. {self.blocks.allocated} bytes are asked for, of {free} that the device has free [scripted]"
            )


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        yield from _tensors(tuple(value.values()))
