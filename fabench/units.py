"""Prefixes and units, for the edge only: everything stored is in base units (s, byte, FLOP, Hz, J).

MiB is 2^20 bytes here, MB is 10^6; the names say which.
"""

from __future__ import annotations

import math
import re

__all__ = ["format_bytes", "format_count", "format_duration", "format_rate", "format_ratio", "parse_bytes", "parse_duration"]

_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_BYTE_UNITS = {
    "": 1, "b": 1,
    "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40,
    "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
}  # fmt: skip
_TIME_UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "": 1.0, "min": 60.0, "h": 3600.0}
_QUANTITY = re.compile(r"\s*(\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)\s*([A-Za-z]*)\s*")
_NONE = "–"


def _significant(value: float, digits: int = 3) -> str:
    """`value` with `digits` significant digits and no exponent: 1.23, 12.3, 123, 1234."""
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(decimals, 12)}f}"


def format_duration(seconds: float | None) -> str:
    """Seconds with a fitting prefix: `1.23 ms`; unknown is a dash."""
    if seconds is None or not math.isfinite(seconds):
        return _NONE
    size = abs(seconds)
    if size >= 120:
        return f"{seconds / 60:.1f} min" if size < 7200 else f"{seconds / 3600:.1f} h"
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if size >= scale:
            return f"{_significant(seconds / scale)} {unit.replace('us', 'µs')}"
    return f"{_significant(seconds / 1e-9)} ns"


def format_bytes(count: float | None) -> str:
    """Bytes with a binary prefix: `1.50 MiB`; unknown is a dash."""
    if count is None or not math.isfinite(count):
        return _NONE
    value, unit = float(count), _BINARY[0]
    for unit in _BINARY:
        if abs(value) < 1024 or unit == _BINARY[-1]:
            break
        value /= 1024
    return f"{count:.0f} B" if unit == "B" else f"{_significant(value)} {unit}"


def _decimal(value: float) -> tuple[float, str]:
    for scale, prefix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= scale:
            return value / scale, prefix
    return value, ""


def format_rate(per_second: float | None, unit: str) -> str:
    """A rate with a decimal prefix: `12.3 GB/s`, `45.6 GFLOP/s`."""
    if per_second is None or not math.isfinite(per_second):
        return _NONE
    value, prefix = _decimal(per_second)
    return f"{_significant(value)} {prefix}{unit}"


def format_count(count: float | None, unit: str = "") -> str:
    """A count with a decimal prefix: `1.23 G`."""
    if count is None or not math.isfinite(count):
        return _NONE
    value, prefix = _decimal(count)
    return f"{_significant(value)} {prefix}{unit}".rstrip()


def format_ratio(ratio: float | None) -> str:
    """A factor: `2.31x`, `120x`; unknown is a dash."""
    if ratio is None or not math.isfinite(ratio):
        return _NONE
    return f"{_significant(ratio)}x"


def _parse(text: str | float, units: dict[str, float] | dict[str, int], what: str, example: str) -> float:
    if isinstance(text, bool):
        raise ValueError(f"{text!r} is no {what}; write for example {example}")
    if isinstance(text, (int, float)):
        value = float(text)
    else:
        match = _QUANTITY.fullmatch(text) if len(text) < 60 else None
        if match is None or match[2].lower() not in units:
            raise ValueError(f"{text[:40]!r} is no {what}; write for example {example}")
        value = float(match[1]) * units[match[2].lower()]
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{text!r} is no {what}; write for example {example}")
    return value


def parse_bytes(text: str | float) -> int:
    """`"8 GiB"` or a number of bytes -> bytes. Raises ValueError with an example."""
    return round(_parse(text, _BYTE_UNITS, "size", '"8 GiB" or "500 MB"'))


def parse_duration(text: str | float) -> float:
    """`"200 ms"` or a number of seconds -> seconds. Raises ValueError with an example."""
    return _parse(text, _TIME_UNITS, "duration", '"200 ms" or "2 s"')
