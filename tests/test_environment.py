"""What an environment keeps of the host, read from a host that the tests write; and what makes two runs incomparable."""

from dataclasses import replace
from pathlib import Path

import pytest

from fabench import environment, host
from fabench.codec import encode
from fabench.environment import child_settings, collect, differences, processors
from fabench.schema import Environment, Measure, from_json, to_json
from tests.test_linux import V2, tree

CPU = "sys/devices/system/cpu"
MACHINE = {
    "proc/cpuinfo": "processor\t: 0\nmodel name\t: Example 9000\nflags\t\t: fpu sse\n\nprocessor\t: 1\nmodel name\t: Other\n",
    "proc/meminfo": "MemTotal: 100 kB\nMemAvailable:   64 kB\n",
    "proc/self/maps": "55 r-xp 0 /usr/bin/python3\n7f r-xp 0 /usr/lib/libc.so.6\n",
    "proc/sys/kernel/numa_balancing": "1\n",
    "proc/sys/kernel/randomize_va_space": "2\n",
    "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
    "sys/kernel/mm/transparent_hugepage/defrag": "always defer [madvise] never\n",
    "sys/devices/system/node/node0/cpulist": "0-3\n",
    "sys/devices/system/node/node1/cpulist": "4-7\n",
    "sys/devices/system/node/node2/cpulist": "\n",
    f"{CPU}/smt/active": "1\n",
    f"{CPU}/isolated": "6-7\n",
    f"{CPU}/intel_pstate/no_turbo": "1\n",
    **{f"{CPU}/cpu{number}/topology/thread_siblings_list": f"{number % 4},{number % 4 + 4}\n" for number in range(8)},
    **{f"{CPU}/cpu{number}/cpufreq/scaling_governor": "performance\n" for number in range(8)},
    **{f"{CPU}/cpu{number}/cpufreq/scaling_driver": "intel_pstate\n" for number in range(8)},
    **{f"{CPU}/cpu{number}/cpufreq/scaling_max_freq": "3500000\n" for number in range(8)},
}


def test_the_facts_of_a_host(tmp_path: Path) -> None:
    found = host.facts([0, 1, 2, 4], tree(tmp_path, MACHINE, V2, {"sys/fs/cgroup/a/cpu.max": "250000 100000\n"}))
    expected = {
        "cpu": "Example 9000",
        "cores": 4,
        "affinity": "0-2,4",
        "smt": True,
        "smt_shared": 2,  # 0 and 4
        "isolated": "6-7",
        "hypervisor": False,
        "governor": "performance",
        "frequency_driver": "intel_pstate",
        "frequency_limit_hz": 3_500_000_000,
        "turbo": False,
        "numa_nodes": "0-1",
        "numa_balancing": True,
        "memory_limit_bytes": None,
        "cpu_quota": 2.5,
        "huge_pages": "always [madvise] never",
        "huge_pages_defrag": "always defer [madvise] never",
        "address_randomisation": "2",
    }
    assert {name: found[name] for name in expected} == expected


def test_a_host_that_tells_nothing(tmp_path: Path) -> None:
    found = host.facts([0, 1], tmp_path)
    known = {"system", "machine", "cores", "affinity", "memory_bytes", "libc"}
    assert {name for name, value in found.items() if value is not None} <= known
    assert host.available_bytes(tmp_path) is None


@pytest.mark.parametrize(
    ("files", "turbo"),
    [
        ({f"{CPU}/intel_pstate/no_turbo": "0\n"}, True),
        ({f"{CPU}/cpufreq/boost": "1\n"}, True),
        ({f"{CPU}/cpufreq/boost": "0\n"}, False),
        ({f"{CPU}/cpufreq/boost": "?\n"}, None),
    ],
)
def test_turbo_has_several_switches(tmp_path: Path, files: dict[str, str], turbo: bool | None) -> None:
    assert host.facts([0], tree(tmp_path, files))["turbo"] is turbo


def test_processors_that_differ_are_told_apart(tmp_path: Path) -> None:
    root = tree(
        tmp_path, MACHINE, {f"{CPU}/cpu1/cpufreq/scaling_governor": "powersave\n", f"{CPU}/cpu1/cpufreq/scaling_max_freq": "1"}
    )
    found = host.facts([0, 1], root)
    assert (found["governor"], found["frequency_limit_hz"], found["smt_shared"]) == ("performance, powersave", None, 0)


@pytest.mark.parametrize(
    ("library", "name"),
    [("libjemalloc.so.2", "jemalloc"), ("libtcmalloc_minimal.so.4", "tcmalloc"), ("libmimalloc.so.2.1", "mimalloc")],
)
def test_an_allocator_loaded_before_libcs_has_its_name(tmp_path: Path, library: str, name: str) -> None:
    root = tree(tmp_path, MACHINE)
    plain = host.facts([0], root)
    assert plain["allocator"] == plain["libc"]
    tree(root, {"proc/self/maps": f"7f r-xp 0 /opt/{library}\n" + MACHINE["proc/self/maps"]})
    assert host.facts([0], root)["allocator"] == name


def test_a_virtual_machine_says_so_and_other_processors_can_not(tmp_path: Path) -> None:
    tree(tmp_path, {"proc/cpuinfo": "model name : x\nflags : fpu hypervisor\n"})
    assert host.facts([0], tmp_path)["hypervisor"] is True
    tree(tmp_path, {"proc/cpuinfo": "processor : 0\nFeatures : fp asimd\n"})
    assert host.facts([0], tmp_path)["hypervisor"] is None


def test_a_containers_limit_is_what_may_be_taken(tmp_path: Path) -> None:
    root = tree(tmp_path, MACHINE)
    assert host.available_bytes(root) == 64 * 1024
    tree(root, V2, {"sys/fs/cgroup/a/memory.max": "50000\n", "sys/fs/cgroup/a/memory.current": "20000\n"})
    assert host.available_bytes(root) == 30_000
    tree(root, {"sys/fs/cgroup/a/memory.max": "5000000\n"})
    assert host.available_bytes(root) == 64 * 1024


def collected() -> Environment:
    return collect(
        "quick", "hash", (), {"cpu": {"name": "x", "peaks": {"copy_bytes_per_s": 1.0}}}, {"cuda": None}, child_settings(Measure())
    )


def test_an_environment_of_this_machine_is_kept_whole() -> None:
    found = collected()
    assert found.host["cores"] == len(processors())
    assert from_json(Environment, to_json(found)) == found
    assert "NaN" not in encode(found)
    assert differences(found, collected()) == []


def test_what_decides_a_number_makes_runs_incomparable() -> None:
    old = collected()
    new = replace(old, host=old.host | {"cpu_quota": 1.5, "turbo": "other"})
    assert differences(old, new) == [
        f"host.cpu_quota: {old.host['cpu_quota']} -> 1.5",
        f"host.turbo: {old.host['turbo']} -> other",
    ]
    assert differences(old, replace(old, devices={"cpu": {"name": "x", "peaks": {"copy_bytes_per_s": 2.0}}})) == []


def test_settings_that_change_results_are_recorded_and_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CUDA_VISIBLE_DEVICES", "CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE", "OMP_SCHEDULE", "GLIBC_TUNABLES"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("CUDA_PATH", "/somebody/cuda")
    monkeypatch.setenv("API_TOKEN", "secret")
    settings = collected().settings
    assert settings["CUDA_VISIBLE_DEVICES"] == settings["NVIDIA_TF32_OVERRIDE"] == settings["OMP_SCHEDULE"] == "1"
    assert not {"CUDA_PATH", "API_TOKEN"} & settings.keys()


def test_threads_leave_a_processor_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "processors", lambda: [1, 3, 5, 7])
    assert child_settings(Measure())["FABENCH_PROCESSORS"] == "3,5,7"
    assert child_settings(Measure(threads=1))["FABENCH_PROCESSORS"] == "7"
    assert "MALLOC_MMAP_MAX_" in child_settings(Measure())
    assert "MALLOC_MMAP_MAX_" not in child_settings(Measure(allocator="system"))
