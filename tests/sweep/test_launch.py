"""The executor against measuring sides that misbehave: each ends as a record, and the next cell starts clean."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fabench.errors import WorkerError
from fabench.schema import Case, Cell, Job, Measure, Record, Status, to_json
from fabench.sweep.ending import oom_kills
from fabench.sweep.launch import ForkServer
from fabench.sweep.run import _address_space

JOB = Job(Cell("factorized", "cpu", Case(n=8, m=8)), Measure())
ELSEWHERE = Job(Cell("factorized", "null", Case(n=8, m=8)), Measure())
ANSWER = to_json(Record(JOB.cell, "unsupported", "a stand-in"))

# A measuring side in a few lines: says it is ready, then plays `script` for each request.
STAND_IN = """
import json, os, sys, time, signal
def say(**message):
    sys.stdout.write("\\n" + json.dumps(message) + "\\n"); sys.stdout.flush()
say(event="ready", torch="0")
for number, line in enumerate(sys.stdin):
    request = json.loads(line)
    say(event="started", pid=2**22 + 12345)
{script}
"""
TIMES = "say(event='phase', name='timing')\n"

Play = Callable[..., ForkServer]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    def make(script: str, begins: bool = True) -> ForkServer:
        path = tmp_path / "stand_in.py"
        lines = ((TIMES if begins else "") + script).splitlines()
        path.write_text(STAND_IN.replace("{script}", "\n".join("    " + line for line in lines)))
        return ForkServer(Measure(), command=(sys.executable, str(path)))

    return make


def run(server: ForkServer, timeout_s: float = 20.0, job: Job = JOB) -> Record:
    try:
        return server.run(job, timeout_s, lambda name: None)
    finally:
        server.close()


def test_an_answer_is_the_record(play: Play) -> None:
    record = run(play(f"say(event='answer', value=json.loads({ANSWER!r}))\nsay(event='ended', code=0)"))
    assert (record.status, record.reason) == ("unsupported", "a stand-in")
    assert record.started_at is not None
    assert record.phases_s["total"] > 0


@pytest.mark.parametrize(
    ("code", "words", "status"),
    [
        ("-9", "", Status.CRASHED),
        ("-11", "", Status.CRASHED),
        ("1", "AssertionError: device assert", Status.CRASHED),
        ("-6", "terminate called after throwing an instance of std::bad_alloc", Status.OUT_OF_MEMORY),
    ],
)
def test_an_end_without_an_answer_is_a_record_with_its_cause(play: Play, code: str, words: str, status: Status) -> None:
    record = run(play(f"sys.stderr.write({words!r} + '\\n'); sys.stderr.flush()\nsay(event='ended', code={code})"))
    assert record.status == status
    assert record.reason is not None
    assert "in timing" in record.reason
    assert {"-9": "SIGKILL", "-11": "SIGSEGV", "1": "device assert", "-6": "bad_alloc"}[code] in record.reason
    assert record.function == "factorized softmax attention"


def test_a_cell_that_hangs_times_out_and_the_next_one_runs(play: Play, tmp_path: Path) -> None:
    flag = tmp_path / "hung"
    server = play(
        f"if not os.path.exists({str(flag)!r}):\n    open({str(flag)!r}, 'w').close()\n    time.sleep(60)\n"
        f"say(event='answer', value=json.loads({ANSWER!r}))\nsay(event='ended', code=0)"
    )
    start = time.monotonic()
    first = server.run(JOB, 1.5, lambda name: None)
    assert time.monotonic() - start < 10
    assert (first.status, first.reason) == ("timed_out", "not done after 1.5 s (in timing)")
    assert run(server).status == "unsupported"


def test_a_measuring_side_that_dies_costs_one_cell(play: Play, tmp_path: Path) -> None:
    flag = tmp_path / "died"
    server = play(
        f"if not os.path.exists({str(flag)!r}):\n    open({str(flag)!r}, 'w').close()\n    os._exit(3)\n"
        f"say(event='answer', value=json.loads({ANSWER!r}))\nsay(event='ended', code=0)"
    )
    first = server.run(JOB, 20, lambda name: None)
    assert first.status == "crashed"
    assert "the measuring side died" in (first.reason or "")
    assert run(server).status == "unsupported"


def test_bad_alloc_is_the_hosts_memory_where_the_device_has_its_own(play: Play) -> None:
    script = "sys.stderr.write('std::bad_alloc'); sys.stderr.flush()\nsay(event='ended', code=-6)"
    assert run(play(script), job=ELSEWHERE).status == "out_of_host_memory"


@pytest.fixture
def counters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the kernel's counters of kills for lack of memory: the host's and a control group's."""
    (tmp_path / "vmstat").write_text("nr_free_pages 1\noom_kill 3\nswap_ra 0\n")
    (tmp_path / "cgroup").write_text("0::/slice/scope\n")
    (tmp_path / "slice" / "scope").mkdir(parents=True)
    (tmp_path / "slice" / "scope" / "memory.events").write_text("low 0\noom 1\noom_kill 0\noom_group_kill 0\n")
    monkeypatch.setattr("fabench.sweep.ending._VMSTAT", tmp_path / "vmstat")
    monkeypatch.setattr("fabench.sweep.ending._GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr("fabench.sweep.ending._MOUNT", tmp_path)
    return tmp_path


def test_the_kernels_counters_are_read_from_both_versions_of_control_groups(counters: Path) -> None:
    assert oom_kills() == {str(counters / "vmstat"): 3, str(counters / "slice/scope/memory.events"): 0}
    (counters / "cgroup").write_text("4:cpu,memory:/old\n2:pids:/other\n")
    (counters / "memory" / "old").mkdir(parents=True)
    (counters / "memory" / "old" / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 7\n")
    assert oom_kills() == {str(counters / "vmstat"): 3, str(counters / "memory/old/memory.oom_control"): 7}
    (counters / "vmstat").unlink()
    (counters / "cgroup").unlink()
    assert oom_kills() == {}


@pytest.mark.parametrize("job", [JOB, ELSEWHERE], ids=["cpu", "null"])
@pytest.mark.parametrize("whole_server", [False, True])
def test_a_kill_that_the_kernel_counted_is_lack_of_host_memory(job: Job, whole_server: bool, play: Play, counters: Path) -> None:
    killed = "os.kill(os.getpid(), signal.SIGKILL)" if whole_server else "say(event='ended', code=-9)"
    server = play(f"open({str(counters / 'vmstat')!r}, 'w').write('oom_kill 4\\n')\n{killed}")
    record = run(server, job=job)
    assert record.status == "out_of_host_memory"
    assert f"oom_kill rose in {counters / 'vmstat'} 3 -> 4" in (record.reason or "")
    assert (record.reason or "").startswith("in timing: ")


@pytest.mark.parametrize("whole_server", [False, True])
def test_a_kill_that_the_kernel_did_not_count_stays_a_crash(whole_server: bool, play: Play, counters: Path) -> None:
    killed = "os.kill(os.getpid(), signal.SIGKILL)" if whole_server else "say(event='ended', code=-9)"
    record = run(play(killed))
    assert record.status == "crashed"
    assert "oom_kill" not in (record.reason or "")


def test_another_signal_is_no_lack_of_memory_even_if_the_kernel_killed_somebody(play: Play, counters: Path) -> None:
    server = play(f"open({str(counters / 'vmstat')!r}, 'w').write('oom_kill 4\\n')\nsay(event='ended', code=-11)")
    assert run(server).status == "crashed"


BEFORE = {"the child": "say(event='ended', code=-9)", "the measuring side": "os.kill(os.getpid(), signal.SIGKILL)"}


@pytest.mark.parametrize("killed", BEFORE)
def test_what_dies_before_the_cell_begins_is_tried_once_more(killed: str, play: Play, tmp_path: Path) -> None:
    flag = tmp_path / "died"
    script = (
        f"if not os.path.exists({str(flag)!r}):\n    open({str(flag)!r}, 'w').close()\n    {BEFORE[killed]}\n    continue\n"
        f"say(event='answer', value=json.loads({ANSWER!r}))\nsay(event='ended', code=0)"
    )
    record = run(play(script, begins=False))
    assert (record.status, record.reason) == ("unsupported", "a stand-in")
    assert 0 < record.phases_s["lost start"] < record.phases_s["total"]


@pytest.mark.parametrize("killed", BEFORE)
def test_it_is_tried_once_more_and_no_more(killed: str, play: Play, tmp_path: Path) -> None:
    count = tmp_path / "count"
    record = run(play(f"open({str(count)!r}, 'a').write('x')\n{BEFORE[killed]}", begins=False))
    assert record.status == "crashed"
    assert (record.reason or "").startswith("in start: ")
    assert (record.reason or "").endswith("; so did a second process")
    assert count.read_text() == "xx"


def test_what_dies_after_the_cell_began_is_not_tried_again(play: Play, tmp_path: Path) -> None:
    count = tmp_path / "count"
    record = run(play(f"open({str(count)!r}, 'a').write('x')\nsay(event='ended', code=-11)"))
    assert record.status == "crashed"
    assert "lost start" not in record.phases_s
    assert count.read_text() == "x"


def test_half_a_line_and_junk_are_passed_over(play: Play) -> None:
    script = (
        'sys.stdout.write(\'{"event": "answer", "value": {"half\'); sys.stdout.flush()\n'
        "say(event='phase', name='memory')\nprint('no json'); print('[1, 2]'); print('\\x00')\nsay(event='ended', code=-9)"
    )
    record = run(play(script))
    assert record.status == "crashed"
    assert "SIGKILL" in (record.reason or "")


def test_an_answer_that_is_no_record_is_a_crash(play: Play) -> None:
    record = run(play("say(event='answer', value={'status': 'ok'})\nsay(event='ended', code=0)"))
    assert record.status == "crashed"


def test_a_measuring_side_that_does_not_start_says_why(tmp_path: Path) -> None:
    server = ForkServer(Measure(), command=(sys.executable, "-c", "raise ImportError('no module named torch')"))
    with pytest.raises(WorkerError, match=r"did not start: .*no module named torch"):
        server.start()


def test_nothing_is_left_running(play: Play) -> None:
    server = play("time.sleep(60)")
    server.start()
    assert server._process is not None
    pid = server._process.pid
    server.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_cell_has_room_for_its_heaps_holes_where_the_machine_has_it() -> None:
    assert _address_space(None, 100) is None
    assert _address_space(10, 100) == 20
    assert _address_space(10, 15) == 13
    assert _address_space(10, 5) == 10
    assert _address_space(10, None) == 10
    assert _address_space(10, 100, compared=False) == 10
