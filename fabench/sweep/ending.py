"""What the end of a process says that left no record: its signal or exit status, its last words, and who killed it.

The kernel's OOM killer sends the same SIGKILL as anybody else. But it counts: `oom_kill` in /proc/vmstat for the host, and in the
memory controller's file for a control group. A counter that rose while the cell ran is evidence, and stands in the reason; without it a
SIGKILL stays a crash.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from fabench.schema import Job, Record, Status
from fabench.sweep.schedule import skipped

__all__ = ["died", "ended", "oom_kills", "server_died"]

_VMSTAT = Path("/proc/vmstat")
_GROUPS = Path("/proc/self/cgroup")
_MOUNT = Path("/sys/fs/cgroup")


def oom_kills() -> dict[str, int]:
    """Processes that the OOM killer has ended so far, by the file that counts them; without those that can't be read."""
    found = {}
    for path in (_VMSTAT, *_group_files()):
        try:
            lines = path.read_text().splitlines()
        except (OSError, UnicodeDecodeError):
            continue
        for line in lines:
            name, _, count = line.partition(" ")
            if name == "oom_kill" and count.isdecimal():
                found[str(path)] = int(count)
    return found


def _group_files() -> list[Path]:
    """The memory controller's counters of this process's control group: cgroup 2, then cgroup 1."""
    try:
        lines = [line.split(":", 2) for line in _GROUPS.read_text().splitlines()]
    except (OSError, UnicodeDecodeError):
        return []
    paths = []
    for parts in lines:
        if len(parts) == 3 and parts[1] == "":
            paths.append(_MOUNT / parts[2].lstrip("/") / "memory.events")
        elif len(parts) == 3 and "memory" in parts[1].split(","):
            paths.append(_MOUNT / "memory" / parts[2].lstrip("/") / "memory.oom_control")
    return paths


def _evidence(before: Mapping[str, int]) -> str | None:
    """Which counter rose since `before`; None where none did."""
    risen = [f"{path} {before[path]} -> {count}" for path, count in oom_kills().items() if count > before.get(path, count)]
    return f"oom_kill rose in {' and '.join(risen)}" if risen else None


def ended(job: Job, status: Status, reason: str) -> Record:
    """The record of a cell that gave none."""
    return replace(skipped(job.cell, reason), status=status, memory_limit_bytes=job.memory_limit_bytes)


def died(job: Job, phase: str, code: int, tail: str, kills: Mapping[str, int]) -> Record:
    """A process that ended without a record. `code` is negative for a signal; `kills` are the counters from before it began."""
    if code == -signal.SIGKILL and (evidence := _evidence(kills)) is not None:
        return ended(job, Status.OUT_OF_HOST_MEMORY, f"in {phase}: killed by the kernel for lack of host memory ({evidence})")
    if "bad_alloc" in tail:
        status = Status.OUT_OF_MEMORY if job.cell.device == "cpu" else Status.OUT_OF_HOST_MEMORY
        return ended(job, status, f"in {phase}: std::bad_alloc")
    if code < 0:
        how = f"killed by {signal.Signals(-code).name}" if -code in set(signal.Signals) else f"killed by signal {-code}"
        if code == -signal.SIGKILL:
            how += " (by someone; the kernel counted no kill for lack of memory)" if kills else " (by someone, or by the kernel)"
    else:
        how = f"ended with status {code}"
    return ended(job, Status.CRASHED, f"in {phase}: {how}" + (f": {tail}" if tail else ""))


def server_died(job: Job, phase: str, code: int | None, tail: str, kills: Mapping[str, int]) -> Record:
    """The fork server ended, and its child with it."""
    if code == -signal.SIGKILL and (evidence := _evidence(kills)) is not None:
        reason = f"in {phase}: the kernel killed the measuring side for lack of host memory ({evidence})"
        return ended(job, Status.OUT_OF_HOST_MEMORY, reason)
    return ended(job, Status.CRASHED, f"in {phase}: the measuring side died{': ' + tail if tail else ''}")
