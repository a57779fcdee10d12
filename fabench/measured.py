"""What comes out of a cell: check, times, memory, and what went on beside. Raw, never edited; readers derive the rest.

Unknown or not applicable is None (null), never 0. Units are in the names.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Check", "GpuLook", "HostLoad", "Ledger", "Memory", "Telemetry", "TensorError", "Timing", "Witness"]


@dataclass(frozen=True, slots=True)
class TensorError:
    """One tensor against the float64 reference.

    `error` is ||x - ref||_F / ||ref||_F and `worst` max|x - ref| / max|ref|; None where the result has NaN or Inf.
    `rows` is the number of query rows compared where not all were, else None.
    """

    name: str
    error: float | None
    worst: float | None
    tolerance: float
    rows: int | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """The outcome of the check before timing."""

    passed: bool
    tensors: tuple[TensorError, ...]


@dataclass(frozen=True, slots=True)
class Witness:
    """The same work by a second clock. `paired`: read around the very calls of the first, sample by sample; else samples of its own."""

    clock: str
    samples_s: tuple[float, ...]
    loops: int
    paired: bool


@dataclass(frozen=True, slots=True)
class Timing:
    """Raw samples in measured order: seconds per call, each the mean over `loops` calls.

    `clock` is the rung of the device's ladder that was used; `ladder` says of each better one why it did not fit. `stopped_by` is
    "target" (interval narrow enough), "time" (budget used up) or "asked" (by a gate). `warmup_converged`: calls had stopped getting faster before the
    warm-up's bound.

    What is no part of a call has a column of its own: `first_call_s`, of which `compile_s` where the implementation compiles
    (`compile_cached`: a compiler's cache on disk shortened it) and `autotune_s` where a tuner timed candidates; `launch_s` is the host's
    time to submit one call, None where calls run on the host.

    `queued`: samples that stood in the queue together, `blocked` whether the queue was complete before the device began with it;
    `touched_bytes`: what a replayed graph goes through before it uses a buffer again. None where the clock has no such thing.

    `minor_faults` and `involuntary_switches` are per sample, None where samples are not taken one by one. `cpu_s` is this process's
    processor time over the sampling, `wall_s` the time that sampling took.
    """

    clock: str
    samples_s: tuple[float, ...]
    loops: int
    warmup_s: float
    warmup_calls: int
    stopped_by: str
    cache: str
    first_call_s: float
    warmup_converged: bool | None = None
    compile_s: float | None = None
    compile_cached: bool | None = None
    autotune_s: float | None = None
    launch_s: float | None = None
    ladder: tuple[str, ...] = ()
    queued: int | None = None
    blocked: bool | None = None
    touched_bytes: int | None = None
    witness: Witness | None = None
    threads: int | None = None
    minor_faults: tuple[int, ...] | None = None
    involuntary_switches: tuple[int, ...] | None = None
    cpu_s: float | None = None
    wall_s: float | None = None


@dataclass(frozen=True, slots=True)
class Ledger:
    """Where the bytes are at the moment of the call's peak: lines that add up.

    The process's tensors, in blocks as the code asked for them:
        inputs + parameters + given (mask, upstream gradient) + output + saved (for backward) + workspace + residual = requested
    `output_bytes` and `saved_bytes` are what exists of them at that moment. `saved_bytes` is None where nothing tells what was saved: it
    is then among the workspace. `residual_bytes` is what no line explains (0 where the ledger closes).

    From there to the device, None where there is no such thing (CPU) or the driver does not say:
        requested + rounding + cached (free in the allocator's segments) = reserved
        reserved + context (context, modules, libraries) = process,        process + others = device
    """

    input_bytes: int
    parameter_bytes: int
    given_bytes: int
    output_bytes: int
    saved_bytes: int | None
    workspace_bytes: int
    residual_bytes: int
    rounding_bytes: int | None = None
    cached_bytes: int | None = None
    context_bytes: int | None = None
    others_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Memory:
    """The memory pass. `peak_bytes` and `baseline_bytes` are the allocator's; the delta is what the call itself took at its peak.

    `first_delta_bytes` is the same of the process's very first call (workspaces, what a compiler holds), where it was watched.
    `saved_bytes`: distinct storages kept for backward (modes with gradients). `rss_peak_bytes` is the host's. CUDA only:
    `requested_bytes` (the delta as asked for, before rounding), `reserved_bytes`, NVML's `process_bytes` and `device_bytes`.
    """

    baseline_bytes: int
    peak_bytes: int
    delta_bytes: int
    input_bytes: int
    output_bytes: int
    first_delta_bytes: int | None = None
    saved_bytes: int | None = None
    rss_peak_bytes: int | None = None
    requested_bytes: int | None = None
    reserved_bytes: int | None = None
    process_bytes: int | None = None
    device_bytes: int | None = None
    ledger: Ledger | None = None


@dataclass(frozen=True, slots=True)
class GpuLook:
    """One look at a GPU through its driver, `at_s` after the timing began (negative: before). Every query may be unsupported: None.

    `reasons`: why the driver holds the clocks down, in NVML's words ("sw_power_cap", "hw_thermal_slowdown", ...); () none.
    """

    at_s: float
    sm_hz: int | None = None
    memory_hz: int | None = None
    power_w: float | None = None
    temperature_c: int | None = None
    reasons: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class HostLoad:
    """The host while the cell was timed, from the kernel's counters read before and after.

    `others_cpu_s`: processor time that others took on the processors this process may run on, of `wall_s` times that many;
    `steal_s` that the hypervisor took there; both None where the time was too short for counters that step by 10 ms. `run_queue`: most
    runnable tasks seen beside this process, on all of the host's processors. `frequency_hz`: before and after, None where the kernel
    does not say. `waited_s`: how long this process's threads were ready to run and had no processor, together, by the scheduler's own
    clock (nanoseconds); `throttled_s`: how long a container's quota stopped it or its neighbours in the container.
    """

    wall_s: float
    processors: int
    others_cpu_s: float | None = None
    steal_s: float | None = None
    run_queue: int | None = None
    frequency_hz: tuple[int, ...] | None = None
    waited_s: float | None = None
    throttled_s: float | None = None


@dataclass(frozen=True, slots=True)
class Telemetry:
    """What went on beside the timing: never read inside a timed window.

    `looks`: the GPU before, during (while the host waits for the queue) and after. `foreign_processes`, `foreign_bytes`: other
    processes seen on the device, and what they held. `energy_j`: per call, from a loop of its own of 1 to 2 s; None if not asked for
    or not readable. `ecc_errors`: uncorrected memory errors that the driver counted meanwhile. `reads_failed`: driver queries that failed.
    """

    host: HostLoad | None = None
    looks: tuple[GpuLook, ...] = ()
    foreign_processes: int | None = None
    foreign_bytes: int | None = None
    energy_j: float | None = None
    ecc_errors: int | None = None
    reads_failed: tuple[str, ...] = ()
