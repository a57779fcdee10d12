"""One cell, from its job to its record: inputs, check, warm-up, timing, memory. Every way it can end is a status with a reason.

What kills the process (a signal, a time-out) is recorded by the parent; everything else ends here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch

from fabench import devices
from fabench.attention import base
from fabench.catalogue import Facts
from fabench.devices.base import Device, Unfit, Work
from fabench.measure import check, flop, inputs, memory, subject, timing
from fabench.schema import Job, Record, Status
from fabench.units import format_bytes

__all__ = ["run"]

_OUT_OF_MEMORY_WORDS = ("can't allocate memory", "not enough memory", "out of memory", "bad_alloc", "cannot allocate memory")


@dataclass
class _Phases:
    """Wall seconds per phase, and the phase the cell is in."""

    announce: Callable[[str], None]
    seconds: dict[str, float] = field(default_factory=dict)
    current: str = "start"
    _since: float = field(default_factory=time.perf_counter)

    def enter(self, name: str) -> None:
        """Closes the current phase and opens `name`."""
        now = time.perf_counter()
        self.seconds[self.current] = self.seconds.get(self.current, 0.0) + now - self._since
        self.current, self._since = name, now
        self.announce(name)


def run(job: Job, announce: Callable[[str], None]) -> Record:
    """Measures one cell in this process. `announce` is told each phase's name as it begins."""
    phases = _Phases(announce)
    record = Record(cell=job.cell, status=Status.CRASHED, reason="did not start", memory_limit_bytes=job.memory_limit_bytes)
    try:
        record = _run(job, record, phases)
    except Exception as error:  # every cell ends as a record
        record = _failure(record, error, phases.current)
    phases.enter("end")
    return replace(record, phases_s=phases.seconds)


def _failure(record: Record, error: Exception, phase: str) -> Record:
    text = " ".join(str(error).split())[:300] or type(error).__name__
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(word in text.lower() for word in _OUT_OF_MEMORY_WORDS):
        status, reason = Status.OUT_OF_MEMORY, f"in {phase}: {text}"
    elif type(error).__name__ == "OutOfResources":
        status, reason = Status.OUT_OF_RESOURCES, f"in {phase}: {text}"
    else:
        status, reason = Status.CRASHED, f"in {phase}: {type(error).__name__}: {text}"
    return replace(record, status=status, reason=reason)


def _run(job: Job, record: Record, phases: _Phases) -> Record:
    cell, measure = job.cell, job.measure
    phases.enter("prepare")
    device = devices.base.load(cell.device)
    implementation = base.load(cell.implementation)
    facts = implementation.facts
    function = facts.computes.get(cell.case.normalisation)
    record = replace(record, function=function, time_order=facts.time_order, memory_order=facts.memory_order)
    reason = device.missing()
    if reason is None:
        device.prepare(measure)
        reason = implementation.supports(cell.case, cell.device)
    if reason is not None or function is None:
        return replace(record, status=Status.UNSUPPORTED, reason=reason or f"no {cell.case.normalisation} form")
    record = replace(record, configuration=implementation.configuration(cell.case, cell.device))
    phases.enter("inputs")
    given = inputs.make(cell.case, measure, device.torch_device)
    measured = subject.build(cell.case, implementation, cell.device, given)
    record, first = _checked(record, measured, function, facts, device, phases)
    if record.status != Status.OK or measure.check_only:
        return record
    call = measured.call()
    call()  # the mode's own callable once: bwd and fwd run other code than the check (no graph, a kept graph)
    work = Work(call, measured.touched_bytes, measured.another, facts.synchronises)
    try:
        times, telemetry = timing.time_call(device, work, measure, first, phases.enter)
        if measure.energy:
            phases.enter("energy")
            telemetry = replace(telemetry, energy_j=device.energy(call))
        record = replace(record, timing=times, telemetry=telemetry)
        if measure.memory:
            phases.enter("memory")
            record = _within_limit(replace(record, memory=memory.measure_memory(device, measured, call, facts.opaque)))
    except Unfit as error:
        return replace(record, status=Status.UNSUPPORTED, reason=f"no clock can time it: {error}")
    except Exception as error:  # what was measured before it stays in the record
        return _failure(record, error, phases.current)
    return record


def _within_limit(record: Record) -> Record:
    """The record, out of memory if the call held more than it may: the kernel's limit is on address space and leaves room for holes."""
    limit, taken = record.memory_limit_bytes, record.memory
    if record.cell.device != "cpu" or limit is None or taken is None or taken.peak_bytes <= limit:
        return record
    reason = f"the call holds {format_bytes(taken.peak_bytes)}, the limit is {format_bytes(limit)}"
    return replace(record, status=Status.OUT_OF_MEMORY, reason=reason)


def _checked(
    record: Record, measured: subject.Subject, function: str, facts: Facts, device: Device, phases: _Phases
) -> tuple[Record, timing.FirstCall]:
    """The record with check and FLOPs (status ok or incorrect), and the first call."""
    rows = check.sampled_rows(measured.case, function, measured.inputs.seed)
    gradient = check.upstream(measured, rows) if measured.case.needs_gradients else None
    compiles = facts.compiles
    phases.enter("compile" if compiles else "first call")
    before = time.perf_counter()
    result = check.compute(measured, gradient)
    device.synchronise()
    first = timing.FirstCall(time.perf_counter() - before, compiles, _cache_hits() > 0 if compiles else None)
    phases.enter("check")
    outcome = check.compare(measured, result, gradient, function, rows)
    record = replace(record, check=outcome, flop=None if facts.opaque else flop.count(measured.call()))
    if not outcome.passed:
        return replace(record, status=Status.INCORRECT, reason=check.describe_failure(outcome.tensors)), first
    return replace(record, status=Status.OK, reason=None), first


def _cache_hits() -> int:
    """Graphs of this process that Inductor found in its cache on disk instead of compiling them."""
    from torch._dynamo.utils import counters

    return counters["inductor"]["fxgraph_cache_hit"] + counters["aot_autograd"]["autograd_cache_hit"]
