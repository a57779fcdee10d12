"""What the null device plays: a TOML file whose path is in FABENCH_NULL; without one, a steady device.

    title = "Throttles after half a second"
    [noise]
    jitter = 0.01                          # standard deviation of the log of a sample
    throttle = {after_s = 0.5, times = 1.4}
    [[fault]]
    what = "illegal_access"                # one of FAULTS
    phase = "timing"                       # the phase in which it happens
    cell = "factorized/null/"              # in cells whose id has this in it; "" in all

Every key has its default here. A key or value that is not known is one error that names it.
"""

from __future__ import annotations

import hashlib
import os
import signal
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from fabench.case import require_one_of
from fabench.codec import DecodeError, decode
from fabench.errors import UsageError

__all__ = ["CLOCKS", "FAULTS", "QUERIES", "VARIABLE", "Fault", "Noise", "Script", "read"]

VARIABLE = "FABENCH_NULL"
CLOCKS = ("null_event", "null_graph", "null_host")
QUERIES = ("sm_clock", "memory_clock", "power", "temperature", "clock_reasons", "energy", "processes", "ecc_errors", "memory")
FAULTS = (
    "out_of_memory", "out_of_resources", "host_memory", "host_allocator",
    "illegal_access", "device_assert", "misaligned", "launch_failure", "launch_timeout", "ecc", "unknown", "lost",
    "error", "nan", "hang", "signal", "exit", "bad_alloc",
)  # fmt: skip


def _positive(owner: object, *names: str) -> None:
    for name in names:
        value = getattr(owner, name)
        if value is not None and value <= 0:
            raise ValueError(f"{name} is {value}, must be above 0")


def _not_negative(owner: object, *names: str) -> None:
    for name in names:
        value = getattr(owner, name)
        if value is not None and value < 0:
            raise ValueError(f"{name} is {value}, must not be negative")


@dataclass(frozen=True, slots=True)
class Speed:
    """How long work takes: an operator at least `operator_s`, else by its tensors' bytes or its operations, whichever is slower.

    `launch_s`: the host's time to submit an operator. `cold`: how many times as long a call takes on a flushed cache. `call_s`: every
    call takes exactly this long, whatever it does.
    """

    bytes_per_s: float = 2e10
    flop_per_s: float = 5e11
    operator_s: float = 5e-5
    launch_s: float = 1e-5
    cold: float = 1.25
    call_s: float | None = None

    def __post_init__(self) -> None:
        _positive(self, "bytes_per_s", "flop_per_s", "operator_s", "cold", "call_s")
        _not_negative(self, "launch_s")


@dataclass(frozen=True, slots=True)
class Levels:
    """Two speeds: the slow one takes `times` as long, and each sample stays at its level with the chance `stay`."""

    times: float
    stay: float = 0.95

    def __post_init__(self) -> None:
        _positive(self, "times")
        if not 0 <= self.stay <= 1:
            raise ValueError(f"stay is {self.stay}, a chance lies between 0 and 1")


@dataclass(frozen=True, slots=True)
class Ramp:
    """Work takes `times` as long at first and comes down with the time constant `within_s`."""

    times: float
    within_s: float

    def __post_init__(self) -> None:
        _positive(self, "times", "within_s")


@dataclass(frozen=True, slots=True)
class Throttle:
    """`after_s` seconds from its start the device holds its clock down: work takes `times` as long, for `reasons` in NVML's words."""

    after_s: float
    times: float
    reasons: tuple[str, ...] = ("sw_thermal_slowdown",)

    def __post_init__(self) -> None:
        _positive(self, "times")
        _not_negative(self, "after_s")


@dataclass(frozen=True, slots=True)
class Noise:
    """By how much samples differ. `jitter`: standard deviation of their logs, of which each keeps `correlation` from the last (AR(1)).

    `drift_per_s`: how much longer work takes with every second.
    """

    jitter: float = 0.005
    correlation: float = 0.0
    drift_per_s: float = 0.0
    levels: Levels | None = None
    ramp: Ramp | None = None
    throttle: Throttle | None = None

    def __post_init__(self) -> None:
        _not_negative(self, "jitter")
        if not -1 < self.correlation < 1:
            raise ValueError(f"correlation is {self.correlation}, must lie between -1 and 1")


@dataclass(frozen=True, slots=True)
class Clocks:
    """The first clock's faults and what the others can't time.

    `skew`: the first clock reads 1 + skew times the truth. `step_s`: by so much it jumps at `step_at_s`. `unfit`: reasons by clock.
    `queue`: launches that stand in a queue together; more deadlock, which costs a time-out of `timeout_s`. `synchronises`: calls wait
    for the device inside and don't say so.
    """

    skew: float = 0.0
    step_at_s: float | None = None
    step_s: float = 0.0
    unfit: dict[str, str] = field(default_factory=dict)
    queue: int = 1024
    timeout_s: float = 0.02
    synchronises: bool = False

    def __post_init__(self) -> None:
        if unknown := set(self.unfit) - set(CLOCKS):
            raise ValueError(f"unfit.{min(unknown)} is no clock; there are {', '.join(CLOCKS)}")
        _not_negative(self, "queue", "timeout_s", "step_at_s")
        if self.skew <= -1:
            raise ValueError(f"skew is {self.skew}, must be above -1")


@dataclass(frozen=True, slots=True)
class Room:
    """The device's memory: its size, what a context takes, to what blocks are rounded, and by what the allocator takes it."""

    bytes: int = 16 * 2**30
    context_bytes: int = 300 * 2**20
    block_bytes: int = 512
    segment_bytes: int = 2 * 2**20

    def __post_init__(self) -> None:
        _positive(self, "bytes", "block_bytes", "segment_bytes")
        _not_negative(self, "context_bytes")


@dataclass(frozen=True, slots=True)
class Driver:
    """What the driver tells. `unsupported`: queries that it refuses. `energy_step_s`: how seldom its energy counter moves."""

    sm_hz: int = 1_980_000_000
    memory_hz: int = 2_619_000_000
    power_w: float = 300.0
    temperature_c: int = 45
    energy_step_s: float = 0.1
    ecc_errors: int = 0
    foreign_processes: int = 0
    foreign_bytes: int = 0
    unsupported: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _positive(self, "sm_hz", "memory_hz", "power_w", "energy_step_s")
        _not_negative(self, "ecc_errors", "foreign_processes", "foreign_bytes")
        if unknown := set(self.unsupported) - set(QUERIES):
            raise ValueError(f"unsupported has {min(unknown)!r}; there are {', '.join(QUERIES)}")


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong at the first operator of `phase` in cells whose id has `cell` in it.

    `asynchronous`: it comes to light when the host waits for the device, as most faults of a kernel do. `accelerator`: torch raises it
    as AcceleratorError, else as RuntimeError. `signal` and `status` are what a process ends with that is killed or exits.
    """

    what: str
    phase: str = "timing"
    cell: str = ""
    asynchronous: bool = False
    accelerator: bool = False
    signal: str = "SIGSEGV"
    status: int = 3

    def __post_init__(self) -> None:
        require_one_of(self, "what", FAULTS)
        require_one_of(self, "signal", tuple(signal.Signals.__members__))


@dataclass(frozen=True, slots=True)
class Script:
    """Everything that the device plays. `absent`: names of null devices that are not there."""

    title: str = "a steady device"
    seed: int = 0
    absent: tuple[str, ...] = ()
    speed: Speed = Speed()
    noise: Noise = Noise()
    clocks: Clocks = field(default_factory=Clocks)
    memory: Room = Room()
    driver: Driver = Driver()
    fault: tuple[Fault, ...] = ()
    digest: str = ""


def read() -> Script:
    """The script that FABENCH_NULL names. Raises UsageError where it can't be read or says something unknown."""
    name = os.environ.get(VARIABLE)
    if not name:
        return Script()
    try:
        data = Path(name).read_bytes()
        table = tomllib.loads(data.decode())
        if "digest" in table:
            raise DecodeError("digest is not known")
        return decode(Script, table | {"digest": hashlib.sha256(data).hexdigest()[:16]})
    except OSError as error:
        raise UsageError(f"{VARIABLE}={name}: {error.strerror or type(error).__name__}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, DecodeError) as error:
        raise UsageError(f"{VARIABLE}={name}: {error}") from None
