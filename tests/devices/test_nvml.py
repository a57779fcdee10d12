"""The real pynvml over a stand-in for the driver's library: which board is found, what it tells, and what no failure may do.

Nothing here was told by a GPU: the numbers are the scripts' own.
"""

import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from fabench.devices import _nvml_board
from fabench.devices._nvml_board import Board
from fabench.devices._nvml_observer import GpuObserver
from fabench.devices.base import Observer
from fabench.measured import GpuLook, HostLoad, Telemetry

SOURCE = Path(__file__).parent / "nvml_double.c"
ROOT = SOURCE.parents[2]
COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")

needs_library = pytest.mark.skipif(
    COMPILER is None or sys.platform != "linux", reason="the driver's stand-in needs a C compiler, and Linux to be loaded"
)

A, B, C = (f"{letter * 8}-{letter * 4}-{letter * 4}-{letter * 4}-{letter * 12}" for letter in "abc")
M1, M2 = f"1111{A[4:]}", f"2222{A[4:]}"
PLAIN = f"""
driver 550.54.15
cuda 12040
gpu GPU-{A}
bus_id 00000000:17:00.0
vbios 96.00.89.00.01
ecc 1
mig_mode 0
persistence 1
power_limit 650000
power_default 700000
max_sm_clock 1980
max_memory_clock 2619
total 85899345920
reserved 536870912
used 3221225472
sm_clock 1980
memory_clock 2619
power 412345
temperature 61
reasons 0
energy 1000000
ecc_errors 0
compute self:2147483648
graphics -
"""
LOOKED = ("sm_hz", "memory_hz", "power_w", "temperature_c", "reasons")


class Driver:
    """The stand-in, a script for it, and the process that asks."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._built = folder, folder / "built"
        self._built.mkdir()
        self.log = folder / "log"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.devices.nvml_probe"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
            env=os.environ | {"LD_LIBRARY_PATH": str(folder), "NVML_DOUBLE": str(folder / "script"), "NVML_DOUBLE_LOG": str(self.log)},
        )  # fmt: skip

    def write(self, script: str | None, missing: tuple[str, ...] = ()) -> "Driver":
        """The library without the `missing` functions, and what it answers; script None: no library at all."""
        library = self._folder / "libnvidia-ml.so.1"
        library.unlink(missing_ok=True)
        self.log.write_text("")
        if script is not None:
            shutil.copy(self._library(missing), library)
            (self._folder / "script").write_text(script)
        return self

    def _library(self, missing: tuple[str, ...]) -> Path:
        path = self._built / ("-".join(missing) or "whole")
        if not path.exists():
            options = [f"-DWITHOUT_{name}" for name in missing]
            subprocess.run([str(COMPILER), "-shared", "-fPIC", *options, "-o", path, SOURCE], check=True)
        return path

    def ask(
        self, what: str, *arguments: Any, visible: str | None = None, same_ids: bool = True, without: tuple[str, ...] = (),
        returns_bytes: bool = False,
    ) -> Any:  # fmt: skip
        """What the probe of this name finds in a process of its own."""
        request = {
            "ask": what, "arguments": arguments, "same_ids": same_ids, "without": without, "returns_bytes": returns_bytes,
            "environment": {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible},
        }  # fmt: skip
        source, target = _pipes(self._process)
        source.write(json.dumps(request) + "\n")
        source.flush()
        answer = json.loads(target.readline())
        assert "raised" not in answer, answer["raised"]
        return answer["value"]

    def calls(self) -> Counter[str]:
        """How often each function that keeps a log was called since the script was written."""
        return Counter(self.log.read_text().split())

    def close(self) -> None:
        """Ends the asking process."""
        _pipes(self._process)[0].close()
        self._process.wait()
        _pipes(self._process)[1].close()


def _pipes(process: subprocess.Popen[str]) -> tuple[IO[str], IO[str]]:
    assert process.stdin is not None
    assert process.stdout is not None
    return process.stdin, process.stdout


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    made = Driver(tmp_path_factory.mktemp("nvml"))
    yield made
    made.close()


def plain(**changed: str | None) -> str:
    """The plain script with other answers; None leaves the line out."""
    lines = [line for line in PLAIN.strip().splitlines() if line.split()[0] not in changed]
    return "\n".join(lines + [f"{key} {value}" for key, value in changed.items() if value is not None]) + "\n"


@needs_library
@pytest.mark.parametrize("visible", [None, "0", "1", "2,0", f"GPU-{B[:5]}", f"GPU-{C},GPU-{A}"])
def test_a_board_is_found_by_its_uuid_whatever_the_order(driver: Driver, visible: str | None) -> None:
    # CUDA's order is A, B, C and NVML's C, A, B: an index taken for the other's finds a board with other clocks.
    boards = zip((C, A, B), (1300, 1100, 1200), strict=True)
    driver.write("".join(f"gpu GPU-{uuid}\nsm_clock {clock}\n" for uuid, clock in boards))
    for uuid, clock in ((A, 1100), (B, 1200), (C, 1300)):
        for written in (uuid, f"GPU-{uuid}"):
            assert driver.ask("looks", written, 1, visible=visible)[0][0]["sm_hz"] == clock * 1_000_000
    assert driver.calls()["nvmlDeviceGetHandleByIndex_v2"] == 0


@needs_library
def test_a_board_that_is_not_there_says_why(driver: Driver) -> None:
    driver.write(PLAIN)
    found = driver.ask("find", [f"GPU-{B}", B, None, A])
    assert found == [
        [None, f"NVML finds no board (GPU-{B}: Not Found)"],
        [None, f"NVML finds no board (GPU-{B}: Not Found; MIG-{B}: Not Found)"],
        [None, "the device tells no UUID that its board could be found by"],
        [f"GPU-{A}", None],
    ]


@needs_library
@pytest.mark.parametrize(
    ("script", "missing", "reason"),
    [
        (None, (), "NVML does not start: NVML Shared Library Not Found"),
        (plain(init=None).replace("driver", "init 9\ndriver"), (), "NVML does not start: Driver Not Loaded"),
        (
            "init 18\n" + PLAIN,
            (),
            "NVML does not start: RM has detected an NVML/RM version mismatch.",
        ),
        (PLAIN, ("nvmlInitWithFlags",), "NVML does not start: Function Not Found"),
        (
            plain(open="4"),
            (),
            f"NVML finds no board (GPU-{A}: Insufficient Permissions; MIG-{A}: Not Found)",
        ),
    ],
)
def test_without_a_driver_there_is_no_board(driver: Driver, script: str | None, missing: tuple[str, ...], reason: str) -> None:
    driver.write(script, missing)
    assert driver.ask("find", [A]) == [[None, reason]]


@needs_library
def test_the_library_starts_once_in_each_process(driver: Driver) -> None:
    driver.write(PLAIN)
    assert driver.ask("fork_again", A) == 0
    assert driver.calls()["nvmlInitWithFlags"] == 2  # the process, and its child
    assert driver.calls()["nvmlShutdown"] == 0


@needs_library
@pytest.mark.parametrize("returns_bytes", [False, True])
def test_facts(driver: Driver, returns_bytes: bool) -> None:
    driver.write(PLAIN)
    facts, failed = driver.ask("facts", A, returns_bytes=returns_bytes)
    assert facts == {
        "board_uuid": f"GPU-{A}",
        "driver": "550.54.15",
        "cuda_driver": "12.4",
        "vbios": "96.00.89.00.01",
        "pci_bus_id": "00000000:17:00.0",
        "ecc": True,
        "mig": False,
        "persistence": True,
        "power_limit_w": 650.0,
        "power_limit_default_w": 700.0,
        "max_sm_hz": 1_980_000_000,
        "max_memory_hz": 2_619_000_000,
        "driver_reserved_bytes": 512 * 2**20,
    }
    assert failed == {}


@needs_library
def test_a_desktop_board_does_not_count_errors_nor_divide(driver: Driver) -> None:
    driver.write(plain(ecc=None, mig_mode=None, ecc_errors=None, energy=None))
    facts, failed = driver.ask("facts", A)
    assert (facts["ecc"], facts["mig"]) == (None, None)
    assert failed == {"ecc_mode": "Not Supported", "mig_mode": "Not Supported"}
    seen = driver.ask("observe", A, 0)
    assert seen["ecc_errors"] is None
    assert seen["reads_failed"] == ["ecc_errors: Not Supported"]
    assert driver.ask("energy", A, 2) == [None, None]


@needs_library
@pytest.mark.parametrize("code", [1, 3, 4, 10, 13, 15, 16, 17, 18, 999, 4711])
def test_when_every_query_fails_everything_is_null_and_nothing_raises(driver: Driver, code: int) -> None:
    keys = [line.split()[0] for line in PLAIN.split(f"GPU-{A}")[1].strip().splitlines()]
    driver.write(f"driver error:{code}\ncuda error:{code}\ngpu GPU-{A}\n" + "".join(f"{key} error:{code}\n" for key in keys))
    facts, _ = driver.ask("facts", A)
    assert facts.pop("board_uuid") == f"GPU-{A}"
    assert len(facts) == 12
    assert set(facts.values()) == {None}
    assert driver.ask("memory", A) == [None, None]
    assert driver.ask("energy", A, 1) == [None]
    seen = driver.ask("observe", A, 2)
    assert [look[name] for look in seen["looks"] for name in LOOKED] == [None] * 5 * len(seen["looks"])
    assert [seen[name] for name in ("foreign_processes", "foreign_bytes", "ecc_errors")] == [None] * 3
    names = [line.partition(": ")[0] for line in seen["reads_failed"]]
    if code in (15, 16):
        assert names == ["ecc_errors"]  # a lost board is not asked again
    else:
        assert names == ["ecc_errors", "processes", "clock_reasons", "sm_clock", "memory_clock", "power", "temperature"]
    assert all(line.partition(": ")[2] for line in seen["reads_failed"])


@needs_library
def test_one_failing_query_costs_that_value_only(driver: Driver) -> None:
    driver.write(plain(power="error:4", temperature="61 error:999 63"))
    (first, second, third), failed, lost = driver.ask("looks", A, 3)
    assert first == {
        "at_s": 0.0,
        "sm_hz": 1_980_000_000,
        "memory_hz": 2_619_000_000,
        "power_w": None,
        "temperature_c": 61,
        "reasons": [],
    }
    assert [look["temperature_c"] for look in (second, third)] == [None, 63]
    assert failed == {"power": "Insufficient Permissions", "temperature": "Unknown Error"}
    assert lost is False


@needs_library
def test_clocks_power_and_temperature_are_followed(driver: Driver) -> None:
    driver.write(plain(sm_clock="1980 1755 1200", power="350000 700250 699000", temperature="55 80 87", reasons="0 4 72"))
    seen = driver.ask("observe", A, 1)
    assert [look["sm_hz"] for look in seen["looks"]] == [1_980_000_000, 1_755_000_000, 1_200_000_000]
    assert [look["power_w"] for look in seen["looks"]] == [350.0, 700.25, 699.0]
    assert [look["temperature_c"] for look in seen["looks"]] == [55, 80, 87]
    assert [look["reasons"] for look in seen["looks"]] == [[], ["sw_power_cap"], ["hw_slowdown", "hw_thermal_slowdown"]]
    times = [look["at_s"] for look in seen["looks"]]
    assert times == sorted(times)
    assert times[0] < 0 <= times[1]
    assert seen["reads_failed"] == []


@needs_library
@pytest.mark.parametrize(
    ("missing", "without", "reasons", "failed"),
    [
        ((), (), ["sync_boost"], {}),
        (("nvmlDeviceGetCurrentClocksEventReasons",), (), ["sync_boost"], {}),
        (("nvmlDeviceGetCurrentClocksThrottleReasons",), (), ["sync_boost"], {}),
        ((), ("nvmlDeviceGetCurrentClocksEventReasons",), ["sync_boost"], {}),
        (
            ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"),
            (),
            None,
            {"clock_reasons": "Function Not Found"},
        ),
    ],
)
def test_reasons_have_an_older_name(
    driver: Driver, missing: tuple[str, ...], without: tuple[str, ...], reasons: list[str] | None, failed: dict[str, str]
) -> None:
    driver.write(plain(reasons="16"), missing)
    looks, told, _ = driver.ask("looks", A, 2, without=without)
    assert [look["reasons"] for look in looks] == [reasons, reasons]
    assert told == failed


@needs_library
def test_older_process_lists_and_functions_that_a_driver_lacks(driver: Driver) -> None:
    listing = "nvmlDeviceGet{}RunningProcesses_v{}"
    older = (listing.format("Compute", 3), listing.format("Graphics", 3))
    driver.write(plain(compute="self:7000,4242:500"), (*older, "nvmlDeviceGetMemoryInfo_v2", "nvmlSystemGetCudaDriverVersion_v2"))
    assert driver.ask("memory", A) == [7000, 3221225472 + 536870912]
    facts, failed = driver.ask("facts", A)
    assert (facts["cuda_driver"], facts["driver_reserved_bytes"]) == ("12.4", None)
    assert failed == {"driver_reserve": "Function Not Found"}
    seen = driver.ask("observe", A, 0)
    assert (seen["foreign_processes"], seen["foreign_bytes"], seen["reads_failed"]) == (1, 500, [])
    driver.write(
        plain(),
        (
            listing.format("Compute", 3),
            listing.format("Compute", 2),
            "nvmlDeviceGetMigMode",
            "nvmlDeviceGetTotalEnergyConsumption",
        ),
    )
    assert driver.ask("memory", A)[0] is None
    assert driver.ask("energy", A, 1) == [None]
    assert driver.ask("facts", A)[0]["mig"] is None
    seen = driver.ask("observe", A, 0)
    assert (seen["foreign_processes"], seen["reads_failed"]) == (None, ["processes: Function Not Found"])


@needs_library
def test_foreign_processes_before_and_after(driver: Driver) -> None:
    driver.write(plain(compute="self:9000,77:100 self:9000,88:300,77:200", graphics="99:50 99:50,88:20"))
    seen = driver.ask("observe", A, 0)
    assert seen["foreign_processes"] == 3
    assert seen["foreign_bytes"] == 550  # one process that computes and draws counts once
    driver.write(plain())
    seen = driver.ask("observe", A, 0)
    assert (seen["foreign_processes"], seen["foreign_bytes"]) == (0, 0)


@needs_library
def test_bytes_that_the_driver_does_not_tell_are_null(driver: Driver) -> None:
    driver.write(plain(compute="self:na,77:100"))
    assert driver.ask("memory", A)[0] is None
    seen = driver.ask("observe", A, 0)
    assert (seen["foreign_processes"], seen["foreign_bytes"]) == (1, 100)
    driver.write(plain(compute="self:9000,77:na"))
    assert driver.ask("memory", A)[0] == 9000
    seen = driver.ask("observe", A, 0)
    assert (seen["foreign_processes"], seen["foreign_bytes"]) == (1, None)


@needs_library
def test_ids_of_another_namespace_make_nobody_foreign(driver: Driver) -> None:
    for listed in ("31337:9000", "31337:9000,31338:100", "-"):
        driver.write(plain(compute=listed))
        seen = driver.ask("observe", A, 0, same_ids=False)
        assert (seen["foreign_processes"], seen["foreign_bytes"]) == (None, None)
        assert seen["reads_failed"] == ["process_ids: they are of another namespace"]
        assert driver.ask("memory", A, same_ids=False) == [None, 3221225472 + 536870912]
    # Where ids are the driver's own, a list without this process is of others.
    driver.write(plain(compute="31337:9000"))
    assert driver.ask("observe", A, 0)["foreign_processes"] == 1
    # A driver that translates ids lists this process under its own.
    driver.write(plain(compute="self:9000,12:1"))
    assert driver.ask("observe", A, 0, same_ids=False)["foreign_processes"] == 1


@needs_library
def test_the_energy_counter_steps(driver: Driver) -> None:
    driver.write(plain(energy="1000000 1000000 1000000 1041500 1041500 error:999 1083000"))
    assert driver.ask("energy", A, 7) == [1000.0, 1000.0, 1000.0, 1041.5, 1041.5, None, 1083.0]


@needs_library
@pytest.mark.parametrize(("counts", "errors"), [("3 5", 2), ("3", 0), ("5 3", None), ("error:3 5", None), ("3 error:999", None)])
def test_memory_errors_are_those_since_the_beginning(driver: Driver, counts: str, errors: int | None) -> None:
    driver.write(plain(ecc_errors=counts))
    assert driver.ask("observe", A, 0)["ecc_errors"] == errors


@needs_library
@pytest.mark.parametrize("code", [15, 16])
def test_a_lost_board_is_not_asked_again(driver: Driver, code: int) -> None:
    driver.write(plain(power=f"400000 400000 error:{code}"))
    seen = driver.ask("observe", A, 5)
    power = [look["power_w"] for look in seen["looks"]]
    assert power == [400.0, 400.0, None, None]  # it fell off at the third look; then only the last one, which asks nothing
    assert seen["looks"][-1] == {"at_s": seen["looks"][-1]["at_s"]} | dict.fromkeys(LOOKED)
    assert seen["looks"][2]["sm_hz"] == 1_980_000_000
    assert (seen["foreign_processes"], seen["ecc_errors"]) == (None, None)
    assert seen["reads_failed"] == ["power: " + {15: "GPU is lost", 16: "GPU requires restart"}[code]]
    assert driver.calls()["nvmlDeviceGetPowerUsage"] == 3
    assert driver.calls()["nvmlDeviceGetComputeRunningProcesses_v3"] == 2  # asked how many, then which: before the loss only


@needs_library
def test_which_errors_mean_lost(driver: Driver) -> None:
    driver.write(PLAIN)
    assert driver.ask("errors", [3, 4, 13, 15, 16, 999]) == [False, False, False, True, True, False, False, False]


INSTANCES = f"""
gpu GPU-{B}
sm_clock 900
gpu GPU-{A}
mig_mode 1
sm_clock 1410
power 210000
energy 5000000
ecc_errors 0
total 80000
used 60000
compute 500:100,501:200
mig MIG-{M1}
total 10000
used 4000
reserved 100
compute self:3000
mig MIG-{M2}
total 20000
used 15000
compute self:14000,77:800
"""


@needs_library
@pytest.mark.parametrize("written", [M2, f"MIG-{M2}"])
def test_an_instance_has_its_own_memory_and_the_cards_clocks(driver: Driver, written: str) -> None:
    driver.write(INSTANCES)
    assert driver.ask("find", [written]) == [[f"MIG-{M2}", None]]
    assert driver.ask("memory", written) == [14000, 15000]
    assert driver.ask("energy", written, 1) == [None]  # the card's energy is everybody's
    seen = driver.ask("observe", written, 0)
    assert (seen["foreign_processes"], seen["foreign_bytes"], seen["ecc_errors"]) == (1, 800, 0)
    assert (seen["looks"][0]["sm_hz"], seen["looks"][0]["power_w"]) == (1_410_000_000, 210.0)
    facts, _ = driver.ask("facts", written)
    assert (facts["board_uuid"], facts["mig"]) == (f"MIG-{M2}", True)
    assert driver.ask("facts", M1)[0]["driver_reserved_bytes"] == 100


@needs_library
@pytest.mark.parametrize(
    ("visible", "found"),
    [(f"MIG-{M1}", f"MIG-{M1}"), (f"MIG-{M2[:6]}", f"MIG-{M2}"), ("0", f"GPU-{A}"), (None, f"GPU-{A}"), ("MIG-9", f"GPU-{A}")],
)
def test_the_cards_uuid_leads_to_the_instance_that_is_visible(driver: Driver, visible: str | None, found: str) -> None:
    driver.write(INSTANCES)
    assert driver.ask("find", [A], visible=visible) == [[found, None]]


@needs_library
def test_the_only_instance_of_a_card_is_the_one_in_use(driver: Driver) -> None:
    driver.write(INSTANCES.split(f"mig MIG-{M2}")[0])
    assert driver.ask("find", [A, B]) == [[f"MIG-{M1}", None], [f"GPU-{B}", None]]
    assert driver.ask("find", [A], returns_bytes=True) == [[f"MIG-{M1}", None]]
    assert driver.ask("memory", A) == [3000, 4100]


@needs_library
def test_an_instances_older_name(driver: Driver) -> None:
    name = f"MIG-GPU-{A}/5/0"
    driver.write(INSTANCES.replace(f"MIG-{M1}", name))
    assert driver.ask("memory", name) == [3000, 4100]


def test_every_bit_has_a_word() -> None:
    import pynvml

    spelled: dict[int, set[str]] = {}
    for name, value in vars(pynvml).items():
        if name.startswith(("nvmlClocksEventReason", "nvmlClocksThrottleReason")) and not name.endswith(("All", "None")):
            spelled.setdefault(int(value), set()).add(name.split("Reason")[1].lower())
    assert len(spelled) == len(_nvml_board.REASONS)
    for bit, word in enumerate(_nvml_board.REASONS):
        assert word.replace("_", "") in spelled[1 << bit]
        assert _nvml_board._words(1 << bit) == (word,)
    assert _nvml_board._words(0) == ()
    assert _nvml_board._words(1 << 11 | 1 << 40 | 4) == ("sw_power_cap", "unknown")


class Scripted(Board):
    """A board whose looks take as long as they are told, on a clock that only they and the test move."""

    def __init__(self, clock: list[float], cost_s: float) -> None:
        super().__init__(None, "GPU-x", None)
        self._clock, self._cost_s = clock, cost_s
        self.asked: list[float] = []

    def look(self, at_s: float) -> GpuLook:
        self.asked.append(self._clock[0])
        self._clock[0] += self._cost_s
        return GpuLook(at_s)

    def foreign(self) -> dict[int, int | None] | None:
        return {}

    def ecc_errors(self) -> int | None:
        return 0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


@pytest.mark.parametrize(("cost_s", "apart_s"), [(1e-4, 0.02), (0.005, 0.05), (0.1, 1.0)])
def test_looks_keep_their_distance(clock: list[float], cost_s: float, apart_s: float) -> None:
    board = Scripted(clock, cost_s)
    observer = GpuObserver(board, Observer())
    for _ in range(2000):
        clock[0] += 0.0005
        observer.look()
    seen = observer.finish()
    gaps = [later - earlier for earlier, later in itertools.pairwise(board.asked[:-1])]
    assert all(apart_s - 1e-9 <= gap <= apart_s + 0.0011 + cost_s for gap in gaps[:20])
    assert len(seen.looks) == len(board.asked)
    assert seen.looks[0].at_s == pytest.approx(-cost_s)


def test_a_long_timing_keeps_few_looks(clock: list[float]) -> None:
    board = Scripted(clock, 0.0)
    observer = GpuObserver(board, Observer())
    for _ in range(60_000):
        clock[0] += 0.01
        observer.look()
    assert 100 < len(observer.finish().looks) < 350  # ten minutes


def test_without_a_board_there_is_the_hosts_load_only() -> None:
    class Host(Observer):
        looked = 0

        def look(self) -> None:
            self.looked += 1

        def finish(self) -> Telemetry:
            return Telemetry(host=HostLoad(wall_s=1.0, processors=2))

    host = Host()
    observer = GpuObserver(None, host)
    observer.look()
    observer.look()
    assert host.looked == 2
    assert observer.finish() == Telemetry(host=HostLoad(wall_s=1.0, processors=2))
