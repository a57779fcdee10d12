"""A ledger that adds up: what the bytes are that exist at the moment of a call's peak.

Inputs, parameters and what else is given are there before the call: they are counted from the tensors, each storage once. What the
call takes is told apart by what points at it while the call runs: the forward's result and all that the call returns is output; what
autograd's hooks are shown as it is stored is saved; both by the storages as Python sees them. In mode bwd the graph is built before
the call, and stands in the ledger as saved and output all the same.

Where the allocator tells of each block (CPU), these storages are found among the blocks that exist at the peak, and workspace is the
sum of the other blocks. So no line is what the others leave over. The residual shows what they miss: a block that outlives the
forward though it is no output and was shown to no hook (tensors hidden in an autograd context), or whose size is not its storage's.
Hooks are not shown Python's numbers, which torch keeps in blocks of 8 or 16 bytes; such a block that outlives the forward is saved.

An opaque implementation shows the hooks nothing. But what it keeps exists when the forward has ended: all its blocks that are no output
are then saved, by address too. So its saved line can't be contradicted.

Where the allocator has counters only (GPU), nothing tells which of the storages exist at the peak. All are taken for it, and workspace
is what the call asked for beyond them. It is 0 where they are more than was asked for (a gradient was not there yet, a saved tensor
no longer); the residual, then negative, says by how much. What an opaque implementation saves is known in mode bwd only, as what
the graph added to the counter; in fwd_bwd it is among the workspace. Other tensors of the process (a library's workspace, a buffer
that flushes the cache) are residual.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from fabench.devices._blocks import point_out
from fabench.devices.base import Block, Peak
from fabench.measure.subject import Subject
from fabench.measured import Ledger

__all__ = ["Held", "Part", "Watch", "by_address", "close", "held_by", "kept_by_graph", "taken_by_call"]

_OUTPUT, _SAVED, _KEPT = "output", "saved", "kept"
_NUMBER_BYTES = 16


@dataclass(frozen=True, slots=True)
class Held:
    """What is there before the call and its graph, in bytes of distinct storages, and where."""

    input_bytes: int
    parameter_bytes: int
    given_bytes: int
    addresses: frozenset[int]

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return self.input_bytes + self.parameter_bytes + self.given_bytes


@dataclass(frozen=True, slots=True)
class Part:
    """Lines of what a graph keeps or a call takes. `saved_bytes` None: among the workspace. `total_bytes`: what the allocator says."""

    total_bytes: int
    output_bytes: int = 0
    saved_bytes: int | None = 0
    workspace_bytes: int = 0


def held_by(subject: Subject, upstream: torch.Tensor | None) -> Held:
    """The subject's inputs, its module's parameters and buffers, its padding mask or targets, and the gradient that is sent back."""
    seen: dict[int, int] = {}

    def count(tensors: Iterable[torch.Tensor | None]) -> int:
        before = sum(seen.values())
        for tensor in tensors:
            if tensor is not None:
                seen.setdefault(tensor.untyped_storage().data_ptr(), tensor.untyped_storage().nbytes())
        return sum(seen.values()) - before

    module = subject.module
    inputs = count(subject.inputs.leaves)
    parameters = 0 if module is None else count([*module.parameters(), *module.buffers()])
    return Held(inputs, parameters, count((subject.inputs.padding, *subject.inputs.targets, upstream)), frozenset(seen))


@dataclass
class Watch:
    """A subject whose calls point out what they make. `output`, `saved`: bytes of each storage seen so far, by address."""

    subject: Subject
    opaque: bool
    output: dict[int, int] = field(default_factory=dict)
    saved: dict[int, int] = field(default_factory=dict)

    def call(self, upstream: torch.Tensor | None) -> Callable[[], Any]:
        """The subject's call, watched; in mode bwd the forward pass runs here."""
        call = replace(self.subject, forward=self._forward).call_with(upstream)

        def watched() -> Any:
            result = call()
            for tensor in (result,) if isinstance(result, torch.Tensor) else result:
                self._see(_OUTPUT, self.output, tensor)
            return result

        return watched

    def _see(self, name: str, seen: dict[int, int], tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        seen[storage.data_ptr()] = storage.nbytes()
        point_out(name, storage)

    def _pack(self, tensor: torch.Tensor) -> torch.Tensor:
        self._see(_SAVED, self.saved, tensor)
        return tensor

    def _forward(self) -> Any:
        if not torch.is_grad_enabled():
            return self.subject.forward()
        if self.opaque:
            output = self.subject.forward()
        else:
            with torch.autograd.graph.saved_tensors_hooks(self._pack, lambda tensor: tensor):
                output = self.subject.forward()
        point_out(_SAVED if self.opaque else _KEPT)
        self._see(_OUTPUT, self.output, output)
        return output

    def new_bytes(self, before: frozenset[int]) -> tuple[int, int | None]:
        """Output and saved so far, without the storages of `before`; what is both is output. Saved is None where it can't be seen."""
        output = sum(size for address, size in self.output.items() if address not in before)
        known = before | self.output.keys()
        saved = sum(size for address, size in self.saved.items() if address not in known)
        return output, None if self.opaque and self.subject.case.needs_gradients else saved


def by_address(blocks: Iterable[Block]) -> Part:
    """The lines of these blocks, by what was pointed out."""
    total = output = saved = rest = 0
    for block in blocks:
        names = dict(block.names)
        total += block.size_bytes
        if _OUTPUT in names:
            output += names[_OUTPUT]
        elif _SAVED in names:
            saved += names[_SAVED]
        elif _KEPT not in names:
            rest += block.size_bytes
        elif block.size_bytes <= _NUMBER_BYTES:
            saved += block.size_bytes
    return Part(total, output, saved, rest)


def kept_by_graph(built: Peak, called: Peak, output_bytes: int, saved_bytes: int | None) -> Part:
    """What a graph that was built before the call holds: its blocks, or what it added to a counter, or else the storages seen."""
    if built.left is not None:
        return by_address(built.left)
    before, after = built.baseline_requested_bytes, called.baseline_requested_bytes
    if before is None or after is None:
        before, after = built.baseline_bytes, called.baseline_bytes
    if before is None or after is None or after - before < output_bytes:
        return Part(output_bytes + (saved_bytes or 0), output_bytes, saved_bytes)
    saved = after - before - output_bytes if saved_bytes is None else saved_bytes
    return Part(after - before, output_bytes, saved)


def taken_by_call(peak: Peak, output_bytes: int, saved_bytes: int | None) -> Part:
    """What the call took and held at its peak."""
    if peak.live is not None:
        return by_address(peak.live)
    total = peak.delta_bytes if peak.requested_bytes is None else min(peak.delta_bytes, peak.requested_bytes)
    return Part(total, output_bytes, saved_bytes, max(0, total - output_bytes - (saved_bytes or 0)))


def close(held: Held, kept: Part, taken: Part, peak: Peak) -> Ledger:
    """The ledger. A total of driver or allocator that is smaller than what it must contain is none: its line is None.

    The residual is what stands between the lines and the bytes asked for: the held ones and what the graph kept and the call took, or
    the allocator's own counters where it has them.
    """
    saved = None if kept.saved_bytes is None or taken.saved_bytes is None else kept.saved_bytes + taken.saved_bytes
    lines = held.total_bytes + kept.output_bytes + taken.output_bytes + (saved or 0) + taken.workspace_bytes
    allocated = None if peak.baseline_bytes is None else peak.baseline_bytes + peak.delta_bytes
    requested = _requested(peak, allocated)
    if allocated is None:
        whole = held.total_bytes + kept.total_bytes + taken.total_bytes
    else:
        whole = allocated if requested is None else requested
    return Ledger(
        input_bytes=held.input_bytes,
        parameter_bytes=held.parameter_bytes,
        given_bytes=held.given_bytes,
        output_bytes=kept.output_bytes + taken.output_bytes,
        saved_bytes=saved,
        workspace_bytes=taken.workspace_bytes,
        residual_bytes=whole - lines,
        rounding_bytes=_between(requested, allocated),
        cached_bytes=_between(allocated, peak.reserved_bytes),
        context_bytes=_between(peak.reserved_bytes, peak.process_bytes),
        others_bytes=_between(peak.process_bytes, peak.device_bytes),
    )


def _requested(peak: Peak, allocated: int | None) -> int | None:
    """What the process's tensors asked for at the peak; None where it is not counted, or more than was allocated."""
    if allocated is None or peak.baseline_requested_bytes is None or peak.requested_bytes is None:
        return None
    requested = peak.baseline_requested_bytes + peak.requested_bytes
    return requested if requested <= allocated else None


def _between(inner: int | None, outer: int | None) -> int | None:
    return None if inner is None or outer is None or outer < inner else outer - inner
