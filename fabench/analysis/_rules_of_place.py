"""Rules of `evidence` about what went on beside the timing: the GPU's clocks and neighbours, the host's load; see the table there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fabench.analysis._rules_of_time import queued
from fabench.analysis.doubts import Code, Doubt, beyond
from fabench.analysis.physics import Facts, share
from fabench.measured import GpuLook, HostLoad, Telemetry, Timing
from fabench.median import median
from fabench.units import format_bytes

__all__ = ["gpu", "host"]

# Reasons that hold no clock down: nothing to do, or what the user chose.
_HARMLESS = {"gpu_idle", "applications_clocks_setting", "display_clock_setting", "sync_boost"}
_TICKS_S = 0.02  # the kernel counts processor time in hundredths of a second
_FAULT_S = 0.5e-6
_DESKTOP_BYTES = 512 * 2**20


def gpu(telemetry: Telemetry | None, facts: Facts) -> Iterator[Doubt]:
    """What the driver told, and whether it did."""
    if facts.kind == "cpu":
        return
    told = telemetry or Telemetry()
    silent = [] if any(look.sm_hz is not None and look.reasons is not None for look in told.looks) else ["clocks or throttling"]
    silent += ["other processes"] if told.foreign_processes is None else []
    if silent:
        yield Doubt(Code.DRIVER_SILENT, f"the driver says nothing of {' and '.join(silent)}", "B")
    yield from _throttled(told.looks)
    if told.foreign_processes:
        small = told.foreign_bytes is not None and told.foreign_bytes <= _DESKTOP_BYTES
        held = "" if told.foreign_bytes is None else f" with {format_bytes(told.foreign_bytes)}"
        yield Doubt(Code.FOREIGN_GPU, f"other processes on the device: {told.foreign_processes}{held}", "B" if small else "C")
    if told.ecc_errors:
        yield Doubt(Code.ECC_ERRORS, f"uncorrected memory errors meanwhile: {told.ecc_errors}", "D")


def _throttled(looks: Sequence[GpuLook]) -> Iterator[Doubt]:
    busy = [look for look in looks if look.at_s >= 0 and "gpu_idle" not in (look.reasons or ())]
    reasons = sorted({reason for look in busy for reason in look.reasons or ()} - _HARMLESS)
    fall = _fall([look.sm_hz for look in busy if look.sm_hz is not None])
    by_fall = beyond(fall, (0.03, "B"), (0.1, "C"))
    by_reason = None if not reasons else "C" if any("thermal" in one or one.startswith("hw_") for one in reasons) else "B"
    grade = max(by_fall or "", by_reason or "")
    if grade:
        parts = [f"clocks held down ({', '.join(reasons)})"] if reasons else []
        parts += [f"SM clock fell by {fall:.1%}"] if by_fall else []
        yield Doubt(Code.THROTTLED, "; ".join(parts), grade)


def _fall(clocks_hz: Sequence[int]) -> float:
    """The largest fall below an earlier reading, as a share of that."""
    highest, largest = 0, 0.0
    for clock in clocks_hz:
        highest = max(highest, clock)
        largest = max(largest, share(highest - clock, highest) or 0.0)
    return largest


def host(timing: Timing, telemetry: Telemetry | None, facts: Facts) -> Iterator[Doubt]:
    """Load from others, where it can reach the samples."""
    load = telemetry.host if telemetry is not None else None
    if facts.kind == "cpu":
        yield from _own(timing, load)
    if load is None or (facts.kind != "cpu" and queued(timing)):
        return
    capacity_s = load.wall_s * load.processors
    if load.others_cpu_s is not None and load.others_cpu_s > _TICKS_S:
        others = share(load.others_cpu_s, capacity_s)
        if grade := beyond(others, (0.05, "B"), (0.2, "C")):
            yield Doubt(Code.FOREIGN_LOAD, f"others took {others:.0%} of the processors", grade)
    elif load.others_cpu_s is None and load.waited_s is not None:
        waited = share(load.waited_s, capacity_s)
        if grade := beyond(waited, (0.05, "B"), (0.2, "C")):
            yield Doubt(Code.FOREIGN_LOAD, f"this process waited for a processor during {waited:.0%} of the time", grade)
    elif load.others_cpu_s is None and load.run_queue is not None and load.run_queue >= max(1, load.processors):
        yield Doubt(Code.FOREIGN_LOAD, f"other tasks that were ready to run: {load.run_queue}", "B")
    if load.steal_s is not None and load.steal_s > _TICKS_S:
        stolen = share(load.steal_s, capacity_s)
        if grade := beyond(stolen, (0.01, "B"), (0.05, "C")):
            yield Doubt(Code.STEAL, f"the hypervisor took {stolen:.1%} of the processors", grade)
    stopped = share(load.throttled_s, load.wall_s)
    if grade := beyond(stopped, (0.01, "B"), (0.05, "C")):
        yield Doubt(Code.QUOTA, f"the container's processor quota stopped it during {stopped:.1%} of the time", grade)
    if load.frequency_hz and facts.kind == "cpu":
        fell = _fall(load.frequency_hz)
        if grade := beyond(fell, (0.1, "B")):
            yield Doubt(Code.THROTTLED, f"the processor's frequency fell by {fell:.0%}", grade)


def _own(timing: Timing, load: HostLoad | None) -> Iterator[Doubt]:
    """What this process's own counters say of a CPU cell."""
    busy = share(timing.cpu_s, timing.wall_s)
    unknown = ["load from others"] if busy is None and (load is None or load.others_cpu_s is None) else []
    unknown += ["page faults"] if not timing.minor_faults else []
    if unknown:
        yield Doubt(Code.HOST_UNKNOWN, f"nothing is known of {' and '.join(unknown)}", "B")
    sampled_s = sum(timing.samples_s) * timing.loops
    switches = timing.involuntary_switches or ()
    hit = sum(count > 0 for count in switches)
    if busy is not None and (grade := beyond(1 - busy, (0.1, "B"), (0.3, "C"))):
        yield Doubt(Code.PREEMPTED, f"the process ran during {busy:.0%} of the time", grade)
    elif 2 * hit >= len(switches) > 0 and (share(sum(switches), sampled_s) or 0.0) > 10:
        yield Doubt(Code.PREEMPTED, f"switched away in {hit} of {len(switches)} samples", "B")
    if timing.minor_faults:
        faults = median(timing.minor_faults)
        cost = share(faults * _FAULT_S, median(timing.samples_s) * timing.loops)
        if grade := beyond(cost, (0.02, "B"), (0.1, "C")):
            yield Doubt(Code.PAGE_FAULTS, f"{faults:,.0f} page faults per sample, about {cost:.0%} of its time", grade)
