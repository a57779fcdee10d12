"""Everything that can go wrong on a device, scripted, through the real command, fork server and store.

For each fault: what is planted, what the user sees, that nothing else is lost, and that the next cell is clean. The sweep has four
cells, in this order: factorized at n=32 (the one that is hit unless the row says otherwise), dot_product at n=32 (the next one),
factorized at n=64 (the same series, larger) and dot_product at n=64.
"""

from dataclasses import dataclass
from typing import Any

import pytest

from fabench.median import median
from fabench.schema import Record
from tests.faults.conftest import Play

HIT = "factorized/null/core/softmax/fp32/fwd/n=32"


@dataclass(frozen=True)
class Row:
    """A fault. `status` and `reason` (a part of it) are those of the cell that is hit; `larger` is the status of the same series at n=64.

    `keeps`: what was measured before and must be in the record all the same. `counted`: the kernel counts a kill for lack of memory.
    """

    planted: str
    script: str
    status: str
    reason: str
    larger: str = "ok"
    exit_code: int = 1
    keeps: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    counted: bool = False


def fault(what: str, phase: str, **more: Any) -> str:
    fields = {"what": what, "phase": phase, "cell": f"{HIT},"} | more
    return "[[fault]]\n" + "\n".join(
        f"{key} = {str(value).lower() if isinstance(value, bool) else repr(value)}" for key, value in fields.items()
    )


CHECKED, TIMED = ("check",), ("check", "timing")
OFTEN = ("--set", "budget.cell=2.5 s")

FAILURES = [
    # the device's memory, one program's share of it, the host's
    Row("no device memory in the first call", fault("out_of_memory", "first call"), "out_of_memory", "in first call: CUDA out of memory", "skipped"),
    Row("no device memory while timing", fault("out_of_memory", "timing"), "out_of_memory", "in timing: CUDA out of", "skipped", keeps=CHECKED),
    Row("no device memory in the memory pass", fault("out_of_memory", "memory"), "out_of_memory", "in memory: CUDA", "skipped", keeps=TIMED),
    Row("too little shared memory", fault("out_of_resources", "first call"), "out_of_resources", "shared memory, Required: 131072"),
    Row("the host can't allocate", fault("host_allocator", "inputs"), "out_of_host_memory", "DefaultCPUAllocator", "skipped"),
    Row("Python has no memory", fault("host_memory", "check"), "out_of_host_memory", "in check: MemoryError", "skipped"),
    Row("C++ has no memory and aborts", fault("bad_alloc", "first call"), "out_of_host_memory", "std::bad_alloc", "skipped"),
    Row("the kernel's OOM killer", fault("signal", "timing", signal="SIGKILL"), "out_of_host_memory", "for lack of host memory (oom_kill rose in", "skipped", counted=True),
    # errors after which the process is of no use
    Row("a kernel reads beyond its tensors", fault("illegal_access", "first call"), "crashed", "memory that is not its own (usually an index"),
    Row("the same, seen when the host waits", fault("illegal_access", "warm-up", asynchronous=True, accelerator=True), "crashed", "in warm-up: a kernel read or wrote", keeps=CHECKED),
    Row("the same, after the timing", fault("illegal_access", "memory"), "crashed", "nothing more was tried in this process", keeps=TIMED),
    Row("an assertion in a kernel", fault("device_assert", "timing", accelerator=True), "crashed", "an assertion inside a kernel failed (usually an index", keeps=CHECKED),
    Row("a misaligned address", fault("misaligned", "check"), "crashed", "not aligned to what it reads"),
    Row("an exception on the device", fault("launch_failure", "warm-up"), "crashed", "ended by an exception on the device", keeps=CHECKED),
    Row("a kernel that the driver ends", fault("launch_timeout", "first call"), "crashed", "ran too long"),
    Row("an uncorrectable memory error", fault("ecc", "timing", asynchronous=True), "crashed", "an error that it can't correct (usually worn", keeps=CHECKED),
    Row("a driver without a word for it", fault("unknown", "inputs"), "crashed", "the driver failed without a word"),
    # ends without any error
    Row("a hang in the first call", fault("hang", "first call"), "timed_out", "not done after 2.5 s (in first call)", "skipped", options=OFTEN),
    Row("a hang while timing", fault("hang", "timing"), "timed_out", "not done after 2.5 s (in timing)", "skipped", options=OFTEN),
    Row("a segmentation fault", fault("signal", "timing", signal="SIGSEGV"), "crashed", "in timing: killed by SIGSEGV"),
    Row("a bus error", fault("signal", "first call", signal="SIGBUS"), "crashed", "in first call: killed by SIGBUS"),
    Row("an abort of the driver's library", fault("signal", "memory", signal="SIGABRT"), "crashed", "in memory: killed by SIGABRT"),
    Row("a kill from outside", fault("signal", "warm-up", signal="SIGKILL"), "crashed", "in warm-up: killed by SIGKILL (by someone"),
    Row("a quiet exit", fault("exit", "check", status=3), "crashed", "in check: ended with status 3"),
    # results and code
    Row("results that are not numbers", fault("nan", "first call"), "incorrect", "output has NaN", keeps=CHECKED),
    Row("an error of the code itself", fault("error", "timing"), "crashed", "in timing: ValueError: a planted error", keeps=CHECKED),
]  # fmt: skip


@pytest.mark.parametrize("row", FAILURES, ids=lambda row: row.planted)
def test_a_fault_ends_its_cell_with_a_reason_and_nothing_else(row: Row, play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    if row.counted:
        monkeypatch.setattr("fabench.sweep.ending.oom_kills", lambda: {"/proc/vmstat": 2**62})
    seen = play(row.script, *row.options)
    hit, following, larger, last = seen.records.values()
    assert hit.cell.id.startswith(HIT)
    assert (hit.status, following.status, larger.status, last.status) == (row.status, "ok", row.larger, "ok"), hit.reason
    assert row.reason in (hit.reason or "")
    assert "\n" not in (hit.reason or "")
    assert [part for part in ("check", "timing", "memory") if getattr(hit, part) is not None] == list(row.keeps)
    assert hit.function == "factorized softmax attention"
    assert not hit.device_lost
    assert seen.exit_code == row.exit_code
    assert f"{row.status} {hit.cell.id}: {hit.reason}" in seen.said
    assert all(record.timing is not None and record.memory is not None for record in (following, last))


@dataclass(frozen=True)
class Told:
    """A fault that leaves a time: `record` says what of the record tells of it, as text that has `tells` in it."""

    planted: str
    script: str
    record: str
    tells: str
    options: tuple[str, ...] = ()


def told(record: Record, what: str) -> str:
    """A part of a record as text."""
    assert record.timing is not None and record.telemetry is not None
    timing, telemetry = record.timing, record.telemetry
    second = None if timing.witness is None else median(timing.witness.samples_s)
    parts: dict[str, object] = {
        "clock": f"{timing.clock} because {'; '.join(timing.ladder) or 'it is the best'}",
        "queue": "one to three together" if timing.queued in (1, 2, 3) else timing.queued,
        "witness": f"{median(timing.samples_s) / second:.2f} of the second clock" if second else None,
        "mean": f"{sum(timing.samples_s) / len(timing.samples_s) > 2 * median(timing.samples_s)}",
        "reasons": telemetry.looks[-1].reasons,
        "foreign": f"{telemetry.foreign_processes} with {telemetry.foreign_bytes} B",
        "ecc": telemetry.ecc_errors,
        "energy": telemetry.energy_j,
        "failed": f"{len(telemetry.reads_failed)} queries",
    }
    return str(parts[what])


REFUSED = "driver = {unsupported = ['sm_clock', 'memory_clock', 'power', 'temperature', 'clock_reasons', 'energy', 'processes', 'ecc_errors', 'memory']}"
TOLD = [
    Told("a queue that holds few launches", "clocks = {queue = 100}", "queue", "one to three together"),
    Told("calls that wait inside", "clocks = {synchronises = true}", "clock", "null_host because null_event: the queue deadlocked"),
    Told("events that can't be had", "clocks = {unfit = {null_event = 'no events'}}", "clock", "null_graph because null_event: no events"),
    Told("a clock that runs fast", "clocks = {skew = 0.3}", "witness", "1.2"),  # of the host's, which holds launches too
    Told("a clock that jumps", "clocks = {step_at_s = 0.01, step_s = 2.0}", "mean", "True"),
    Told("a hot device", "noise = {throttle = {after_s = 0, times = 1.5, reasons = ['hw_thermal_slowdown']}}", "reasons", "hw_thermal_slowdown"),
    Told("another process", "driver = {foreign_processes = 1, foreign_bytes = 4096}", "foreign", "1 with 4096 B"),
    Told("memory errors in the driver's count", "driver = {ecc_errors = 2}", "ecc", "2"),
    Told("an energy counter that stands still", "driver = {energy_step_s = 1000}", "energy", "None", ("--set", "measure.energy=true")),
    Told("a driver that refuses every query", REFUSED, "failed", "9 queries"),
]  # fmt: skip


@pytest.mark.parametrize("row", TOLD, ids=lambda row: row.planted)
def test_a_fault_that_leaves_a_time_is_told_by_the_record(row: Told, play: Play) -> None:
    seen = play(row.script, "--n", "32", *row.options)
    assert [record.status for record in seen.records.values()] == ["ok"] * 2
    assert seen.exit_code == 0
    assert row.tells in told(next(iter(seen.records.values())), row.record)


def test_the_list_is_long_enough_and_says_each_thing_once() -> None:
    planted = [row.planted for row in FAILURES] + [row.planted for row in TOLD]
    assert len(planted) == len(set(planted)) >= 30


def test_a_lost_device_ends_its_cells_and_no_other_devices(play: Play) -> None:
    script = "[[fault]]\nwhat = 'lost'\nphase = 'timing'\ncell = 'factorized/null/'"
    seen = play(script, "--device", "null,null:1")
    lost, other, *rest = seen.records.values()
    assert (lost.status, lost.device_lost) == ("crashed", True)
    assert "the device was lost (it no longer answers on its bus" in (lost.reason or "")
    by_device = {device: [record for record in (other, *rest) if record.cell.device == device] for device in ("null", "null:1")}
    assert [record.status for record in by_device["null:1"]] == ["ok"] * 4
    assert {record.status for record in by_device["null"]} == {"skipped"}
    assert {record.reason for record in by_device["null"]} == {
        "null was lost in factorized at n=32, so nothing more is tried on it"
    }
    assert seen.exit_code == 1


def test_what_a_kill_of_the_command_tore_is_resumed(play: Play) -> None:
    """As kill -9 leaves a run: two records, half of a third. (The kill itself is in tests/cli.)"""
    before = play("title = 'steady'")
    assert before.folder is not None
    file = before.folder / "records.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:2]) + lines[2][: len(lines[2]) // 2])
    after = play("title = 'steady'", "--resume", str(before.folder), torn=1)
    assert list(after.records.values())[:2] == list(before.records.values())[:2]
    assert [record.status for record in after.records.values()] == ["ok"] * 4
    other = play("title = 'another script'", "--resume", str(before.folder), torn=1)
    assert other.exit_code == 5
    assert "can't resume" in other.said


def test_a_device_that_is_absent_beside_another_one_leaves_unsupported_cells(play: Play) -> None:
    seen = play("absent = ['null:1']", "--device", "null,null:1")
    assert {(record.cell.device, record.status) for record in seen.records.values()} == {
        ("null", "ok"),
        ("null:1", "unsupported"),
    }
    assert seen.exit_code == 0


def test_a_case_beyond_the_devices_memory_is_out_of_memory(play: Play) -> None:
    # dot_product holds n^2 floats twice at least: 32 KiB at n=64.
    seen = play("memory = {bytes = 65536, context_bytes = 0}", "--n", "16,64,128", "--implementation", "dot_product")
    assert [record.status for record in seen.records.values()] == ["ok", "out_of_memory", "skipped"]


def test_without_a_clock_a_cell_is_unsupported(play: Play) -> None:
    seen = play("[clocks]\nunfit = {null_event = 'no events', null_graph = 'no graphs', null_host = 'no time'}")
    assert {record.status for record in seen.records.values()} == {"unsupported"}
    reason = "no clock can time it: null_event: no events; null_graph: no graphs; null_host: no time"
    assert {record.reason for record in seen.records.values()} == {reason}
    assert seen.exit_code == 4


@pytest.mark.parametrize("script", ["noise = {jiter = 1}", "noise = {"])
def test_a_mistake_in_the_script_is_one_line_and_no_run(script: str, play: Play) -> None:
    seen = play(script)
    assert (seen.exit_code, seen.folder) == (4, None)
    assert seen.said.startswith("fabench: null: FABENCH_NULL=")
    assert len(seen.said.splitlines()) == 1
