"""Memory, in a pass of its own: what the call took at its peak, what it keeps for backward, what the process grew to.

`delta_bytes` is peak minus baseline, where the baseline is read before the call's output exists. Two tools agree only if both say
which of the two they report, so the record holds peak, baseline and delta. On a CPU, whose allocator has no counter, the baseline is
what the cell's tensors hold: inputs, parameters, mask and upstream gradient, each storage once, and in mode bwd the graph's blocks.

The pass makes a call of its own, so that it can see what the forward stores (see `ledger`); the timed one should be gone by then, or a
GPU's baseline holds its graph too.

The process's very first call may take more: libraries set up their workspaces, a compiler runs. It is the one whose result is checked,
so in mode bwd it has the forward pass in it. It is watched like any other; its seconds are read inside, so that setting up the watch and
reading it out are no part of them. What is left on a CPU is the profiler's record of each operator: 115 of them in an eager first call
forward and backward, 5,487 while a compiler runs for seconds. Neither shows against the spread of first calls. A GPU's counters run anyway.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from fabench.devices.base import Call, Device
from fabench.measure import ledger
from fabench.measure.subject import Subject
from fabench.schema import Memory

__all__ = ["Watched", "measure_memory", "watch_first"]

Result = TypeVar("Result")


class Watched(NamedTuple, Generic[Result]):
    """A call's result, its seconds until the device was done, and what it took at its peak (None where it was not watched)."""

    result: Result
    seconds: float
    delta_bytes: int | None


def watch_first(device: Device, call: Callable[[], Result], watch: bool) -> Watched[Result]:
    """Runs `call`, the process's first; `watch` its memory."""
    done: list[tuple[Result, float]] = []

    def timed() -> None:
        before = device.now_s()
        result = call()
        device.synchronise()
        done.append((result, device.now_s() - before))

    delta = device.peak(timed).delta_bytes if watch else None
    if not watch:
        timed()
    ((result, seconds),) = done
    return Watched(result, seconds, delta)


def measure_memory(device: Device, subject: Subject, opaque: bool, first_delta_bytes: int | None = None) -> Memory:
    """The memory of one more call. An opaque implementation hides its saved tensors from hooks, so their number is not known."""
    case = subject.case
    upstream = subject.upstream()
    held, watch = ledger.held_by(subject, upstream), ledger.Watch(subject, opaque)
    calls: list[Call] = []
    kept: tuple[int, int | None] = (0, 0)
    built, known = None, held.addresses
    if case.mode == "bwd":
        built = device.peak(lambda: calls.append(watch.call(upstream)))
        kept, known = watch.new_bytes(known), known | watch.output.keys() | watch.saved.keys()
        watch.output.clear()
    else:
        calls.append(watch.call(upstream))
    resident = _reset_resident()
    peak = device.peak(calls[0])
    output, saved = watch.new_bytes(known)
    graph = ledger.Part(0) if built is None else ledger.kept_by_graph(built, peak, *kept)
    taken = ledger.taken_by_call(peak, output, saved if built is None else 0)
    baseline = held.total_bytes + graph.total_bytes if peak.baseline_bytes is None else peak.baseline_bytes
    return Memory(
        baseline_bytes=baseline,
        peak_bytes=baseline + peak.delta_bytes,
        delta_bytes=peak.delta_bytes,
        input_bytes=subject.held_bytes,
        output_bytes=sum(watch.output.values()) if subject.output_bytes is None else subject.output_bytes,
        first_delta_bytes=first_delta_bytes,
        saved_bytes=sum(watch.saved.values()) if case.needs_gradients and not opaque else None,
        rss_peak_bytes=_peak_resident() if resident else None,
        requested_bytes=peak.requested_bytes,
        reserved_bytes=peak.reserved_bytes,
        process_bytes=peak.process_bytes,
        device_bytes=peak.device_bytes,
        ledger=ledger.close(held, graph, taken, peak),
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
