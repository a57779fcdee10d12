"""The host beside a timing, from the kernel's counters: what others took of the processors that this process may run on.

Counters are read before the first sample and after the last one; in between, at most every 50 ms and between samples, only how many
tasks are ready to run. There is no thread, and nothing is read inside a timed window.

What others took is what neither was idle, nor stolen by the hypervisor, nor this process's own: processors x wall time - idle - steal -
own. Own time comes from the process's own clock in nanoseconds. Idle and steal come from /proc/stat in steps of 10 ms, each cut off at
both ends, so a processor's share may be off by a step either way. In less than 20 steps (0.2 s) that is more than 5 % of the time, and
what others took is unknown (None); so is steal. Below zero by no more than those steps is zero; further below, this process ran on
processors it was not seen to have, and it is unknown too. Interrupts count as others.

Short timings have `waited_s` instead: the scheduler counts in nanoseconds how long each thread was ready to run and did not.

A thread that OpenMP binds to one processor has that one only, so this process's processors are those of all its threads together.
The frequency is that of the processor which reads it, so of one that is at work: an idle one's says nothing. /proc/cpuinfo's is taken
only where the processor counts cycles (aperfmperf); without that, it is a constant of the boot.
"""

from __future__ import annotations

import os
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from fabench.devices.base import Observer
from fabench.linux import numbers, read, throttled_s
from fabench.measured import HostLoad, Telemetry

__all__ = ["HostObserver", "processors"]

_APART_S = 0.05
_RESOLVED_STEPS = 20
_PROCESSOR = re.compile(r"cpu(?P<number>\d+) \d+ \d+ \d+ (?P<idle>\d+) (?P<wait>\d+) \d+ \d+ (?P<steal>\d+)")
_LAST_PROCESSOR = 36  # of the fields of /proc/*/stat that follow the name


@dataclass(frozen=True, slots=True)
class _Counters:
    """One reading. `idle_steps` and `steal_steps` are summed over this process's processors; `waited_ns` is by thread."""

    at_s: float
    own_s: float
    idle_steps: int | None
    steal_steps: int | None
    waited_ns: dict[str, int]
    throttled_s: float | None


class HostObserver(Observer):
    """Reads the counters when it is made, between samples, and at the end. Elsewhere than on Linux it has nothing to tell."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._queue: int | None = None
        self._frequency_hz = _frequency_hz(root)
        self._processors = processors(root)
        self._due = 0.0
        self.look()
        self._first = _counters(root, self._processors)

    def look(self) -> None:
        """Counts the tasks that are ready to run, unless it did so a moment ago."""
        now = time.perf_counter()
        if now >= self._due:
            self._due = now + _APART_S
            found = _other_tasks(self._root)
            if found is not None:
                self._queue = max(found, self._queue or 0)

    def finish(self) -> Telemetry:
        """The load between the first reading and now."""
        if sys.platform != "linux":
            return Telemetry()
        last = _counters(self._root, self._processors)
        self.look()
        frequency_hz = None if self._frequency_hz is None else _frequency_hz(self._root)
        return Telemetry(
            host=HostLoad(
                wall_s=last.at_s - self._first.at_s,
                processors=len(self._processors),
                others_cpu_s=_others_s(self._first, last, len(self._processors)),
                steal_s=_steal_s(self._first, last),
                run_queue=self._queue,
                frequency_hz=None if self._frequency_hz is None or frequency_hz is None else (self._frequency_hz, frequency_hz),
                waited_s=_waited_s(self._first, last),
                throttled_s=_throttled_s(self._first, last),
            )
        )


def _counters(root: Path, processors: set[int]) -> _Counters:
    waited = {}
    for thread in _threads(root):
        parts = (read(thread / "schedstat") or "").split()
        if len(parts) == 3 and parts[1].isdigit():
            waited[thread.name] = int(parts[1])
    throttled = throttled_s(root)
    idle, steal = _steps(read(root / "proc/stat") or "", processors)
    return _Counters(time.perf_counter(), time.process_time(), idle, steal, waited, throttled)


def _steps(text: str, processors: set[int]) -> tuple[int | None, int | None]:
    """Idle (waiting for disks included) and stolen steps of these processors; None where one of them is not there."""
    idle = steal = seen = 0
    for line in text.splitlines():
        found = _PROCESSOR.match(line)
        if found is not None and int(found["number"]) in processors:
            idle += int(found["idle"]) + int(found["wait"])
            steal += int(found["steal"])
            seen += 1
    return (idle, steal) if seen == len(processors) > 0 else (None, None)


def _step_s() -> float:
    return 1 / os.sysconf("SC_CLK_TCK")


def _resolved(first: _Counters, last: _Counters) -> bool:
    return last.at_s - first.at_s >= _RESOLVED_STEPS * _step_s()


def _others_s(first: _Counters, last: _Counters, processors: int) -> float | None:
    if first.idle_steps is None or last.idle_steps is None or not _resolved(first, last):
        return None
    steal_s = _steal_s(first, last) or 0.0
    idle_s = (last.idle_steps - first.idle_steps) * _step_s()
    taken = processors * (last.at_s - first.at_s) - idle_s - steal_s - (last.own_s - first.own_s)
    return max(0.0, taken) if taken >= -2 * processors * _step_s() else None


def _steal_s(first: _Counters, last: _Counters) -> float | None:
    if first.steal_steps is None or last.steal_steps is None or not _resolved(first, last):
        return None
    return max(0, last.steal_steps - first.steal_steps) * _step_s()


def _waited_s(first: _Counters, last: _Counters) -> float | None:
    """Of the threads that were there all the time."""
    both = first.waited_ns.keys() & last.waited_ns.keys()
    return sum(last.waited_ns[thread] - first.waited_ns[thread] for thread in both) * 1e-9 if both else None


def _throttled_s(first: _Counters, last: _Counters) -> float | None:
    return None if first.throttled_s is None or last.throttled_s is None else max(0.0, last.throttled_s - first.throttled_s)


def _threads(root: Path) -> list[Path]:
    try:
        return list((root / "proc/self/task").iterdir())
    except OSError:
        return []


def processors(root: Path = Path("/")) -> set[int]:
    """Where this process's threads may run, all of them together."""
    found: set[int] = set()
    for thread in _threads(root):
        for line in (read(thread / "status") or "").splitlines():
            name, _, value = line.partition(":")
            if name == "Cpus_allowed_list":
                found |= set(numbers(value.strip()) or ())
    return found


def _other_tasks(root: Path) -> int | None:
    """Tasks of the whole host that are ready to run, without this process's own."""
    parts = (read(root / "proc/loadavg") or "").split()
    if len(parts) < 4 or not parts[3].partition("/")[0].isdigit():
        return None
    ready = int(parts[3].partition("/")[0])
    if ready <= 1:
        return 0  # the thread that reads this is always ready
    own = sum(_fields(read(thread / "stat"))[:1] == ["R"] for thread in _threads(root))
    return max(0, ready - max(1, own))


def _fields(line: str | None) -> list[str]:
    """What follows the name in /proc/*/stat; the name itself may hold anything."""
    return (line or "").rpartition(")")[2].split()


def _frequency_hz(root: Path) -> int | None:
    fields = _fields(read(root / "proc/thread-self/stat"))
    if len(fields) <= _LAST_PROCESSOR:
        return None
    processor = fields[_LAST_PROCESSOR]
    kilohertz = read(root / f"sys/devices/system/cpu/cpu{processor}/cpufreq/scaling_cur_freq")
    if kilohertz is not None and kilohertz.isdigit():
        return int(kilohertz) * 1000
    for block in (read(root / "proc/cpuinfo") or "").split("\n\n"):
        values = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in block.splitlines())}
        if values.get("processor") == processor and "aperfmperf" in values.get("flags", "").split():
            try:
                return round(float(values.get("cpu MHz", "")) * 1e6)
            except ValueError:
                return None
    return None
