"""One cell, from its job to its record: inputs, check, warm-up, timing, memory. Every way it can end is a status with a reason.

What kills the process (a signal, a time-out) is recorded by the parent; everything else ends here.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from fabench import devices
from fabench.attention import base
from fabench.catalogue import Facts, facts_of
from fabench.devices.base import Device, Unfit, Work
from fabench.errors import UsageError
from fabench.measure import check, failure, flop, inputs, memory, network, network_check, subject, timing
from fabench.places import WITHOUT
from fabench.schema import Cell, Job, Measure, Record, Status, Telemetry, Timing
from fabench.units import format_bytes

__all__ = ["Timer", "run"]

_NO_KERNEL = "not implemented for '"  # torch's words for an operator of the network that does not come in the case's dtype
Timer: TypeAlias = Callable[[Device, Work, Measure, timing.FirstCall, Callable[[str], None]], tuple[Timing, Telemetry]]


@dataclass
class _Phases:
    """Wall seconds per phase, and the phase the cell is in."""

    listeners: list[Callable[[str], None]]
    seconds: dict[str, float] = field(default_factory=dict)
    current: str = "start"
    _since: float = field(default_factory=time.perf_counter)

    def enter(self, name: str) -> None:
        """Closes the current phase and opens `name`."""
        now = time.perf_counter()
        self.seconds[self.current] = self.seconds.get(self.current, 0.0) + now - self._since
        self.current, self._since = name, now
        for listen in self.listeners:
            listen(name)


@dataclass
class _SoFar:
    """The record as far as it has come: an error later on takes nothing away from it."""

    record: Record

    def add(self, **measured: Any) -> None:
        """Adds what is known now."""
        self.record = replace(self.record, **measured)

    def end(self, status: Status, reason: str | None) -> None:
        """How the cell ends, unless something happens after."""
        self.record = replace(self.record, status=status, reason=reason)


def run(job: Job, announce: Callable[[str], None], timer: Timer = timing.time_call) -> Record:
    """Measures one cell in this process. `announce` is told each phase's name as it begins; `timer` is who takes the samples."""
    phases = _Phases([announce])
    so_far = _SoFar(
        Record(cell=job.cell, status=Status.CRASHED, reason="did not start", memory_limit_bytes=job.memory_limit_bytes)
    )
    try:
        _run(job, so_far, phases, timer)
    except Exception as error:  # every cell ends as a record, with whatever was measured before
        so_far.record = failure.ended(so_far.record, error, phases.current, job.cell.device)
    phases.enter("end")
    return replace(so_far.record, phases_s=phases.seconds)


def _run(job: Job, so_far: _SoFar, phases: _Phases, timer: Timer) -> None:
    cell, measure = job.cell, job.measure
    phases.enter("prepare")
    device = devices.base.load(cell.device)
    implementation = None if cell.implementation == WITHOUT else base.load(cell.implementation)
    facts = facts_of(WITHOUT) if implementation is None else implementation.facts
    function = facts.computes.get(cell.case.normalisation)
    so_far.add(function=function, time_order=facts.time_order, memory_order=facts.memory_order)
    reason = device.missing()
    if reason is None:
        device.prepare(measure)
        reason = _unsupported(cell, implementation, function)
    if reason is not None:
        so_far.end(Status.UNSUPPORTED, reason)
        return
    if implementation is not None and cell.case.scope != "network":
        so_far.add(configuration=implementation.configuration(cell.case, cell.device))
    with device.measuring(cell.id) as follow:
        phases.listeners.append(follow)
        _measure(job, device, implementation, facts, so_far, phases, timer)


def _unsupported(cell: Cell, implementation: base.Implementation | None, function: str | None) -> str | None:
    """Why there is nothing to measure, or None. Whether the blocks of a network can run is seen when it is built."""
    if cell.case.scope == "network":
        return None
    if implementation is None:
        return f"{cell.implementation} is a network without attention, and this is no network"
    return implementation.supports(cell.case, cell.device) or (None if function else f"no {cell.case.normalisation} form")


def _measure(
    job: Job,
    device: Device,
    implementation: base.Implementation | None,
    facts: Facts,
    so_far: _SoFar,
    phases: _Phases,
    timer: Timer,
) -> None:
    cell, measure = job.cell, job.measure
    phases.enter("inputs")
    given = inputs.make(cell.case, measure, device.torch_device)
    measured: subject.Subject
    if cell.case.scope == "network":
        try:
            measured = network.build(cell.case, cell.implementation, given)
            first, first_delta = _network_checked(so_far, measured, facts, device, phases), None
        except (UsageError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and _NO_KERNEL not in str(error):
                raise
            so_far.end(Status.UNSUPPORTED, " ".join(str(error).split()))
            return
    else:
        assert implementation is not None
        measured = subject.build(cell.case, implementation, cell.device, given)
        watch = measure.memory and not measure.check_only
        first, first_delta = _checked(so_far, measured, facts, device, phases, watch)
    if so_far.record.status != Status.OK or measure.check_only:
        return
    call = measured.call()
    if cell.case.scope != "network":  # whose check ran this very call
        call()  # the mode's own callable once: bwd and fwd run other code than the check (no graph, a kept graph)
    work = Work(call, measured.touched_bytes, measured.another, facts.synchronises)
    try:
        times, telemetry = timer(device, work, measure, first, phases.enter)
    except Unfit as error:
        so_far.end(Status.UNSUPPORTED, f"no clock can time it: {error}")
        return
    so_far.add(timing=times, telemetry=telemetry)
    if measure.energy:
        phases.enter("energy")
        so_far.add(telemetry=replace(telemetry, energy_j=device.energy(call)))
    if measure.memory:
        phases.enter("memory")
        del call, work  # in mode bwd they hold a graph, and the memory pass builds its own
        so_far.add(memory=memory.measure_memory(device, measured, facts.opaque, first_delta))
        so_far.record = _within_limit(so_far.record)


def _within_limit(record: Record) -> Record:
    """The record, out of memory if the call held more than it may: the kernel's limit is on address space and leaves room for holes."""
    limit, taken = record.memory_limit_bytes, record.memory
    if record.cell.device != "cpu" or limit is None or taken is None or taken.peak_bytes <= limit:
        return record
    reason = f"the call holds {format_bytes(taken.peak_bytes)}, the limit is {format_bytes(limit)}"
    return replace(record, status=Status.OUT_OF_MEMORY, reason=reason)


def _network_checked(
    so_far: _SoFar, measured: network.NetworkSubject, facts: Facts, device: Device, phases: _Phases
) -> timing.FirstCall:
    """Adds check and FLOPs to the record (status ok or incorrect); the first call, which they were taken from."""
    phases.enter("compile" if facts.compiles else "first call")
    found = network_check.first_pass(measured, device, so_far.record.function, facts.opaque, phases.enter)
    so_far.add(check=found.check, flop=found.flop)
    so_far.end(Status.OK if found.reason is None else Status.INCORRECT, found.reason)
    return timing.FirstCall(found.seconds, facts.compiles, _cache_hits() > 0 if facts.compiles else None, _autotune_s())


def _checked(
    so_far: _SoFar, measured: subject.Subject, facts: Facts, device: Device, phases: _Phases, watch: bool
) -> tuple[timing.FirstCall, int | None]:
    """Adds check and FLOPs to the record (status ok or incorrect); the first call, and its memory if it is to be watched."""
    function = so_far.record.function
    assert function is not None
    rows = check.sampled_rows(measured.case, function, measured.inputs.seed)
    gradient = check.upstream(measured, rows) if measured.case.needs_gradients else None
    compiles = facts.compiles
    phases.enter("compile" if compiles else "first call")
    called = memory.watch_first(device, lambda: check.compute(measured, gradient), watch)
    first = timing.FirstCall(called.seconds, compiles, _cache_hits() > 0 if compiles else None, _autotune_s())
    phases.enter("check")
    outcome = check.compare(measured, called.result, gradient, function, rows)
    so_far.add(check=outcome, flop=None if facts.opaque else flop.count(measured.call()))
    if outcome.passed:
        so_far.end(Status.OK, None)
    else:
        so_far.end(Status.INCORRECT, check.describe_failure(outcome.tensors))
    return first, called.delta_bytes


def _cache_hits() -> int:
    """Graphs of this process that Inductor found in its cache on disk instead of compiling them."""
    from torch._dynamo.utils import counters

    return counters["inductor"]["fxgraph_cache_hit"] + counters["aot_autograd"]["autograd_cache_hit"]


def _autotune_s() -> float | None:
    """Seconds that Triton's tuners have spent on timing candidates in this process; None where none did."""
    module = sys.modules.get("triton.runtime.autotuner")
    if module is None:
        return None
    # By type: asking some of torch's objects for their class runs their code.
    tuners = [found for found in gc.get_objects() if issubclass(type(found), module.Autotuner)]
    spent = [found.bench_time for found in tuners if getattr(found, "bench_time", None) is not None]
    return sum(spent) if spent else None
