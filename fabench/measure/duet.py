"""One side of a duet: a cell that is ready and stays alive, and is timed ping by ping, whenever the parent says.

Two processes, base and head, each hold the same cell and take turns; only one works at a time, so that whatever the machine does meets
both alike. The parent sends commands, one JSON document a line, and gets an event for each:

    (ready)                        -> {"event": "prepared", "call_s": 0.0021}      checked, warm, waiting
    {"ping": 3, "discard": 1}      -> {"event": "pong", "seconds": 0.0063, ...}    three calls, after one that is thrown away
    {"done": true}                 -> the record, as for any cell: check, memory, and the pings' samples

`seconds` are those of all calls of the ping together, by the device's first clock that fits; beside them CPU time, page faults and
involuntary switches. After duet benchmarking (Bulej et al. 2020, "Duet Benchmarking: Improving Measurement Accuracy in the Cloud"),
but in turns, call by call, instead of at the same time on a core each.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable
from typing import Any

from fabench.devices.base import Device, Stopwatch, Unfit, Work
from fabench.measure.plant import planted
from fabench.measure.timing import FirstCall
from fabench.measured import Telemetry, Timing
from fabench.median import median
from fabench.schema import Measure

__all__ = ["Duet"]

_ESTIMATES = 5


class Duet:
    """A timer for `cell.run`. `read` gives the parent's next line, "" where it has gone; `tell` sends an event."""

    def __init__(self, read: Callable[[], str], tell: Callable[..., None], slow_down: float = 0.0) -> None:
        self._read, self._tell, self._slow_down = read, tell, slow_down

    def __call__(
        self, device: Device, work: Work, measure: Measure, first: FirstCall, on_phase: Callable[[str], None]
    ) -> tuple[Timing, Telemetry]:
        """Warm-up, then pings until the parent has enough of them."""
        on_phase("warm-up")
        start, calls = time.perf_counter(), 0
        while calls == 0 or time.perf_counter() - start < measure.warmup_s:
            work.call()
            device.synchronise()
            calls += 1
        warm_s = time.perf_counter() - start
        if self._slow_down:
            work = planted(device, work, self._slow_down, lambda other: _watch(device, other, measure)[0])
        watch, ladder = _watch(device, work, measure)
        gc.collect()
        gc.disable()
        on_phase("timing")
        try:
            samples, loops = self._serve(watch)
        finally:
            gc.enable()
        timing = Timing(
            watch.clock, tuple(samples), loops, warm_s, calls, "asked", measure.cache, first.seconds,
            compile_s=first.seconds if first.compiled else None, compile_cached=first.cached, autotune_s=first.autotune_s,
            ladder=tuple(ladder), threads=device.describe().get("threads"),
        )  # fmt: skip
        return timing, Telemetry()

    def _serve(self, watch: Stopwatch) -> tuple[list[float], int]:
        """Seconds per call of each ping, and the calls of the last one."""
        self._tell("prepared", call_s=median([watch.take(1, 1).samples_s[0] for _ in range(_ESTIMATES)]))
        samples: list[float] = []
        loops = 1
        while True:
            line = self._read()
            if not line:
                raise SystemExit("the parent has gone")
            command: dict[str, Any] = json.loads(line)
            if command.get("done"):
                return samples, loops
            if int(command["ping"]) != loops:
                samples.clear()  # of another length: those were the parent's calibration
            loops = int(command["ping"])
            for _ in range(int(command.get("discard", 0))):
                watch.take(1, 1)
            cpu = time.process_time()
            batch = watch.take(loops, 1)
            cpu = time.process_time() - cpu
            samples.append(batch.samples_s[0])
            self._tell(
                "pong", seconds=batch.samples_s[0] * loops, cpu_s=cpu,
                minor_faults=sum(batch.minor_faults), involuntary_switches=sum(batch.involuntary_switches),
            )  # fmt: skip


def _watch(device: Device, work: Work, measure: Measure) -> tuple[Stopwatch, list[str]]:
    """The first clock that can time `work`, and why better ones can't. Raises Unfit where none can."""
    reasons: list[str] = []
    for clock in device.clocks if measure.clock == "auto" else (measure.clock,):
        try:
            watch = device.stopwatch(clock, work, measure.cache == "cold", lambda: None)
            watch.take(1, 1)
        except Unfit as error:
            reasons.append(f"{clock}: {error}")
        else:
            return watch, reasons
    raise Unfit("; ".join(reasons))
