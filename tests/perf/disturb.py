"""Deliberate disturbance beside a measurement: real processes that take the processors, change their clocks, or fill memory and its bus.

    python -m tests.perf.disturb process [--seed 1] -- COMMAND...      runs a command with the disturbance beside it

    none       nothing
    process    a busy process on every processor, all the time
    bursts     the same, on and off for seconds at a time, all processors together: what a neighbour does to load, clock and turbo
    memory     a process that writes over a share of the memory again and again, in random order: takes bus and last-level cache

A disturbance is drawn from its seed. It ends with the block that began it, with the command, and with the process that began it, whatever
ends that: each worker looks for its parent and is killed by the kernel where it can be (PR_SET_PDEATHSIG). Memory is bounded: at most a
quarter of what is available, 4 GiB at most.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

__all__ = ["KINDS", "Disturbance", "bounded_bytes", "disturbed", "main", "schedule"]

KINDS = ("none", "process", "bursts", "memory")

_ON_S, _OFF_S = 2.0, 4.0  # means of a burst and of the time between two
_SHARE, _MOST_BYTES = 0.25, 4 * 2**30
_BLOCK_BYTES = 2**20
_SLICE_S = 0.02  # of work between two looks for the parent
_TOP = Path(__file__).resolve().parents[2]


@dataclass
class Disturbance:
    """What ran beside: `kind`, `seed`, its processes' ids, and once it has ended the processor time that they took."""

    kind: str
    seed: int
    processes: list[int] = field(default_factory=list)
    cpu_s: float | None = None


def schedule(seed: int) -> Iterator[tuple[float, float]]:
    """Seconds off, then on, again and again; exponential, bounded to what a burst is (0.2 s to five times the mean)."""
    rng = np.random.default_rng(seed)
    while True:
        off, on = (float(np.clip(rng.exponential(mean), 0.2, 5 * mean)) for mean in (_OFF_S, _ON_S))
        yield off, on


@contextlib.contextmanager
def disturbed(kind: str, seed: int = 0) -> Iterator[Disturbance]:
    """The disturbance runs as long as the block does. Raises ValueError for a kind that is not known."""
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is no disturbance; there are {', '.join(KINDS)}")
    found = Disturbance(kind, seed)
    started: list[subprocess.Popen[bytes]] = []
    try:
        for processor in _processors(kind):
            command = [sys.executable, "-m", "tests.perf.disturb", "worker", kind, str(seed), str(processor), str(os.getpid())]
            single = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
            started.append(subprocess.Popen(command, cwd=_TOP, env=single, stdin=subprocess.DEVNULL, start_new_session=True))
            found.processes.append(started[-1].pid)
        yield found
    finally:
        for process in started:
            process.kill()
        found.cpu_s = sum(_reap(process) for process in started)


def _processors(kind: str) -> list[int]:
    if kind == "none":
        return []
    usable = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    return [-1] if kind == "memory" else usable


def _reap(process: subprocess.Popen[bytes]) -> float:
    """Waits for the end; the processor time that the process took."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime


def _work(kind: str, seed: int, processor: int, parent: int) -> None:
    """A worker; ends when its parent has."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        if processor >= 0:
            os.sched_setaffinity(0, {processor})
    if kind == "memory":
        _walk(seed, parent)
    elif kind == "bursts":
        for off_s, on_s in schedule(seed):
            end = time.monotonic() + off_s
            while (left := end - time.monotonic()) > 0:
                if os.getppid() != parent:
                    return
                time.sleep(min(left, 0.1))
            if not _spin(on_s, parent):
                return
    else:
        while _spin(60.0, parent):
            pass


def _spin(seconds: float, parent: int) -> bool:
    """Matrix products of one thread, which use the processor's widest instructions; False once the parent has gone."""
    values = np.random.default_rng(0).random((96, 96), dtype=np.float32)
    product = np.empty_like(values)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if os.getppid() != parent:
            return False
        pause = time.monotonic() + _SLICE_S
        while time.monotonic() < pause:
            np.matmul(values, values, out=product)
    return True


def _walk(seed: int, parent: int) -> None:
    """Writes over its blocks in random order."""
    blocks = np.zeros((bounded_bytes(_available_bytes()) // _BLOCK_BYTES, _BLOCK_BYTES // 8))
    rng = np.random.default_rng(seed)
    while True:
        for block in rng.permutation(len(blocks)):
            blocks[block] += 1.0
            if os.getppid() != parent:
                return


def bounded_bytes(available_bytes: int) -> int:
    """What the walker takes of memory that is available: whole blocks, one at least."""
    return max(_BLOCK_BYTES, min(_MOST_BYTES, int(_SHARE * available_bytes)) // _BLOCK_BYTES * _BLOCK_BYTES)


def _available_bytes() -> int:
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return _MOST_BYTES


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command with a disturbance beside it; its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["worker"]:
        _work(given[1], int(given[2]), int(given[3]), int(given[4]))
        return 0
    parser = argparse.ArgumentParser(prog="python -m tests.perf.disturb", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("command", nargs=argparse.REMAINDER, help="after --")
    asked = parser.parse_args(given)
    command = asked.command[1:] if asked.command[:1] == ["--"] else asked.command
    if not command:
        parser.error("there is no command to disturb; write it after --")
    with disturbed(asked.kind, asked.seed) as found:
        code = subprocess.call(command)
    sys.stderr.write(
        f"beside it: {found.kind}, seed {found.seed}, {len(found.processes)} processes, {found.cpu_s:.1f} s of processor time\n"
    )
    return code


if __name__ == "__main__":
    sys.exit(main())
