"""The closed list of warnings about a cell, each with its advice. When each is given, and why then, stands in `evidence`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Code", "Doubt", "beyond"]


class Code(StrEnum):
    """A warning's name, and in `advice` what to do about it, in one sentence. In the order in which warnings of one grade are shown."""

    advice: str

    def __new__(cls, value: str, advice: str) -> Code:
        """A member with its advice."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.advice = advice
        return member

    SCRIPTED = "scripted", "Nothing was measured here: use these times to test fabench, never to speak of a machine."
    IMPOSSIBLE = (
        "impossible",
        "Don't use this time: look for work that was left out or timed on another stream, and measure the peaks anew.",
    )
    ECC_ERRORS = "ecc_errors", "Take the card out of use, have its memory tested, and measure again on another one."
    CLOCKS_DISAGREE = (
        "clocks_disagree",
        "Trust neither clock: see on which stream the kernels run, and name another clock with measure.clock.",
    )
    NOISY = "noisy", "Raise measure.max_s, and end whatever else runs on the machine."
    FEW_SAMPLES = "few_samples", "Raise measure.max_s or measure.min_samples, so that the median gets an interval."
    STOPPED_BY_TIME = "stopped_by_time", "Raise measure.max_s, or ask for less with a larger measure.target."
    NOISE_FLOOR = (
        "noise_floor",
        "Don't read smaller differences between cells: quieten the machine and measure its floor anew with fabench doctor.",
    )
    DRIFT = "drift", "Raise measure.warmup_max_s and let the machine come to a steady state before the sweep."
    TWO_MODES = (
        "two_modes",
        "Look at the samples for what switches (clocks, another process, memory pages): the median is one level of two.",
    )
    WARM_UP = "warm_up", "Raise measure.warmup_max_s until calls stop getting faster."
    RESOLUTION = "resolution", "Raise measure.min_sample_s, so that more calls stand in one timed window."
    LAUNCH_BOUND = (
        "launch_bound",
        "Read it as the host's time, not the kernel's: take the clock cuda_event or cuda_graph, or larger cases.",
    )
    QUEUE_OPEN = (
        "queue_open",
        "Lower the launches per call, or name another clock: gaps in which the device waited are in the samples.",
    )
    ONE_CLOCK = "one_clock", "Leave measure.witness on, and see in the clock's ladder why no second clock could time this work."
    WARM_ROTATION = "warm_rotation", "Take it for a hot time: measure a larger case, or by a clock that flushes the cache."
    HOT_CACHE = "hot_cache", "Measure with measure.cache=cold too, if data come from memory where the result is to be used."
    THROTTLED = "throttled", "Cool the device or lock its clocks below the limit (nvidia-smi -lgc), and measure again."
    DRIVER_SILENT = (
        "driver_silent",
        "Install nvidia-ml-py and let the process see the driver: throttling and other processes would go unnoticed.",
    )
    FOREIGN_GPU = "foreign_gpu", "End the other processes on the device, or take another one."
    FOREIGN_LOAD = (
        "foreign_load",
        "End what else runs on these processors, or leave it fewer threads to disturb with measure.threads.",
    )
    STEAL = "steal", "Measure on a machine, or at an hour, where the hypervisor gives the processors to nobody else."
    QUOTA = (
        "quota",
        "Give the container a larger processor quota than measure.threads, or none: it is stopped whenever it is used up.",
    )
    PREEMPTED = "preempted", "Take fewer threads than processors with measure.threads, and end what competes for them."
    HOST_UNKNOWN = "host_unknown", "Measure on Linux with /proc readable, so that load from others and page faults are seen."
    PAGE_FAULTS = (
        "page_faults",
        "Keep measure.allocator=retain, so that memory is not given back and faulted in again at each call.",
    )
    PEAKS_UNKNOWN = "peaks_unknown", "Measure this dtype's peaks, without which a time that is too fast can't be told."
    CHECK_MARGIN = "check_margin", "Look at the error: at another seed or size the cell may fail its check."
    UNCHECKED = "unchecked", "Check the cell with fabench check before its time is used."
    LEDGER_OPEN = "ledger_open", "Don't use the memory lines apart: some bytes belong to none of them."
    MEMORY_NEAR = (
        "memory_near",
        "Give the cell a larger budget.memory or a device of its own: near the limit an allocator searches and frees.",
    )
    CACHED_COMPILE = (
        "cached_compile",
        "Read the compile time as that of a warm cache; empty the compiler's cache for the first one.",
    )


@dataclass(frozen=True, slots=True)
class Doubt:
    """One warning about a cell: `text` says what was seen, in numbers, and `grade` is the best that it leaves the cell."""

    code: Code
    text: str
    grade: str


def beyond(value: float | None, *bounds: tuple[float, str]) -> str | None:
    """The grade of the last of ascending `bounds` that `value` lies above; None if it lies above none, or is not known."""
    grades = [grade for bound, grade in bounds if value is not None and value > bound]
    return grades[-1] if grades else None
