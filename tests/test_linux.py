"""Files of a Linux that the tests write: lists of processors, and control groups in both layouts."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabench import linux

V2 = {"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/cgroup.controllers": "cpu memory\n"}
V1 = {"proc/self/cgroup": "9:name=systemd:/\n4:memory:/a/b\n2:cpu,cpuacct:/a/b\n0::/\n"}


def tree(root: Path, *parts: dict[str, str]) -> Path:
    for files in parts:
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
    return root


@given(st.lists(st.tuples(st.integers(0, 999), st.integers(0, 9)), min_size=1))
def test_lists_of_processors(runs: list[tuple[int, int]]) -> None:
    text = ",".join(str(first) if length == 0 else f"{first}-{first + length}" for first, length in runs)
    assert linux.numbers(text) == [number for first, length in runs for number in range(first, first + length + 1)]


@pytest.mark.parametrize("text", [None, "", "a", "1-", "-1", "1,,2", "1-2-3", "9999999999", "0 1"])
def test_what_is_no_list_is_unknown(text: str | None) -> None:
    assert linux.numbers(text) is None


def test_a_file_that_is_none_is_unknown(tmp_path: Path) -> None:
    assert linux.read(tmp_path) is None
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    (tmp_path / "empty").write_text(" \n")
    assert [linux.read(tmp_path / name) for name in ("bytes", "empty", "none")] == [None, None, None]


def test_without_control_groups_nothing_is_limited(tmp_path: Path) -> None:
    for root in (tmp_path, tree(tmp_path, V2), tree(tmp_path, V1)):
        found = [
            ask(root) for ask in (linux.cpu_quota, linux.memory_limit_bytes, linux.available_in_group_bytes, linux.throttled_s)
        ]
        assert found == [None] * 4


def test_the_narrowest_limit_above_counts_in_the_newer_layout(tmp_path: Path) -> None:
    top = "sys/fs/cgroup"
    root = tree(
        tmp_path,
        V2,
        {
            f"{top}/cpu.stat": "throttled_usec 1\n",
            f"{top}/a/cpu.max": "150000 100000\n",
            f"{top}/a/memory.max": "1000\n",
            f"{top}/a/memory.current": "900\n",
            f"{top}/a/memory.stat": "anon 5\ninactive_file 300\n",
            f"{top}/a/cpu.stat": "usage_usec 9\nthrottled_usec 2500000\n",
            f"{top}/a/b/cpu.max": "max 100000\n",
            f"{top}/a/b/memory.max": "max\n",
            f"{top}/a/b/memory.current": "700\n",
        },
    )
    assert linux.cpu_quota(root) == 1.5
    assert linux.memory_limit_bytes(root) == 1000
    assert linux.available_in_group_bytes(root) == 400
    assert linux.throttled_s(root) == 2.5


def test_the_older_layout(tmp_path: Path) -> None:
    cpu, memory = "sys/fs/cgroup/cpu", "sys/fs/cgroup/memory"
    root = tree(
        tmp_path,
        V1,
        {
            f"{cpu}/cpu.cfs_quota_us": "-1\n",
            f"{cpu}/a/b/cpu.cfs_quota_us": "50000\n",
            f"{cpu}/a/b/cpu.cfs_period_us": "100000\n",
            f"{cpu}/a/b/cpu.stat": "nr_periods 5\nthrottled_time 750000000\n",
            f"{memory}/memory.limit_in_bytes": f"{2**63 - 4096}\n",
            f"{memory}/a/b/memory.limit_in_bytes": "5000\n",
            f"{memory}/a/b/memory.usage_in_bytes": "6000\n",
        },
    )
    assert linux.cpu_quota(root) == 0.5
    assert linux.memory_limit_bytes(root) == 5000
    assert linux.available_in_group_bytes(root) == 0
    assert linux.throttled_s(root) == 0.75


@pytest.mark.parametrize("path", ["/elsewhere/on/the/host", "/../../outside"])
def test_a_container_that_sees_itself_as_the_top(tmp_path: Path, path: str) -> None:
    root = tree(tmp_path, V2, {"proc/self/cgroup": f"0::{path}\n", "sys/fs/cgroup/cpu.max": "200000 100000\n"})
    tree(tmp_path, {"sys/outside/cpu.max": "1 100000\n"})
    assert linux.cpu_quota(root) == 2.0
