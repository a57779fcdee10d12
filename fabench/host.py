"""The host as far as it decides a number: processors and who shares them, clocks, huge pages, limits of a container, the allocator.

Everything is read in the parent, so without torch; what can't be read is None. What holds for one processor is read for those that
this process may run on. `root` is another file system's top, for tests.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from fabench.linux import available_in_group_bytes, cpu_quota, memory_limit_bytes, numbers, read

__all__ = ["available_bytes", "facts"]

_ALLOCATORS = ("jemalloc", "tcmalloc", "mimalloc", "snmalloc", "tbbmalloc", "libhoard")


def facts(processors: Sequence[int], root: Path = Path("/")) -> dict[str, Any]:
    """What an environment keeps of the host, for a process that may run on `processors`.

    `smt_shared`: how many of them share their core with another of them. `numa_nodes`: the memory nodes they belong to. `cpu_quota`:
    processors' time per time that a container may use, and `memory_limit_bytes`, None without a limit.
    """
    pages = os.sysconf("SC_PHYS_PAGES") if "SC_PHYS_PAGES" in os.sysconf_names else None
    cpus, memory = root / "sys/devices/system/cpu", root / "sys/kernel/mm/transparent_hugepage"
    limit_khz = _of_each(cpus, processors, "cpufreq/scaling_max_freq")
    return {
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "cpu": _cpuinfo(root, "model name"),
        "cores": len(processors),
        "affinity": _ranges(processors),
        "smt": _switch(cpus / "smt/active"),
        "smt_shared": _shared(cpus, processors),
        "isolated": read(cpus / "isolated"),
        "hypervisor": _hypervisor(root),
        "governor": _of_each(cpus, processors, "cpufreq/scaling_governor"),
        "frequency_driver": _of_each(cpus, processors, "cpufreq/scaling_driver"),
        "frequency_limit_hz": int(limit_khz) * 1000 if limit_khz is not None and limit_khz.isdigit() else None,
        "turbo": _turbo(cpus),
        "numa_nodes": _nodes(root, processors),
        "numa_balancing": _switch(root / "proc/sys/kernel/numa_balancing"),
        "memory_bytes": None if pages is None else pages * os.sysconf("SC_PAGE_SIZE"),
        "memory_limit_bytes": memory_limit_bytes(root),
        "cpu_quota": cpu_quota(root),
        "huge_pages": read(memory / "enabled"),
        "huge_pages_defrag": read(memory / "defrag"),
        "address_randomisation": read(root / "proc/sys/kernel/randomize_va_space"),
        "allocator": _allocator(root),
        "libc": _libc(),
    }


def available_bytes(root: Path = Path("/")) -> int | None:
    """Memory that the host could give to a process now, a container's limit observed; None where the kernel does not say."""
    found = [available_in_group_bytes(root)]
    for line in (read(root / "proc/meminfo") or "").splitlines():
        if line.startswith("MemAvailable:"):
            found.append(int(line.split()[1]) * 1024)
    return min((size for size in found if size is not None), default=None)


def _cpuinfo(root: Path, key: str) -> str | None:
    """The first processor's value."""
    for line in (read(root / "proc/cpuinfo") or "").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip() or None
    return None


def _hypervisor(root: Path) -> bool | None:
    """Whether the processor says that it is a virtual one; only x86 has such a flag."""
    flags = _cpuinfo(root, "flags")
    return None if flags is None else "hypervisor" in flags.split()


def _switch(path: Path) -> bool | None:
    return {"0": False, "1": True}.get(read(path) or "")


def _turbo(cpus: Path) -> bool | None:
    """Whether clocks may rise above the nominal one."""
    off = _switch(cpus / "intel_pstate/no_turbo")
    return _switch(cpus / "cpufreq/boost") if off is None else not off


def _of_each(cpus: Path, processors: Sequence[int], name: str) -> str | None:
    """What the processors' files say; several answers are told apart by commas."""
    texts = {text for number in processors if (text := read(cpus / f"cpu{number}" / name)) is not None}
    return ", ".join(sorted(texts)) or None


def _shared(cpus: Path, processors: Sequence[int]) -> int | None:
    siblings = [numbers(read(cpus / f"cpu{number}/topology/thread_siblings_list")) for number in processors]
    known = [set(group) & set(processors) for group in siblings if group is not None]
    return sum(len(group) > 1 for group in known) if len(known) == len(processors) > 0 else None


def _nodes(root: Path, processors: Sequence[int]) -> str | None:
    found = []
    for folder in (root / "sys/devices/system/node").glob("node[0-9]*"):
        if set(numbers(read(folder / "cpulist")) or ()) & set(processors):
            found.append(int(folder.name.removeprefix("node")))
    return _ranges(sorted(found)) or None


def _ranges(ordered: Sequence[int]) -> str:
    """[0, 1, 2, 8] as "0-2,8"."""
    runs = [[number for _, number in run] for _, run in groupby(enumerate(ordered), lambda pair: pair[1] - pair[0])]
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _allocator(root: Path) -> str | None:
    """Who serves malloc: a library that was loaded before libc's own (the measuring side inherits it), or libc."""
    mapped = read(root / "proc/self/maps")
    if mapped is None:
        return None
    libraries = {line.rpartition("/")[2] for line in mapped.splitlines()}
    return next((name for name in _ALLOCATORS if any(name in library for library in libraries)), _libc())


def _libc() -> str | None:
    return " ".join(platform.libc_ver()).strip() or None
