"""The contract of a device: one file in this folder, found by its file name, with a class `Device`.

A device knows how to get ready, how to time work on its clocks, how to read its own memory, and what its driver tells. It runs in a
cell's process only; nothing here is called in the parent or before the fork.

Clocks are rungs of a ladder, best first. A rung that can't time some work says why (`Unfit`), and the next one is tried; the record
keeps the reasons. A `Stopwatch` is a rung bound to the work: it takes samples in batches, because on a GPU several stand in the
queue together. Nothing but the work happens inside a timed window; `look` is called where the host has nothing to do but wait.
"""

from __future__ import annotations

import importlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch

from fabench.errors import UsageError
from fabench.schema import Measure, Telemetry

__all__ = ["Batch", "Block", "Call", "Device", "Observer", "Peak", "Stopwatch", "Unfit", "Work", "load", "names"]

Call = Callable[[], Any]


class Unfit(Exception):
    """A clock that can't time this work, and why."""


@dataclass(frozen=True, slots=True)
class Work:
    """What is timed. `touched_bytes`: inputs and outputs of one call; None where not known.

    `another` makes the same call on copies of its tensors, for clocks that must not meet warm buffers. `synchronises`: the call waits
    for the device inside, so that calls can't be queued.
    """

    call: Call
    touched_bytes: int | None = None
    another: Callable[[], Call] | None = None
    synchronises: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples in measured order, in seconds per call. The rest where the clock knows it; see `fabench.measured.Timing`.

    `witness_s`: the same samples by the stopwatch's second clock. `launch_s`: the host's seconds to submit one call.
    """

    samples_s: tuple[float, ...]
    witness_s: tuple[float, ...] = ()
    launch_s: float | None = None
    blocked: bool | None = None
    minor_faults: tuple[int, ...] = ()
    involuntary_switches: tuple[int, ...] = ()


class Stopwatch(ABC):
    """A clock bound to the work it times. `clock` is its rung; `witness` the second clock that it reads around the same calls, if any.

    `batch`: how many samples it takes together at most (1: one by one). `resolution_s`: the clock's smallest step, where it is known.
    """

    clock: str
    witness: str | None = None
    batch: int = 1
    resolution_s: float | None = None
    touched_bytes: int | None = None

    @abstractmethod
    def take(self, loops: int, count: int) -> Batch:
        """`count` samples of `loops` calls each. May take fewer where its queue does not hold so many. Raises Unfit."""


class Observer:
    """What a driver tells beside the timing; this one has nothing to tell. Every method may be called at any time."""

    def look(self) -> None:
        """Reads once, unless it was read a moment ago. Called between windows and while the host waits."""

    def finish(self) -> Telemetry:
        """The last look, and everything together."""
        return Telemetry()


class Block(NamedTuple):
    """A block of memory that a call took. `names`: as what it was pointed out while it existed, each with the bytes said then."""

    address: int
    size_bytes: int
    names: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Peak:
    """What the allocator saw during one call, in bytes: how much above the start it went, and what else is known.

    `baseline_bytes` is None where the allocator has no live counter (CPU): the caller then adds up what it holds.
    `baseline_requested_bytes`, `requested_bytes`: baseline and delta as asked for, before rounding.
    Where the allocator tells of each block: `live` are those that the call took and that existed at the peak, `left` those that it
    left behind, its result included; both None elsewhere.
    """

    delta_bytes: int
    baseline_bytes: int | None = None
    requested_bytes: int | None = None
    reserved_bytes: int | None = None
    process_bytes: int | None = None
    device_bytes: int | None = None
    baseline_requested_bytes: int | None = None
    live: tuple[Block, ...] | None = field(default=None, repr=False)
    left: tuple[Block, ...] | None = field(default=None, repr=False)


class Device(ABC):
    """Where calls run. `name` is what the user wrote: "cpu", "cuda", "cuda:1". `clocks`: its ladder, best first.

    `least_warmup_s`: what its clocks need to rise from idle; no suite's warm-up is shorter.
    """

    clocks: tuple[str, ...]
    least_warmup_s: float = 0.0

    def __init__(self, name: str) -> None:
        self.name = name
        self.torch_device = torch.device(name)

    @abstractmethod
    def missing(self) -> str | None:
        """Why nothing can be measured here, or None."""

    @abstractmethod
    def prepare(self, measure: Measure) -> None:
        """Sets threads and whatever else must hold before the first tensor exists."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Name, memory_bytes, threads and whatever else identifies the device in an environment."""

    def now_s(self) -> float:
        """The host's clock in seconds. What bounds warm-up and sampling reads it here, because a scripted device has a clock of its own."""
        return time.perf_counter()

    def measuring(self, cell: str) -> AbstractContextManager[Callable[[str], None]]:
        """Holds while the cell with this id is measured; what it yields is told each phase. Only a scripted device follows them."""
        return nullcontext(lambda phase: None)

    @abstractmethod
    def synchronise(self) -> None:
        """Returns when all submitted work is done."""

    @abstractmethod
    def stopwatch(self, clock: str, work: Work, cold: bool, look: Callable[[], None]) -> Stopwatch:
        """The rung `clock` bound to `work`; `cold` flushes the cache before each call, outside the window. Raises Unfit."""

    def observer(self) -> Observer:
        """Looks at the driver beside a timing that begins now."""
        return Observer()

    def energy(self, call: Call) -> float | None:
        """Joules per call, from a loop of 1 to 2 s; None where no counter can be read."""
        return None

    @abstractmethod
    def peak(self, call: Call) -> Peak:
        """Runs `call` once and says what memory it took."""

    @abstractmethod
    def rates(self) -> dict[str, Any]:
        """Measured peaks: {"copy_bytes_per_s": float, "flop_per_s": {dtype: float}}."""

    def sample(self, call: Call, loops: int) -> float:
        """Seconds per call by the first clock that fits, hot."""
        for clock in self.clocks:
            try:
                return self.stopwatch(clock, Work(call), False, lambda: None).take(loops, 1).samples_s[0]
            except Unfit:
                continue
        raise Unfit(f"no clock of {self.name} can time this")


def names() -> list[str]:
    """The devices that have a file here."""
    return sorted(p.stem for p in Path(__file__).parent.glob("*.py") if p.stem not in ("base", "__init__") and p.stem[0] != "_")


def load(name: str) -> Device:
    """The device "cpu", "cuda" or "cuda:1". Raises UsageError for a name that no file has."""
    kind = name.partition(":")[0]
    if kind not in names():
        raise UsageError(f"no device {name[:20]!r}; there are {', '.join(names())}")
    device: Device = importlib.import_module(f"fabench.devices.{kind}").Device(name)
    return device
