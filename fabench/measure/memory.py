"""Memory, in a pass of its own: what the call took at its peak, what it keeps for backward, what the process grew to.

`delta_bytes` is peak minus baseline, where the baseline is read before the call's output exists. Two tools agree only if both say
which of the two they report, so the record holds peak, baseline and delta.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch

from fabench.devices.base import Call, Device
from fabench.measure.subject import Subject
from fabench.schema import Memory

__all__ = ["Graph", "measure_memory", "saved_for_backward"]


@dataclass(frozen=True, slots=True)
class Graph:
    """What a forward pass leaves behind for backward, in bytes of distinct storages.

    `saved_bytes` counts all, inputs and weights included; `new_bytes` only what the pass allocated itself, its output included.
    """

    saved_bytes: int
    new_bytes: int


def saved_for_backward(subject: Subject) -> Graph:
    """Runs the forward pass and counts what autograd keeps (v1's memory formula counts exactly this)."""
    storages: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage  # held, so that no address is used twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = subject.forward()
    saved = sum(storage.nbytes() for storage in storages.values())
    storages[output.untyped_storage().data_ptr()] = output.untyped_storage()
    given = {tensor.untyped_storage().data_ptr() for tensor in subject.wanted}
    return Graph(saved, sum(storage.nbytes() for address, storage in storages.items() if address not in given))


def measure_memory(device: Device, subject: Subject, call: Call, opaque: bool) -> Memory:
    """The memory of one more call. An opaque implementation hides its saved tensors from hooks, so theirs are not known."""
    case = subject.case
    graph = saved_for_backward(subject) if case.needs_gradients and not opaque else None
    resident = _reset_resident()
    peak = device.peak(call)
    baseline = peak.baseline_bytes
    if baseline is None:
        # In mode bwd the graph exists before the call.
        baseline = subject.held_bytes + (graph.new_bytes if graph is not None and case.mode == "bwd" else 0)
    return Memory(
        baseline_bytes=baseline,
        peak_bytes=baseline + peak.delta_bytes,
        delta_bytes=peak.delta_bytes,
        input_bytes=subject.held_bytes,
        output_bytes=case.element_bytes * math.prod(subject.output_shape),
        saved_bytes=None if graph is None else graph.saved_bytes,
        rss_peak_bytes=_peak_resident() if resident else None,
        reserved_bytes=peak.reserved_bytes,
        process_bytes=peak.process_bytes,
    )


def _reset_resident() -> bool:
    """Lets the kernel's high-water mark start anew; False where it may not be reset, and then it means nothing."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _peak_resident() -> int | None:
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None
