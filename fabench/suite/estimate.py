"""What a plan will take, before anything is run: memory from the cost model, seconds from the cost model and two rates.

For planning only. The time of a call is products over a rate plus bytes over a bandwidth; with rates measured on the device it is
right within a factor of two or three, with the default ones within an order of magnitude.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fabench import cost
from fabench.catalogue import Facts, facts_of
from fabench.schema import Cell, Measure
from fabench.suite import network_plan
from fabench.suite.model import Budget, Planned
from fabench.units import format_bytes, format_duration

__all__ = ["CellEstimate", "Rates", "estimate", "rates"]

# A core keeps about this part of the best matrix product's rate, and of the best copy's bandwidth.
_OF_PEAK = 0.4
# Eager code passes over the map, or over its inputs, about this often.
_PASSES = 4
_CHECK_SLOWDOWN = 4.0  # float64, and chunk by chunk
_COMPILE_S = 5.0
# First call, FLOP count, once more before the warm-up.
_CALLS_BESIDE = 3
_MIN_SAMPLES = 12
_PATIENCE = 4


@dataclass(frozen=True, slots=True)
class Rates:
    """What a device does per second, what a fresh process on it costs, and whether the rates were measured or are a guess."""

    flop_per_s: float
    bytes_per_s: float
    process_s: float
    measured: bool = False


# One core of a server; one data-centre GPU.
_CPU = Rates(flop_per_s=25e9, bytes_per_s=5e9, process_s=0.2)
_CUDA = Rates(flop_per_s=20e12, bytes_per_s=1e12, process_s=3.0)


@dataclass(frozen=True, slots=True)
class CellEstimate:
    """A prediction. `over_budget` says what the cell would exceed; `measured_rates` is False where the rates are defaults."""

    cell: Cell
    skip: str | None
    memory_bytes: int
    check_bytes: int
    call_s: float
    wall_s: float
    over_budget: str | None
    measured_rates: bool


def rates(device: str, peaks: Mapping[str, Any] | None, dtype: str) -> Rates:
    """The device's rates from `peaks` ({"copy_bytes_per_s": .., "flop_per_s": {dtype: ..}}) where it has them, else defaults."""
    default = _CUDA if device.startswith("cuda") else _CPU
    given = peaks if isinstance(peaks, Mapping) else {}
    copy, products = given.get("copy_bytes_per_s"), given.get("flop_per_s")
    flop = products.get(dtype) if isinstance(products, Mapping) else None
    if not isinstance(copy, (int, float)) or not isinstance(flop, (int, float)) or copy <= 0 or flop <= 0:
        return default
    return Rates(flop * _OF_PEAK, copy * _OF_PEAK, default.process_s, measured=True)


def estimate(
    planned: Sequence[Planned], measure: Measure, budget: Budget, peaks: Mapping[str, Mapping[str, Any]] | None = None
) -> list[CellEstimate]:
    """One estimate per planned cell. `peaks` maps device names to what was measured of them; a skipped cell takes no time."""
    return [_cell(item, measure, budget, (peaks or {}).get(item.cell.device)) for item in planned]


def _cell(planned: Planned, measure: Measure, budget: Budget, peaks: Mapping[str, Any] | None) -> CellEstimate:
    cell, facts = planned.cell, facts_of(planned.cell.implementation)
    known = rates(cell.device, peaks, cell.case.dtype)
    expected = _expected(cell, facts)
    call_s = _call(expected, known)
    wall_s = 0.0 if planned.skip else _wall(cell, facts, expected, call_s, known, measure)
    needed = max(expected.total_bytes, expected.input_bytes + expected.check_bytes)
    limit = None if cell.device.startswith("cuda") else budget.memory_bytes
    fits = limit is None or needed <= limit
    return CellEstimate(
        cell=cell,
        skip=planned.skip,
        memory_bytes=expected.total_bytes,
        check_bytes=expected.check_bytes,
        call_s=call_s,
        wall_s=min(wall_s if fits else known.process_s, budget.cell_s),
        over_budget=_over(needed, limit, _map(cell, facts), wall_s, budget.cell_s),
        measured_rates=known.measured,
    )


def _expected(cell: Cell, facts: Facts) -> cost.Cost:
    if cell.case.scope == "network":
        return network_plan.cost_of(cell.case, facts.time_order, facts.memory_order)
    assert facts.time_order is not None and facts.memory_order is not None
    return cost.of(cell.case, facts.time_order, facts.memory_order)


def _map(cell: Cell, facts: Facts) -> str:
    return network_plan.map_words(cell.case, facts.time_order, facts.memory_order) if cell.case.scope == "network" else ""


def _call(expected: cost.Cost, known: Rates) -> float:
    moved = expected.compulsory_bytes + _PASSES * expected.working_bytes
    return expected.flop / known.flop_per_s + moved / known.bytes_per_s


def _wall(cell: Cell, facts: Facts, expected: cost.Cost, call_s: float, known: Rates, measure: Measure) -> float:
    """Process, inputs, check, warm-up, samples and memory pass; the process alone where the implementation has no such form."""
    if facts.time_order is not None and cell.case.normalisation not in facts.computes:
        return known.process_s
    if cell.case.scope == "network":
        return known.process_s + _network_wall(expected, call_s, known, measure)
    compared = 1.0
    if facts.time_order == 2 and cell.case.normalisation == "softmax":
        case = cell.case
        compared = min(1.0, cost.CHECKED_MAP_ELEMENTS / (case.batch * case.heads * case.n * case.m))
    check_s = (
        _CALLS_BESIDE * call_s
        + _CHECK_SLOWDOWN * compared * expected.flop / known.flop_per_s
        + expected.check_bytes / known.bytes_per_s
    )
    wall_s = known.process_s + check_s + (_COMPILE_S if facts.compiles else 0.0)
    if measure.check_only:
        return wall_s
    least = min(call_s * min(_MIN_SAMPLES, measure.min_samples), _PATIENCE * measure.max_s)
    sampling_s = max(call_s, least, measure.max_s)
    return wall_s + max(call_s, measure.warmup_s) + sampling_s + (2 * call_s if measure.memory else 0.0)


def _network_wall(expected: cost.Cost, call_s: float, known: Rates, measure: Measure) -> float:
    """The first call, the check of its blocks, a warm-up call, samples, memory pass; building and settling takes about a call as well."""
    wall_s = 2 * call_s + _CHECK_SLOWDOWN * expected.check_bytes / known.bytes_per_s
    if measure.check_only:
        return wall_s
    least = min(call_s * min(_MIN_SAMPLES, measure.min_samples), _PATIENCE * measure.max_s)
    return wall_s + call_s + max(call_s, least, measure.max_s) + (call_s if measure.memory else 0.0)


def _over(needed: int, limit: int | None, largest_map: str, wall_s: float, limit_s: float) -> str | None:
    found = []
    if limit is not None and needed > limit:
        more = f" ({largest_map})" if largest_map else ""
        found.append(f"memory {format_bytes(needed)} of {format_bytes(limit)}{more}")
    if wall_s > limit_s:
        found.append(f"time {format_duration(wall_s)} of {format_duration(limit_s)}")
    return " and ".join(found) or None
