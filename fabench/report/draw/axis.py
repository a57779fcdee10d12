"""Logarithmic axes: where a value lies, which ticks there are, and how they are labelled in the units a reader expects."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["EvenAxis", "LogAxis", "Tick", "domain", "even_ticks", "ticks", "zero_ticks"]


@dataclass(frozen=True, slots=True)
class Tick:
    """A place on an axis with its label ("" for a minor tick)."""

    value: float
    label: str


@dataclass(frozen=True, slots=True)
class LogAxis:
    """Values from `low` to `high` on coordinates from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """The coordinate of `value`, also outside the range."""
        share = (math.log(value) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        return self.start + share * (self.end - self.start)

    def inside(self, value: float) -> float:
        """The coordinate of `value`, kept within the axis."""
        return self.at(min(max(value, self.low), self.high))

    @property
    def per_decade(self) -> float:
        """Coordinates per factor of ten."""
        return (self.end - self.start) / (math.log10(self.high) - math.log10(self.low))


@dataclass(frozen=True, slots=True)
class EvenAxis(LogAxis):
    """The same for values that are counted: equal steps are equally wide."""

    def at(self, value: float) -> float:
        """The coordinate of `value`, also outside the range."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def domain(values: Iterable[float], below: float = 1.0, above: float = 1.0, least: float = 4.0) -> tuple[float, float]:
    """Smallest and largest positive value, widened by factors and to a span of at least `least`; (1, 10) if there are none."""
    found = [value for value in values if value > 0 and math.isfinite(value)]
    if not found:
        return 1.0, 10.0
    low, high = min(found) / below, max(found) * above
    if high / low < least:
        middle, half = math.sqrt(low * high), math.sqrt(least)
        low, high = middle / half, middle * half
    return low, high


def ticks(axis: LogAxis, kind: str, most: int = 8, data: Sequence[float] = ()) -> list[Tick]:
    """At most about `most` labelled ticks. Bytes go by powers of two; `count` too where the `data` are powers of two."""
    binary = kind == "bytes" or (kind == "count" and _powers_of_two(data))
    values = _binary(axis, most, 10 if kind == "bytes" else None) if binary else _decimal(axis, most)
    return [Tick(value, _label(value, kind)) for value in values]


def even_ticks(axis: LogAxis, kind: str, most: int = 8) -> list[Tick]:
    """At most `most` labelled ticks at even steps, for a range too narrow for powers of ten; whole numbers on an `EvenAxis`."""
    if isinstance(axis, EvenAxis):
        return [Tick(value, f"{value:,.0f}") for value in _even(axis, max(1, most), 1.0)]
    return [Tick(value, _label(value, kind)) for value in _even(axis, most)]


def zero_ticks(axis: LogAxis, kind: str, most: int = 6) -> list[Tick]:
    """At most `most` labelled ticks at even steps from 0 on, for an `EvenAxis` that begins there; bytes go by powers of two."""
    unit = next((size for size, _ in _BYTES if axis.high >= size), 1) if kind == "bytes" else 1
    steps = _even(EvenAxis(0, axis.high / unit, axis.start, axis.end), most)
    return [Tick(value * unit, _label(value * unit, kind) if value else "0") for value in steps]


def _even(axis: LogAxis, most: int, least: float = 0.0) -> list[float]:
    """Multiples of the smallest 1, 2 or 5 times a power of ten, `least` or more, of which there are at most `most`."""
    power = 10.0 ** math.floor(math.log10((axis.high - axis.low) / most))
    step = next(one for one in (power, 2 * power, 5 * power, 10 * power) if (axis.high - axis.low) / one <= most)
    step = max(step, least)
    return [step * turn for turn in range(math.ceil(axis.low / step), math.floor(axis.high / step) + 1)]


def _powers_of_two(data: Sequence[float]) -> bool:
    return all(value >= 1 and float(value).is_integer() and int(value).bit_count() == 1 for value in data)


def _binary(axis: LogAxis, most: int, unit: int | None) -> list[float]:
    low, high = math.ceil(math.log2(axis.low) - 1e-9), math.floor(math.log2(axis.high) + 1e-9)
    for step in (1, 2, 4, 5, 10, 20, 40, 80):
        if unit is None and step == 5:
            continue
        first = math.ceil(low / step) * step
        exponents = range(first, high + 1, step)
        if len(exponents) <= most:
            return [2.0**power for power in exponents]
    return [2.0**low]


def _decimal(axis: LogAxis, most: int) -> list[float]:
    low, high = math.floor(math.log10(axis.low)), math.ceil(math.log10(axis.high))
    for step, within in ((1, (1, 2, 5)), (1, (1, 3)), (1, (1,)), (2, (1,)), (3, (1,)), (6, (1,)), (12, (1,))):
        first = math.ceil(low / step) * step
        values = [factor * 10.0**power for power in range(first, high + 1, step) for factor in within]
        values = [value for value in values if axis.low * (1 - 1e-9) <= value <= axis.high * (1 + 1e-9)]
        if len(values) <= most:
            return values
    return []


_SECONDS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_BYTES = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (1, "B"))
_PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))
_UNITS = {"flops": "FLOP/s", "bandwidth": "B/s"}


def _label(value: float, kind: str) -> str:
    if kind == "duration":
        scale, unit = next(((s, u) for s, u in _SECONDS if value >= s * 0.999), _SECONDS[-1])
        return f"{value / scale:.6g} {unit}"
    if kind == "bytes":
        scale, unit = next(((s, u) for s, u in _BYTES if value >= s), _BYTES[-1])
        return f"{value / scale:,.6g} {unit}"
    if kind in _UNITS:
        scale, prefix = next(((s, p) for s, p in _PREFIXES if value >= s * 0.999), _PREFIXES[-1])
        return f"{value / scale:.6g} {prefix}{_UNITS[kind]}"
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"
