"""The host's load against scripted counters, on a scripted clock; and once against the kernel's own."""

import itertools
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from fabench.devices import _host_load
from fabench.devices._host_load import HostObserver
from fabench.devices.base import load
from fabench.measured import HostLoad

STEP_S = 1 / os.sysconf("SC_CLK_TCK")
STAT = "{thread} (odd ) name) {state} " + " ".join(["0"] * 35) + " {processor} 0 0\n"


class Host:
    """A file system's top with what the kernel would say, and the clocks that go with it."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.now_s, self.own_s = 1000.0, 50.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now_s)
        monkeypatch.setattr(time, "process_time", lambda: self.own_s)
        self.stat({0: (100, 0, 0), 1: (100, 0, 0), 2: (100, 0, 0), 3: (100, 0, 0)})
        self.ready(1)
        self.thread("10", "0", waited_ns=1_000)
        self.thread("11", "2", waited_ns=2_000, state="S")
        self.runs_on(2)

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def stat(self, idle_wait_steal: dict[int, tuple[int, int, int]]) -> None:
        rows = [f"cpu{number} 7 7 7 {idle} {wait} 7 7 {steal} 0 0" for number, (idle, wait, steal) in idle_wait_steal.items()]
        self.write("proc/stat", "cpu  9 9 9 9 9 9 9 9 0 0\n" + "\n".join(rows) + "\nintr 1 2 3\nctxt 5\n")

    def ready(self, tasks: int) -> None:
        self.write("proc/loadavg", f"0.99 0.65 0.48 {tasks}/99 9618\n")

    def thread(self, name: str, processors: str, waited_ns: int, state: str = "R") -> None:
        folder = f"proc/self/task/{name}"
        self.write(f"{folder}/status", f"Name:\tx\nCpus_allowed:\tff\nCpus_allowed_list:\t{processors}\n")
        self.write(f"{folder}/schedstat", f"999 {waited_ns} 5\n")
        self.write(f"{folder}/stat", STAT.format(thread=name, state=state, processor=0))

    def runs_on(self, processor: int) -> None:
        self.write("proc/thread-self/stat", STAT.format(thread=10, state="R", processor=processor))

    def observed(self, meanwhile: Callable[["Host"], None]) -> HostLoad:
        observer = HostObserver(self.root)
        meanwhile(self)
        found = observer.finish().host
        assert found is not None
        return found


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(sys, "platform", "linux")
    return Host(tmp_path, monkeypatch)


def test_what_others_took_is_what_is_left(host: Host) -> None:
    # This process may run on 0 and 2: of 2 x 3 s it used 2.5 s, 1.2 s were idle, 0.3 s went to disks, 0.4 s were stolen.
    def meanwhile(host: Host) -> None:
        host.now_s += 3.0
        host.own_s += 2.5
        steps = {"idle": round(1.2 / STEP_S), "wait": round(0.3 / STEP_S), "steal": round(0.4 / STEP_S)}
        host.stat({0: (100 + steps["idle"], steps["wait"], 0), 1: (100, 0, 0), 2: (100, 0, steps["steal"]), 3: (100, 0, 77)})

    load = host.observed(meanwhile)
    assert (load.wall_s, load.processors) == (3.0, 2)
    assert load.others_cpu_s == pytest.approx(6.0 - 2.5 - 1.2 - 0.3 - 0.4)
    assert load.steal_s == pytest.approx(0.4)


@pytest.mark.parametrize(("steps", "known"), [(19.9, False), (20.1, True)])
def test_a_short_timing_is_not_resolved(host: Host, steps: float, known: bool) -> None:
    def meanwhile(host: Host) -> None:
        host.now_s += steps * STEP_S
        host.thread("10", "0", waited_ns=4_001_000)

    load = host.observed(meanwhile)
    assert (load.others_cpu_s is not None) is known
    assert (load.steal_s is not None) is known
    assert load.waited_s == pytest.approx(4e-3)


@pytest.mark.parametrize(("excess_s", "others_s"), [(0.0, 0.0), (0.03, 0.0), (0.1, None)])
def test_below_zero_is_zero_within_the_steps_and_unknown_beyond(host: Host, excess_s: float, others_s: float | None) -> None:
    def meanwhile(host: Host) -> None:
        host.now_s += 1.0
        host.own_s += 2.0 + excess_s

    assert host.observed(meanwhile).others_cpu_s == others_s


def test_a_processor_that_is_not_listed_makes_it_unknown(host: Host) -> None:
    def meanwhile(host: Host) -> None:
        host.now_s += 1.0
        host.stat({0: (150, 0, 0), 1: (100, 0, 0)})

    load = host.observed(meanwhile)
    assert (load.others_cpu_s, load.steal_s, load.processors) == (None, None, 2)


def test_threads_that_came_or_went_do_not_count_as_waiting(host: Host) -> None:
    def meanwhile(host: Host) -> None:
        host.thread("12", "0", waited_ns=9_000_000_000)
        host.thread("11", "2", waited_ns=502_000)

    assert host.observed(meanwhile).waited_s == pytest.approx(5e-4)


def test_tasks_that_are_ready_are_the_most_seen_without_this_process(host: Host) -> None:
    def meanwhile(host: Host) -> None:
        for tasks in (4, 2, 9, 1):
            host.now_s += 0.06
            host.ready(tasks)
            observer.look()
        host.thread("11", "2", waited_ns=0, state="R")
        host.now_s += 0.06
        host.ready(10)
        observer.look()

    observer = HostObserver(host.root)
    meanwhile(host)
    found = observer.finish().host
    assert found is not None
    assert found.run_queue == 8  # 9 with one thread of ours; 10 with two of them are 8 as well


def test_looks_are_fifty_milliseconds_apart(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []

    def count(root: Path) -> int:
        asked.append(host.now_s)
        return 0

    observer = HostObserver(host.root)
    monkeypatch.setattr(_host_load, "_other_tasks", count)
    for _ in range(1000):
        host.now_s += 0.001
        observer.look()
    assert 19 <= len(asked) <= 20
    assert min(later - earlier for earlier, later in itertools.pairwise(asked)) >= 0.05 - 1e-9


def test_the_frequency_is_that_of_the_processor_at_work(host: Host) -> None:
    for number, kilohertz in enumerate((800_000, 900_000, 3_500_000, 1_000_000)):
        host.write(f"sys/devices/system/cpu/cpu{number}/cpufreq/scaling_cur_freq", f"{kilohertz}\n")

    def meanwhile(host: Host) -> None:
        host.write("sys/devices/system/cpu/cpu2/cpufreq/scaling_cur_freq", "2800000\n")

    assert host.observed(meanwhile).frequency_hz == (3_500_000_000, 2_800_000_000)


@pytest.mark.parametrize(("flags", "frequency_hz"), [("fpu aperfmperf sse", (2_596_120_000,) * 2), ("fpu hypervisor", None)])
def test_a_constant_of_the_boot_is_no_frequency(host: Host, flags: str, frequency_hz: tuple[int, int] | None) -> None:
    block = "processor\t: {}\nflags\t\t: " + flags + "\ncpu MHz\t\t: {}\n"
    host.write("proc/cpuinfo", "\n".join(block.format(number, mhz) for number, mhz in enumerate((1000, 1100, "2596.120"))))
    assert host.observed(lambda host: None).frequency_hz == frequency_hz


def test_a_quota_that_stops_the_container_is_counted(host: Host) -> None:
    host.write("proc/self/cgroup", "0::/box\n")
    host.write("sys/fs/cgroup/cgroup.controllers", "cpu memory\n")
    host.write("sys/fs/cgroup/box/cpu.stat", "usage_usec 5\nthrottled_usec 1000000\n")
    assert host.observed(
        lambda host: host.write("sys/fs/cgroup/box/cpu.stat", "throttled_usec 1250000\n")
    ).throttled_s == pytest.approx(0.25)


def test_a_kernel_that_tells_nothing_leaves_everything_unknown(tmp_path: Path) -> None:
    found = HostObserver(tmp_path / "nothing").finish().host
    if sys.platform != "linux":
        pytest.skip("there is no host load elsewhere than on Linux")
    assert found is not None
    assert found == HostLoad(wall_s=found.wall_s, processors=0)


def test_nonsense_in_the_kernels_files_does_not_raise(host: Host) -> None:
    for name in ("proc/stat", "proc/loadavg", "proc/thread-self/stat", "proc/cpuinfo", "proc/self/cgroup"):
        host.write(name, "cpu0 a b c d e f g h i\ncpu2 x\nprocessor : 2\n::\n) ) 1/x\n")
    for name in ("status", "schedstat", "stat"):
        host.write(f"proc/self/task/10/{name}", "Cpus_allowed_list: 0-\n x y")
    load = host.observed(lambda host: None)
    assert (load.others_cpu_s, load.steal_s, load.run_queue, load.frequency_hz) == (None, None, None, None)


def test_elsewhere_than_on_linux_there_is_nothing(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    observer = HostObserver(host.root)
    observer.look()
    assert observer.finish().host is None


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_the_cpus_observer_reads_this_host() -> None:
    observer = load("cpu").observer()
    for _ in range(3):
        torch.ones(100_000).sum()
        observer.look()
    found = observer.finish().host
    assert found is not None
    assert found.wall_s > 0
    assert 1 <= found.processors <= (os.cpu_count() or 1)
    assert found.run_queue is not None
    assert found.run_queue >= 0
    assert found.others_cpu_s is None or found.wall_s >= 0.2  # a few milliseconds tell nothing
    assert found.waited_s is None or found.waited_s >= 0
