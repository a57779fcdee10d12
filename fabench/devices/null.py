"""A device that is not there: results are computed on the CPU, and everything else is scripted. It measures nothing.

It runs the whole pipeline without hardware, from the check to the report, and lets every noise and every fault of a GPU happen on
request (`_null_script`; FABENCH_NULL names the script). Time is its own: it passes by what a script says that calls take, so a minute
of it is over at once, and the same script gives the same record. No record of it says anything about how fast anything is:
its name is "null", its facts say `scripted`, its clocks are called null_*, and "auto" never chooses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from fabench.devices._null_clocks import EventWatch, GraphWatch, HostWatch
from fabench.devices._null_driver import ScriptedObserver
from fabench.devices._null_faults import Planted
from fabench.devices._null_noise import Disturbance
from fabench.devices._null_operators import Operators, Spent
from fabench.devices._null_script import CLOCKS, Script, read
from fabench.devices.base import Call, Observer, Peak, Stopwatch, Unfit, Work
from fabench.devices.base import Device as Base
from fabench.errors import UsageError
from fabench.schema import Measure

_WATCHES = {watch.clock: watch for watch in (EventWatch, GraphWatch, HostWatch)}
_SYNCHRONISE_S = 10e-6
_ENERGY_S = 1.5
_ENERGY_STEPS = 5


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of scripted time: when it began, how long the device worked, and how long the host waited for it, in seconds."""

    begun_s: float
    device_s: float
    host_s: float


class Device(Base):
    """Scripted, on the CPU: "null", "null:1", ..."""

    clocks = CLOCKS
    cache_bytes = 50 * 2**20

    def __init__(self, name: str) -> None:
        self.name = name
        self.torch_device = torch.device("cpu")
        self._script: Script | None = None
        self._now_s = 0.0
        self._start("")

    def _start(self, cell: str) -> None:
        """Noise and faults of a cell, from the beginning."""
        script = Script() if self._script is None else self._script
        self._now_s = 0.0
        self._noise = Disturbance(script.noise, script.seed, cell)
        self._planted = Planted(script.fault if cell else (), cell)
        self._operators = Operators(script, self._planted)
        self._entered = False

    @property
    def script(self) -> Script:
        """What is played; read once. Raises UsageError where it can't be."""
        if self._script is None:
            self._script = read()
            self._start("")
        return self._script

    def missing(self) -> str | None:
        """A script that can't be read, or one that says so."""
        kind, colon, index = self.name.partition(":")
        if kind != "null" or (colon and not index.isdecimal()):
            return f"there is no device {self.name}; a scripted one is called null or null:1"
        try:
            return "the script says that it is absent" if self.name in self.script.absent else None
        except UsageError as error:
            return str(error)

    def prepare(self, measure: Measure) -> None:
        """Reads the script."""
        self.script  # noqa: B018 - the property reads it

    def describe(self) -> dict[str, Any]:
        """That it is scripted, and by what."""
        script = self.script
        return {
            "name": f"null device, scripted: {script.title}",
            "scripted": True,
            "script": script.digest or "built in",
            "memory_bytes": script.memory.bytes,
            "last_level_cache_bytes": self.cache_bytes,
        }

    def now_s(self) -> float:
        """Scripted seconds since the cell began."""
        return self._now_s

    @contextmanager
    def measuring(self, cell: str) -> Iterator[Callable[[str], None]]:
        """Every operator is seen from here on; noise and faults are the cell's own."""
        self.script  # noqa: B018
        self._start(cell)
        with self._watched():
            yield self._planted.follow

    @contextmanager
    def _watched(self) -> Iterator[Operators]:
        if self._entered:
            yield self._operators
            return
        self._entered = True
        try:
            with self._operators:
                yield self._operators
        finally:
            self._entered = False

    def synchronise(self) -> None:
        """The scripted time of everything submitted passes, and asynchronous faults come to light."""
        submitted, self._operators.submitted = self._operators.submitted, Spent()
        self.window(self._busy_s(submitted), submitted.launches)
        self._planted.wait()

    def _busy_s(self, spent: Spent) -> float:
        fixed = self.script.speed.call_s
        return spent.busy_s if fixed is None else fixed

    def spent(self, call: Call) -> Spent:
        """What one call costs, noise apart. Makes the call."""
        with self._watched() as operators:
            operators.submitted = Spent()
            call()
            spent, operators.submitted = operators.submitted, Spent()
        self._planted.wait()
        return Spent(self._busy_s(spent), spent.launches)

    def window(self, busy_s: float, launches: int) -> Window:
        """Passes the time of work that takes the device `busy_s` without noise, and of its launches."""
        begun_s = self._now_s
        device_s = busy_s * self._noise.factor(begun_s)
        host_s = max(device_s, launches * self.script.speed.launch_s) + _SYNCHRONISE_S
        self._now_s += host_s
        return Window(begun_s, device_s, host_s)

    def pass_time(self, seconds: float) -> None:
        """Nothing happens for so long."""
        self._now_s += seconds

    def held_down(self, at_s: float) -> tuple[float, tuple[str, ...]]:
        """By how much the clock is held down then, and why."""
        return self._noise.throttled(at_s), self._noise.reasons(at_s)

    def stopwatch(self, clock: str, work: Work, cold: bool, look: Callable[[], None]) -> Stopwatch:
        """A rung of the scripted ladder."""
        if clock not in _WATCHES:
            raise Unfit(f"{self.name} has no clock {clock!r}; there are {', '.join(self.clocks)}")
        return _WATCHES[clock](self, work, cold, look)

    def observer(self) -> Observer:
        """The scripted driver."""
        return ScriptedObserver(self)

    def energy(self, call: Call) -> float | None:
        """From a counter that moves in steps; None where it is refused or moves too seldom."""
        driver = self.script.driver
        if "energy" in driver.unsupported:
            return None
        call_s = self.spent(call).busy_s * self._noise.factor(self._now_s)
        calls = max(1, round(_ENERGY_S / call_s))
        before = self._now_s // driver.energy_step_s
        self._now_s += calls * call_s
        steps = self._now_s // driver.energy_step_s - before
        return steps * driver.energy_step_s * driver.power_w / calls if steps >= _ENERGY_STEPS else None

    def peak(self, call: Call) -> Peak:
        """The scripted allocator over the call's real blocks; the driver's lines after it."""
        room, driver = self.script.memory, self.script.driver
        with self._watched() as operators:
            blocks = operators.blocks
            blocks.mark()
            allocated, requested = blocks.allocated, blocks.requested
            result = call()
            self.synchronise()
            del result
        reserved = -(-blocks.highest_ever // room.segment_bytes) * room.segment_bytes
        process = None if "memory" in driver.unsupported else reserved + room.context_bytes
        return Peak(
            delta_bytes=blocks.highest - allocated,
            baseline_bytes=allocated,
            requested_bytes=blocks.highest_requested - requested,
            reserved_bytes=reserved,
            process_bytes=process,
            device_bytes=None if process is None else process + driver.foreign_bytes,
            baseline_requested_bytes=requested,
        )

    def rates(self) -> dict[str, Any]:
        """What the script says; nothing is measured."""
        speed = self.script.speed
        dtypes = ("float32", "float64", "bfloat16", "float16")
        return {"copy_bytes_per_s": speed.bytes_per_s, "flop_per_s": dict.fromkeys(dtypes, speed.flop_per_s)}
