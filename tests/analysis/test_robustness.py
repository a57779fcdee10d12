"""Every reading survives every kind of poor data, gives finite numbers, and gives the same ones again."""

import math
import time
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

import pandas as pd
import pytest

from fabench.analysis.capacity import capacities
from fabench.analysis.crossover import crossovers
from fabench.analysis.curves import curves
from fabench.analysis.frame import tidy
from fabench.analysis.headline import headline
from fabench.analysis.paper import compare
from fabench.analysis.roofline import roofline
from fabench.analysis.scaling import decompose, exponents
from fabench.analysis.speedup import speedups
from fabench.schema import Case, Cell, Record
from tests import synthetic

READINGS: dict[str, Callable[[pd.DataFrame], Any]] = {
    "exponents": exponents,
    "memory exponents": lambda frame: exponents(frame, "memory"),
    "decompose": decompose,
    "crossovers": lambda frame: crossovers(frame, within_family=True),
    "memory crossovers": lambda frame: crossovers(frame, "memory"),
    "capacities": capacities,
    "speedups": speedups,
    "other speedups": lambda frame: speedups(frame, other_function=True),
    "roofline": lambda frame: roofline(frame, synthetic.environment()),
    "paper": compare,
    "headline": headline,
}
CELL = Cell("dot_product", "cpu", Case(n=256, m=256))
DATA: dict[str, list[Record]] = {
    "nothing": [],
    "one point": synthetic.records(["sdpa"], [256]),
    "one sample": [*synthetic.records(["sdpa", "factorized_plain"], samples=1)],
    "nothing ok": [synthetic.ended(CELL, "crashed", "signal 11"), synthetic.ended(CELL, "timed_out", "60 s")],
    "unknown implementation": [Record(CELL, "timed_out", "no answer within 60 s")],
    "one implementation": synthetic.records(["dot_product"]),
    "everything": synthetic.records(modes=["fwd", "bwd"], normalisations=["softmax", "scaling"], scopes=["core", "module"]),
    "twice": synthetic.records() * 2,
    "many devices": synthetic.records(devices=["cpu", "cuda", "cuda:1"]),
}


@cache
def frame_of(data: str) -> pd.DataFrame:
    return tidy(DATA[data])


def numbers(value: Any) -> list[float]:
    if isinstance(value, float):
        return [value]
    if isinstance(value, (list, tuple)):
        return [number for item in value for number in numbers(item)]
    if is_dataclass(value):
        return [number for field in fields(value) for number in numbers(getattr(value, field.name))]
    return []


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("reading", READINGS)
def test_readings_survive_and_are_finite_and_repeatable(reading: str, data: str) -> None:
    found = READINGS[reading](frame_of(data))
    assert all(math.isfinite(number) for number in numbers(found))
    assert READINGS[reading](frame_of(data)) == found


@pytest.mark.parametrize("reading", ["exponents", "decompose", "capacities", "crossovers"])
def test_a_repeated_cell_counts_once(reading: str) -> None:
    assert READINGS[reading](tidy(DATA["twice"])) == READINGS[reading](tidy(synthetic.records()))


def test_the_later_record_of_a_cell_counts() -> None:
    first, second = (synthetic.measured(CELL, [seconds] * 9) for seconds in (1.0, 2.0))
    (curve,) = curves(tidy([first, second]))
    assert curve.values == (2.0,) and curve.missing == ()
    (curve,) = curves(tidy([first, synthetic.ended(CELL, "crashed", "signal 11")]))
    assert curve.values == () and curve.missing == ((256, "crashed: signal 11"),)


def test_a_cell_that_was_only_checked_has_no_time() -> None:
    checked = Record(CELL, "ok", function="f", time_order=2, memory_order=2)
    (curve,) = curves(tidy([checked]))
    assert curve.missing == ((256, "no time measured"),)


def test_another_seed_gives_another_interval_of_the_same_value() -> None:
    frame = tidy(synthetic.records(["sdpa"]))
    one, two = (exponents(frame, seed=seed)[0].estimate for seed in (1, 2))
    assert one is not None and two is not None
    assert one.value == two.value and (one.low, one.high) != (two.low, two.high)


def test_many_series_are_quick() -> None:
    frame = tidy(synthetic.many(9600))
    start = time.perf_counter()
    for reading in READINGS.values():
        reading(frame)
    assert time.perf_counter() - start < 12
