"""Sweeps end to end, and everything that can interrupt one."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from fabench.schema import Record, from_json
from fabench.store import RunFolder, read_run
from tests import synthetic
from tests.cli.conftest import TINY, Fabench, command


def only_run(folder: Path) -> Path:
    (run,) = (folder / "results").iterdir()
    return run


def processes() -> set[int]:
    """Measuring sides that are alive."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"fabench.measure.server" in path.read_bytes():
                found.add(int(path.parent.name))
        except OSError:
            continue
    return found


def wait_for(condition: object, seconds: float = 60.0) -> None:
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def test_a_sweep_from_suite_to_report(fabench: Fabench, tiny: Path, tmp_path: Path) -> None:
    result = fabench("sweep", str(tiny), "--json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    evidence = [line.pop("evidence") for line in lines]
    assert all(one["grade"] in ("A", "B", "C", "D") for one in evidence)
    assert all({"code", "text", "advice"} == set(warning) for one in evidence for warning in one["warnings"])
    records = [from_json(Record, json.dumps(line)) for line in lines]
    assert [record.status for record in records] == ["ok"] * 6
    run = read_run(only_run(tmp_path))
    assert run.records == tuple(records)
    assert run.warnings == ()
    assert run.environment.devices["cpu"]["peaks"]["copy_bytes_per_s"] > 0
    assert run.environment.settings["MALLOC_MMAP_MAX_"] == "0"
    assert all(not name.startswith("FABENCH_") for name in run.environment.settings)
    told = result.stderr.splitlines()
    assert told[0].startswith("[1/6] factorized/cpu/core/softmax/fp32/fwd/n=64") and f", grade {evidence[0]['grade']}" in told[0]
    grades = next(line for line in told if line.startswith("evidence: "))
    assert sum(int(part.split()[0]) for part in grades.removeprefix("evidence: ").split(", ")) == 6
    assert "6 ok" in told
    names = {path.suffix for path in (tmp_path / "reports").rglob("*") if path.is_file()}
    assert {".html", ".md", ".csv", ".json", ".png", ".svg", ".pdf"} <= names


def test_the_report_can_be_written_again_from_the_run_and_from_the_page(fabench: Fabench, tiny: Path, tmp_path: Path) -> None:
    fabench("sweep", str(tiny), "--quiet", "--no-report", "-i", "factorized")
    assert not (tmp_path / "reports").exists()
    first = fabench("report", "--format", "html").stdout.split()
    page = Path(tmp_path / first[0])
    again = fabench("report", str(page), "--format", "html", "--reports", "second").stdout.split()
    assert Path(tmp_path / again[0]).read_bytes() == page.read_bytes()


def test_overrides_filters_and_the_dry_run(fabench: Fabench, tiny: Path, tmp_path: Path) -> None:
    result = fabench("sweep", str(tiny), "--n", "64..1024x4", "--heads", "1,2", "--where", "n > 64 and heads == 2", "--dry-run")
    ids = [line.split()[0] for line in result.stdout.splitlines()]
    assert ids == [
        f"{name}/cpu/core/softmax/fp32/fwd/n={n},b=1,h=2,dk=8,dv=8" for n in (256, 1024) for name in ("factorized", "dot_product")
    ]
    assert "nothing was measured" in result.stderr
    assert "which differences between cells can be seen here is not known" in result.stderr
    assert not (tmp_path / "results").exists()


def test_a_dry_run_says_which_differences_the_latest_runs_machine_can_see(fabench: Fabench, tiny: Path, tmp_path: Path) -> None:
    known = synthetic.environment()
    sheet = {"classes": {"1e-05": {"floor": 0.042}, "0.1": {"floor": 0.042}}}
    devices = {"cpu": {**known.devices["cpu"], "noise": sheet}}
    RunFolder.create(tmp_path / "results", replace(known, devices=devices), b"", "cpu").close()
    result = fabench("sweep", str(tiny), "--dry-run")
    assert "differences between two cells below 4.2% can't be told from noise here" in result.stderr


def test_out_of_memory_ends_the_cell_not_the_machine(fabench: Fabench, tiny: Path, tmp_path: Path) -> None:
    result = fabench(
        "sweep", str(tiny), "--n", "64,8192,16384", "--no-report", "--set", "budget.memory=256 MiB", "--set", "budget.cell=120", status=1
    )  # fmt: skip
    statuses = {(record.cell.implementation, record.cell.case.n): record for record in read_run(only_run(tmp_path)).records}
    assert statuses["dot_product", 8192].status == "out_of_memory"
    assert "allocate" in (statuses["dot_product", 8192].reason or "")
    assert statuses["dot_product", 16384].reason == "dot_product ran out of memory at n=8192, so larger n are not tried"
    assert statuses["factorized", 16384].status == "ok"
    assert "4 ok, 1 out_of_memory, 1 skipped" in result.stderr


def test_an_expected_out_of_memory_is_fine(fabench: Fabench, tiny: Path) -> None:
    tiny.write_text(
        TINY + '[[expect]]\nstatus = "out_of_memory"\nwhen = "family == \'quadratic\'"\nreason = "that is the point"\n'
    )
    fabench("sweep", str(tiny), "--n", "64,8192", "--no-report", "--set", "budget.memory=256 MiB", status=0)


def test_a_time_out_is_a_record(fabench: Fabench, tiny: Path, tmp_path: Path) -> None:
    fabench("sweep", str(tiny), "--n", "64", "-i", "dot_product", "--no-report", "--set", "budget.cell=0.01", status=1)
    (record,) = read_run(only_run(tmp_path)).records
    assert record.status == "timed_out"


SLOW = ("--no-report", "--set", "measure.max_s=1.5", "--set", "measure.target=0.000001")


def started(tiny: Path, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    # A shell lets its background jobs ignore Ctrl-C, and so would what the tests start from there. What has a handler here starts with the default.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return subprocess.Popen(
        command("sweep", str(tiny), *SLOW, *arguments), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )  # fmt: skip


def stored(folder: Path) -> int:
    files = list((folder / "results").glob("*/records.jsonl"))
    return files[0].read_bytes().count(b"\n") if files else 0


def test_a_killed_parent_loses_nothing_and_is_resumed(fabench: Fabench, tiny: Path, tmp_path: Path) -> None:
    process = started(tiny, tmp_path)
    wait_for(lambda: stored(tmp_path) >= 2)
    process.kill()
    process.communicate()
    before = read_run(only_run(tmp_path)).records
    assert len(before) >= 2
    mine = f"FABENCH_PARENT={process.pid}".encode()
    wait_for(lambda: not any(mine in environment(pid) for pid in processes()), 10)
    fabench("sweep", "--resume", "latest", "--no-report")
    after = read_run(only_run(tmp_path)).records
    assert after[: len(before)] == before
    assert [record.status for record in after] == ["ok"] * 6


def environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def worked(pid: int) -> bool:
    """Whether a process has used 50 ms of a processor: its cell has begun, and would not be tried again."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11]) >= 0.05 * os.sysconf("SC_CLK_TCK")
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_prints_how_to_go_on(number: signal.Signals, fabench: Fabench, tiny: Path, tmp_path: Path) -> None:
    process = started(tiny, tmp_path)
    wait_for(lambda: stored(tmp_path) >= 1)
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    path = only_run(tmp_path).relative_to(tmp_path)
    assert f"Go on with: fabench sweep --resume {path}" in said
    assert "Traceback" not in said
    assert len(read_run(tmp_path / path).records) >= 1


def test_a_killed_child_is_a_crash_and_the_sweep_goes_on(tiny: Path, tmp_path: Path) -> None:
    process = started(tiny, tmp_path, "-i", "factorized")
    mine = f"FABENCH_PARENT={process.pid}".encode()
    wait_for(lambda: stored(tmp_path) >= 1)

    def children() -> list[int]:
        return sorted(pid for pid in processes() if mine in environment(pid))

    wait_for(lambda: len(children()) == 2)
    server, child = children()
    wait_for(lambda: worked(child))
    assert Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[1] == str(server)
    os.kill(child, signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == 1
    records = read_run(only_run(tmp_path)).records
    assert sorted(record.status for record in records) == ["crashed", "ok", "ok"]
    assert any("SIGKILL" in (record.reason or "") for record in records)


def test_a_killed_measuring_side_costs_one_cell(tiny: Path, tmp_path: Path) -> None:
    process = started(tiny, tmp_path, "-i", "factorized")
    mine = f"FABENCH_PARENT={process.pid}".encode()
    wait_for(lambda: stored(tmp_path) >= 1)
    wait_for(lambda: any(worked(pid) for pid in sorted(pid for pid in processes() if mine in environment(pid))[1:]))
    os.kill(min(pid for pid in processes() if mine in environment(pid)), signal.SIGKILL)
    process.communicate(timeout=90)
    records = read_run(only_run(tmp_path)).records
    assert sorted(record.status for record in records) == ["crashed", "ok", "ok"]


def test_resuming_something_else_is_refused(fabench: Fabench, tiny: Path, tmp_path: Path) -> None:
    fabench("sweep", str(tiny), "--n", "64", "--no-report")
    run = only_run(tmp_path)
    data = json.loads((run / "environment.json").read_text())
    data["packages"]["torch"] = "1.0"
    data["code_hash"] = "other"
    (run / "environment.json").write_text(json.dumps(data))
    result = fabench("sweep", "--resume", str(run), status=5)
    assert "can't resume" in result.stderr
    assert "code_hash: other -> " in result.stderr
    assert "packages.torch: 1.0 -> " in result.stderr


@pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="there is a GPU here")
def test_a_device_that_is_not_there_is_one_line(fabench: Fabench, tiny: Path) -> None:
    result = fabench("sweep", str(tiny), "--device", "cuda", status=4)
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("fabench: cuda: torch ")


@pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="there is a GPU here")
def test_a_missing_device_beside_one_that_is_there_leaves_unsupported_cells(fabench: Fabench, tiny: Path, tmp_path: Path) -> None:
    fabench("sweep", str(tiny), "--device", "cpu,cuda", "--n", "64", "-i", "factorized", "--no-report")
    found = {record.cell.device: record for record in read_run(only_run(tmp_path)).records}
    assert found["cpu"].status == "ok"
    assert found["cuda"].status == "unsupported"
    assert "torch" in (found["cuda"].reason or "")


def test_an_unwritable_folder_is_one_line(fabench: Fabench, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = fabench("sweep", str(tiny), "--results", "file/results", status=4)
    assert "can't write results to file/results" in result.stderr
    assert "--results DIR" in result.stderr


def test_broken_torch_is_one_line(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('libtorch is broken')")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, "-m", "fabench", "sweep", str(tiny)], capture_output=True, text=True, cwd=tmp_path, env=environment, check=False
    )  # fmt: skip
    assert result.returncode == 4
    assert "did not start: " in result.stderr
    assert "libtorch is broken" in result.stderr
