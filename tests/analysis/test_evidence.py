"""The grade case by case: each warning from the smallest change to a record that has none, on both sides of its bound."""

import json
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabench import cost
from fabench.analysis.doubts import Code
from fabench.analysis.evidence import GRADES, Evidence, as_line, assess, common
from fabench.analysis.physics import NO_FACTS, Facts, Rate, facts_of
from fabench.schema import (
    Case,
    Cell,
    Check,
    GpuLook,
    HostLoad,
    Ledger,
    Memory,
    Record,
    Telemetry,
    TensorError,
    Timing,
    Witness,
    from_json,
)
from tests import synthetic

CASE = Case(n=1024, m=1024, heads=2)
NOISE = np.exp(0.005 * np.random.default_rng(3).standard_normal(40))
TIME_S = 0.02
FACTS = {device: facts_of([synthetic.environment()], device) for device in ("cpu", "cuda")}


def record(device: str = "cpu", samples: Any = TIME_S * NOISE) -> Record:
    return synthetic.measured(Cell("dot_product", device, CASE), [float(value) for value in samples])


CPU, GPU = record(), record("cuda")


def timed(start: Record, **changes: Any) -> Record:
    assert start.timing is not None
    return replace(start, timing=replace(start.timing, **changes))


def hosted(start: Record, **changes: Any) -> Record:
    assert start.telemetry is not None and start.telemetry.host is not None
    return replace(start, telemetry=replace(start.telemetry, host=replace(start.telemetry.host, **changes)))


def driven(start: Record, **changes: Any) -> Record:
    assert start.telemetry is not None
    return replace(start, telemetry=replace(start.telemetry, **changes))


def remembered(start: Record, **changes: Any) -> Record:
    assert start.memory is not None
    return replace(start, memory=replace(start.memory, **changes))


def seen(start: Record, factor: float, loops: int = 1, paired: bool = True) -> Record:
    """A second clock that reads `factor` times as much, in windows of 20 ms per loop."""
    assert start.timing is not None
    other = tuple(factor * value for value in start.timing.samples_s)
    return timed(start, loops=loops, witness=Witness("another", other, loops, paired))


def shaped(values: Any) -> Record:
    return timed(
        CPU, samples_s=tuple(TIME_S * float(value) for value in values), witness=Witness("raw", (TIME_S,) * 9, 1, paired=False)
    )


def looked(*looks: tuple[int | None, tuple[str, ...] | None], at_s: float = 0.0) -> Record:
    return driven(GPU, looks=tuple(GpuLook(at_s + index, sm_hz=hz, reasons=why) for index, (hz, why) in enumerate(looks)))


def checked(error: float | None, tolerance: float = 1e-5) -> Record:
    return replace(CPU, check=Check(True, (TensorError("output", 1e-9, 1e-9, 1e-5), TensorError("dq", error, error, tolerance))))


def ledger(residual: int) -> Ledger:
    return Ledger(0, 0, 0, 0, 0, 0, residual)


def floored(floor: float) -> Facts:
    return replace(FACTS["cpu"], noise={"classes": {"0.02": {"floor": floor}}})


HALF_HOST = {"blocked": None, "queued": None}
LARGE = replace(CPU, cell=replace(CPU.cell, case=replace(CASE, n=2**20, m=2**20)))
TRAFFIC = cost.of(LARGE.cell.case, 1, 1).compulsory_bytes
FLOP = cost.of(CASE, 2, 2).flop
SPREAD = np.tile([0.0, 1.0, 0.5, -1.0, -0.5], 8)  # neighbours don't repeat each other


def claiming(share: float, cache: str = "cold") -> Record:
    """A linear cell of tensors beyond any cache that reads them at so many times the copy bandwidth."""
    seconds = TRAFFIC / share / 9.1e9
    slow = replace(LARGE, time_order=1, memory_order=1, flop=1)
    return timed(slow, samples_s=tuple(seconds * float(value) for value in NOISE), witness=None, cache=cache)


def computing(share: float) -> Record:
    return record(samples=FLOP / share / 4.2e10 * NOISE)


# code, grade that it leaves (None: the warning must not be there), record, facts other than those of the record's device
CASES: list[tuple[Code, str | None, Record, Facts | None]] = [
    (Code.SCRIPTED, "D", CPU, replace(FACTS["cpu"], scripted=True)),
    (Code.SCRIPTED, "D", CPU, facts_of([], "null:1")),
    (Code.IMPOSSIBLE, "D", timed(CPU, samples_s=(0.0, *CPU.timing.samples_s[1:])), None),  # type: ignore[union-attr]
    (Code.IMPOSSIBLE, "D", timed(CPU, samples_s=(math.nan,) * 9), None),
    (Code.IMPOSSIBLE, "D", computing(1.07), None),
    (Code.IMPOSSIBLE, None, computing(1.03), None),
    # A host's copy moves 3 bytes for 2 that count; this work writes a quarter of its bytes, so it may be 1.2 times as fast.
    (Code.IMPOSSIBLE, "D", claiming(1.3), None),
    (Code.IMPOSSIBLE, None, claiming(1.2), None),
    (Code.IMPOSSIBLE, "D", claiming(1.1), replace(FACTS["cpu"], kind="cuda")),
    (Code.IMPOSSIBLE, None, claiming(1.3), replace(FACTS["cpu"], copy=None)),
    (Code.IMPOSSIBLE, None, claiming(1.3, "hot"), replace(FACTS["cpu"], cache_bytes=TRAFFIC)),
    (Code.IMPOSSIBLE, "D", claiming(2.6, "hot"), replace(FACTS["cpu"], cache_bytes=TRAFFIC // 2)),
    (Code.ECC_ERRORS, "D", driven(GPU, ecc_errors=1), None),
    (Code.ECC_ERRORS, None, driven(GPU, ecc_errors=None), None),
    (Code.CLOCKS_DISAGREE, "C", seen(CPU, 1.02), None),
    (Code.CLOCKS_DISAGREE, "D", seen(CPU, 0.9), None),
    (Code.CLOCKS_DISAGREE, None, seen(CPU, 1.005), None),
    (Code.CLOCKS_DISAGREE, None, seen(timed(CPU, samples_s=(1e-5,) * 12), 1.05), None),  # half a microsecond: reading a clock
    (Code.CLOCKS_DISAGREE, "D", seen(timed(CPU, samples_s=(1e-5,) * 12), 1.06, loops=1000), None),
    (Code.CLOCKS_DISAGREE, None, seen(timed(CPU, samples_s=(1e-5,) * 12, cache="cold"), 1.06, loops=1000), None),
    (Code.CLOCKS_DISAGREE, "C", seen(GPU, 1.1, paired=False), None),
    (Code.CLOCKS_DISAGREE, "D", seen(GPU, 50, paired=False), None),
    (Code.CLOCKS_DISAGREE, "D", seen(GPU, 0.02, paired=False), None),
    (Code.CLOCKS_DISAGREE, None, seen(GPU, 1.04, paired=False), None),
    (Code.CLOCKS_DISAGREE, None, timed(GPU, witness=Witness("x", tuple(TIME_S * (1.1 + 0.5 * value) for value in SPREAD), 1, False)), None),
    (Code.CLOCKS_DISAGREE, None, seen(timed(GPU, samples_s=(5e-6,) * 12, launch_s=2e-5), 5, paired=False), None),  # its launches
    (Code.CLOCKS_DISAGREE, "D", seen(timed(GPU, samples_s=(5e-6,) * 12, launch_s=2e-5), 50, paired=False), None),
    (Code.CLOCKS_DISAGREE, "D", timed(CPU, witness=Witness("stopped", (0.0,) * 9, 1, True)), None),
    (Code.NOISY, "B", shaped(1 + 0.04 * SPREAD), None),
    (Code.NOISY, "C", shaped(1 + 0.15 * SPREAD), None),
    (Code.NOISY, "D", shaped(1 + 0.8 * SPREAD), None),
    (Code.NOISY, None, shaped(1 + 0.01 * SPREAD), None),
    (Code.FEW_SAMPLES, "C", shaped([1.0, 1.001, 0.999, 1.0, 1.0]), None),
    (Code.FEW_SAMPLES, "B", shaped([1.0, 1.001, 0.999, 1.0, 1.001, 0.999]), None),
    (Code.FEW_SAMPLES, "B", shaped([1.0, 1.001, 0.999, 1.0, 1.001, 0.999, 1.0, 1.001, 1.0, 0.999, 1.0]), None),
    (Code.FEW_SAMPLES, None, shaped([1.0, 1.001, 0.999, 1.0, 1.001, 0.999, 1.0, 1.001, 1.0, 0.999, 1.0, 1.001]), None),
    (Code.FEW_SAMPLES, "B", shaped(1 + 0.001 * np.sin(np.arange(40) * 2 * np.pi / 40)), None),
    (Code.NOISY, "C", shaped([1.0, 1.2, 1.0]), None),
    (Code.STOPPED_BY_TIME, "B", timed(CPU, stopped_by="time"), None),
    (Code.NOISE_FLOOR, "B", CPU, floored(0.12)),
    (Code.NOISE_FLOOR, None, CPU, floored(0.08)),
    (Code.DRIFT, "B", shaped(NOISE * np.linspace(1, 1.05, 40)), None),
    (Code.DRIFT, "C", shaped(NOISE * np.linspace(1.3, 1, 40)), None),
    (Code.TWO_MODES, "C", shaped(NOISE * np.tile([1, 1.2, 1.2, 1], 10)), None),
    (Code.TWO_MODES, "B", shaped(NOISE * np.tile([1, 1, 1, 1, 1, 1, 1, 1.3], 5)), None),
    (Code.WARM_UP, "B", timed(CPU, warmup_converged=False), None),
    (Code.WARM_UP, "B", timed(shaped([1.0, 1.001, 0.999]), warmup_converged=None), None),
    (Code.WARM_UP, None, timed(CPU, warmup_converged=True), None),
    (Code.RESOLUTION, "C", timed(GPU, samples_s=(4e-6,) * 12, loops=1, launch_s=1e-6, witness=None), None),
    (Code.RESOLUTION, None, timed(GPU, samples_s=(4e-6,) * 12, loops=2, launch_s=1e-6, witness=None), None),
    (Code.RESOLUTION, "C", timed(GPU, samples_s=(4e-6,) * 12, loops=2, cache="cold", witness=None), None),
    (Code.RESOLUTION, None, timed(CPU, samples_s=(4e-6,) * 12, loops=1, witness=None), None),
    (Code.LAUNCH_BOUND, "C", timed(GPU, **HALF_HOST, launch_s=0.9 * TIME_S), None),
    (Code.LAUNCH_BOUND, None, timed(GPU, **HALF_HOST, launch_s=0.7 * TIME_S), None),
    (Code.LAUNCH_BOUND, None, timed(GPU, blocked=True, launch_s=3 * TIME_S), None),
    (Code.LAUNCH_BOUND, None, timed(GPU, **HALF_HOST, clock="cuda_graph", launch_s=3 * TIME_S), None),
    (Code.QUEUE_OPEN, "B", timed(GPU, blocked=False), None),
    (Code.QUEUE_OPEN, "C", timed(GPU, blocked=False, launch_s=0.6 * TIME_S), None),
    (Code.QUEUE_OPEN, None, timed(GPU, blocked=None), None),
    (Code.ONE_CLOCK, "B", timed(CPU, witness=None), None),
    (Code.ONE_CLOCK, "B", timed(CPU, witness=Witness("x", (), 1, False)), None),
    (Code.WARM_ROTATION, "C", timed(GPU, cache="cold", touched_bytes=50 * 2**20), None),
    (Code.WARM_ROTATION, None, timed(GPU, cache="cold", touched_bytes=51 * 2**20), None),
    (Code.WARM_ROTATION, None, timed(GPU, cache="hot", touched_bytes=2**20), None),
    (Code.HOT_CACHE, "B", record(samples=3.2 * cost.of(CASE, 2, 2).compulsory_bytes / 9.1e9 * NOISE), replace(FACTS["cpu"], products={})),
    (Code.HOT_CACHE, None, record(samples=4.8 * cost.of(CASE, 2, 2).compulsory_bytes / 9.1e9 * NOISE), replace(FACTS["cpu"], products={})),
    (Code.HOT_CACHE, None, claiming(0.9), None),
    (Code.THROTTLED, "B", looked((1_700_000_000, ("sw_power_cap",)), (1_700_000_000, ())), None),
    (Code.THROTTLED, "C", looked((1_700_000_000, ()), (1_700_000_000, ("sw_thermal_slowdown",))), None),
    (Code.THROTTLED, "C", looked((1_700_000_000, ("hw_power_brake_slowdown",))), None),
    (Code.THROTTLED, "B", looked((1_700_000_000, ()), (1_630_000_000, ())), None),
    (Code.THROTTLED, "C", looked((1_700_000_000, ()), (1_400_000_000, ()), (1_700_000_000, ())), None),
    (Code.THROTTLED, None, looked((1_700_000_000, ()), (1_670_000_000, ("sync_boost",)), (300_000_000, ("gpu_idle",))), None),
    (Code.THROTTLED, None, looked((1_400_000_000, ()), (1_700_000_000, ())), None),
    (Code.THROTTLED, None, looked((1_700_000_000, ("sw_power_cap",)), at_s=-0.1), None),
    (Code.THROTTLED, "B", hosted(CPU, frequency_hz=(3_000_000_000, 2_600_000_000)), None),
    (Code.THROTTLED, None, hosted(CPU, frequency_hz=(3_000_000_000, 2_800_000_000)), None),
    (Code.DRIVER_SILENT, "B", replace(GPU, telemetry=None), None),
    (Code.DRIVER_SILENT, "B", looked((None, ()), (1_700_000_000, None)), None),
    (Code.DRIVER_SILENT, "B", driven(GPU, foreign_processes=None), None),
    (Code.DRIVER_SILENT, None, replace(CPU, telemetry=None), None),
    (Code.FOREIGN_GPU, "B", driven(GPU, foreign_processes=2, foreign_bytes=300 * 2**20), None),
    (Code.FOREIGN_GPU, "C", driven(GPU, foreign_processes=1, foreign_bytes=2**30), None),
    (Code.FOREIGN_GPU, "C", driven(GPU, foreign_processes=1, foreign_bytes=None), None),
    (Code.FOREIGN_LOAD, "B", hosted(CPU, wall_s=1.0, others_cpu_s=0.06), None),
    (Code.FOREIGN_LOAD, "C", hosted(CPU, wall_s=1.0, others_cpu_s=0.3), None),
    (Code.FOREIGN_LOAD, None, hosted(CPU, wall_s=1.0, others_cpu_s=0.3, processors=8), None),
    (Code.FOREIGN_LOAD, None, hosted(CPU, wall_s=0.04, others_cpu_s=0.02), None),  # two ticks
    (Code.FOREIGN_LOAD, "B", hosted(CPU, others_cpu_s=None, run_queue=1), None),
    (Code.FOREIGN_LOAD, None, hosted(CPU, others_cpu_s=0.0, run_queue=9), None),
    (Code.FOREIGN_LOAD, "C", timed(hosted(GPU, wall_s=1.0, others_cpu_s=0.3), **HALF_HOST), None),
    (Code.FOREIGN_LOAD, None, hosted(GPU, wall_s=1.0, others_cpu_s=0.3), None),  # the queue was complete
    (Code.FOREIGN_LOAD, "B", hosted(CPU, wall_s=0.1, others_cpu_s=None, waited_s=0.006, run_queue=0), None),
    (Code.FOREIGN_LOAD, "C", hosted(CPU, wall_s=0.1, others_cpu_s=None, waited_s=0.03, run_queue=0), None),
    (Code.FOREIGN_LOAD, None, hosted(CPU, wall_s=0.1, others_cpu_s=None, waited_s=0.004, run_queue=9), None),
    (Code.QUOTA, "B", hosted(CPU, wall_s=1.0, throttled_s=0.02), None),
    (Code.QUOTA, "C", hosted(CPU, wall_s=1.0, throttled_s=0.06), None),
    (Code.QUOTA, None, hosted(CPU, wall_s=1.0, throttled_s=0.005), None),
    (Code.STEAL, "B", hosted(CPU, wall_s=2.0, steal_s=0.06), None),
    (Code.STEAL, "C", hosted(CPU, wall_s=1.0, steal_s=0.06), None),
    (Code.STEAL, None, hosted(CPU, wall_s=1.0, steal_s=0.005), None),
    (Code.PREEMPTED, "B", timed(CPU, cpu_s=0.85, wall_s=1.0), None),
    (Code.PREEMPTED, "C", timed(CPU, cpu_s=0.6, wall_s=1.0), None),
    (Code.PREEMPTED, None, timed(CPU, cpu_s=1.9, wall_s=1.0), None),
    (Code.PREEMPTED, "B", timed(CPU, involuntary_switches=(0, 1) * 20), None),
    (Code.PREEMPTED, None, timed(CPU, involuntary_switches=(0, 0, 1, 0) * 10), None),
    (Code.PREEMPTED, None, timed(CPU, samples_s=(1.0,) * 10, involuntary_switches=(1,) * 10, witness=None), None),  # once a second
    (Code.HOST_UNKNOWN, "B", timed(replace(CPU, telemetry=None), cpu_s=None), None),
    (Code.HOST_UNKNOWN, None, timed(CPU, cpu_s=None), None),
    (Code.HOST_UNKNOWN, None, replace(CPU, telemetry=None), None),
    (Code.HOST_UNKNOWN, "B", timed(CPU, minor_faults=None), None),
    (Code.HOST_UNKNOWN, None, timed(GPU, minor_faults=None, cpu_s=None), None),
    (Code.PAGE_FAULTS, "B", timed(CPU, minor_faults=(1200,) * 40), None),  # 0.6 ms of 20
    (Code.PAGE_FAULTS, "C", timed(CPU, minor_faults=(5000,) * 40), None),
    (Code.PAGE_FAULTS, None, timed(CPU, minor_faults=(50_000,) * 5 + (0,) * 35), None),
    (Code.PEAKS_UNKNOWN, "B", CPU, replace(FACTS["cpu"], copy=None)),
    (Code.PEAKS_UNKNOWN, "B", CPU, replace(FACTS["cpu"], products={"float64": Rate(1e10)})),
    (Code.PEAKS_UNKNOWN, "B", replace(CPU, time_order=None), None),
    (Code.CHECK_MARGIN, "B", checked(8e-6), None),
    (Code.CHECK_MARGIN, None, checked(6e-6), None),
    (Code.CHECK_MARGIN, "B", checked(None), None),
    (Code.UNCHECKED, "B", replace(CPU, check=None), None),
    (Code.UNCHECKED, "B", replace(CPU, check=Check(True, ())), None),
    (Code.LEDGER_OPEN, "B", remembered(CPU, ledger=ledger(512)), None),
    (Code.LEDGER_OPEN, "C", remembered(CPU, ledger=ledger(-(2**24))), None),
    (Code.LEDGER_OPEN, None, remembered(CPU, ledger=None), None),
    (Code.MEMORY_NEAR, "B", replace(remembered(CPU, peak_bytes=950), memory_limit_bytes=1000), None),
    (Code.MEMORY_NEAR, None, replace(remembered(CPU, peak_bytes=850), memory_limit_bytes=1000), None),
    (Code.MEMORY_NEAR, "B", remembered(GPU, device_bytes=77 * 2**30), None),
    (Code.MEMORY_NEAR, None, remembered(GPU, device_bytes=70 * 2**30), None),
    (Code.CACHED_COMPILE, "A", timed(CPU, compile_s=1.0, compile_cached=True), None),
    (Code.CACHED_COMPILE, None, timed(CPU, compile_s=1.0, compile_cached=False), None),
]  # fmt: skip


def judged(found: Record, facts: Facts | None = None) -> Evidence:
    return assess(found, facts or FACTS[found.cell.device])


@pytest.mark.parametrize("clean", [CPU, GPU], ids=["cpu", "gpu"])
def test_a_clean_record_is_graded_a(clean: Record) -> None:
    assert judged(clean) == Evidence("A", ())


@pytest.mark.parametrize(("code", "grade", "found", "facts"), CASES, ids=lambda value: value if isinstance(value, str) else "")
def test_each_rule_on_both_sides_of_its_bound(code: Code, grade: str | None, found: Record, facts: Facts | None) -> None:
    evidence = judged(found, facts)
    graded = {doubt.code: doubt.grade for doubt in evidence.warnings}
    assert graded.get(code) == grade
    assert evidence.grade == max(graded.values(), default="A")


def test_every_code_can_be_produced_and_has_advice_in_one_sentence() -> None:
    assert {code for code, grade, _, _ in CASES if grade is not None} == set(Code)
    for code in Code:
        assert code.advice[0].isupper() and code.advice.endswith(".") and ". " not in code.advice, code


def test_the_table_of_rules_names_every_code_and_every_grade() -> None:
    import fabench.analysis.evidence as module

    said: dict[str, set[str]] = {}
    name = ""
    for line in (module.__doc__ or "").splitlines():
        cells = [part.strip() for part in line.strip("|").split("|")]
        if line.startswith("|") and cells[0] not in ("warning", "") and "-" not in cells[0]:
            name = cells[0]
        if line.startswith("|") and name:
            said.setdefault(name, set()).update(set(cells[3]) & set(GRADES))
    assert list(said) and set(said) == {code.value for code in Code}
    for code, grade, _, _ in CASES:
        assert grade is None or grade in said[code.value], code


@pytest.mark.parametrize("found", [record for record in synthetic.records() if record.status != "ok"][:8], ids=lambda r: r.status)
def test_cells_without_a_time_have_no_grade(found: Record) -> None:
    assert judged(found) == Evidence(None, ())
    assert judged(replace(CPU, timing=None)) == judged(timed(CPU, samples_s=())) == Evidence(None, ())


def test_the_gravest_warning_comes_first() -> None:
    both = driven(timed(GPU, witness=None, blocked=False, launch_s=0.6 * TIME_S), ecc_errors=3)
    assert judged(both).codes == ("ecc_errors", "queue_open", "one_clock")
    assert [doubt.grade for doubt in judged(both).warnings] == ["D", "C", "B"]


def test_nothing_known_of_the_device_leaves_b() -> None:
    assert assess(CPU, NO_FACTS).grade == "B"


# ---- facts ----


@pytest.mark.parametrize(
    ("name", "bandwidth", "half"),
    [
        ("NVIDIA H100 80GB HBM3", 3.35e12, 989e12),
        ("NVIDIA A100-SXM4-80GB", 2.039e12, 312e12),
        ("AMD Instinct MI300X", 5.3e12, 1307e12),
        ("NVIDIA GeForce RTX 5090", 1.792e12, None),  # clocks beyond its sheet
        ("NVIDIA H100 NVL", None, None),  # faster memory than the SXM module's
        ("NVIDIA GH200 480GB", None, None),
        ("A100000", None, None),
    ],
)
def test_data_sheets_stand_in_for_peaks_that_were_not_measured(name: str, bandwidth: float | None, half: float | None) -> None:
    environment = replace(synthetic.environment(), devices={"cuda": {"name": name}})
    facts = facts_of([environment], "cuda:1")
    assert (facts.copy.per_s if facts.copy else None) == bandwidth
    assert (facts.products["bfloat16"].per_s if facts.products else None) == half


def test_a_time_faster_than_the_data_sheet_is_impossible() -> None:
    environment = replace(synthetic.environment(), devices={"cuda": {"name": "NVIDIA H100 80GB HBM3"}})
    fast = record("cuda", FLOP / 1.2 / 495e12 * NOISE)
    assert "120% of the data sheet's matrix-product peak" in str(assess(fast, facts_of([environment], "cuda")).impossible)


def test_measured_peaks_come_before_the_data_sheet() -> None:
    known = {"name": "NVIDIA H100 80GB HBM3", "peaks": {"copy_bytes_per_s": 2.9e12, "flop_per_s": {"bfloat16": 7e14}}}
    facts = facts_of([replace(synthetic.environment(), devices={"cuda": known})], "cuda")
    assert facts.copy == Rate(2.9e12) and facts.products["bfloat16"] == Rate(7e14)
    assert facts.products["float16"].source == "the data sheet's"


def test_float32_convolutions_may_run_on_tensor_cores() -> None:
    facts = FACTS["cuda"]
    assert facts.product("float32", "core") == Rate(5.1e13) and facts.product("float32", "module") == Rate(3.7e14)
    assert FACTS["cpu"].product("float32", "module") == Rate(4.2e10)


HOSTILE: list[Any] = [None, "x", [], {}, -1, 0, True, float("inf"), {"flop_per_s": [1], "copy_bytes_per_s": "fast"}, 10**400]


@pytest.mark.parametrize("value", HOSTILE, ids=repr)
def test_any_environment_makes_facts(value: Any) -> None:
    for known in (value, {"peaks": value, "noise": value, "name": value, "last_level_cache_bytes": value, "memory_bytes": value}):
        environment = replace(synthetic.environment(), devices={"cpu": known})
        assert judged(CPU, facts_of([environment], "cpu")).grade in ("A", "B")


# ---- properties ----

NUMBERS = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True), st.integers(-(10**300), 10**300))
COUNTS = st.one_of(st.none(), st.integers(-5, 10**300))


@st.composite
def any_timing(draw: st.DrawFn) -> Timing:
    samples = st.lists(st.floats(), max_size=14).map(tuple)
    witness = st.one_of(st.none(), st.builds(Witness, st.text(max_size=5), samples, st.integers(0, 5), st.booleans()))
    return Timing(
        clock=draw(st.sampled_from(["perf_counter", "cuda_event", "cuda_graph", "?"])), samples_s=draw(samples), loops=draw(st.integers(0, 9)),
        warmup_s=0.1, warmup_calls=1, stopped_by=draw(st.sampled_from(["target", "time"])), cache=draw(st.sampled_from(["hot", "cold"])),
        first_call_s=1.0, warmup_converged=draw(st.sampled_from([None, True, False])), launch_s=draw(NUMBERS), queued=1,
        blocked=draw(st.sampled_from([None, True, False])), touched_bytes=draw(COUNTS), witness=draw(witness), cpu_s=draw(NUMBERS),
        wall_s=draw(NUMBERS), minor_faults=draw(st.lists(st.integers(0, 10**300), max_size=4).map(tuple)),
        involuntary_switches=draw(st.lists(st.integers(0, 10**300), max_size=4).map(tuple)),
    )  # fmt: skip


@st.composite
def any_telemetry(draw: st.DrawFn) -> Telemetry:
    look = st.builds(GpuLook, st.floats(), COUNTS, COUNTS, NUMBERS, COUNTS, st.one_of(st.none(), st.just(("sw_power_cap",))))
    host = st.builds(
        HostLoad, st.floats(), st.integers(0, 9), NUMBERS, NUMBERS, COUNTS, st.lists(st.integers(), max_size=3).map(tuple)
    )
    return Telemetry(
        draw(st.one_of(st.none(), host)),
        draw(st.lists(look, max_size=3).map(tuple)),
        draw(COUNTS),
        draw(COUNTS),
        None,
        draw(COUNTS),
    )


@settings(max_examples=120, deadline=None)
@given(any_timing(), any_telemetry(), st.sampled_from(["cpu", "cuda", "null"]), NUMBERS, COUNTS, COUNTS)
def test_any_record_gets_a_grade(
    timing: Timing, telemetry: Telemetry, device: str, error: Any, limit: int | None, residual: int | None
) -> None:
    memory = Memory(0, limit or 0, residual or 0, 0, 0, device_bytes=limit, ledger=ledger(residual or 0))
    check = Check(True, (TensorError("output", error, error, 1e-5),))
    found = replace(
        CPU,
        cell=replace(CPU.cell, device=device),
        timing=timing,
        telemetry=telemetry,
        memory=memory,
        check=check,
        memory_limit_bytes=limit,
    )
    evidence = assess(found, FACTS.get(device, NO_FACTS))
    assert (evidence.grade is None) == (not timing.samples_s)
    assert evidence.grade is None or evidence.grade == max((doubt.grade for doubt in evidence.warnings), default="A")


# Each takes a record and makes it worse, or leaves it: evidence against.
WORSE: dict[str, Callable[[Record], Record]] = {
    "ecc": lambda found: driven(found, ecc_errors=2),
    "foreign": lambda found: driven(found, foreign_processes=3, foreign_bytes=2**40),
    "thermal": lambda found: driven(found, looks=(*found.telemetry.looks, GpuLook(0.1, 10**9, reasons=("hw_thermal_slowdown",)))),  # type: ignore[union-attr]
    "open": lambda found: timed(found, blocked=False),
    "no second clock": lambda found: timed(found, witness=None),
    "cold start": lambda found: timed(found, warmup_converged=False),
    "out of time": lambda found: timed(found, stopped_by="time"),
    "unchecked": lambda found: replace(found, check=None),
    "margin": lambda found: (
        checked(9.9e-6) if found is CPU else replace(found, check=Check(True, (TensorError("o", 9.9e-6, 0.1, 1e-5),)))
    ),
    "busy": lambda found: hosted(found, wall_s=1.0, others_cpu_s=0.9, steal_s=0.5),
    "descheduled": lambda found: timed(found, cpu_s=0.1, wall_s=1.0),
    "faults": lambda found: timed(found, minor_faults=(10**6,) * 40),
    "residual": lambda found: remembered(found, ledger=ledger(10**9)),
    "full": lambda found: replace(found, memory_limit_bytes=1),
    "fast": lambda found: timed(found, samples_s=tuple(value / 1e6 for value in found.timing.samples_s)),  # type: ignore[union-attr]
    "few": lambda found: timed(found, samples_s=found.timing.samples_s[:3]),  # type: ignore[union-attr]
}


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([CPU, GPU]), st.permutations(sorted(WORSE)))
def test_more_evidence_against_never_raises_the_grade(start: Record, order: list[str]) -> None:
    found, grade = start, "A"
    for name in order[:6]:
        found = WORSE[name](found)
        now = judged(found).grade
        assert now is not None and now >= grade, order
        grade = now


@settings(max_examples=100, deadline=None)
@given(st.floats(0.0, 3.0), st.floats(0.0, 3.0))
def test_wider_samples_never_raise_the_grade(first: float, second: float) -> None:
    narrow, wide = sorted((first, second))
    codes = [
        next((one.grade for one in judged(shaped(np.exp(width * SPREAD))).warnings if one.code == Code.NOISY), "A")
        for width in (narrow, wide)
    ]
    assert codes[0] <= codes[1]


# ---- what is made of it ----


def test_a_line_is_the_record_with_its_evidence() -> None:
    found = driven(GPU, ecc_errors=1)
    data = json.loads(as_line(found, judged(found)))
    said = data.pop("evidence")
    assert from_json(Record, json.dumps(data)) == found
    assert said == {
        "grade": "D",
        "warnings": [{"code": "ecc_errors", "text": "uncorrected memory errors meanwhile: 1", "advice": Code.ECC_ERRORS.advice}],
    }
    assert json.loads(as_line(CPU, judged(CPU)))["evidence"] == {"grade": "A", "warnings": []}


def test_common_warnings_come_first_and_notes_are_left_out() -> None:
    cached = timed(CPU, compile_s=1.0, compile_cached=True)
    found = [
        judged(one) for one in (timed(CPU, witness=None), timed(CPU, witness=None, stopped_by="time"), cached, cached, cached)
    ]
    assert common(found) == [(Code.ONE_CLOCK, 2), (Code.STOPPED_BY_TIME, 1)]


def test_it_needs_no_heavy_package() -> None:
    program = "import sys; import fabench.analysis.evidence; sys.exit(', '.join({'numpy', 'pandas', 'scipy', 'torch'} & set(sys.modules)) or 0)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
