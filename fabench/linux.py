"""What Linux tells in small files, for both sides of the wall: texts, lists of processors, and the control groups that hold this process.

A control group's limits are those of the group and of every group above it. Both layouts of /sys/fs/cgroup are read where they are
usually mounted; in a container that sees itself as the top, the mount's own files are its limits. Elsewhere than on Linux, and where a
file can't be read, everything is None. `root` is another file system's top, for tests.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

__all__ = ["available_in_group_bytes", "cpu_quota", "memory_limit_bytes", "numbers", "read", "throttled_s"]

_ROOT = Path("/")
_NO_LIMIT_BYTES = 2**60  # the older layout writes "no limit" as a number near 2^63


def read(path: Path) -> str | None:
    """The file's text without space around it; None if there is none, or it can't be read."""
    try:
        return path.read_text().strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def numbers(text: str | None) -> list[int] | None:
    """The kernel's lists of processors and nodes: "0-2,8" is [0, 1, 2, 8]. None for anything else."""
    if text is None or not re.fullmatch(r"\d{1,6}(-\d{1,6})?(,\d{1,6}(-\d{1,6})?)*", text):
        return None
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def cpu_quota(root: Path = _ROOT) -> float | None:
    """How many processors' time the groups may use, e.g. 1.5; None without a limit."""
    found = []
    for folder in _folders("cpu", root):
        parts = (read(folder / "cpu.max") or "").split() or [
            read(folder / "cpu.cfs_quota_us") or "",
            read(folder / "cpu.cfs_period_us") or "",
        ]
        if len(parts) == 2 and parts[0].isdigit() and parts[1].isdigit() and int(parts[1]) > 0:
            found.append(int(parts[0]) / int(parts[1]))
    return min(found, default=None)


def memory_limit_bytes(root: Path = _ROOT) -> int | None:
    """Memory that the groups may hold; None without a limit."""
    return min((limit for _, limit in _memory_limits(root)), default=None)


def available_in_group_bytes(root: Path = _ROOT) -> int | None:
    """Memory that the groups may still take (files that the kernel would drop do not count as taken); None without a limit."""
    found = []
    for folder, limit in _memory_limits(root):
        used = _number(folder, "memory.current", "memory.usage_in_bytes")
        if used is not None:
            found.append(max(0, limit - used + (_statistic(folder / "memory.stat", "inactive_file") or 0)))
    return min(found, default=None)


def throttled_s(root: Path = _ROOT) -> float | None:
    """How long the quota has stopped the groups, over all processors together; of the group where it is most."""
    found = []
    for folder in _folders("cpu", root):
        microseconds = _statistic(folder / "cpu.stat", "throttled_usec")
        nanoseconds = _statistic(folder / "cpu.stat", "throttled_time")
        if microseconds is not None:
            found.append(microseconds * 1e-6)
        elif nanoseconds is not None:
            found.append(nanoseconds * 1e-9)
    return max(found, default=None)


def _memory_limits(root: Path) -> Iterator[tuple[Path, int]]:
    for folder in _folders("memory", root):
        limit = _number(folder, "memory.max", "memory.limit_in_bytes")
        if limit is not None and limit < _NO_LIMIT_BYTES:
            yield folder, limit


def _folders(controller: str, root: Path) -> list[Path]:
    """The folder of this process's group, and those of the groups above it."""
    mount = root / "sys/fs/cgroup"
    for line in (read(root / "proc/self/cgroup") or "").splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers == "" and (mount / "cgroup.controllers").exists():
            top = mount
        elif controller in controllers.split(","):
            top = mount / controller
        else:
            continue
        own = top if ".." in path else top / path.strip("/")
        return [folder for folder in (own, *own.parents) if folder.is_relative_to(top) and folder.is_dir()]
    return []


def _number(folder: Path, *names: str) -> int | None:
    """The first of the files that holds a number."""
    texts = (read(folder / name) for name in names)
    return next((int(text) for text in texts if text is not None and text.isdigit()), None)


def _statistic(path: Path, name: str) -> int | None:
    for line in (read(path) or "").splitlines():
        key, _, value = line.partition(" ")
        if key == name and value.isdigit():
            return int(value)
    return None
