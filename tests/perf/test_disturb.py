"""A disturbance works while its block lasts and ends with it, with an error, and with the process that began it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.perf.disturb import KINDS, bounded_bytes, disturbed, main, schedule

TOP = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")
BUSY = [kind for kind in KINDS if kind != "none"]


def fields(process: int) -> list[str]:
    """Of /proc/PID/stat after the name; nothing where the process has gone."""
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def gone(process: int) -> bool:
    return fields(process)[:1] in ([], ["Z"])


def ticks(processes: list[int]) -> int:
    return sum(int(found[11]) + int(found[12]) for found in map(fields, processes) if found)


def await_(said: str, holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end, said
        time.sleep(0.02)


@pytest.mark.parametrize("kind", BUSY)
def test_it_takes_processor_time_and_ends_with_its_block(kind: str) -> None:
    with disturbed(kind, seed=3) as found:
        assert len(found.processes) == (1 if kind == "memory" else len(os.sched_getaffinity(0)))
        start = ticks(found.processes)
        await_("idle", lambda: ticks(found.processes) > start + 10)
    assert all(map(gone, found.processes))
    assert found.cpu_s is not None and found.cpu_s > 0.1


def test_it_ends_with_an_error_in_its_block() -> None:
    with pytest.raises(RuntimeError, match="measured"), disturbed("process") as found:
        raise RuntimeError("what was measured failed")
    assert found.processes and all(map(gone, found.processes))


@pytest.mark.parametrize("kind", BUSY)
def test_it_ends_with_the_process_that_began_it_however_that_ends(kind: str) -> None:
    program = f"import time\nfrom tests.perf.disturb import disturbed\nwith disturbed({kind!r}) as one:\n print(*one.processes, flush=True)\n time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", program], cwd=TOP, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        workers = [int(word) for word in parent.stdout.readline().split()]
        assert workers and not any(map(gone, workers))
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    await_("a worker outlived its parent", lambda: all(map(gone, workers)))


def test_bursts_come_from_their_seed_and_last_for_seconds() -> None:
    first, again, other = (schedule(seed) for seed in (1, 1, 2))
    drawn = [next(first) for _ in range(2000)]
    assert drawn == [next(again) for _ in range(2000)]
    assert next(other) != drawn[0]
    off, on = np.array(drawn).T
    assert on.min() >= 0.2 and on.max() <= 10 and off.max() <= 20
    assert 1.8 < on.mean() < 2.2 and 3.6 < off.mean() < 4.4


@given(st.integers(0, 2**45))
def test_memory_is_bounded(available: int) -> None:
    taken = bounded_bytes(available)
    assert taken <= max(2**20, available // 4) and taken <= 4 * 2**30
    assert taken % 2**20 == 0 and taken > 0


def test_a_kind_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match="earthquake"), disturbed("earthquake"):
        pass


def test_a_command_runs_beside_and_its_exit_status_is_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["none", "--", sys.executable, "-c", "print('ran'); raise SystemExit(3)"]) == 3
    said = capfd.readouterr()
    assert said.out == "ran\n" and "none, seed 0, 0 processes" in said.err
