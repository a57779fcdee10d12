"""Noise, scripted, through the real command: what of each kind is left in the stored record, against what was scripted.

The truth of every call is 1 ms. Time is scripted too, so 200 samples cost nothing; how many of them stand together, or when exactly sampling
stopped, is not looked at.
"""

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import pytest

from fabench.median import median
from fabench.schema import Record, to_json
from tests.faults.conftest import Play

TRUTH_S = 1e-3
LONG = (
    "--n",
    "32",
    "--implementation",
    "factorized",
    "--set",
    "measure.target=0.000001",
    "--set",
    "measure.max_s=0.4",
    "--set",
    "measure.warmup_max_s=0",
)


def shape(record: Record) -> dict[str, float]:
    """What samples look like, in units of the truth: see the names."""
    assert record.timing is not None and record.timing.witness is not None and record.telemetry is not None
    samples = [sample / TRUTH_S for sample in record.timing.samples_s]
    logs = [math.log(sample / median(samples)) for sample in samples]
    square = sum(value * value for value in logs)
    quarter = len(samples) // 4
    return {
        "median": median(samples),
        "highest": max(samples),
        "spread of logs": math.sqrt(square / len(logs)),
        "kept from the last": sum(a * b for a, b in pairwise(logs)) / square if square else 0.0,
        "last quarter by first": median(samples[-quarter:]) / median(samples[:quarter]),
        "second clock": median(record.timing.witness.samples_s) / TRUTH_S,
        "levels": len({round(sample) for sample in samples}),
    }


@dataclass(frozen=True)
class Row:
    """A kind of noise, and what must be seen of it."""

    script: str
    seen: dict[str, float]
    reasons: tuple[str, ...] = ()


NOISE = {
    "none": Row("noise = {jitter = 0}", {"median": 1, "highest": 1, "spread of logs": 0, "second clock": 1}),
    "jitter": Row("noise = {jitter = 0.3}", {"median": 1, "spread of logs": 0.3, "kept from the last": 0, "last quarter by first": 1}),
    "autocorrelated": Row("noise = {jitter = 0.3, correlation = 0.9}", {"kept from the last": 0.9, "spread of logs": 0.3}),
    "drift": Row("noise = {jitter = 0.01, drift_per_s = 2}", {"median": 1.4, "last quarter by first": 1.5, "kept from the last": 1}),
    "two levels": Row("noise = {jitter = 0.01, levels = {times = 3, stay = 0.8}}", {"levels": 2, "highest": 3}),
    "throttling": Row(
        "noise = {jitter = 0.01, throttle = {after_s = 0.25, times = 1.5, reasons = ['sw_power_cap', 'hw_slowdown']}}",
        {"median": 1, "highest": 1.5, "last quarter by first": 1.5, "second clock": 1.5},
        ("hw_slowdown", "sw_power_cap"),
    ),
    "a clock that jumps": Row("clocks = {step_at_s = 0.02, step_s = 1}", {"median": 1, "highest": 1001, "second clock": 1}),
    "a slow start": Row("noise = {jitter = 0.01, ramp = {times = 3, within_s = 0.1}}", {"last quarter by first": 0.5, "second clock": 1}),
}  # fmt: skip


@pytest.mark.parametrize("kind", NOISE)
def test_a_record_shows_the_noise_that_was_scripted(kind: str, play: Play) -> None:
    row = NOISE[kind]
    (record,) = play(f"speed = {{call_s = {TRUTH_S}}}\n{row.script}", *LONG).records.values()
    assert record.status == "ok"
    assert record.timing is not None and record.telemetry is not None
    assert (record.timing.clock, record.timing.blocked, record.timing.ladder) == ("null_event", True, ())
    seen = shape(record)
    assert {name: seen[name] for name in row.seen} == pytest.approx(row.seen, abs=0.1)
    assert {reason for look in record.telemetry.looks for reason in look.reasons or ()} == set(row.reasons)


def stable(record: Record) -> str:
    """A record without what the real machine adds to it."""
    assert record.timing is not None and record.memory is not None
    kept = replace(
        record,
        timing=replace(record.timing, cpu_s=None, wall_s=None),
        memory=replace(record.memory, rss_peak_bytes=None),
        telemetry=None if record.telemetry is None else replace(record.telemetry, host=None),
        memory_limit_bytes=None,
        phases_s={},
        started_at=None,
    )
    return to_json(kept)


def test_the_same_script_gives_the_same_record(play: Play) -> None:
    script = "noise = {jitter = 0.1, correlation = 0.5, levels = {times = 1.5}, throttle = {after_s = 0.01, times = 1.2}}"
    first, second = (list(play(script).records.values()) for _ in range(2))
    assert [stable(record) for record in first] == [stable(record) for record in second]
    other = play(f"seed = 1\n{script}").records.values()
    assert [stable(record) for record in first] != [stable(record) for record in other]
